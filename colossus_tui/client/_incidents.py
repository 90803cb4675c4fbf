"""The asyncio client's questions about incidents, and what an operator says of them."""

from __future__ import annotations

from colossus_protos.v1 import console_pb2, incident_pb2
from colossus_tui.client._looking import Looking
from colossus_tui.model import Incident, Timeline
from colossus_tui.wire import from_proto


class IncidentCalls(Looking):
    """Asks about incidents; acknowledges and silences them."""

    async def incidents(self, *, closed: bool = False, limit: int = 0) -> tuple[Incident, ...]:
        """Return incidents without members and notes, those that count the most first.

        Args:
            closed: Also those that closed in the last 14 days; else in the last hour alone.
        """
        request = console_pb2.ListIncidentsRequest(closed=closed, limit=limit)
        answer = await self._call(self._console.ListIncidents, request)
        return tuple(from_proto(Incident, one) for one in answer.incidents)

    async def incident(self, incident_id: int) -> Incident:
        """Return one incident in full.

        Raises:
            NotFoundError: There is none.
        """
        request = console_pb2.GetIncidentRequest(incident_id=incident_id)
        answer = await self._call(self._console.GetIncident, request)
        return from_proto(Incident, answer.incident)

    async def timeline(
        self,
        run_id: str = "",
        *,
        since_unix_ns: int = 0,
        until_unix_ns: int = 0,
        max_points: int = 0,
    ) -> Timeline:
        """Return what happened in a span of time, by default in the last 15 minutes.

        Args:
            run_id: Only of this run; empty for the site.

        Raises:
            NotFoundError: There is no such run.
        """
        request = console_pb2.GetTimelineRequest(
            run_id=run_id,
            since_unix_ns=since_unix_ns,
            until_unix_ns=until_unix_ns,
            max_points=max_points,
        )
        answer = await self._call(self._console.GetTimeline, request)
        return from_proto(Timeline, answer.timeline)

    async def acknowledge(self, incident_id: int) -> Incident:
        """Say that this operator looks after an incident; return it as it is now.

        Raises:
            NotFoundError: There is none.
            NotPermittedError: The caller may only look.
            ColossusError: It is over, or the hub cannot write it down.
        """
        request = incident_pb2.AcknowledgeRequest(incident_id=incident_id, operator=self.operator)
        answer = await self._call(self._incidents.Acknowledge, request)
        return from_proto(Incident, answer.incident)

    async def silence(self, incident_id: int, seconds: float) -> Incident:
        """Let an incident not count for so long, also when it comes back; 0 ends a silence.

        Raises:
            InvalidRequestError: Longer than 30 days, or less than nothing.
            NotFoundError: There is none.
            NotPermittedError: The caller may only look.
            ColossusError: It is over, or the hub cannot write it down.
        """
        request = incident_pb2.SilenceRequest(
            incident_id=incident_id, duration_seconds=seconds, operator=self.operator
        )
        answer = await self._call(self._incidents.Silence, request)
        return from_proto(Incident, answer.incident)
