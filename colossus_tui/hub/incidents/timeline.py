"""What happened in a span of time: events, actions, incidents and a plot on the hub's clock."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace

from colossus_protos.v1 import common_pb2
from colossus_tui.hub.database import Database
from colossus_tui.hub.incidents.book import Book
from colossus_tui.hub.incidents.keeper import brief
from colossus_tui.hub.journal import KEPT_IN_MEMORY, Journal
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.model import Action, Event, Incident, PlaceKind, Series, Timeline
from colossus_tui.wire import from_proto

SPAN_NS = 15 * 60 * 10**9
EVENTS_SHOWN, EVENTS_READ = 1_000, 10_000
POINTS = 400
STEP_SERIES, POWER_SERIES = "step_seconds", "power.sum"


class Timelines:
    """Joins what the hub has written with what it holds."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        book: Book,
        registry: Registry,
        roll_ups: RollUps,
    ) -> None:
        self._database = database
        self._journal = journal
        self._book = book
        self._registry = registry
        self._roll_ups = roll_ups

    async def get(
        self, run_id: str, since_unix_ns: int, until_unix_ns: int, max_points: int
    ) -> Timeline:
        """Return a span of time.

        Args:
            run_id: Only of this run; "" for the site.
            since_unix_ns: 0 for SPAN_NS before the end.
            until_unix_ns: 0 for now.
            max_points: Of the plot; 0 for POINTS.

        Raises:
            KeyError: There is no such run.
            ValueError: It ends before it begins.
            DatabaseError: What is on disk cannot be read.
        """
        if run_id and run_id not in self._registry.runs:
            raise KeyError(run_id)
        until = until_unix_ns or time.time_ns()
        since = since_unix_ns or until - SPAN_NS
        if until <= since:
            raise ValueError("since_unix_ns: must be before until_unix_ns")
        read = await self._read(since, until)
        events = [event for event in read if self._is_of(event, run_id)]
        return Timeline(
            run_id=run_id,
            since_unix_ns=since,
            until_unix_ns=until,
            events=tuple(events[:EVENTS_SHOWN]),
            left_out_event_count=max(len(events) - EVENTS_SHOWN, 0),
            actions=tuple(self._actions(run_id, since, until)),
            incidents=tuple(self._incidents(run_id, since, until)),
            series=self._series(run_id, since, until, max_points or POINTS),
        )

    async def _read(self, since: int, until: int) -> list[Event]:
        rows = await self._database.fetch(
            "select body from events where hub = ? and time_ns >= ? and time_ns <= ? "
            "order by time_ns desc limit ?",
            (self._database.hub, since, until, EVENTS_READ),
        )
        return [from_proto(Event, common_pb2.Event.FromString(body)) for (body,) in rows]

    def _is_of(self, event: Event, run_id: str) -> bool:
        """Return whether an event is shown: incidents have a lane of their own."""
        if event.kind.startswith("incident."):
            return False
        if not run_id or event.run_id == run_id:
            return True
        return not event.run_id and event.node_name in self._registry.runs[run_id].nodes

    def _actions(self, run_id: str, since: int, until: int) -> Iterable[Action]:
        for action in self._journal.recent(KEPT_IN_MEMORY, run_id):
            end = action.updated_time_unix_ns if action.state.is_end else until
            if action.requested_time_unix_ns <= until and end >= since:
                yield replace(action, stages=(), ranks=(), missing_nodes=())

    def _incidents(self, run_id: str, since: int, until: int) -> list[Incident]:
        found = [
            brief(one)
            for one in self._book.all()
            if one.first_seen_unix_ns <= until
            and (one.closed_time_unix_ns or until) >= since
            and (not run_id or run_id in {one.run_id, *(run.run_id for run in one.runs)})
        ]
        return sorted(found, key=lambda one: (one.first_seen_unix_ns, one.incident_id))

    def _series(self, run_id: str, since: int, until: int, max_points: int) -> Series:
        if run_id:
            history = self._registry.runs[run_id].history
            return _until(history.series(STEP_SERIES, max_points, since), until)
        unit, times, values = self._roll_ups.history(PlaceKind.SITE, "", POWER_SERIES, since)
        if len(times) > max_points:
            last = len(times) - 1
            places = [round(n * last / max(max_points - 1, 1)) for n in range(max_points)]
            times, values = [times[at] for at in places], [values[at] for at in places]
        whole = Series(POWER_SERIES, unit, tuple(times), (-1,) * len(times), tuple(values))
        return _until(whole, until)


def _until(series: Series, until: int) -> Series:
    """Return a series without what is later."""
    count = sum(time <= until for time in series.times_unix_ns)
    return replace(
        series,
        times_unix_ns=series.times_unix_ns[:count],
        steps=series.steps[:count],
        values=series.values[:count],
    )
