"""Scenario files: what goes wrong on a simulated site, where, when and for how long."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from colossus_tui.sim.plan import SitePlan


class ScenarioError(ValueError):
    """A scenario cannot be used; the message names the field and the remedy."""


class FaultKind(StrEnum):
    """What can go wrong, or be asked of a run."""

    STRAGGLER = "straggler"  # a GPU's clock falls, and its run waits for it
    HANG = "hang"  # a run's collective does not end
    XID_STORM = "xid_storm"
    NODE_LOSS = "node_loss"
    COOLING = "cooling"  # coolant comes too warm
    FEED_LIMIT = "feed_limit"  # a hall draws more power than usual
    CHECKPOINT = "checkpoint"  # a run saves now
    CRASH = "crash"  # a run's ranks exit with an error
    IDLE = "idle"  # nodes that a run holds do no work


@dataclass(frozen=True, slots=True)
class _Size:
    """What `size` means to a kind, and its bounds."""

    meaning: str
    default: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Kind:
    targets: tuple[str, ...]
    duration_seconds: float | None  # by default; None: it has none
    size: _Size | None = None


_KINDS = {
    FaultKind.STRAGGLER: _Kind(
        ("gpu", "rank"), 600.0, _Size("clock over full clock", 0.55, 0.1, 0.99)
    ),
    FaultKind.HANG: _Kind(("run",), 300.0),
    FaultKind.XID_STORM: _Kind(
        ("gpu", "rank", "node", "rack", "hall", "run"), 60.0, _Size("events", 40, 1, 100_000)
    ),
    FaultKind.NODE_LOSS: _Kind(("node", "rack"), 180.0),
    FaultKind.COOLING: _Kind(("rack", "hall"), 900.0, _Size("degrees Celsius more", 32, 1, 60)),
    FaultKind.FEED_LIMIT: _Kind(("hall",), 600.0, _Size("power over usual", 1.22, 1, 1.6)),
    FaultKind.CHECKPOINT: _Kind(("run",), None),
    FaultKind.CRASH: _Kind(("run",), None),
    FaultKind.IDLE: _Kind(("node", "rack"), 900.0),
}
_KEYS = ("kind", "at", "duration", "size", "xid", "run", "rank", "hall", "rack", "node", "gpu")
_XID = 94
_XID_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens.

    Attributes:
        at_seconds: After the simulation's start.
        duration_seconds: How long it lasts; 0 for what happens at once.
        size: As its kind means it; 0 where it has none.
        xid: The code of a storm's events; 0 for another kind.
        run_index: The run it is about; -1 for none.
        nodes: The nodes it is about.
        gpus: The rows of GPUs it is about.
    """

    kind: FaultKind
    at_seconds: float
    duration_seconds: float
    size: float
    xid: int
    run_index: int
    nodes: range
    gpus: range

    @property
    def end_seconds(self) -> float:
        """When it is over, after the simulation's start."""
        return self.at_seconds + self.duration_seconds


@dataclass(frozen=True, slots=True)
class Scenario:
    """All faults, in the order of their times."""

    faults: tuple[Fault, ...] = ()
    name: str = ""

    def due(self, after_seconds: float, until_seconds: float) -> tuple[Fault, ...]:
        """Return those that begin later than one time and not later than the other."""
        return tuple(
            fault for fault in self.faults if after_seconds < fault.at_seconds <= until_seconds
        )


def parse(source: str | Path, plan: SitePlan) -> Scenario:
    """Read a scenario.

    Args:
        source: TOML as text, or where it is: a path, or one line that ends with ".toml".
        plan: The site that it is for.

    Raises:
        ScenarioError: It cannot be used on this site.
    """
    if isinstance(source, str) and source.endswith(".toml") and "\n" not in source:
        source = Path(source)
    text = source if isinstance(source, str) else _read(source)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError(f"scenario: not TOML: {error}") from None
    for key in table:
        if key not in ("name", "fault"):
            raise ScenarioError(f"{key}: not known; a scenario has a name and [[fault]] tables")
    name, faults = table.get("name", ""), table.get("fault", [])
    if not isinstance(name, str):
        raise ScenarioError('name: write a text, such as "hot rack"')
    if not isinstance(faults, list) or not all(isinstance(fault, dict) for fault in faults):
        raise ScenarioError("fault: write each as a [[fault]] table")
    read = [_Reader(number, fault, plan).fault() for number, fault in enumerate(faults, 1)]
    return Scenario(tuple(sorted(read, key=lambda fault: fault.at_seconds)), name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"scenario: {path} cannot be read: {error}") from None


