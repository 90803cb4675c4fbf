"""The operators' service: acknowledge and silence; each word is on disk before it is answered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import incident_pb2, incident_pb2_grpc
from colossus_tui.hub import caller
from colossus_tui.hub.database import DatabaseError
from colossus_tui.hub.incidents.book import ClosedIncidentError, UnknownIncidentError
from colossus_tui.hub.incidents.keeper import Incidents
from colossus_tui.model import Incident
from colossus_tui.text import safe
from colossus_tui.wire import to_proto

_Context = grpc.aio.ServicerContext[Any, Any]
SILENCE_SECONDS_LIMIT = 30 * 86_400.0
OPERATOR_LIMIT = 64
VIEWER = "a viewer may look, and acknowledge or silence nothing; use the hub's Unix socket"


class IncidentsService(incident_pb2_grpc.IncidentsServicer):
    """Serves what operators say of incidents."""

    def __init__(self, incidents: Incidents, tcp_role: str) -> None:
        self._incidents = incidents
        self._tcp_role = tcp_role

    async def Acknowledge(
        self, request: incident_pb2.AcknowledgeRequest, context: _Context
    ) -> incident_pb2.AcknowledgeResponse:
        """Somebody looks after it."""
        operator = safe(request.operator, OPERATOR_LIMIT) or "unknown"
        incident = await self._say(
            context,
            request.incident_id,
            lambda now: self._incidents.book.acknowledge(request.incident_id, operator, now),
        )
        return incident_pb2.AcknowledgeResponse(incident=to_proto(incident_pb2.Incident, incident))

    async def Silence(
        self, request: incident_pb2.SilenceRequest, context: _Context
    ) -> incident_pb2.SilenceResponse:
        """Not now."""
        seconds = request.duration_seconds
        if not math.isfinite(seconds) or not 0 <= seconds <= SILENCE_SECONDS_LIMIT:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"duration_seconds: must be 0 to {SILENCE_SECONDS_LIMIT:.0f}, which is 30 days",
            )
        operator = safe(request.operator, OPERATOR_LIMIT) or "unknown"
        incident = await self._say(
            context,
            request.incident_id,
            lambda now: self._incidents.book.silence(request.incident_id, operator, seconds, now),
        )
        return incident_pb2.SilenceResponse(incident=to_proto(incident_pb2.Incident, incident))

    async def _say(
        self, context: _Context, incident_id: int, say: Callable[[float], Incident]
    ) -> Incident:
        """Carry out what is said, if the caller may say it and it can be kept."""
        if caller.role(context, self._tcp_role) != "operator":
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, VIEWER)
        if away := self._incidents.away:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, _unkept(away))
        try:
            incident = say(time.time())
            await self._incidents.write(incident)
        except UnknownIncidentError:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"incident_id: no incident {incident_id}"
            )
        except ClosedIncidentError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except DatabaseError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, _unkept(str(error)))
        return incident


def _unkept(why: str) -> str:
    return f"it could not be written down, and may not outlast the hub: {why}; try again"
