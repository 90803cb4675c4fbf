"""Findings and a book with a clock, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable

from colossus_tui.hub.incidents.book import Book
from colossus_tui.hub.incidents.findings import Finding, Key, Spot
from colossus_tui.hub.incidents.rules import RULES, AlertsConfig, parse
from colossus_tui.model import AffectedRun, Event, Incident, IncidentScope, Severity

BEGAN = 1_800_000_000.0  # Unix seconds


def node(name: str, hall: str = "A", rack: str = "r1") -> Spot:
    """Return a node."""
    return Spot(IncidentScope.NODE, hall, rack, name)


def rack(name: str = "r1", hall: str = "A") -> Spot:
    """Return a rack."""
    return Spot(IncidentScope.RACK, hall, name)


def run(run_id: str) -> Spot:
    """Return a run."""
    return Spot(IncidentScope.RUN, run_id=run_id)


def finding(
    kind: str,
    spot: Spot,
    since: float,
    *,
    severity: Severity = Severity.WARNING,
    members: int = 1,
    runs: Iterable[str] = (),
    reason: str = "because",
) -> Finding:
    """Return something that is so."""
    names = sorted({*runs, *([spot.run_id] if spot.run_id else [])})
    return Finding(
        kind,
        spot,
        severity,
        since,
        since,
        f"{kind} {members}",
        reason,
        members,
        members=tuple(f"n{number}" for number in range(members)),
        runs=tuple(AffectedRun(name) for name in names),
        run_ids=frozenset(names),
    )


class Night:
    """A book, and time that passes a second a tick."""

    def __init__(
        self, settings: dict[str, object] | None = None, known: Iterable[Incident] = ()
    ) -> None:
        self.config: AlertsConfig = parse(settings or {})
        self.events: list[Event] = []
        self.now = BEGAN
        self.book = Book(self.config, known, self.events.append, self.now)

    def pass_time(self, seconds: float, *found: Finding, unheard: Iterable[Key] = ()) -> None:
        """Let the same be so for so many seconds."""
        for _ in range(int(seconds)):
            self.now += 1
            self.book.tick(self.now, found, frozenset(unheard))

    def after(self, kind: str) -> float:
        """Return how long a kind must be so."""
        return self.config.rules[kind].after_seconds

    def clear(self, kind: str) -> float:
        """Return how long it must not be so."""
        return self.config.rules[kind].clear_seconds

    @property
    def live(self) -> list[Incident]:
        """Those that are not closed, in order."""
        return sorted(self.book.live(), key=lambda one: one.incident_id)

    def only(self) -> Incident:
        """Return the only one that is not closed."""
        (one,) = self.live
        return one


KINDS = tuple(RULES)
