"""What the supervisor says of the runs on this node; immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from colossus_agent.runs.pages import RankProgress


class LocalRunState(StrEnum):
    """What the processes of a run on this node are doing."""

    STARTING = "starting"
    RUNNING = "running"
    FROZEN = "frozen"
    ENDED = "ended"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RankExit:
    """How a rank ended; `known` is false when nobody saw it."""

    known: bool
    exit_code: int = 0
    exit_signal: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LocalRank:
    """One rank on this node."""

    rank: int
    local_rank: int
    pid: int = 0
    start_time_ticks: int = 0
    alive: bool = False
    state: str = ""
    exit: RankExit | None = None
    nice: int = 0
    hooked: bool = False
    step: int = -1
    process_count: int = 0


@dataclass(frozen=True, slots=True)
class LocalRun:
    """One run on this node."""

    run_id: str
    attempt: int
    state: LocalRunState
    priority_class: str
    ranks: tuple[LocalRank, ...] = ()
    fuse_deadline_unix_ns: int = 0
    cgroup: str = ""
    process_count: int = 0
    label: str = ""
    command: str = ""
    rank_count: int = 0
    facts_json: str = ""
    output_tail: str = ""
    start_id: str = ""
    backend: str = "local"
    step_source: str = ""
    power_cap_watts: float = 0.0


@dataclass(frozen=True, slots=True)
class RunProgress:
    """What the ranks of one run reported since the last poll."""

    run_id: str
    attempt: int
    ranks: tuple[RankProgress, ...]


@dataclass(frozen=True, slots=True)
class Poll:
    """One look at every run of the node."""

    runs: tuple[LocalRun, ...] = ()
    progress: tuple[RunProgress, ...] = ()
    thawed_run_ids: tuple[str, ...] = ()  # by their fuse, since the last poll
    not_restored: Mapping[str, str] = field(default_factory=dict)  # run: what its fuse could not
    uncapped: Mapping[str, str] = field(default_factory=dict)  # run: how its power limit has ended


@dataclass(frozen=True, slots=True)
class RankOutcome:
    """What one rank answered to an order."""

    rank: int
    ok: bool
    detail: str = ""
    step: int = -1
    nice: int = 0


@dataclass(frozen=True, slots=True)
class GpuOutcome:
    """What one GPU says of its power limit after an order; 0 W where it could not be read."""

    gpu_index: int
    watts: float
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an order: done, failed or refused."""

    kind: str
    detail: str = ""
    ranks: tuple[RankOutcome, ...] = field(default_factory=tuple)
    gpus: tuple[GpuOutcome, ...] = ()


DONE, FAILED, REFUSED = "done", "failed", "refused"
