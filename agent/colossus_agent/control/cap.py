"""Power limits of GPUs: each lasts as long as a run holds the GPU, and is written down beforehand.

The driver keeps a limit when all else has died, so what is written down is what the next agent
gives back. Where somebody else has set another limit since, that one stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from colossus_agent.readings import GpuInventory, MissingError, MissingReason, PowerLimits
from colossus_agent.runs.record import RecordError, read_json, write_json
from colossus_agent.runs.state import DONE, FAILED, REFUSED, GpuOutcome, Outcome

LOG = logging.getLogger(__name__)
LEFT_SECONDS = 10.0  # a GPU without the run's processes for so long is given back: two looks at it
CHECK_SECONDS = 10.0  # between two looks whether a limit still holds
TURN_SECONDS = 1.0  # after so long no further GPU is asked in one turn: freezes wait for its end
SAME_WATTS = 1.0  # devices keep whole watts, some of them
_SYS_ADMIN = 1 << 21  # CAP_SYS_ADMIN
_MAY_NOT = "colossus-agent has to run as root, or with CAP_SYS_ADMIN, to limit the power of GPUs"


class Gpus(Protocol):
    """The GPUs of this node; the sampler."""

    def gpu_inventory(self) -> tuple[GpuInventory, ...]:
        """Return what does not change about them."""

    def gpu_holders(self) -> Mapping[int, frozenset[str]]:
        """Return the runs with a process on each GPU that tells its processes."""

    def power_limits(self, index: int) -> PowerLimits:
        """Return a GPU's power limit now. Raises MissingError where it does not tell."""

    def set_power_limit(self, index: int, watts: float) -> None:
        """Set a GPU's power limit. Raises MissingError where the driver did not."""


@dataclass(frozen=True, slots=True)
class _Cap:
    """What was done to one GPU."""

    run_id: str
    watts: float
    before_watts: float


