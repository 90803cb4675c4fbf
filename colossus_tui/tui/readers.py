"""What of the hub is read beside the view, as seldom as it may be: an incident, a timeline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from colossus_tui.model import Incident, View
from colossus_tui.text import now_ns
from colossus_tui.tui.messages import IncidentReceived, TimelineReceived

if TYPE_CHECKING:
    from textual.message import Message

    from colossus_tui.client import AsyncClient
    from colossus_tui.tui.feed import TimelineWanted

LEAST_SECONDS = 2.0  # between two reads of something that changes
MOST_SECONDS = 10.0  # it is read again also when nothing new is known of it


class IncidentReader:
    """Reads an incident in full and a timeline, when the view says that they have changed."""

    def __init__(
        self,
        client: AsyncClient,
        incident_id: int,
        timeline: TimelineWanted | None,
        post: Callable[[Message], object],
    ) -> None:
        self._client = client
        self._incident_id = incident_id
        self._timeline = timeline
        self._post = post
        self._seen: object = None
        self._read = -MOST_SECONDS

    async def follow(self, view: View) -> None:
        """Read again, if need be."""
        if not self._incident_id and self._timeline is None:
            return
        now, seen = asyncio.get_running_loop().time(), self._state(view)
        since = now - self._read
        if since < LEAST_SECONDS or (seen == self._seen and since < MOST_SECONDS):
            return
        self._seen, self._read = seen, now
        if self._incident_id:
            await self._read_incident()
        if self._timeline is not None:
            await self._read_timeline(self._timeline)

    def _state(self, view: View) -> object:
        """Return what tells of a change: all that a timeline or an incident is made of."""
        return (
            view.events[0].event_id if view.events else 0,
            tuple((one.action_id, one.updated_time_unix_ns) for one in view.actions),
            tuple(_told(one) for one in view.incidents),
        )

    async def _read_incident(self) -> None:
        from colossus_tui.client import ColossusError, NotFoundError

        try:
            found: Incident | None = await self._client.incident(self._incident_id)
        except NotFoundError:
            found = None
        except ColossusError:
            return  # a recording, or an older hub: what the list says of it stays
        self._post(IncidentReceived(self._incident_id, found))

    async def _read_timeline(self, wanted: TimelineWanted) -> None:
        from colossus_tui.client import ColossusError

        until = wanted.end_unix_ns or now_ns()
        try:
            timeline = await self._client.timeline(
                wanted.run_id,
                since_unix_ns=until - int(wanted.seconds * 1e9),
                until_unix_ns=until,
            )
        except ColossusError as error:
            self._post(TimelineReceived(None, str(error)))
            return
        self._post(TimelineReceived(timeline))


def _told(incident: Incident) -> Incident:
    """Return what of an incident is news."""
    return replace(incident, last_seen_unix_ns=0, reason="")
