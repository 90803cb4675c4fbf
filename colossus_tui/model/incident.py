"""Incidents: one cause that an operator should know of, with all that belongs to it."""

from __future__ import annotations

from enum import StrEnum

from colossus_tui.model.action import Action
from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.event import Event, Severity
from colossus_tui.model.run import Series
from colossus_tui.model.verb import Verb

MEMBERS_KEPT, RUNS_KEPT = 256, 64


class IncidentState(StrEnum):
    """How far an incident is."""

    OPEN = "open"
    CLEARING = "clearing"
    CLOSED = "closed"


class IncidentScope(StrEnum):
    """What an incident is of, the largest first."""

    SITE = "site"
    HALL = "hall"
    FEED = "feed"
    RACK = "rack"
    NODE = "node"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class AffectedRun:
    """A run with ranks on what an incident is of; `ranks` are ranges such as "0-71, 80"."""

    run_id: str
    rank_count: int = 0
    ranks: str = ""


@dataclass(frozen=True, slots=True)
class IncidentEffect:
    """What follows from an incident's cause. `message` is untrusted text."""

    kind: str
    run_id: str = ""
    message: str = ""
    severity: Severity = Severity.WARNING


@dataclass(frozen=True, slots=True)
class IncidentNote:
    """One line of an incident's own log; no operator is the hub. `text` is untrusted."""

    time_unix_ns: int
    operator: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What an operator would best do next: a verb on a run or node, or a screen to look at.

    Attributes:
        screen: "map", "timeline" or "power"; "" for a verb.
        subject: Run or node; on a map "HALL" or "HALL/RACK"; "" for the site.
    """

    verb: Verb | None = None
    screen: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident; meanings and units as in incident.proto. Title, reason and names are untrusted.

    Lists of incidents carry no members and no notes.
    """

    incident_id: int
    kind: str
    severity: Severity = Severity.WARNING
    state: IncidentState = IncidentState.OPEN
    title: str = ""
    reason: str = ""
    scope: IncidentScope = IncidentScope.SITE
    hall: str = ""
    rack: str = ""
    node_name: str = ""
    run_id: str = ""
    subject: str = ""
    first_seen_unix_ns: int = 0
    last_seen_unix_ns: int = 0
    closed_time_unix_ns: int = 0
    member_count: int = 0
    peak_member_count: int = 0
    node_count: int = 0
    gpu_count: int = 0
    members: tuple[str, ...] = ()
    runs: tuple[AffectedRun, ...] = ()
    run_count: int = 0
    effects: tuple[IncidentEffect, ...] = ()
    acknowledged_by: str = ""
    acknowledged_time_unix_ns: int = 0
    silenced_by: str = ""
    silenced_until_unix_ns: int = 0
    flap_count: int = 0
    merged_into: int = 0
    notes: tuple[IncidentNote, ...] = ()
    next_step: NextStep | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it is over."""
        return self.state is IncidentState.CLOSED

    def is_silenced(self, now_unix_ns: int) -> bool:
        """Return whether a silence holds at this time."""
        return self.silenced_until_unix_ns > now_unix_ns

    def counts(self, now_unix_ns: int) -> bool:
        """Return whether it waits for somebody: not closed, not acknowledged, not silenced."""
        return not (self.is_closed or self.acknowledged_by or self.is_silenced(now_unix_ns))


def by_weight(incident: Incident, now_unix_ns: int) -> tuple[bool, bool, bool, int]:
    """Return what incidents are ordered by: what counts, then what is critical, then the oldest."""
    return (
        incident.is_closed,
        not incident.counts(now_unix_ns),
        incident.severity is not Severity.CRITICAL,
        incident.incident_id if not incident.is_closed else -incident.closed_time_unix_ns,
    )


@dataclass(frozen=True, slots=True)
class Timeline:
    """Events, actions, incidents and a plot that share one clock; as in console.proto."""

    run_id: str = ""
    since_unix_ns: int = 0
    until_unix_ns: int = 0
    events: tuple[Event, ...] = ()
    left_out_event_count: int = 0
    actions: tuple[Action, ...] = ()
    incidents: tuple[Incident, ...] = ()
    series: Series | None = None
