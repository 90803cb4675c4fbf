"""The log of events: numbered, bounded, kept for 14 days."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

from colossus_protos.v1 import common_pb2
from colossus_tui.hub.database import Database
from colossus_tui.model import Event
from colossus_tui.wire import from_proto, to_proto

KEPT_IN_MEMORY = 2_000
KEPT_DAYS = 14
TEXT_LIMIT = 1_024
UPSERT = (
    "insert into events (event_id, time_ns, body, hub) values (?, ?, ?, ?) "
    "on conflict (event_id, hub) do update set time_ns = excluded.time_ns, body = excluded.body"
)


class Events:
    """What happened, newest in memory, the rest on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.fetch_now(
            "select hub, event_id, body from events order by event_id desc limit ?",
            (KEPT_IN_MEMORY,),
        )
        self._events: deque[Event] = deque(maxlen=KEPT_IN_MEMORY)
        self._last = 0
        self._unwritten: list[Event] = []
        self._seen: dict[str, int] = {}
        self._oldest = rows[-1][1] if rows else 0
        for hub, number, body in reversed(rows):
            event = _decode(body)
            self._append(_of_hub(event, hub) if hub != database.hub else event, number)
            self._seen[hub] = number

    def add(self, event: Event) -> None:
        """Number the event and keep it; it reaches the disk with the next flush."""
        event = replace(
            event,
            time_unix_ns=event.time_unix_ns or time.time_ns(),
            message=event.message[:TEXT_LIMIT],
        )
        self._unwritten.append(self._append(event, self._number()))

    def seen(self, hub: str) -> int:
        """Return the number, in another hub's log, of its newest event that is shown here."""
        return self._seen.get(hub, self._oldest)

    def add_other(self, hub: str, number: int, body: bytes) -> None:
        """Show an event that another hub has written; here it gets a number of this hub's."""
        self._seen[hub] = number
        self._append(_of_hub(_decode(body), hub), self._number())

    def _number(self) -> int:
        """Return the next number: of shared events microseconds, so that those of hubs differ."""
        return time.time_ns() // 1_000 if self._database.hub else 0

    def _append(self, event: Event, number: int) -> Event:
        self._last = max(self._last + 1, number)
        event = replace(event, event_id=self._last)
        self._events.append(event)
        return event

    @property
    def last_event_id(self) -> int:
        """Number of the newest event."""
        return self._last

    def recent(
        self, limit: int, run_id: str = "", node_name: str = "", after_event_id: int = 0
    ) -> tuple[Event, ...]:
        """Return the newest events that fit, newest first."""
        found: list[Event] = []
        for event in reversed(self._events):
            if event.event_id <= after_event_id or len(found) >= limit:
                break
            if (not run_id or event.run_id == run_id) and (
                not node_name or event.node_name == node_name
            ):
                found.append(event)
        return tuple(found)

    async def flush(self) -> None:
        """Write what is new; it waits while the database is away."""
        events, self._unwritten = self._unwritten, []
        rows = [
            (
                event.event_id,
                event.time_unix_ns,
                to_proto(common_pb2.Event, event).SerializeToString(),
                self._database.hub,
            )
            for event in events
        ]
        await self._database.keep(UPSERT, rows)

    async def expire(self) -> None:
        """Forget what is older than KEPT_DAYS."""
        limit = time.time_ns() - KEPT_DAYS * 86_400 * 10**9
        await self._database.keep("delete from events where time_ns < ?", [(limit,)])


def _decode(body: bytes) -> Event:
    return from_proto(Event, common_pb2.Event.FromString(body))


def _of_hub(event: Event, hub: str) -> Event:
    return replace(event, message=f"{hub}: {event.message}"[:TEXT_LIMIT])
