"""The agent's hand on every run of this node: start, agree, freeze, end, look.

Not safe for use from two threads at once; the agent calls it from one.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from colossus_agent.control import cgroup
from colossus_agent.control.cap import Caps
from colossus_agent.control.cuda import CudaCheckpoint
from colossus_agent.control.freeze import FreezeError, Freezer
from colossus_agent.control.priority import NICE, read_nice, set_nice
from colossus_agent.control.process import send_all
from colossus_agent.runs import keeper
from colossus_agent.runs.attempt import Attempt
from colossus_agent.runs.foreign import Foreign, Foreigners
from colossus_agent.runs.pages import RankAnswer
from colossus_agent.runs.record import RUN_ID, RecordError, RunFolder, RunSpec, write_json
from colossus_agent.runs.state import (
    DONE,
    FAILED,
    REFUSED,
    LocalRun,
    LocalRunState,
    Outcome,
    Poll,
    RankOutcome,
    RunProgress,
)

LOG = logging.getLogger(__name__)
_KEEPER_SECONDS = 20.0
_WATCHDOG_MARGIN = 0.8  # a freeze ends while 20 % of the watchdog's time is left


class Supervisor:
    """All runs of this node.

    Args:
        state_dir: The agent's own folder; records lie in `runs` below it.
        node_name: As schedulers call this node.
        cuda: Releases GPU memory in a freeze, where the settings allow it.
        caps: Limits the power of GPUs.
    """

    def __init__(
        self,
        state_dir: Path,
        node_name: str = "",
        cuda: CudaCheckpoint | None = None,
        caps: Caps | None = None,
    ) -> None:
        self._root = state_dir / "runs"
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._attempts: dict[str, Attempt] = {}
        self._damaged: dict[str, str] = {}
        self._groups = cgroup.base()
        self._cuda = cuda or CudaCheckpoint("", str)
        self._caps = caps
        self._foreign = Foreigners(state_dir / "foreign", node_name.partition(".")[0])

    def adopt(self) -> None:
        """Take up every recorded run again. Pages are read from their oldest kept record."""
        for folder in sorted(self._root.iterdir()):
            if not RUN_ID.fullmatch(folder.name) or not folder.is_dir():
                continue
            try:
                spec, number, priority_class = RunFolder(folder).read()
            except RecordError as error:
                self._damaged[folder.name] = str(error)
                LOG.warning("record=damaged run=%s detail=%r", folder.name, str(error))
                continue
            attempt = Attempt(RunFolder(folder), spec, number, priority_class)
            attempt.load()
            self._attempts[spec.run_id] = attempt
            freezer = attempt.freezer
            if freezer.deadline_unix_ns() and not freezer.is_frozen():
                _undo(freezer, spec.run_id)  # the agent before this one did not finish it

    def start(
        self,
        spec: RunSpec,
        number: int,
        resume_points: Mapping[int, tuple[int, str]] | None = None,
    ) -> Outcome:
        """Start an attempt; one that exists already is answered from its record."""
        known = self._attempts.get(spec.run_id)
        if known is not None and known.alive():
            if known.number == number and known.spec.start_id == spec.start_id:
                return Outcome(DONE, "already started")
            return Outcome(REFUSED, f"attempt {known.number} of it is still alive on this node")
        folder = RunFolder(self._root / spec.run_id)
        if known is not None:
            known.close()
        if number == 1 and folder.root.exists():
            shutil.rmtree(folder.root)  # an ended run of the same name
        path = folder.make(number)
        if (path / "keeper.json").exists():
            return Outcome(DONE, "already started")
        group = cgroup.create(self._groups, f"{spec.run_id}-{number}") if self._groups else None
        priority_class = known.priority_class if known and number > 1 else spec.priority_class
        folder.write(spec, number, priority_class)
        self._launch(folder, spec, number, priority_class, group, resume_points or {})
        attempt = Attempt(folder, spec, number, priority_class, group=group)
        attempt.load()
        self._attempts[spec.run_id] = attempt
        self._damaged.pop(spec.run_id, None)
        if not attempt.processes:
            return Outcome(FAILED, "the keeper did not start; see its folder")
        return Outcome(
            DONE, "started", tuple(RankOutcome(rank, True) for rank in attempt.processes)
        )

    def start_recorded(
        self, run_id: str, number: int, resume_points: Mapping[int, tuple[int, str]]
    ) -> Outcome:
        """Start the next attempt of a run with the command that this node has recorded."""
        try:
            spec, _, _ = RunFolder(self._root / run_id).read()
        except RecordError as error:
            return Outcome(REFUSED, f"no usable record of the run here: {error}")
        return self.start(spec, number, resume_points)

    def _launch(
        self,
        folder: RunFolder,
        spec: RunSpec,
        number: int,
        priority_class: str,
        group: Path | None,
        resume_points: Mapping[int, tuple[int, str]],
    ) -> None:
        path = folder.attempt(number)
        environment = dict(spec.environment) or dict(os.environ)
        write_json(
            path / "launch.json",
            {
                "argv": spec.argv,
                "environment": {**_meeting_point(), **environment},
                "working_directory": spec.working_directory,
                "rank_count": spec.rank_count,
                "rank_environments": [
                    _rank_environment(folder, spec, number, rank, resume_points.get(rank))
                    for rank in range(spec.rank_count)
                ],
                "nice": NICE[priority_class],
                "cgroup": str(group or ""),
            },
        )
        if group is not None:
            cgroup.set_weight(group, priority_class)
        subprocess.run(
            [sys.executable, "-I", "-S", keeper.__file__, str(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_KEEPER_SECONDS,
            check=False,
        )

    def prepare(self, run_id: str, agreement: int, verb: str, step: int, hold_ns: int) -> Outcome:
        """Promise a step on every rank of this node, or on none."""
        held = self._held(run_id)
        if held is None:
            return _unknown(run_id)
        if why := held.unready():
            return Outcome(REFUSED, why)
        return _answered(held.pages.prepare(agreement, verb, step, hold_ns), REFUSED)

    def ready(self, run_id: str, agreement: int) -> Outcome:
        """Let ranks that wait in vain act: every rank of the run has promised."""
        held = self._held(run_id)
        return _answered(held.pages.ready(agreement), FAILED) if held else _unknown(run_id)

    def commit(self, run_id: str, agreement: int) -> Outcome:
        """Make the promise binding."""
        held = self._held(run_id)
        return _answered(held.pages.commit(agreement), FAILED) if held else _unknown(run_id)

    def abort(self, run_id: str, agreement: int) -> Outcome:
        """Take the promise back."""
        held = self._held(run_id)
        return _answered(held.pages.abort(agreement), FAILED) if held else _unknown(run_id)

    def _held(self, run_id: str) -> Attempt | Foreign | None:
        """Return the run that this agent started, or one that a scheduler did."""
        return self._attempts.get(run_id) or self._foreign.get(run_id)

    def terminate(self, run_id: str, grace_seconds: float, force: bool) -> Outcome:
        """Send SIGTERM to every process; with force, SIGKILL follows after the grace."""
        attempt = self._attempts.get(run_id)
        if attempt is None:
            return _not_ours(self._held(run_id), run_id)
        if attempt.freezer.deadline_unix_ns():
            _undo(attempt.freezer, run_id)  # a stopped process would not hear SIGTERM
        count, denied = send_all(attempt.family(), signal.SIGTERM)
        if denied:
            return Outcome(FAILED, f"the system denied it: {'; '.join(denied[:3])}")
        attempt.kill_time = time.monotonic() + grace_seconds if force else None
        return Outcome(DONE, f"SIGTERM to {count} processes")

    def freeze(self, run_id: str, fuse_seconds: float, *, release_gpus: bool = False) -> Outcome:
        """Stop every process in place behind a fuse; with `release_gpus` off its GPUs."""
        if release_gpus and (why := self._cuda.refusal()):
            return Outcome(REFUSED, why)
        attempt = self._attempts.get(run_id) or self._foreign.seek(run_id)
        if attempt is None or not attempt.alive():
            return _unknown(run_id) if attempt is None else Outcome(REFUSED, "no rank is alive")
        freezer = attempt.freezer
        if freezer.deadline_unix_ns() and freezer.is_frozen():
            return Outcome(DONE, f"frozen by {freezer.mechanism}")
        limit = _watchdog_seconds(attempt.observe().facts_json) * _WATCHDOG_MARGIN
        if limit and fuse_seconds > limit:
            return Outcome(
                REFUSED, f"the run's watchdog allows at most {limit:g} s, not {fuse_seconds:g} s"
            )
        try:
            freezer.freeze(fuse_seconds, self._cuda if release_gpus else None)
        except (FreezeError, OSError, subprocess.TimeoutExpired) as error:
            return Outcome(FAILED, str(error))
        return Outcome(DONE, f"frozen by {freezer.mechanism}")

    def thaw(self, run_id: str) -> Outcome:
        """Let every process go on."""
        attempt = self._held(run_id)
        if attempt is None:
            return _unknown(run_id)
        try:
            attempt.freezer.thaw()
        except FreezeError as error:
            return Outcome(FAILED, str(error))
        return Outcome(DONE, "thawed")

    def set_priority(self, run_id: str, priority_class: str) -> Outcome:
        """Set the class and return the nice values as the system gives them back."""
        attempt = self._attempts.get(run_id)
        if attempt is None:
            return _not_ours(self._held(run_id), run_id)
        nice = NICE[priority_class]
        refused = set_nice(attempt.family, nice)
        results = tuple(
            RankOutcome(rank, value == nice, f"nice {value}", attempt.pages.step(rank), value)
            for rank, identity in sorted(attempt.processes.items())
            if (value := read_nice(identity.pid)) is not None and rank in attempt.alive()
        )
        if refused or not all(result.ok for result in results):
            return Outcome(FAILED, f"the system denied it: {'; '.join(refused[:3])}", results)
        weight = cgroup.set_weight(attempt.group, priority_class) if attempt.group else None
        attempt.priority_class = priority_class
        attempt.folder.write(attempt.spec, attempt.number, priority_class)
        detail = f"nice {nice}" + (f", cpu.weight {weight}" if weight is not None else "")
        return Outcome(DONE, detail, results)

    def set_power_limit(self, run_id: str, watts: float) -> Outcome:
        """Limit the power of every GPU that the run's processes hold; 0 W takes the limit off."""
        if self._caps is None:
            return Outcome(REFUSED, "this agent looks at no GPU")
        return self._caps.set(run_id, watts)

    def forget(self, run_id: str) -> Outcome:
        """Remove the record of an ended run."""
        attempt = self._attempts.get(run_id)
        if attempt is None:
            return _unknown(run_id)
        if attempt.alive() or attempt.process_count(fresh=True):
            return Outcome(REFUSED, "it still has processes")
        attempt.close()
        del self._attempts[run_id]
        shutil.rmtree(attempt.folder.root, ignore_errors=True)
        return Outcome(DONE, "forgotten")

    def poll(self, *, tell_again: bool = False) -> Poll:
        """Look at every run, and kill what outlived its grace.

        Args:
            tell_again: Also return the newest checkpoint of each rank where it is not new.
        """
        runs, progress = [], []
        thawed: dict[str, str] = {}
        for attempt in self._attempts.values():
            self._enforce_grace(attempt)
        self._foreign.refresh()
        uncapped = self._caps.poll() if self._caps else {}
        every: list[Attempt | Foreign] = [*self._attempts.values(), *self._foreign.told(self._cap)]
        for held in every:
            if held.freezer.is_overdue():
                _undo(held.freezer, held.run_id)
            if tell_again:
                held.pages.tell_again()
            seen, ranks = held.observe(), held.read()
            cap = self._cap(seen.run_id)
            runs.append(replace(seen, step_source=held.step_source, power_cap_watts=cap))
            if ranks:
                progress.append(RunProgress(seen.run_id, held.number, tuple(ranks)))
            elif seen.state in (LocalRunState.ENDED, LocalRunState.LOST):
                held.log.close()
            if (wrong := _fuse_ended(held.freezer.folder)) is not None:
                thawed[seen.run_id] = wrong
        damaged = [
            LocalRun(run_id, 0, LocalRunState.LOST, "P2", output_tail=detail)
            for run_id, detail in self._damaged.items()
        ]
        left = {run_id: wrong for run_id, wrong in thawed.items() if wrong}
        return Poll(tuple(runs + damaged), tuple(progress), tuple(thawed), left, uncapped)

    def _cap(self, run_id: str) -> float:
        return self._caps.watts(run_id) if self._caps else 0.0

    def _enforce_grace(self, attempt: Attempt) -> None:
        if attempt.kill_time is None or time.monotonic() < attempt.kill_time:
            return
        attempt.kill_time = None
        send_all(attempt.family(), signal.SIGKILL)


