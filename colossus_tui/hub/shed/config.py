"""`[shed]` of the hub's settings: what must go on, and how far power may be limited."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from colossus_tui.model import PriorityClass

SETTINGS = ("floors", "cap_ratios", "cap_floor_watts", "save_seconds", "idle_watts")
TIERS = (0, 1, 2, 3)
DEFAULT_FLOORS = MappingProxyType({PriorityClass.P0: 1.0, PriorityClass.P1: 0.5})
_TIERS = MappingProxyType(
    {
        PriorityClass.P0: 0,
        PriorityClass.P1: 1,
        PriorityClass.P2: 2,
        PriorityClass.P3: 3,
        PriorityClass.P4: 3,
    }
)


class ShedConfigError(ValueError):
    """A setting of [shed] is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class ShedConfig:
    """What bounds every plan.

    Attributes:
        floors: By class, the least share of its computing that goes on; a GPU counts by its speed.
        cap_ratios: Limits of a GPU that a plan may set, over the device's own, the highest first.
        cap_floor_watts: No limit is set below.
        save_seconds: What a run is taken to need for a save that nobody has timed.
        idle_watts: What a GPU is taken to draw once its run is gone, where none is idle to measure.
    """

    floors: Mapping[PriorityClass, float] = field(default_factory=lambda: DEFAULT_FLOORS)
    cap_ratios: tuple[float, ...] = (0.9, 0.8, 0.7)
    cap_floor_watts: float = 0.0
    save_seconds: float = 60.0
    idle_watts: float = 100.0


def default_tier(priority_class: PriorityClass) -> int:
    """Return the flex tier of a run whose settings name none."""
    return _TIERS[priority_class]


def parse(table: Any) -> ShedConfig:
    """Return the checked settings.

    Raises:
        ShedConfigError: One is wrong.
    """
    if not isinstance(table, dict):
        raise ShedConfigError("shed must be a table, as in [shed]")
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise ShedConfigError(f"shed.{unknown[0]} is no setting; known: {', '.join(SETTINGS)}")
    default = ShedConfig()
    return ShedConfig(
        floors=_floors(table.get("floors", {})),
        cap_ratios=_ratios(table.get("cap_ratios", list(default.cap_ratios))),
        cap_floor_watts=_number(table, "cap_floor_watts", default.cap_floor_watts, 0.0),
        save_seconds=_number(table, "save_seconds", default.save_seconds, 1.0),
        idle_watts=_number(table, "idle_watts", default.idle_watts, 0.0),
    )


def _floors(table: Any) -> Mapping[PriorityClass, float]:
    if not isinstance(table, dict):
        raise ShedConfigError("shed.floors must be a table, as in { P0 = 1.0, P1 = 0.5 }")
    known = [member.value for member in PriorityClass]
    for name, value in table.items():
        if name not in known:
            raise ShedConfigError(f"shed.floors.{name}: give one of {', '.join(known)}")
        if not _is_number(value) or not 0 <= value <= 1:
            raise ShedConfigError(
                f"shed.floors.{name} must be a share of its computing from 0 to 1"
            )
    given = {PriorityClass(name): float(value) for name, value in table.items()}
    return MappingProxyType({**DEFAULT_FLOORS, **given})


def _ratios(values: Any) -> tuple[float, ...]:
    good = isinstance(values, list) and all(
        _is_number(value) and 0.1 <= value < 1 for value in values
    )
    if not good or len(values) > 10:
        raise ShedConfigError(
            "shed.cap_ratios must be at most 10 numbers from 0.1 to below 1, as in [0.9, 0.8]; "
            "an empty list means no power limits"
        )
    return tuple(sorted({float(value) for value in values}, reverse=True))


def _number(table: dict[str, Any], name: str, default: float, low: float) -> float:
    value = table.get(name, default)
    if not _is_number(value) or value < low or value > 1e6:
        raise ShedConfigError(f"shed.{name} must be a number from {low:g} to 1000000")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
