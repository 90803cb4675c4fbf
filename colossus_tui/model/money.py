"""What runs and the site cost, and GPUs that cost and do no work."""

from __future__ import annotations

from enum import StrEnum

from colossus_tui.model.dataclass import dataclass

NO_PRICES = "no prices in the hub's settings; add [prices], see docs/money.md"


@dataclass(frozen=True, slots=True)
class Money:
    """What one run costs; meanings as in money.proto, amounts in the currency."""

    currency: str = ""
    per_hour: float | None = None
    so_far: float | None = None
    to_finish: float | None = None
    per_billion_tokens: float | None = None
    at_risk: float | None = None
    covered_ratio: float | None = None
    metered_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class SiteMoney:
    """What the site's GPUs cost now, whoever holds them; meanings as in money.proto."""

    currency: str = ""
    per_hour: float | None = None
    gpus_per_hour: float | None = None
    energy_per_hour: float | None = None
    metered_gpu_count: int = 0
    gpu_count: int = 0
    per_megawatt_hour: float | None = None
    overhead_ratio: float | None = None
    held_idle_per_hour: float | None = None
    free_per_hour: float | None = None
    source: str = ""


class IdleKind(StrEnum):
    """How a GPU is idle."""

    FREE = "free"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class IdleGroup:
    """Idle GPUs of one owner in one hall; meanings as in money.proto."""

    kind: IdleKind
    run_id: str = ""
    user: str = ""
    hall: str = ""
    why: str = ""
    gpu_count: int = 0
    oldest_since_unix_ns: int = 0
    median_since_unix_ns: int = 0
    at_least: bool = False
    per_hour: float | None = None
    node_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IdleView:
    """Idle GPUs, the dearest group first, and how many of the site's GPUs could be judged."""

    groups: tuple[IdleGroup, ...] = ()
    gpu_count: int = 0
    judged_gpu_count: int = 0
    idle_seconds: float = 0.0
