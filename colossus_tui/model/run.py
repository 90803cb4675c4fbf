"""Runs, attempts' ranks, checkpoints and series."""

from __future__ import annotations

import re
from dataclasses import field
from enum import StrEnum

from colossus_tui.model.action import Action
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.event import Alert, Event
from colossus_tui.model.money import Money
from colossus_tui.model.node import Gpu
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.site import Place

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # a run's name, on every backend


class RunState(StrEnum):
    """What a run is doing."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    FROZEN = "frozen"
    RESUMING = "resuming"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    LOST = "lost"
    STOPPED = "stopped"
    PENDING = "pending"

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run goes on and only a new start would change that."""
        return self in (RunState.COMPLETED, RunState.FAILED, RunState.LOST, RunState.STOPPED)


@dataclass(frozen=True, slots=True)
class Job:
    """A run as its scheduler knows it; meanings as in console.proto, all text untrusted."""

    job_id: str = ""
    name: str = ""
    state: str = ""
    reason: str = ""
    held: bool = False
    can_requeue: bool = False
    restart_count: int = 0
    user: str = ""
    queue: str = ""
    quality: str = ""
    priority: int | None = None
    node_names: tuple[str, ...] = ()
    gpu_count: int = 0
    step_count: int | None = None
    part_of: str = ""
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Badput:
    """Seconds of the whole run that were not productive, by cause."""

    cause: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run, with all that the overview shows; meanings and units as in console.proto."""

    run_id: str
    label: str = ""
    backend: str = "local"
    state: RunState = RunState.STARTING
    state_since_unix_ns: int = 0
    priority_class: PriorityClass = PriorityClass.P2
    backend_priority: str = ""
    generation: int = 0
    node_names: tuple[str, ...] = ()
    reporting_node_count: int = 0
    gpu_count: int = 0
    reporting_gpu_count: int = 0
    rank_count: int = 0
    alive_rank_count: int = 0
    attempt: int = 1
    hooked: bool = False
    step: int | None = None
    step_time_unix_ns: int = 0
    step_seconds_p50: float | None = None
    step_seconds_p99: float | None = None
    tokens_per_second: float | None = None
    tokens: int | None = None
    loss: float | None = None
    grad_norm: float | None = None
    recent_losses: tuple[float, ...] = ()
    mfu_ratio: float | None = None
    mfu_method: str = ""
    ettr_ratio_1h: float | None = None
    ettr_ratio_24h: float | None = None
    ettr_ratio: float | None = None
    badput: tuple[Badput, ...] = ()
    durable_step: int | None = None
    durable_time_unix_ns: int = 0
    checkpoint_plan_seconds: float | None = None
    checkpoint_bytes: int | None = None
    checkpoint_seconds: float | None = None
    work_at_risk_hours: float | None = None
    work_unit: str = ""
    power_watts: float | None = None
    joules_per_token: float | None = None
    target_steps: int | None = None
    target_tokens: int | None = None
    eta_unix_ns: int = 0
    parameters_count: int | None = None
    watchdog_seconds: float | None = None
    fuse_deadline_unix_ns: int = 0
    alerts: tuple[Alert, ...] = ()
    open_action_id: str = ""
    started_time_unix_ns: int = 0
    command: str = ""
    age_seconds: float = 0.0
    job: Job | None = None
    step_source: str = ""
    node_count: int = 0
    flex_tier: int = 0
    money: Money = field(default_factory=Money)
    energy_joules: float | None = None
    gpu_hours: float | None = None
    eta_early_unix_ns: int = 0
    eta_late_unix_ns: int = 0
    planned_end_unix_ns: int = 0
    power_cap_watts: float | None = None


@dataclass(frozen=True, slots=True)
class RankExit:
    """How a rank ended; `known` is false when nobody saw it."""

    known: bool = False
    exit_code: int = 0
    exit_signal: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank of a run."""

    rank: int
    node_name: str = ""
    pid: int = 0
    alive: bool = False
    state: str = ""
    exit: RankExit | None = None
    nice: int = 0
    hooked: bool = False
    step: int | None = None
    step_seconds_p50: float | None = None
    loss: float | None = None
    checkpoint_step: int | None = None
    relative_speed_ratio: float | None = None
    cpu_ratio: float | None = None
    resident_bytes: int | None = None
    gpu_uuids: tuple[str, ...] = ()
    age_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """How one metric is spread over a run's ranks or GPUs, with the ends named."""

    name: str
    unit: str
    min: float
    median: float
    max: float
    min_where: str = ""
    max_where: str = ""
    worst: str = "max"
    reporting_count: int = 0
    count: int = 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint; durable when every rank reported. `path` is untrusted text."""

    step: int
    time_unix_ns: int = 0
    reporting_rank_count: int = 0
    rank_count: int = 0
    size_bytes: int | None = None
    path: str = ""
    on_disk: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """Values over time; the three tuples have one length, step -1 is of no step."""

    name: str
    unit: str
    times_unix_ns: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class RunDetail:
    """One run down to its ranks."""

    run: Run
    ranks: tuple[Rank, ...] = ()
    spreads: tuple[Spread, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    events: tuple[Event, ...] = ()
    actions: tuple[Action, ...] = ()
    output_tail: str = ""
    place: Place | None = None
