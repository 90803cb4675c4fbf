"""One run as the hub holds it: what was reported, what is intended, and the state that follows."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import run_pb2
from colossus_tui.hub.actions.ports import ObservedRank
from colossus_tui.hub.config import RUN_FACTS
from colossus_tui.hub.money.ledger import Spent
from colossus_tui.hub.runs import scheduled
from colossus_tui.hub.runs.checkpoints import CheckpointRows, SavedPaths
from colossus_tui.hub.runs.curve import INT64_MAX, LossCurve
from colossus_tui.hub.runs.eta import Pace
from colossus_tui.hub.runs.history import History, StepPoint
from colossus_tui.hub.runs.ledger import PRODUCTIVE, Ledger
from colossus_tui.hub.runs.progress import Progress
from colossus_tui.hub.runs.reports import Reports, is_bad_end
from colossus_tui.hub.runs.scheduled import Scheduled
from colossus_tui.model import PriorityClass, RankExit, RunState

HOOK_PATIENCE_SECONDS = 5.0  # how long a new attempt may take to show a hook,
HOOKED_PATIENCE_SECONDS = 60.0  # and that of a run which had one: it may load libraries for long
FACT_LIMIT = 1e18  # of a target or a size, as a loop states it: fits 64 bits
HANG_FACTOR = 5.0
HANG_SECONDS = 120.0
FORGOTTEN_SECONDS = 60.0  # longer than any agent waits before it links again
# States that an action sets and that stay while facts do not end them.
_INTENDED = (RunState.PAUSING, RunState.STOPPING)


@dataclass(slots=True)
class Durable:
    """The newest checkpoint that every rank committed and every agent found on disk."""

    step: int
    time_unix_ns: int
    paths: SavedPaths
    size_bytes: int | None
    seconds: float | None


@dataclass(slots=True)
class LiveRun:
    """Mutable state of one run; the registry alone touches it."""

    run_id: str
    start_id: str = ""
    label: str = ""
    command: str = ""
    priority_class: PriorityClass = PriorityClass.P2
    rank_count: int = 1
    attempt: int = 1
    state: RunState = RunState.STARTING
    state_since_unix_ns: int = 0
    started_unix_ns: int = 0
    generation: int = 1
    open_action_id: str = ""
    tokens: int = 0  # since it came here
    top_step: int = 0  # largest step ever finished; steps up to it are done again after a resume
    step: int | None = None
    step_time_unix_ns: int = 0
    loss: float | None = None
    grad_norm: float | None = None
    durable: Durable | None = None
    facts: dict[str, float] = field(default_factory=dict)
    nodes: Reports = field(default_factory=Reports)
    seen: dict[int, ObservedRank] = field(default_factory=dict)  # since their last change
    progress: Progress = field(default_factory=Progress)
    history: History = field(default_factory=History)
    curve: LossCurve = field(default_factory=LossCurve)
    pace: Pace = field(default_factory=Pace)
    ledger: Ledger = field(default_factory=Ledger)
    spent: Spent = field(default_factory=Spent)
    attempt_seen: float = 0.0  # hub's monotonic clock: first report of this attempt
    step_seen: float = 0.0  # hub's monotonic clock: last whole step
    read_at: float | None = None  # hub's monotonic clock: from disk; None for one of this hub's
    output_tail: str = ""
    resumed_attempt: int = 0  # attempt that a resume is about to follow
    rest: RunState | None = None  # paused or stopped: how an action left this attempt
    step_baseline: float | None = None  # step time that "slower by 10 %" is measured against
    slow_since: float = 0.0
    backend: str = "local"
    _facts_json: str | None = None
    scheduled: Scheduled | None = None  # None: local, or its scheduler has not spoken yet

    # --- what the nodes report -------------------------------------------------------------

    def ranks(self) -> list[tuple[str, run_pb2.LocalRank]]:
        """Return every reported rank with its node, in order."""
        return self.nodes.ranks()

    @property
    def alive_count(self) -> int:
        """Ranks alive."""
        return self.nodes.sums.alive

    @property
    def is_hooked(self) -> bool:
        """Whether every live rank has a hook."""
        sums = self.nodes.sums
        return 0 < sums.alive == sums.hooked

    @property
    def step_source(self) -> str:
        """Where its steps come from: a hook is believed before a log; "" for nowhere."""
        stated = self.nodes.sums.sources
        return "hook" if "hook" in stated else max(stated, default="")

    @property
    def process_count(self) -> int:
        """Processes over all nodes."""
        return self.nodes.sums.processes

    @property
    def frozen_node_count(self) -> int:
        """Nodes on which the run is stopped in place."""
        return self.nodes.sums.frozen_nodes

    @property
    def fuse_deadline_unix_ns(self) -> int:
        """Earliest end of a freeze; 0 when there is none."""
        return self.nodes.fuse_deadline_unix_ns

    def begin_attempt(self, attempt: int, now: float) -> None:
        """Forget what belonged to the attempt before."""
        self.attempt = attempt
        self.rest = None
        self.nodes = Reports()  # how the ranks before ended must not pass for how these do
        self.progress = Progress()
        self.seen = {}
        self.step = self.durable.step if self.durable else None
        self.attempt_seen = now
        self.step_seen = 0.0
        self.step_baseline = None
        self.pace = Pace()
        self.output_tail = ""
        if self.durable is not None:
            self.history.forget_after(self.durable.step)
        self.generation += 1

    @property
    def total_tokens(self) -> int:
        """Tokens that it has seen, with those before it came here."""
        return min(self.tokens + int(self.facts.get("earlier_tokens", 0)), INT64_MAX)

    def take_step(self, point: StepPoint, now: float) -> None:
        """Take up a step that every rank has finished."""
        self.history.add(point)
        self.pace.add(point)
        self.step_seen = now
        self.step, self.step_time_unix_ns = point.step, point.time_unix_ns
        self.loss = point.loss if math.isfinite(point.loss) else None
        self.grad_norm = point.grad_norm if math.isfinite(point.grad_norm) else None
        is_new = point.step > self.top_step
        if is_new:
            self.top_step = point.step
            self.tokens = min(self.tokens + point.tokens, INT64_MAX)
        self.curve.add(point, self.total_tokens if is_new else None)

    def forget_seen(self, ranks: npt.NDArray[np.int32]) -> None:
        """Note that the ranks have changed since they were looked at."""
        if not self.seen:
            return
        if ranks.size >= len(self.seen):
            self.seen = {}
        for rank in ranks.tolist() if self.seen else ():
            self.seen.pop(rank, None)

    def newly_missing(self, rows: CheckpointRows) -> list[tuple[int, int]]:
        """Return rank and step where an agent finds no file of a part called safe, and this is new.

        Who tidies up after a run that is over loses nothing by it.
        """
        safe = self.durable.step if self.durable is not None and self.state.is_over else -1
        return [part for part in self.progress.checkpoints.missing(rows) if part[1] > safe]

    def update_durable(self) -> None:
        """Take up a checkpoint that is whole since the last report."""
        checkpoints = self.progress.checkpoints
        step = checkpoints.common_step(self.rank_count)
        if step is None or (self.durable is not None and step <= self.durable.step):
            return  # none, or a rank is ahead: wait until all have saved the same step
        paths = SavedPaths(step, tuple(self.progress.ranks.paths()))
        saved = checkpoints.get(step, self.rank_count)
        seconds = checkpoints.save_seconds(step)
        self.durable = Durable(step, saved.time_unix_ns, paths, saved.size_bytes, seconds)
        if seconds:
            self.ledger.move("checkpointing", seconds, time.time())

    def merge_facts(self, facts_json: str, configured: Mapping[str, float]) -> None:
        """Take up the facts that a loop states; the site's settings win."""
        if facts_json == self._facts_json:  # as each of a run's thousands of nodes says
            return
        self._facts_json = facts_json
        try:
            stated = json.loads(facts_json or "{}")
        except ValueError:
            stated = {}
        for name in RUN_FACTS:
            value = stated.get(name) if isinstance(stated, dict) else None
            if isinstance(value, int | float) and 0 < value <= FACT_LIMIT:
                self.facts[name] = float(value)
        earlier = stated.get("earlier_curve") if isinstance(stated, dict) else None
        if tokens := self.curve.take_earlier(earlier):
            self.facts["earlier_tokens"] = float(tokens)
        self.facts |= configured

    # --- the state that follows ------------------------------------------------------------

    def derive_state(self, now: float) -> tuple[RunState, str]:
        """Return the state that the facts and the intention give, and why."""
        if self.scheduled is not None:
            return scheduled.derive(self, self.scheduled, now)
        if self.backend != "local":
            return self.state, ""
        sums = self.nodes.sums
        if not sums.ranks:
            if self._is_forgotten(now):
                return RunState.LOST, "no node has reported it since the hub began"
            return self.state, ""
        if sums.alive:
            return self._derive_alive(now)
        if sums.ended < sums.ranks:
            return self.state, ""  # gone, and nobody has said yet how
        if self.state in (*_INTENDED, RunState.PAUSED, RunState.STOPPED):
            return self.state, ""
        if self.state is RunState.RESUMING and self.attempt == self.resumed_attempt:
            return self.state, ""  # these are the ends of the attempt before
        if self.rest is not None:
            return self.rest, "no new attempt has begun"
        if sums.unseen_ends:
            return RunState.LOST, "its processes are gone and nobody saw how they ended"
        if sums.bad_ends:
            return RunState.FAILED, next(
                describe_exit(rank) for _, rank in self.nodes.ended() if is_bad_end(rank)
            )
        return RunState.COMPLETED, "every rank ended with exit code 0"

    def _is_forgotten(self, now: float) -> bool:
        if self.read_at is None or now - self.read_at < FORGOTTEN_SECONDS:
            return False
        rests = self.state.is_over or self.state is RunState.PAUSED
        return not (self.nodes or rests or self.open_action_id)

    def _derive_alive(self, now: float) -> tuple[RunState, str]:
        if self.frozen_node_count:
            return RunState.FROZEN, "stopped in place"
        if self.state in _INTENDED:
            return self.state, ""
        if self.state in (RunState.STARTING, RunState.RESUMING):
            patience = HOOK_PATIENCE_SECONDS if self.durable is None else HOOKED_PATIENCE_SECONDS
            unhooked = now - self.attempt_seen > patience and not self.is_hooked
            if self.progress.last is None and not unhooked:
                return self.state, ""
        return RunState.RUNNING, "ranks are alive"

    def wall_time_cause(self, now: float) -> str:
        """Return what the second that just passed was spent on."""
        match self.state:
            case RunState.STARTING | RunState.RESUMING:
                return "starting"
            case RunState.PAUSED:
                return "paused"
            case RunState.PENDING:
                return "waiting"
            case RunState.FROZEN:
                return "frozen"
            case RunState.FAILED | RunState.LOST:
                return "down"
        if self.is_hanging(now):
            return "stalled"
        last = self.progress.last
        if self.attempt > 1 and last is not None and last.step < self.top_step:
            return "redone"
        return PRODUCTIVE

    def is_hanging(self, now: float) -> bool:
        """Whether no step came for max(5 x the usual time, 120 s) though ranks are alive."""
        if self.state is not RunState.RUNNING or not self.step_seen:
            return False
        usual = self.progress.report_seconds()
        if usual is None and not self.is_hooked:
            return False  # a log tells of steps now and then; how often is not known yet
        return now - self.step_seen > max(HANG_FACTOR * (usual or 0.0), HANG_SECONDS)

    # --- what survives the hub -------------------------------------------------------------

    def state_json(self) -> str:
        """Return what must survive the hub."""
        durable = self.durable
        return json.dumps(
            {
                "start_id": self.start_id,
                "label": self.label,
                "backend": self.backend,
                "command": self.command,
                "priority_class": self.priority_class,
                "rank_count": self.rank_count,
                "attempt": self.attempt,
                "state": self.state,
                "rest": self.rest,
                "state_since_unix_ns": self.state_since_unix_ns,
                "started_unix_ns": self.started_unix_ns,
                "generation": self.generation,
                "tokens": self.tokens,
                "top_step": self.top_step,
                "facts": self.facts,
                "ledger": self.ledger.state(),
                "spent": self.spent.state(),
                "durable": durable
                and {
                    "step": durable.step,
                    "time_unix_ns": durable.time_unix_ns,
                    "paths": durable.paths.state(),
                    "size_bytes": durable.size_bytes,
                    "seconds": durable.seconds,
                },
            }
        )

    @classmethod
    def from_json(cls, run_id: str, text: str) -> LiveRun:
        """Take up what `state_json` returned."""
        state: dict[str, Any] = json.loads(text)
        run = cls(run_id)
        for name in ("start_id", "label", "command"):
            setattr(run, name, str(state[name]))
        for name in ("rank_count", "attempt", "state_since_unix_ns", "started_unix_ns", "tokens"):
            setattr(run, name, int(state[name]))
        run.backend = str(state.get("backend", "local"))
        run.generation = int(state["generation"]) + 1  # a console's view may be of before
        run.top_step = int(state["top_step"])
        run.priority_class = PriorityClass(state["priority_class"])
        run.state = RunState(state["state"])
        run.rest = RunState(rest) if (rest := state.get("rest")) else None
        run.facts = {name: float(value) for name, value in state["facts"].items()}
        run.ledger.restore(state["ledger"])
        run.spent = Spent.restored(state.get("spent", {}))
        if durable := state["durable"]:
            paths = SavedPaths.restore(durable.pop("paths", None), durable.pop("points", ()))
            run.durable = Durable(paths=paths, **durable)
            run.step = run.durable.step
        return run


def describe_exit(rank: run_pb2.LocalRank) -> str:
    """Return in words how a rank ended."""
    end = rank.exit
    if end.detail:
        return f"rank {rank.rank} did not start: {end.detail}"
    if end.exit_signal:
        return f"rank {rank.rank} was ended by signal {end.exit_signal}"
    return f"rank {rank.rank} ended with exit code {end.exit_code}"


def rank_exit(rank: run_pb2.LocalRank) -> RankExit | None:
    """Return how a rank ended; None while it lives."""
    if not rank.HasField("exit"):
        return None
    end = rank.exit
    return RankExit(end.known, end.exit_code, end.exit_signal, end.detail)
