"""Named limits of power: what is used of each, and the alerts at 90 and 97 %."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colossus_tui.model import Alert, NamedLimit, PlaceKind, Severity

if TYPE_CHECKING:  # settings are read without numpy
    from colossus_tui.hub.site.rollups import RollUps

WARNING, CRITICAL = 0.90, 0.97
SETTINGS = ("name", "hall", "megawatts")


class LimitError(ValueError):
    """A limit in the settings is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """One limit from the settings; no hall is the whole site."""

    name: str
    hall: str
    watts: float


def parse(tables: Any) -> tuple[LimitConfig, ...]:
    """Return the checked limits.

    Raises:
        LimitError: One is wrong.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise LimitError("limits: must be tables, as in [[limits]]")
    found = tuple(_parsed(number, table) for number, table in enumerate(tables, 1))
    names = [limit.name for limit in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LimitError(f"limits: {twice[0]!r} is the name of two")
    return found


def _parsed(number: int, table: dict[str, Any]) -> LimitConfig:
    where = f"limits, the {number}."
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise LimitError(f"{where}: {unknown[0]!r} is no setting; known: {', '.join(SETTINGS)}")
    name, hall, megawatts = table.get("name"), table.get("hall", ""), table.get("megawatts")
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise LimitError(f"{where}: name must be text of at most 64 characters")
    if not isinstance(hall, str):
        raise LimitError(f"{where} ({name}): hall must be text")
    if (
        isinstance(megawatts, bool)
        or not isinstance(megawatts, int | float)
        or not 0 < megawatts < math.inf
    ):
        raise LimitError(f"{where} ({name}): megawatts must be a positive number")
    return LimitConfig(name, hall, float(megawatts) * 1e6)


class Limits:
    """The site's limits, measured against the roll-ups."""

    def __init__(self, configured: Sequence[LimitConfig], roll_ups: RollUps) -> None:
        self._configured = configured
        self._roll_ups = roll_ups

    def now(self) -> tuple[NamedLimit, ...]:
        """Return every limit with what is used of it."""
        return tuple(self._measured(limit) for limit in self._configured)

    def _measured(self, limit: LimitConfig) -> NamedLimit:
        kind = PlaceKind.HALL if limit.hall else PlaceKind.SITE
        power, count, reporting = self._roll_ups.power(kind, limit.hall)
        return NamedLimit(limit.name, limit.hall, limit.watts, power, reporting, count)

    def alerts(self) -> tuple[Alert, ...]:
        """Return an alert for each limit that is nearly reached, or passed."""
        found = []
        for limit in self.now():
            share = (limit.power_watts or 0.0) / limit.limit_watts
            if share < WARNING:
                continue
            severity = Severity.CRITICAL if share >= CRITICAL else Severity.WARNING
            text = (
                f"{limit.name}: {(limit.power_watts or 0.0) / 1e6:.2f} of "
                f"{limit.limit_watts / 1e6:.2f} MW, {share:.1%}; "
                f"{limit.reporting_gpu_count}/{limit.gpu_count} GPUs reporting"
            )
            found.append(Alert(severity, "power.limit", text))
        return tuple(found)
