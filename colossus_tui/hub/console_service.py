"""The consoles' service: reads only; a slow console gets the newest state and no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import (
    action_pb2,
    common_pb2,
    console_pb2,
    console_pb2_grpc,
    curve_pb2,
    incident_pb2,
    money_pb2,
    power_pb2,
    site_pb2,
)
from colossus_tui import __version__
from colossus_tui.hub import caller
from colossus_tui.hub.database import DatabaseError
from colossus_tui.hub.events import Events
from colossus_tui.hub.incidents.keeper import Incidents
from colossus_tui.hub.incidents.timeline import Timelines
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.runs.curve import POINT_LIMIT
from colossus_tui.hub.runs.history import RATE_LIMIT, every_so_often
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.site.maps import Maps, UnknownMetricError
from colossus_tui.hub.site.rollups import RegroupedError, RollUps
from colossus_tui.hub.status import Status
from colossus_tui.hub.views import Views, brief
from colossus_tui.model import Action, Header, MapRequest, PlaceKind, Series, SiteMap
from colossus_tui.model.match import MatchError
from colossus_tui.wire import from_proto, to_proto

_Context = grpc.aio.ServicerContext[Any, Any]
MIN_PERIOD_SECONDS = 0.1
CURVE_SECONDS = 5.0  # how often curves are sent
CURVE_POINTS = 16_384  # of all runs' curves together; at least LEAST_POINTS each
LEAST_POINTS = 16
FAR_SECONDS = 100 * 365.25 * 86_400.0
# Where the past of a run's rates is kept, beyond the last minutes.
RATES = {"tokens_per_second": "tokens_per_second", "power_watts": "power.sum"}
EVENT_LIMIT, ACTION_LIMIT, INCIDENT_LIMIT = 200, 100, 200
RACKS_AT_ONCE = 32  # take some 20 ms
REGROUPED_TIMES = 3
_KINDS = {site_pb2.PlaceKind.Value(f"PLACE_KIND_{kind.name}"): kind for kind in PlaceKind}


class ConsoleService(console_pb2_grpc.ConsoleServicer):
    """Serves views of the hub.

    Args:
        revision: Returns a number that grows with every change of the hub's state.
    """

    def __init__(
        self,
        views: Views,
        registry: Registry,
        events: Events,
        journal: Journal,
        revision: Callable[[], int],
        tcp_role: str,
        maps: Maps,
        roll_ups: RollUps,
        status: Status,
        incidents: Incidents,
        timelines: Timelines,
    ) -> None:
        self._incidents = incidents
        self._timelines = timelines
        self._status = status
        self._maps = maps
        self._roll_ups = roll_ups
        self._views = views
        self._registry = registry
        self._events = events
        self._journal = journal
        self._revision = revision
        self._tcp_role = tcp_role

    def _header(self, context: _Context) -> console_pb2.Header:
        header = Header(
            self._revision(), time.time_ns(), __version__, caller.role(context, self._tcp_role)
        )
        return to_proto(console_pb2.Header, header)

    async def ListRuns(
        self, request: console_pb2.ListRunsRequest, context: _Context
    ) -> console_pb2.ListRunsResponse:
        """The site and all runs."""
        return console_pb2.ListRunsResponse(
            header=self._header(context),
            site=to_proto(console_pb2.Site, self._views.site()),
            runs=[to_proto(console_pb2.Run, brief(run)) for run in self._views.runs()],
        )

    async def GetRun(
        self, request: console_pb2.GetRunRequest, context: _Context
    ) -> console_pb2.GetRunResponse:
        """One run."""
        detail = self._views.run_detail(request.run_id)
        if detail is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"run_id: no run {request.run_id[:64]}")
        return console_pb2.GetRunResponse(
            header=self._header(context), detail=to_proto(console_pb2.RunDetail, detail)
        )

    async def ListNodes(
        self, request: console_pb2.ListNodesRequest, context: _Context
    ) -> console_pb2.ListNodesResponse:
        """All nodes."""
        return console_pb2.ListNodesResponse(
            header=self._header(context),
            nodes=[to_proto(console_pb2.Node, node) for node in self._views.nodes()],
        )

    async def GetNode(
        self, request: console_pb2.GetNodeRequest, context: _Context
    ) -> console_pb2.GetNodeResponse:
        """One node."""
        detail = self._views.node_detail(request.node_name)
        if detail is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"node_name: no node {request.node_name[:64]}"
            )
        return console_pb2.GetNodeResponse(
            header=self._header(context), detail=to_proto(console_pb2.NodeDetail, detail)
        )

    async def ListGpus(
        self, request: console_pb2.ListGpusRequest, context: _Context
    ) -> console_pb2.ListGpusResponse:
        """GPUs."""
        gpus = self._views.gpus(request.node_name, request.run_id)
        return console_pb2.ListGpusResponse(
            header=self._header(context), gpus=[to_proto(console_pb2.Gpu, gpu) for gpu in gpus]
        )

    async def GetHub(
        self, request: console_pb2.GetHubRequest, context: _Context
    ) -> console_pb2.GetHubResponse:
        """The hub itself."""
        return console_pb2.GetHubResponse(
            header=self._header(context), hub=to_proto(console_pb2.Hub, self._status.now())
        )

    async def GetPower(
        self, request: power_pb2.GetPowerRequest, context: _Context
    ) -> console_pb2.GetPowerResponse:
        """The site's power."""
        power = to_proto(power_pb2.PowerView, self._views.power(request.hall))
        return console_pb2.GetPowerResponse(header=self._header(context), power=power)

    async def GetMap(
        self, request: console_pb2.GetMapRequest, context: _Context
    ) -> console_pb2.GetMapResponse:
        """A map of the site, a hall or a rack."""
        drawn = await self._map(request.map)
        return console_pb2.GetMapResponse(
            header=self._header(context), map=to_proto(site_pb2.SiteMap, drawn)
        )

    async def _map(self, request: site_pb2.MapRequest) -> SiteMap:
        wanted = from_proto(MapRequest, request)
        if not wanted.where:
            return self._maps.draw(wanted)
        return await asyncio.to_thread(self._maps.draw, wanted)  # a pattern of names may take long

    async def FindGpus(
        self, request: site_pb2.FindGpusRequest, context: _Context
    ) -> console_pb2.FindGpusResponse:
        """GPUs that a filter meets."""
        try:
            found = await asyncio.to_thread(
                self._maps.find, request.where, request.limit, request.order
            )
        except (MatchError, UnknownMetricError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        return console_pb2.FindGpusResponse(
            header=self._header(context),
            total_count=found.total_count,
            gpus=[to_proto(site_pb2.FoundGpu, gpu) for gpu in found.gpus],
        )

    async def ListPlaces(
        self, request: site_pb2.ListPlacesRequest, context: _Context
    ) -> console_pb2.ListPlacesResponse:
        """Places or runs with their roll-ups."""
        kind = _KINDS.get(request.kind)
        if kind is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "kind: must be stated")
            raise AssertionError
        if kind is PlaceKind.RACK and not request.name:
            found = await self._racks(request.hall)
        else:
            places = self._roll_ups.places(kind, request.hall, request.name)
            found = [to_proto(site_pb2.Place, place) for place in places]
        return console_pb2.ListPlacesResponse(header=self._header(context), places=found)

    async def _racks(self, hall: str) -> list[site_pb2.Place]:
        """Return racks; between some of them all others have their turn."""
        for _ in range(REGROUPED_TIMES):
            found: list[site_pb2.Place] = []
            try:
                for rack in self._roll_ups.each_rack(hall):
                    found.append(to_proto(site_pb2.Place, rack))
                    if len(found) % RACKS_AT_ONCE == 0:
                        await asyncio.sleep(0)
            except RegroupedError:
                continue
            return sorted(found, key=lambda place: (place.hall, place.name))
        racks = self._roll_ups.places(PlaceKind.RACK, hall)  # while a site links
        return [to_proto(site_pb2.Place, rack) for rack in racks]

    async def ListIdle(
        self, request: money_pb2.ListIdleRequest, context: _Context
    ) -> console_pb2.ListIdleResponse:
        """GPUs that cost and do no work."""
        return console_pb2.ListIdleResponse(
            header=self._header(context), idle=to_proto(money_pb2.IdleView, self._views.idle())
        )

    async def ListEvents(
        self, request: console_pb2.ListEventsRequest, context: _Context
    ) -> console_pb2.ListEventsResponse:
        """Events, newest first."""
        limit = min(request.limit, 2_000) if request.limit > 0 else EVENT_LIMIT
        events = self._events.recent(
            limit, request.run_id, request.node_name, request.after_event_id
        )
        return console_pb2.ListEventsResponse(
            header=self._header(context),
            events=[to_proto(common_pb2.Event, event) for event in events],
        )

    async def GetCurves(
        self, request: curve_pb2.GetCurvesRequest, context: _Context
    ) -> console_pb2.GetCurvesResponse:
        """How runs learned."""
        runs = self._registry.runs
        if unknown := [run_id for run_id in request.run_ids if run_id not in runs]:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"run_ids: no run {unknown[0][:64]}")
        return console_pb2.GetCurvesResponse(
            header=self._header(context), curves=self._curves({}, request.run_ids or sorted(runs))
        )

    def _curves(self, sent: dict[str, int], run_ids: Iterable[str]) -> list[curve_pb2.Curve]:
        """Return the curves that are not those that were sent, and note them as sent."""
        runs = self._registry.runs
        limit = min(max(CURVE_POINTS // max(len(runs), 1), LEAST_POINTS), POINT_LIMIT)
        found = []
        for run_id in run_ids:
            curve = runs[run_id].curve
            if sent.get(run_id, 0) != curve.revision:
                sent[run_id] = curve.revision
                found.append(to_proto(curve_pb2.Curve, curve.shown(run_id, limit)))
        return found

    async def ListIncidents(
        self, request: console_pb2.ListIncidentsRequest, context: _Context
    ) -> console_pb2.ListIncidentsResponse:
        """Incidents, those that count the most first."""
        limit = min(request.limit, 1_000) if request.limit > 0 else INCIDENT_LIMIT
        found = self._incidents.listed(closed=request.closed, limit=limit)
        return console_pb2.ListIncidentsResponse(
            header=self._header(context),
            incidents=[to_proto(incident_pb2.Incident, one) for one in found],
        )

    async def GetIncident(
        self, request: console_pb2.GetIncidentRequest, context: _Context
    ) -> console_pb2.GetIncidentResponse:
        """One incident in full."""
        incident = self._incidents.book.get(request.incident_id)
        if incident is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"incident_id: no incident {request.incident_id}"
            )
        return console_pb2.GetIncidentResponse(
            header=self._header(context), incident=to_proto(incident_pb2.Incident, incident)
        )

    async def GetTimeline(
        self, request: console_pb2.GetTimelineRequest, context: _Context
    ) -> console_pb2.GetTimelineResponse:
        """What happened in a span of time."""
        try:
            timeline = await self._timelines.get(
                request.run_id, request.since_unix_ns, request.until_unix_ns, request.max_points
            )
        except KeyError:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"run_id: no run {request.run_id[:64]}")
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DatabaseError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return console_pb2.GetTimelineResponse(
            header=self._header(context), timeline=to_proto(console_pb2.Timeline, timeline)
        )

    async def GetHistory(
        self, request: console_pb2.GetHistoryRequest, context: _Context
    ) -> console_pb2.GetHistoryResponse:
        """Values over time."""
        kind = _KINDS.get(request.place_kind)
        if kind is not None:
            place, most, since = request.place_name, request.max_points, request.since_unix_ns
            found = [self._past(kind, place, one, most, since) for one in request.series[:16]]
            return console_pb2.GetHistoryResponse(
                header=self._header(context),
                series=[to_proto(console_pb2.Series, one) for one in found],
            )
        if request.run_id not in self._registry.runs:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"run_id: no run {request.run_id[:64]}")
        series = self._series(
            request.run_id, request.series, request.max_points, request.since_unix_ns
        )
        return console_pb2.GetHistoryResponse(
            header=self._header(context), series=[to_proto(console_pb2.Series, s) for s in series]
        )

    def _past(
        self, kind: PlaceKind, place: str, name: str, max_points: int, since_unix_ns: int
    ) -> Series:
        unit, times, values = self._roll_ups.history(kind, place, name, since_unix_ns)
        rows = every_so_often(
            [(at, -1, value) for at, value in zip(times, values, strict=True)], max_points
        )
        return Series(
            name,
            unit,
            tuple(row[0] for row in rows),
            tuple(row[1] for row in rows),
            tuple(row[2] for row in rows),
        )

    def _series(
        self, run_id: str, names: Any, max_points: int, since_unix_ns: int = 0
    ) -> list[Series]:
        """Return a run's series; rates of before the last minutes come from the roll-ups' past."""
        history, found = self._registry.runs[run_id].history, []
        is_long = 0 < since_unix_ns < time.time_ns() - RATE_LIMIT * 10**9
        for name in list(names)[:16]:
            if is_long and name in RATES:
                past = self._past(PlaceKind.RUN, run_id, RATES[name], max_points, since_unix_ns)
                found.append(replace(past, name=name))
            else:
                found.append(history.series(name, max_points, since_unix_ns))
        return found

    async def WatchView(
        self, request: console_pb2.WatchViewRequest, context: _Context
    ) -> AsyncIterator[console_pb2.WatchViewResponse]:
        """A view each time it may have changed, at most once a period.

        The stream's own flow control waits for a slow console; what it missed meanwhile is counted
        and never sent.
        """
        self._status.watchers += 1
        try:
            async for answer in self._watched(request, context):
                yield answer
        finally:
            self._status.watchers -= 1

    async def _watched(
        self, request: console_pb2.WatchViewRequest, context: _Context
    ) -> AsyncIterator[console_pb2.WatchViewResponse]:
        period = max(request.period_seconds or 1.0, MIN_PERIOD_SECONDS)
        sent_revision, sent_layout, skipped, due = -1, -1, 0, time.monotonic()
        sent_curves, curves_due = dict[str, int](), due
        while True:
            if self._revision() != sent_revision:
                sent_revision = self._revision()
                answer = self._view(request, context, skipped)
                if request.HasField("map"):
                    drawn = await self._map(request.map)
                    layout = drawn.layout.revision if drawn.layout else -1
                    if layout == sent_layout:
                        drawn = replace(drawn, layout=None)
                    answer.map.CopyFrom(to_proto(site_pb2.SiteMap, drawn))
                    sent_layout = layout
                if request.curves and time.monotonic() >= curves_due:
                    curves_due = time.monotonic() + CURVE_SECONDS
                    answer.curves.extend(self._curves(sent_curves, sorted(self._registry.runs)))
                yield answer
            due += period
            late = time.monotonic() - due
            skipped = max(int(late // period), 0) if late > 0 else 0
            due += skipped * period
            await asyncio.sleep(max(due - time.monotonic(), 0))

    def _view(
        self, request: console_pb2.WatchViewRequest, context: _Context, skipped: int
    ) -> console_pb2.WatchViewResponse:
        answer = console_pb2.WatchViewResponse(header=self._header(context), skipped_count=skipped)
        if request.runs:
            answer.site.CopyFrom(to_proto(console_pb2.Site, self._views.site()))
            answer.runs.extend(to_proto(console_pb2.Run, brief(run)) for run in self._views.runs())
        if request.nodes:
            answer.nodes.extend(to_proto(console_pb2.Node, node) for node in self._views.nodes())
        if request.run_id and (run := self._views.run_detail(request.run_id)) is not None:
            answer.run.CopyFrom(to_proto(console_pb2.RunDetail, run))
            span = request.span_seconds
            since = time.time_ns() - int(span * 1e9) if 0 < span < FAR_SECONDS else 0
            series = self._series(request.run_id, request.series, request.max_points, since)
            answer.series.extend(to_proto(console_pb2.Series, one) for one in series)
        if request.node_name and (node := self._views.node_detail(request.node_name)) is not None:
            answer.node.CopyFrom(to_proto(console_pb2.NodeDetail, node))
        if request.idle:
            answer.idle.CopyFrom(to_proto(money_pb2.IdleView, self._views.idle()))
        if request.power:
            power = self._views.power(request.power_hall)
            answer.power.CopyFrom(to_proto(power_pb2.PowerView, power))
        if request.incidents:
            shown = self._incidents.listed(limit=INCIDENT_LIMIT)
            answer.incidents.extend(to_proto(incident_pb2.Incident, one) for one in shown)
        if request.events:
            events = self._events.recent(EVENT_LIMIT)
            answer.events.extend(to_proto(common_pb2.Event, event) for event in events)
            answer.actions.extend(
                to_proto(action_pb2.Action, brief_action(action))
                for action in self._journal.recent(ACTION_LIMIT)
            )
        return answer


def brief_action(action: Action) -> Action:
    """Return the action without what only its own screen shows."""
    parameters = action.parameters
    if parameters.shed is not None:
        parameters = replace(parameters, shed=replace(parameters.shed, plan=None))
    return replace(action, stages=(), ranks=(), missing_nodes=(), parameters=parameters)
