"""Named limits of power: what is used of each, and the alerts at 90 and 97 %."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.model import Alert, NamedLimit, PowerPlace, Severity
from colossus_tui.model.power import FULL_RATIO, METER, NEAR_RATIO
from colossus_tui.text import named

if TYPE_CHECKING:  # settings are read without numpy
    from colossus_tui.hub.site.power import Power

SETTINGS = ("name", "hall", "rack", "megawatts")
NAMED_RACKS = 4  # in one alert
RACK_TICKS = 5  # between two looks at the limits of racks


class LimitError(ValueError):
    """A limit in the settings is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class LimitConfig:
    """One limit from the settings; no hall and no rack is the whole site.

    Attributes:
        rack: Pattern of HALL/RACK, with * and ?: each of these racks has this limit.
    """

    name: str
    hall: str
    watts: float
    rack: str = ""

    def is_of_rack(self, hall: str, rack: str) -> bool:
        """Whether a rack has this limit."""
        return bool(self.rack) and fnmatchcase(f"{hall}/{rack}", self.rack)


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
    rack = table.get("rack", "")
    if not isinstance(name, str) or not 0 < len(name) <= 64:
        raise LimitError(f"{where}: name must be text of at most 64 characters")
    if not isinstance(hall, str):
        raise LimitError(f"{where} ({name}): hall must be text")
    if not isinstance(rack, str) or (rack and ("/" not in rack or hall)):
        raise LimitError(
            f'{where} ({name}): rack must be HALL/RACK, as in "hall-A/*", without hall'
        )
    if (
        isinstance(megawatts, bool)
        or not isinstance(megawatts, int | float)
        or not 0 < megawatts < math.inf
    ):
        raise LimitError(f"{where} ({name}): megawatts must be a positive number")
    return LimitConfig(name, hall, float(megawatts) * 1e6, rack)


class Limits:
    """The site's limits, those of feeds among them, measured against what is drawn."""

    def __init__(
        self, configured: Sequence[LimitConfig], feeds: Sequence[FeedConfig], power: Power
    ) -> None:
        self._configured = [limit for limit in configured if not limit.rack]
        self._of_racks = [limit for limit in configured if limit.rack]
        self._feeds = feeds
        self._power = power
        self._ticks = 0
        self._now: tuple[NamedLimit, ...] = ()
        self._reached: tuple[tuple[str, Alert], ...] = ()
        self._of_full_racks: tuple[tuple[str, Alert], ...] = ()

    def tick(self) -> None:
        """Measure every limit; the power has ticked."""
        measured = list(self._measure())
        self._now = tuple(limit for limit, _ in measured)
        if self._ticks % RACK_TICKS == 0:
            self._of_full_racks = tuple(self._rack_alerts())
        self._ticks += 1
        found = [(limit.name, _alert(limit, place)) for limit, place in measured]
        reached = [(name, alert) for name, alert in found if alert is not None]
        self._reached = (*reached, *self._of_full_racks)

    def now(self) -> tuple[NamedLimit, ...]:
        """Return every limit of site, hall and feed with what is used of it."""
        return self._now

    def alerts(self) -> tuple[Alert, ...]:
        """Return an alert for each limit that is nearly reached, or passed."""
        return tuple(alert for _, alert in self._reached)

    def reached(self) -> tuple[tuple[str, Alert], ...]:
        """Return the same alerts, each with the name of its limit."""
        return self._reached

    def _measure(self) -> Iterator[tuple[NamedLimit, PowerPlace]]:
        for limit in self._configured:
            place = self._power.hall(limit.hall) if limit.hall else self._power.site()
            yield _named(limit.name, limit.watts, place, hall=limit.hall), place
        for feed in self._feeds:
            place = self._power.feed(feed.name)
            yield _named(f"feed {feed.name}", feed.watts, place, feed=feed.name), place

    def _rack_alerts(self) -> Iterator[tuple[str, Alert]]:
        """Yield one alert for all racks that nearly reach a limit, or pass it."""
        for limit in self._of_racks:
            shares = {
                f"{rack.parent}/{rack.name}": (rack.drawn_watts or 0.0) / limit.watts
                for rack in self._power.full_racks(limit, NEAR_RATIO)
            }
            if shares:
                names = named(
                    [f"{name} {share:.1%}" for name, share in shares.items()], NAMED_RACKS
                )
                many = f"{len(shares)} rack{'s' if len(shares) > 1 else ''}"
                text = f"{limit.name}: {many} near it or over: {names}"
                yield limit.name, Alert(_severity(max(shares.values())), "power.limit", text)


def _alert(limit: NamedLimit, place: PowerPlace) -> Alert | None:
    share = (limit.power_watts or 0.0) / limit.limit_watts
    if share < NEAR_RATIO:
        return None
    text = (
        f"{limit.name}: {(limit.power_watts or 0.0) / 1e6:.2f} of "
        f"{limit.limit_watts / 1e6:.2f} MW by {limit.basis}, {share:.1%}{_covered(place)}"
    )
    return Alert(_severity(share), "power.limit", text)


def _named(
    name: str, watts: float, place: PowerPlace, *, hall: str = "", feed: str = ""
) -> NamedLimit:
    return NamedLimit(
        name,
        hall,
        watts,
        place.drawn_watts,
        place.reporting_gpu_count,
        place.gpu_count,
        feed,
        place.basis,
    )


def _severity(share: float) -> Severity:
    return Severity.CRITICAL if share >= FULL_RATIO else Severity.WARNING


def _covered(place: PowerPlace) -> str:
    """Return what the figure rests on, where that is not the meter."""
    if place.basis.startswith(METER):
        return ""
    why = f"; {place.detail}" if place.detail else ""
    return f"; {place.reporting_gpu_count}/{place.gpu_count} GPUs reporting{why}"
