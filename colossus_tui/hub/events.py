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


class Events:
    """What happened, newest in memory, the rest on disk."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.fetch_now(
            "select body from events order by event_id desc limit ?", (KEPT_IN_MEMORY,)
        )
        events = [from_proto(Event, common_pb2.Event.FromString(body)) for (body,) in rows]
        self._events = deque(reversed(events), maxlen=KEPT_IN_MEMORY)
        self._next = self._events[-1].event_id + 1 if self._events else 1
        self._unwritten: list[Event] = []

    def add(self, event: Event) -> None:
        """Number the event and keep it; it reaches the disk with the next flush."""
        event = replace(
            event,
            event_id=self._next,
            time_unix_ns=event.time_unix_ns or time.time_ns(),
            message=event.message[:TEXT_LIMIT],
        )
        self._next += 1
        self._events.append(event)
        self._unwritten.append(event)

    @property
    def last_event_id(self) -> int:
        """Number of the newest event."""
        return self._next - 1

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
        """Write what is new."""
        events, self._unwritten = self._unwritten, []
        rows = [
            (
                event.event_id,
                event.time_unix_ns,
                to_proto(common_pb2.Event, event).SerializeToString(),
            )
            for event in events
        ]
        await self._database.write("insert or replace into events values (?, ?, ?)", rows)

    async def expire(self) -> None:
        """Forget what is older than KEPT_DAYS."""
        limit = time.time_ns() - KEPT_DAYS * 86_400 * 10**9
        await self._database.write("delete from events where time_ns < ?", [(limit,)])
