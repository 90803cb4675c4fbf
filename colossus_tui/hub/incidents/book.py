"""The life of incidents: pending, open, clearing, closed; acknowledged, silenced; no I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, replace

from colossus_tui.hub.incidents.findings import Finding, Key, spot_of, weight, worst
from colossus_tui.hub.incidents.rules import EXPLAINED_BY, LASTING, RULES, AlertsConfig
from colossus_tui.model import (
    Event,
    Incident,
    IncidentEffect,
    IncidentNote,
    IncidentState,
    Severity,
    by_weight,
)
from colossus_tui.text import duration

REOPEN_SECONDS = 1_800.0  # what comes back within it is the same incident
BEFORE_SECONDS, AFTER_SECONDS = 120.0, 900.0  # of its cause, within which an effect begins
CLOSED_KEPT = 500
FIRST_NOTES, LAST_NOTES = 8, 56
TEXT_LIMIT = 512
_ORDER = {kind: place for place, kind in enumerate(RULES)}


class UnknownIncidentError(KeyError):
    """There is no incident of this number."""


class ClosedIncidentError(ValueError):
    """The incident is over; the message says so."""


@dataclass(slots=True)
class _Entry:
    """One incident as the book holds it; times are Unix seconds.

    Attributes:
        seen: When it was last so.
        severe: When it was last as severe as it is said to be.
        grown: When it began, came back or had more members than ever.
        run_ids: All runs that it ever affected.
    """

    incident: Incident
    key: Key
    seen: float
    severe: float
    grown: float
    run_ids: frozenset[str]

    @property
    def incident_id(self) -> int:
        return self.incident.incident_id

    def is_felt_by(self, run_id: str) -> bool:
        return run_id != "" and (run_id == self.incident.run_id or run_id in self.run_ids)


class Book:
    """All incidents.

    Args:
        incidents: From disk.
        tell: Takes an event when one opens, comes back or closes.
        now: Unix seconds.
    """

    def __init__(
        self,
        config: AlertsConfig,
        incidents: Iterable[Incident],
        tell: Callable[[Event], None],
        now: float,
    ) -> None:
        self._config = config
        self._tell = tell
        self._last = 0
        self._live: dict[Key, _Entry] = {}
        self._closed: dict[int, _Entry] = {}  # the oldest first
        self._pending: list[Finding] = []
        for incident in sorted(incidents, key=lambda one: one.closed_time_unix_ns):
            entry = _entry(incident, now)
            self._last = max(self._last, incident.incident_id)
            if incident.is_closed:
                self._closed[incident.incident_id] = entry
            else:
                self._live[entry.key] = entry

    # --- what is so now ----------------------------------------------------------------------

    def tick(
        self, now: float, findings: Sequence[Finding], unheard: Set[Key] = frozenset()
    ) -> None:
        """Take all that is so now.

        Args:
            unheard: Incidents of which nothing can be known now; they stay as they are.
        """
        self._pending = []
        touched: dict[int, Finding] = {}
        effects: dict[int, list[IncidentEffect]] = {}
        for finding in sorted(findings, key=lambda one: _ORDER.get(one.kind, 0)):
            self._take(finding, now, touched, effects)
        for entry in tuple(self._live.values()):
            found, follows = touched.get(entry.incident_id), effects.get(entry.incident_id, ())
            entry.incident = replace(entry.incident, effects=tuple(follows))
            if found is None and (entry.key in unheard or self._is_covered(entry)):
                entry.seen = now  # it stays as it is
            else:
                self._settle(entry, now, found)
        while len(self._closed) > CLOSED_KEPT:
            del self._closed[next(iter(self._closed))]

    def _take(
        self,
        finding: Finding,
        now: float,
        touched: dict[int, Finding],
        effects: dict[int, list[IncidentEffect]],
    ) -> None:
        rule = self._config.rule(finding.kind)
        if rule is None:
            return
        if rule.severity is not None:
            finding = replace(finding, severity=rule.severity)
        entry = self._live.get(finding.key)
        cause = self._cause(finding, entry)
        if cause is not None:
            effects.setdefault(cause.incident_id, []).append(_effect(finding))
            if entry is not None:
                self._merge(entry, cause, now)
        elif entry is not None:
            touched[entry.incident_id] = finding
        elif self._waits_for_cause(finding) or now - finding.since < rule.after_seconds:
            self._pending.append(finding)
        elif not self._is_settled(finding):
            touched[self._open(finding, now).incident_id] = finding

    def _cause(self, finding: Finding, own: _Entry | None) -> _Entry | None:
        """Return the incident that explains what is found of a run; None when none does."""
        kinds, run_id = EXPLAINED_BY.get(finding.kind, ()), finding.spot.run_id
        found = [
            entry
            for entry in self._live.values()
            if entry is not own and _explains(entry, finding, kinds, run_id)
        ]
        return min(found, key=lambda one: (_ORDER[one.key[0]], one.incident_id), default=None)

    def _waits_for_cause(self, finding: Finding) -> bool:
        """Return whether what may explain it is pending."""
        kinds, run_id = EXPLAINED_BY.get(finding.kind, ()), finding.spot.run_id
        return any(
            one.kind in kinds
            and (run_id == one.spot.run_id or run_id in one.run_ids)
            and one.first - BEFORE_SECONDS <= finding.since <= one.since + AFTER_SECONDS
            for one in self._pending
        )

    def _is_settled(self, finding: Finding) -> bool:
        """Return whether somebody has acknowledged this very state, which lasts."""
        if finding.kind not in LASTING:
            return False
        return any(
            entry.key == finding.key
            and entry.incident.acknowledged_by
            and finding.since * 1e9 <= entry.incident.acknowledged_time_unix_ns
            for entry in self._closed.values()
        )

    # --- one incident's life -----------------------------------------------------------------

    def _open(self, finding: Finding, now: float) -> _Entry:
        before = [
            entry
            for entry in self._closed.values()
            if entry.key == finding.key
            and not entry.incident.merged_into
            and now - entry.incident.closed_time_unix_ns / 1e9 <= REOPEN_SECONDS
        ]
        if before:
            return self._reopen(before[-1], now)
        self._last += 1
        spot = finding.spot
        incident = Incident(
            self._last,
            finding.kind,
            finding.severity,
            title=finding.title,
            scope=spot.scope,
            hall=spot.hall,
            rack=spot.rack,
            node_name=spot.node_name,
            run_id=spot.run_id,
            subject=spot.subject,
            first_seen_unix_ns=int(finding.first * 1e9),
        )
        entry = self._live[finding.key] = _entry(incident, now)
        self._note(entry, now, "opened")
        self._say(entry, f"incident {self._last}: {finding.title}", "opened")
        return entry

    def _reopen(self, entry: _Entry, now: float) -> _Entry:
        del self._closed[entry.incident_id]
        self._live[entry.key] = entry
        entry.incident = replace(entry.incident, closed_time_unix_ns=0, peak_member_count=0)
        if entry.key[0] in LASTING:  # that somebody knew of the last one says nothing of this
            entry.incident = replace(
                entry.incident, acknowledged_by="", acknowledged_time_unix_ns=0
            )
        self._come_back(entry, now)
        return entry

    def _come_back(self, entry: _Entry, now: float) -> None:
        entry.grown = now
        entry.incident = replace(
            entry.incident, state=IncidentState.OPEN, flap_count=entry.incident.flap_count + 1
        )
        self._note(entry, now, "it is back")
        if entry.incident.flap_count == 1:  # more of the same is counted, not told
            self._say(
                entry, f"incident {entry.incident_id} is back: {entry.incident.title}", "back"
            )

    def _settle(self, entry: _Entry, now: float, finding: Finding | None) -> None:
        """Bring one incident up to date with what was found, or was not."""
        if finding is not None:
            self._describe(entry, finding, now)
        elif (larger := self._larger(entry)) is not None:
            self._merge(entry, larger, now)
            return
        else:
            entry.incident = replace(entry.incident, member_count=0)
        if finding is None and not entry.incident.effects:
            self._clear(entry, now)
            return
        entry.seen = now
        if entry.incident.state is IncidentState.CLEARING:
            self._come_back(entry, now)
        entry.incident = replace(entry.incident, last_seen_unix_ns=int(now * 1e9))
        self._weigh(entry, finding, now)

    def _larger(self, entry: _Entry) -> _Entry | None:
        """Return the open incident of a larger place that this one has become a part of."""
        kind, spot = entry.key
        for (other_kind, other), larger in self._live.items():
            if other_kind == kind and other != spot and other.covers(spot):
                return larger
        return None

    def _is_covered(self, entry: _Entry) -> bool:
        """Return whether a larger place of its kind is about to open."""
        kind, spot = entry.key
        return any(one.kind == kind and one.spot.covers(spot) for one in self._pending)

    def _describe(self, entry: _Entry, finding: Finding, now: float) -> None:
        incident = replace(
            entry.incident,
            reason=finding.reason[:TEXT_LIMIT],
            member_count=finding.member_count,
            node_count=finding.node_count,
            next_step=finding.next_step,
        )
        if finding.member_count >= incident.peak_member_count:
            if incident.peak_member_count and finding.member_count > incident.peak_member_count:
                entry.grown = now
            incident = replace(
                incident,
                title=finding.title,
                peak_member_count=finding.member_count,
                gpu_count=finding.gpu_count,
                members=finding.members,
                runs=finding.runs,
                run_count=len(finding.run_ids),
            )
        entry.run_ids |= finding.run_ids
        entry.incident = incident

    def _weigh(self, entry: _Entry, finding: Finding | None, now: float) -> None:
        """Let it be as severe as its worst part; less so only when that has lasted."""
        before = entry.incident
        own = finding.severity if finding is not None else Severity.INFO
        wanted = worst(own, *(effect.severity for effect in before.effects))
        if weight(wanted) >= weight(before.severity):
            entry.severe = now
        rule = self._config.rule(entry.key[0])
        if weight(wanted) < weight(before.severity) and (
            rule is None or now - entry.severe < rule.clear_seconds
        ):
            return
        entry.incident = replace(before, severity=wanted)
        if weight(wanted) > weight(before.severity) and before.acknowledged_by:
            entry.incident = replace(
                entry.incident, acknowledged_by="", acknowledged_time_unix_ns=0
            )
            who = before.acknowledged_by
            self._note(entry, now, f"worse than when {who} acknowledged it: {wanted}")

    def _clear(self, entry: _Entry, now: float) -> None:
        if entry.incident.state is IncidentState.OPEN:
            entry.incident = replace(entry.incident, state=IncidentState.CLEARING, member_count=0)
        rule = self._config.rule(entry.key[0])
        if rule is None or now - entry.seen >= rule.clear_seconds:
            self._close(entry, now, "over")
            lasted = duration(round(entry.seen - entry.incident.first_seen_unix_ns / 1e9))
            title = entry.incident.title
            self._say(
                entry, f"incident {entry.incident_id} is over after {lasted}: {title}", "closed"
            )

    def _close(self, entry: _Entry, now: float, why: str) -> None:
        self._live.pop(entry.key, None)
        self._note(entry, now, why)
        entry.incident = replace(
            entry.incident,
            state=IncidentState.CLOSED,
            closed_time_unix_ns=int(now * 1e9),
            member_count=0,
            effects=(),
        )
        self._closed[entry.incident_id] = entry

    def _merge(self, entry: _Entry, into: _Entry, now: float) -> None:
        entry.incident = replace(entry.incident, merged_into=into.incident_id)
        into.run_ids |= entry.run_ids
        self._close(entry, now, f"a part of incident {into.incident_id}")
        self._note(into, now, f"incident {entry.incident_id} is a part of it")

    def _note(self, entry: _Entry, now: float, text: str, operator: str = "") -> None:
        notes = (*entry.incident.notes, IncidentNote(int(now * 1e9), operator, text[:TEXT_LIMIT]))
        if len(notes) > FIRST_NOTES + LAST_NOTES:
            notes = (*notes[:FIRST_NOTES], *notes[-LAST_NOTES:])
        entry.incident = replace(entry.incident, notes=notes)

    def _say(self, entry: _Entry, message: str, what: str) -> None:
        incident = entry.incident
        is_news = what in ("opened", "back")
        self._tell(
            Event(
                severity=incident.severity if is_news else Severity.INFO,
                kind=f"incident.{what}",
                message=message,
                node_name=incident.node_name,
                run_id=incident.run_id,
            )
        )

    # --- what operators say ------------------------------------------------------------------

    def acknowledge(self, incident_id: int, operator: str, now: float) -> Incident:
        """Note that somebody looks after it; a state that lasts is over as an incident by that.

        Raises:
            UnknownIncidentError: There is none.
            ClosedIncidentError: It is over.
        """
        entry = self._open_entry(incident_id)
        entry.incident = replace(
            entry.incident, acknowledged_by=operator, acknowledged_time_unix_ns=int(now * 1e9)
        )
        self._note(entry, now, "acknowledged", operator)
        title = entry.incident.title
        self._say(entry, f"{operator} acknowledged incident {incident_id}: {title}", "acknowledged")
        if entry.key[0] in LASTING and not entry.incident.effects:
            self._close(entry, now, "over as an incident: it lasts until somebody acts")
        return entry.incident

    def silence(self, incident_id: int, operator: str, seconds: float, now: float) -> Incident:
        """Let it not count for so long, also when it comes back; 0 s ends a silence.

        Raises:
            UnknownIncidentError: There is none.
            ClosedIncidentError: It is over.
        """
        entry = self._open_entry(incident_id)
        until = int((now + seconds) * 1e9) if seconds else 0
        entry.incident = replace(
            entry.incident,
            silenced_by=operator if until else "",
            silenced_until_unix_ns=until,
        )
        what = f"silenced for {duration(seconds)}" if until else "no longer silenced"
        self._note(entry, now, what, operator)
        title = entry.incident.title
        self._say(entry, f"incident {incident_id} {what} by {operator}: {title}", "silenced")
        return entry.incident

    def _open_entry(self, incident_id: int) -> _Entry:
        for entry in self._live.values():
            if entry.incident_id == incident_id:
                return entry
        if closed := self._closed.get(incident_id):
            into = closed.incident.merged_into
            why = f"it is a part of incident {into}" if into else "it is over"
            raise ClosedIncidentError(f"incident {incident_id}: {why}")
        raise UnknownIncidentError(incident_id)

    # --- what is asked -----------------------------------------------------------------------

    def get(self, incident_id: int) -> Incident | None:
        """Return one incident, or None."""
        closed = self._closed.get(incident_id)
        if closed is not None:
            return closed.incident
        return next((one for one in self.live() if one.incident_id == incident_id), None)

    def key(self, incident_id: int) -> Key:
        """Return what makes an open incident the same one.

        Raises:
            UnknownIncidentError: There is none.
            ClosedIncidentError: It is over.
        """
        return self._open_entry(incident_id).key

    def live(self) -> list[Incident]:
        """Return those that are not closed."""
        return [entry.incident for entry in self._live.values()]

    def listed(self, now: float, closed_since: float | None = None) -> list[Incident]:
        """Return those that are not closed, and closed ones since a time; what counts first."""
        found = self.live()
        if closed_since is not None:
            found += [
                entry.incident
                for entry in self._closed.values()
                if entry.incident.closed_time_unix_ns >= closed_since * 1e9
            ]
        return sorted(found, key=lambda incident: by_weight(incident, int(now * 1e9)))

    def standing(self, kind: str) -> list[Key]:
        """Return what incidents of a kind are open of."""
        return [key for key in self._live if key[0] == kind]

    def all(self) -> list[Incident]:
        """Return every incident that is kept."""
        return [*self.live(), *(entry.incident for entry in self._closed.values())]

    def counts(self, now: float) -> tuple[int, int]:
        """Return how many wait for somebody, and how many of them are critical."""
        found = [one for one in self.live() if one.counts(int(now * 1e9))]
        return len(found), sum(one.severity is Severity.CRITICAL for one in found)


def _entry(incident: Incident, now: float) -> _Entry:
    runs = frozenset(run.run_id for run in incident.runs)
    return _Entry(incident, (incident.kind, spot_of(incident)), now, now, now, runs)


def _explains(entry: _Entry, finding: Finding, kinds: Sequence[str], run_id: str) -> bool:
    """Return whether an incident is the cause of what is found of a run.

    Once it is, it stays so; and what a run suffers by it may cause more of that run's own.
    """
    followed = [one for one in entry.incident.effects if one.run_id == run_id and run_id]
    if any(one.kind == finding.kind or one.kind in kinds for one in followed):
        return True
    if entry.key[0] not in kinds or not entry.is_felt_by(run_id):
        return False
    if entry.incident.run_id:
        return entry.incident.state is IncidentState.OPEN
    began = entry.incident.first_seen_unix_ns / 1e9
    return began - BEFORE_SECONDS <= finding.since <= entry.grown + AFTER_SECONDS


def _effect(finding: Finding) -> IncidentEffect:
    message = finding.reason[:TEXT_LIMIT]
    return IncidentEffect(finding.kind, finding.spot.run_id, message, finding.severity)