def _undo(freezer: Freezer, run_id: str) -> None:
    try:
        freezer.thaw()
    except FreezeError as error:
        LOG.error("thaw=failed run=%r detail=%r", run_id, str(error))


def _fuse_ended(folder: Path) -> str | None:
    """Return what the fuse could not undo, "" for nothing; None when it has not thawed."""
    file = folder / "thawed.json"
    try:
        wrong = json.loads(file.read_text()).get("wrong") or []
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError):
        wrong = []
    with suppress(OSError):
        file.unlink()
    return "; ".join(map(str, wrong[:4]))


def _rank_environment(
    folder: RunFolder, spec: RunSpec, number: int, rank: int, resume: tuple[int, str] | None
) -> dict[str, str]:
    environment = {
        "COLOSSUS_RUN": spec.run_id,
        "COLOSSUS_ATTEMPT": str(number),
        "COLOSSUS_RANK": str(rank),
        "COLOSSUS_LOCAL_RANK": str(rank),
        "COLOSSUS_WORLD_SIZE": str(spec.rank_count),
        "COLOSSUS_PAGE_DIR": str(folder.attempt(number)),
        "COLOSSUS_RUN_DIR": str(folder.data),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(spec.rank_count),
    }
    if resume is not None:
        environment |= {"COLOSSUS_DURABLE_STEP": str(resume[0]), "COLOSSUS_DURABLE_PATH": resume[1]}
    return environment


def _meeting_point() -> dict[str, str]:
    """Return where the ranks of this node meet, in the words of torch.distributed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _answered(answers: list[RankAnswer], otherwise: str) -> Outcome:
    ranks = tuple(
        RankOutcome(answer.rank, answer.ok, answer.detail, answer.step) for answer in answers
    )
    wrong = [rank for rank in ranks if not rank.ok]
    if wrong:
        return Outcome(otherwise, f"rank {wrong[0].rank}: {wrong[0].detail}", ranks)
    return Outcome(DONE, "", ranks)


def _unknown(run_id: str) -> Outcome:
    return Outcome(REFUSED, f"this node has no run {run_id}")


def _not_ours(held: Attempt | Foreign | None, run_id: str) -> Outcome:
    if held is None:
        return _unknown(run_id)
    return Outcome(REFUSED, f"{run_id} was not started by this agent; its scheduler does that")


def _watchdog_seconds(facts_json: str) -> float:
    return float(json.loads(facts_json or "{}").get("watchdog_seconds", 0.0))