class _Reader:
    """Reads one [[fault]] table."""

    def __init__(self, number: int, table: Mapping[str, Any], plan: SitePlan) -> None:
        self._number = number
        self._table = table
        self._plan = plan

    def fault(self) -> Fault:
        """Return the fault."""
        for key in self._table:
            if key not in _KEYS:
                raise self._error(key, f"not known; use {', '.join(_KEYS)}")
        kind = self._kind()
        rules = _KINDS[kind]
        xid = 0
        if kind is FaultKind.XID_STORM:
            xid = self._integer("xid", self._table.get("xid", _XID), 1, _XID_LIMIT)
        elif "xid" in self._table:
            raise self._error("xid", f"only an xid_storm has one; leave it out of a {kind}")
        target = self._target(kind, rules)
        run_index, nodes, gpus = self._place(target)
        return Fault(
            kind=kind,
            at_seconds=self._number_of("at", None, 0.0, math.inf),
            duration_seconds=self._duration(kind, rules),
            size=self._size(kind, rules),
            xid=xid,
            run_index=run_index,
            nodes=nodes,
            gpus=gpus,
        )

    def _error(self, field: str, detail: str) -> ScenarioError:
        return ScenarioError(f"fault {self._number}: {field}: {detail}")

    def _kind(self) -> FaultKind:
        value, known = self._table.get("kind"), ", ".join(FaultKind)
        if value is None:
            raise self._error("kind", f"missing; use one of {known}")
        try:
            return FaultKind(value)
        except ValueError:
            raise self._error("kind", f"{value!r} is not known; use one of {known}") from None

    def _duration(self, kind: FaultKind, rules: _Kind) -> float:
        if rules.duration_seconds is not None:
            return self._number_of("duration", rules.duration_seconds, 1.0, math.inf)
        if "duration" in self._table:
            raise self._error("duration", f"a {kind} has none; leave it out")
        return 0.0

    def _size(self, kind: FaultKind, rules: _Kind) -> float:
        if rules.size is not None:
            size = rules.size
            return self._number_of("size", size.default, size.low, size.high, size.meaning)
        if "size" in self._table:
            raise self._error("size", f"a {kind} has none; leave it out")
        return 0.0

    def _number_of(
        self, field: str, default: float | None, low: float, high: float, meaning: str = "seconds"
    ) -> float:
        value = self._table.get(field, default)
        if value is None:
            raise self._error(field, f"missing; write a number of {meaning}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(field, f"{value!r} is no number; write one of {meaning}")
        if not (low <= value <= high and math.isfinite(value)):
            bounds = f"{low:g} or more" if math.isinf(high) else f"{low:g} to {high:g}"
            raise self._error(field, f"{value:g} is out of bounds; {meaning}, {bounds}")
        return float(value)

    def _integer(self, field: str, value: object, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._error(field, f"{value!r} is no whole number; write {low} to {high}")
        if not low <= value <= high:
            raise self._error(field, f"{value} does not exist; use {low} to {high}")
        return value

    # --- where -----------------------------------------------------------------------------

    def _target(self, kind: FaultKind, rules: _Kind) -> str:
        """Return which of the target's words says where it is."""
        given = {
            word for word in ("run", "rank", "hall", "rack", "node", "gpu") if word in self._table
        }
        wanted = " or ".join(rules.targets)
        target = min(given, default="")
        if given == {"run", "rank"}:
            target = "rank"
        elif given == {"node", "gpu"}:
            target = "gpu"
        elif "rank" in given and "run" not in given:
            raise self._error("rank", "a rank is one of a run; add run")
        elif len(given) > 1:
            raise self._error(target, f"one target is enough; a {kind} wants {wanted}")
        if not given:
            raise self._error(rules.targets[0], f"a target is missing; a {kind} wants {wanted}")
        if target not in rules.targets:
            raise self._error(target, f"a {kind} cannot be aimed so; it wants {wanted}")
        return target

    def _place(self, target: str) -> tuple[int, range, range]:
        """Return the run, the nodes and the rows of GPUs of the target."""
        plan, each = self._plan, self._plan.gpus_per_node
        match target:
            case "run" | "rank":
                index = self._named("run", [run.run_id for run in plan.runs])
                run = plan.runs[index]
                nodes = range(run.first_node, run.first_node + run.node_count)
                if target == "rank":
                    rank = self._integer("rank", self._table["rank"], 0, run.rank_count - 1)
                    return index, *_row(nodes.start * each + rank, each)
                return index, *_rows(nodes, each)
            case "hall":
                return -1, *_rows(plan.nodes_of_hall(self._named("hall", plan.hall_names)), each)
            case "rack":
                return -1, *_rows(plan.nodes_of_rack(self._named("rack", plan.rack_names)), each)
            case "node":
                node = self._named("node", plan.node_names)
                return -1, *_rows(range(node, node + 1), each)
        if "node" in self._table:
            node = self._named("node", plan.node_names)
            gpu = self._integer("gpu", self._table["gpu"], 0, each - 1)
            return -1, *_row(node * each + gpu, each)
        return -1, *_row(self._integer("gpu", self._table["gpu"], 0, plan.gpu_count - 1), each)

    def _named(self, field: str, names: Sequence[str]) -> int:
        value = self._table[field]
        known = ", ".join(names) if len(names) <= 8 else f"{names[0]} to {names[-1]}"
        if value not in names:
            raise self._error(field, f"{value!r} is not on this site; use one of {known}")
        return names.index(value)


def _rows(nodes: range, each: int) -> tuple[range, range]:
    return nodes, range(nodes.start * each, nodes.stop * each)


def _row(gpu: int, each: int) -> tuple[range, range]:
    return range(gpu // each, gpu // each + 1), range(gpu, gpu + 1)
