"""What the sources find: one condition of one place, run or thing, as the book takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from colossus_tui.model import AffectedRun, Incident, IncidentScope, NextStep, Severity

_PLACES = (
    IncidentScope.SITE,
    IncidentScope.HALL,
    IncidentScope.FEED,
    IncidentScope.RACK,
    IncidentScope.NODE,
)
_WITHIN = {place: _PLACES[at + 1 :] for at, place in enumerate(_PLACES)}
_WORST = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)


@dataclass(frozen=True, slots=True)
class Spot:
    """What an incident is of; names that do not matter at its scope are empty.

    Attributes:
        subject: The feed of a node, a rack or a feed; of the site a limit, a scheduler or the
            like; "" for none.
    """

    scope: IncidentScope
    hall: str = ""
    rack: str = ""
    node_name: str = ""
    run_id: str = ""
    subject: str = ""

    def covers(self, other: Spot) -> bool:
        """Return whether this is a larger place, and the other is within it."""
        if other.scope not in _WITHIN.get(self.scope, ()) or self == other:
            return False
        match self.scope:
            case IncidentScope.SITE:
                return not self.subject
            case IncidentScope.HALL:
                return self.hall == other.hall
            case IncidentScope.FEED:
                return self.subject == other.subject
        return (self.hall, self.rack) == (other.hall, other.rack)


Key: TypeAlias = tuple[str, Spot]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is so now.

    Attributes:
        since: Unix seconds since when it is so as a whole.
        first: The same of its first member.
        member_count: Nodes, or GPUs of a run, that it holds for.
        node_count: Nodes of the place; 0 where it is of no place.
        run_ids: All runs affected; of `runs` there are at most RUNS_KEPT.
    """

    kind: str
    spot: Spot
    severity: Severity
    since: float
    first: float
    title: str
    reason: str
    member_count: int = 1
    node_count: int = 0
    gpu_count: int = 0
    members: tuple[str, ...] = ()
    runs: tuple[AffectedRun, ...] = ()
    run_ids: frozenset[str] = frozenset()
    next_step: NextStep | None = None

    @property
    def key(self) -> Key:
        """What makes it the same incident."""
        return self.kind, self.spot


def spot_of(incident: Incident) -> Spot:
    """Return what an incident is of."""
    return Spot(
        incident.scope,
        incident.hall,
        incident.rack,
        incident.node_name,
        incident.run_id,
        incident.subject,
    )


def weight(severity: Severity) -> int:
    """Return a number that grows with the severity."""
    return _WORST.index(severity)


def worst(*severities: Severity) -> Severity:
    """Return the most urgent of them."""
    return max(severities, key=weight)