class Caps:
    """The limits that this node's agent has set and has to give back.

    Not safe for use from two threads at once.

    Args:
        path: Where they are written down.
    """

    def __init__(self, path: Path, gpus: Gpus, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._gpus = gpus
        self._clock = clock
        self._caps = self._read()  # by GPU UUID
        self._left: dict[str, float] = {}  # since when the run's processes are not seen there
        self._checked = clock()
        self._unasked: list[str] = []  # the last look had no time for these: they come first

    def watts(self, run_id: str) -> float:
        """Return the lowest limit that a run's GPUs have here; 0 for none."""
        found = (cap.watts for cap in self._caps.values() if cap.run_id == run_id)
        return min(found, default=0.0)

    def without(self, gpu: GpuInventory) -> GpuInventory:
        """Return a GPU with the limit that it has when its cap is taken off."""
        cap = self._caps.get(gpu.gpu_uuid)
        return gpu if cap is None else replace(gpu, power_limit_watts=cap.before_watts)

    def set(self, run_id: str, watts: float) -> Outcome:
        """Limit every GPU that the run holds here, or with 0 W give all of them back.

        Raises:
            OSError: It could not be written down; nothing was done.
        """
        if not watts:
            return self._lift(run_id)
        indices = self._held(run_id)
        if not indices:
            return Outcome(REFUSED, "its processes are not seen on a GPU of this node")
        limits, silent = self._limits(indices)
        for index, limit in limits.items():
            cap = self._caps.get(self._uuid(index))
            # A limit that somebody has set for good reason is not raised by a cap.
            highest = min(limit.highest_watts, cap.before_watts if cap else limit.watts)
            if not limit.lowest_watts <= watts <= highest:
                why = f"watts {watts:g}: GPU {index} takes {limit.lowest_watts:g} to {highest:g} W"
                return Outcome(REFUSED, why)
        wanted = {
            self._uuid(index): _Cap(run_id, watts, self._before(index, limit))
            for index, limit in limits.items()
        }
        former = self._caps
        self._keep({**former, **wanted})
        outcomes = [self._put(index, watts) for index in limits]
        undone = [self._uuid(gpu.gpu_index) for gpu, is_undone in outcomes if is_undone]
        if undone:
            kept = {uuid: cap for uuid, cap in self._caps.items() if uuid not in undone}
            again = {uuid: former[uuid] for uuid in undone if uuid in former}
            self._forget({**kept, **again})
        return _outcome([*silent, *(gpu for gpu, _ in outcomes)])

    def poll(self) -> dict[str, str]:
        """Give back the GPUs that runs have left; return by run how its limit has ended."""
        if not self._caps:
            return {}
        ended: dict[str, list[str]] = {}
        until = self._clock() + TURN_SECONDS
        for uuid in self._abandoned():
            if self._clock() >= until:
                break
            if words := self._give_back(uuid):
                ended.setdefault(self._caps[uuid].run_id, []).append(words)
                self._drop(uuid)
        for uuid, words in self._overruled(until):
            ended.setdefault(self._caps[uuid].run_id, []).append(words)
            self._drop(uuid)
        return {run_id: "; ".join(words[:4]) for run_id, words in ended.items()}

    def _give_back(self, uuid: str) -> str:
        """Give a GPU the limit back that it had; return what it has now, "" when it failed."""
        cap, index = self._caps[uuid], self._index(uuid)
        limits, silent = self._limits([index])
        gpu = silent[0] if silent else GpuOutcome(index, limits[index].watts, True)
        if not silent and _same(gpu.watts, cap.watts):  # else somebody has set another since
            gpu, _ = self._put(index, cap.before_watts)
        if gpu.ok:
            return f"the run has left GPU {index}, whose limit is {gpu.watts:g} W again"
        self._left[uuid] = self._clock()  # it is tried again
        LOG.warning("power_limit=kept gpu=%d detail=%r", index, gpu.detail)
        return ""

    # --- which GPUs ------------------------------------------------------------------------

    def _held(self, run_id: str) -> list[int]:
        return sorted(i for i, runs in self._gpus.gpu_holders().items() if run_id in runs)

    def _uuid(self, index: int) -> str:
        return self._gpus.gpu_inventory()[index].gpu_uuid

    def _index(self, uuid: str) -> int:
        """Return the GPU's place; -1 where it is not there, or not known yet."""
        inventory = self._gpus.gpu_inventory()
        return next((gpu.gpu_index for gpu in inventory if gpu.gpu_uuid == uuid), -1)

    def _abandoned(self) -> list[str]:
        """Return the GPUs that their run has left for long enough, or for another run."""
        holders, now, found = self._gpus.gpu_holders(), self._clock(), []
        for uuid, cap in self._caps.items():
            runs = holders.get(self._index(uuid))
            if runs is None or cap.run_id in runs:
                self._left.pop(uuid, None)
            elif now - self._left.setdefault(uuid, now) >= (0.0 if runs else LEFT_SECONDS):
                found.append(uuid)
        return sorted(found, key=self._left.__getitem__)  # one that failed is tried last

    def _overruled(self, until: float) -> list[tuple[str, str]]:
        """Return the GPUs whose limit somebody else has changed, and what it is now.

        Args:
            until: When the clock says so, no further GPU is asked; the rest is so the next time.
        """
        if self._clock() - self._checked < CHECK_SECONDS:
            return []
        self._checked = self._clock()
        first = [uuid for uuid in self._unasked if uuid in self._caps]
        self._unasked = [*first, *(uuid for uuid in self._caps if uuid not in first)]
        found = []
        while self._unasked and self._clock() < until:
            uuid = self._unasked.pop(0)
            index = self._index(uuid)
            limits, _ = self._limits([index] if index >= 0 else [])
            if index in limits and not _same(limits[index].watts, self._caps[uuid].watts):
                now = f"a limit of {limits[index].watts:g} W"
                found.append((uuid, f"GPU {index} has {now}: somebody has set it"))
        return found

    # --- the devices -----------------------------------------------------------------------

    def _limits(self, indices: Iterable[int]) -> tuple[dict[int, PowerLimits], list[GpuOutcome]]:
        """Return the limits that GPUs tell, and what is wrong with those that tell none."""
        limits, silent = {}, []
        for index in indices:
            try:
                limits[index] = self._gpus.power_limits(index)
            except MissingError as error:
                silent.append(GpuOutcome(index, 0.0, False, _words(index, error)))
        return limits, silent

    def _before(self, index: int, limit: PowerLimits) -> float:
        known = self._caps.get(self._uuid(index))
        return known.before_watts if known is not None else limit.watts

    def _put(self, index: int, watts: float) -> tuple[GpuOutcome, bool]:
        """Set a limit; return what the GPU then says, and whether nothing was done for sure."""
        try:
            self._gpus.set_power_limit(index, watts)
        except MissingError as error:
            is_undone = error.reason is not MissingReason.STUCK
            return GpuOutcome(index, 0.0, False, _words(index, error)), is_undone
        limits, silent = self._limits([index])
        if silent:
            return silent[0], False
        now = limits[index].watts
        detail = "" if _same(now, watts) else f"GPU {index} reads back {now:g} W"
        return GpuOutcome(index, now, not detail, detail), False

    def _lift(self, run_id: str) -> Outcome:
        own = {uuid: cap for uuid, cap in self._caps.items() if cap.run_id == run_id}
        outcomes = []
        for uuid, cap in own.items():
            index = self._index(uuid)
            if index < 0:
                outcomes.append(GpuOutcome(-1, 0.0, False, f"GPU {uuid} is not there"))
                continue
            gpu, _ = self._put(index, cap.before_watts)
            outcomes.append(gpu)
            if gpu.ok:
                self._drop(uuid)
        return _outcome(outcomes)

    # --- the disk --------------------------------------------------------------------------

    def _read(self) -> dict[str, _Cap]:
        try:
            body = read_json(self._path) or {}
            return {str(uuid): _Cap(**cap) for uuid, cap in body.get("gpus", {}).items()}
        except (RecordError, TypeError, AttributeError) as error:
            LOG.error("record=damaged path=%r detail=%r", str(self._path), str(error))
            return {}

    def _keep(self, caps: dict[str, _Cap]) -> None:
        gpus = {uuid: asdict(cap) for uuid, cap in caps.items()}
        write_json(self._path, {"schema_version": 1, "gpus": gpus})
        self._caps = caps

    def _forget(self, caps: dict[str, _Cap]) -> None:
        """Keep fewer; one that a full disk keeps is looked at again by the next agent."""
        try:
            self._keep(caps)
        except OSError as error:
            self._caps = caps
            LOG.error("record=unwritable path=%r detail=%r", str(self._path), str(error))

    def _drop(self, uuid: str) -> None:
        self._left.pop(uuid, None)
        self._forget({other: cap for other, cap in self._caps.items() if other != uuid})


def may_limit() -> str:
    """Return why the driver would not let this process limit power; "" when it should."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            line = next(line for line in file if line.startswith("CapEff:"))
        return "" if int(line.split()[1], 16) & _SYS_ADMIN else _MAY_NOT
    except (OSError, StopIteration, ValueError):
        return ""


def _same(one: float, other: float) -> bool:
    return abs(one - other) < SAME_WATTS


def _words(index: int, error: MissingError) -> str:
    if error.reason is MissingReason.NOT_PERMITTED:
        return f"GPU {index}: the driver denied it: {_MAY_NOT}"
    return f"GPU {index}: {error}"


def _outcome(gpus: list[GpuOutcome]) -> Outcome:
    wrong = [gpu for gpu in gpus if not gpu.ok]
    if wrong:
        more = f", and {len(wrong) - 1} more GPUs" if len(wrong) > 1 else ""
        return Outcome(FAILED, f"{wrong[0].detail}{more}", gpus=tuple(gpus))
    if not gpus:
        return Outcome(DONE, "no cap of this run is on a GPU here")
    read = ", ".join(sorted({f"{gpu.watts:g} W" for gpu in gpus}))
    return Outcome(DONE, f"{len(gpus)} GPUs read back {read}", gpus=tuple(gpus))
