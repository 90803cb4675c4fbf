"""The reading half of the asyncio client: what consoles see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import grpc
import grpc.aio

from colossus_protos.v1 import console_pb2, curve_pb2, money_pb2, power_pb2, site_pb2
from colossus_tui.client._connection import Connection
from colossus_tui.client.errors import InvalidRequestError, from_rpc
from colossus_tui.model import (
    Curve,
    Event,
    Found,
    Gpu,
    Hub,
    IdleView,
    MapLayout,
    MapRequest,
    Node,
    NodeDetail,
    Place,
    PlaceKind,
    PowerView,
    Run,
    RunDetail,
    Series,
    Site,
    SiteMap,
    View,
)
from colossus_tui.model.match import MatchError, parse_gpus
from colossus_tui.wire import from_proto, to_proto


class Looking(Connection):
    """Asks and watches; changes nothing."""

    async def runs(self) -> tuple[Run, ...]:
        """Return every run, by class, then name."""
        answer = await self._call(self._console.ListRuns, console_pb2.ListRunsRequest())
        return tuple(from_proto(Run, run) for run in answer.runs)

    async def site(self) -> Site:
        """Return the site in one line."""
        answer = await self._call(self._console.ListRuns, console_pb2.ListRunsRequest())
        return from_proto(Site, answer.site)

    async def run(self, run_id: str) -> RunDetail:
        """Return one run down to its ranks."""
        request = console_pb2.GetRunRequest(run_id=run_id)
        return from_proto(RunDetail, (await self._call(self._console.GetRun, request)).detail)

    async def nodes(self) -> tuple[Node, ...]:
        """Return every node, by name."""
        answer = await self._call(self._console.ListNodes, console_pb2.ListNodesRequest())
        return tuple(from_proto(Node, node) for node in answer.nodes)

    async def node(self, node_name: str) -> NodeDetail:
        """Return one node down to its sensors and processes."""
        request = console_pb2.GetNodeRequest(node_name=node_name)
        return from_proto(NodeDetail, (await self._call(self._console.GetNode, request)).detail)

    async def gpus(self, *, node_name: str = "", run_id: str = "") -> tuple[Gpu, ...]:
        """Return GPUs, of all nodes or of one, of all runs or of one."""
        request = console_pb2.ListGpusRequest(node_name=node_name, run_id=run_id)
        answer = await self._call(self._console.ListGpus, request)
        return tuple(from_proto(Gpu, gpu) for gpu in answer.gpus)

    async def events(
        self, *, run_id: str = "", node_name: str = "", limit: int = 0, after_event_id: int = 0
    ) -> tuple[Event, ...]:
        """Return events, newest first."""
        request = console_pb2.ListEventsRequest(
            run_id=run_id, node_name=node_name, limit=limit, after_event_id=after_event_id
        )
        answer = await self._call(self._console.ListEvents, request)
        return tuple(from_proto(Event, event) for event in answer.events)

    async def history(
        self, run_id: str, series: Sequence[str], *, max_points: int = 0, since_unix_ns: int = 0
    ) -> tuple[Series, ...]:
        """Return series of a run, in the order asked for."""
        request = console_pb2.GetHistoryRequest(
            run_id=run_id, series=series, max_points=max_points, since_unix_ns=since_unix_ns
        )
        answer = await self._call(self._console.GetHistory, request)
        return tuple(from_proto(Series, one) for one in answer.series)

    async def curves(self, run_ids: Sequence[str] = ()) -> tuple[Curve, ...]:
        """Return how runs learned over their whole lives, of all runs or of these."""
        request = curve_pb2.GetCurvesRequest(run_ids=run_ids)
        answer = await self._call(self._console.GetCurves, request)
        return tuple(from_proto(Curve, curve) for curve in answer.curves)

    async def place_history(
        self,
        kind: PlaceKind,
        name: str,
        series: Sequence[str],
        *,
        max_points: int = 0,
        since_unix_ns: int = 0,
    ) -> tuple[Series, ...]:
        """Return series of the site, a hall or a run's GPUs, such as "power.sum"."""
        request = console_pb2.GetHistoryRequest(
            series=series,
            max_points=max_points,
            since_unix_ns=since_unix_ns,
            place_kind=_kind(kind),
            place_name=name,
        )
        answer = await self._call(self._console.GetHistory, request)
        return tuple(from_proto(Series, one) for one in answer.series)

    async def site_map(self, request: MapRequest) -> SiteMap:
        """Return a map of the site, a hall or a rack, with its layout.

        Raises:
            InvalidRequestError: Its filter is wrong.
        """
        _check(request.where)
        asked = console_pb2.GetMapRequest(map=to_proto(site_pb2.MapRequest, request))
        return from_proto(SiteMap, (await self._call(self._console.GetMap, asked)).map)

    async def hub(self) -> Hub:
        """Return how the hub itself fares."""
        answer = await self._call(self._console.GetHub, console_pb2.GetHubRequest())
        return from_proto(Hub, answer.hub)

    async def idle(self) -> IdleView:
        """Return GPUs that cost and do no work, by owner and hall."""
        answer = await self._call(self._console.ListIdle, money_pb2.ListIdleRequest())
        return from_proto(IdleView, answer.idle)

    async def find_gpus(self, where: str = "", *, limit: int = 100, order: str = "") -> Found:
        """Return the first GPUs that a filter meets, and how many there are.

        Args:
            where: Filter of GPUs, such as "run=10t and temp>85"; empty for all.
            order: Metric to order by, the worst first; empty for the site's order.

        Raises:
            InvalidRequestError: The filter or the metric is wrong.
        """
        _check(where)
        request = site_pb2.FindGpusRequest(where=where, limit=limit, order=order)
        return from_proto(Found, await self._call(self._console.FindGpus, request))

    async def places(self, kind: PlaceKind, *, hall: str = "", name: str = "") -> tuple[Place, ...]:
        """Return places or runs with their roll-ups, by name.

        Args:
            hall: Only of this hall.
            name: Only this one; a rack asked for alone names its worst GPUs.
        """
        request = site_pb2.ListPlacesRequest(kind=_kind(kind), hall=hall, name=name)
        answer = await self._call(self._console.ListPlaces, request)
        return tuple(from_proto(Place, place) for place in answer.places)

    async def power(self, *, hall: str = "") -> PowerView:
        """Return the site's power against its limits, and its cooling loops.

        Args:
            hall: Hall whose racks to add; "" for none.
        """
        request = power_pb2.GetPowerRequest(hall=hall)
        return from_proto(PowerView, (await self._call(self._console.GetPower, request)).power)

    async def watch(
        self,
        *,
        runs: bool = True,
        nodes: bool = False,
        run_id: str = "",
        node_name: str = "",
        events: bool = False,
        series: Sequence[str] = (),
        max_points: int = 0,
        period: float = 1.0,
        map: MapRequest | None = None,
        incidents: bool = False,
        idle: bool = False,
        curves: bool = False,
        span: float = 0.0,
        power: bool = False,
        power_hall: str = "",
    ) -> AsyncIterator[View]:
        """Yield the view each time it changes, at most once a period, until the hub goes away.

        Args:
            map: A map to send along; each one yielded has its layout.
            incidents: Whether to send incidents along.
            idle: Whether to send idle GPUs along.
            curves: How all runs learned; each view has all curves, as new as some seconds.
            span: How far the series reach back, seconds; 0 for what the finest level holds.
            power: Whether to send the site's power along.
            power_hall: Hall whose racks to add to it.

        Raises:
            HubUnreachableError: The hub went away; call again to go on.
            InvalidRequestError: The map's filter is wrong.
        """
        _check(map.where if map else "")
        request = console_pb2.WatchViewRequest(
            runs=runs,
            nodes=nodes,
            run_id=run_id,
            node_name=node_name,
            events=events,
            series=series,
            max_points=max_points,
            period_seconds=period,
            map=to_proto(site_pb2.MapRequest, map) if map else None,
            incidents=incidents,
            idle=idle,
            curves=curves,
            span_seconds=span,
            power=power,
            power_hall=power_hall,
        )
        layout: MapLayout | None = None  # the hub sends it only when it has changed,
        learned: dict[str, Curve] = {}  # and of the curves those that have
        try:
            async for answer in self._console.WatchView(request):
                view = from_proto(View, answer)
                if view.map is not None:
                    layout = view.map.layout or layout
                    view = replace(view, map=replace(view.map, layout=layout))
                if curves:
                    learned |= {curve.run_id: curve for curve in view.curves}
                    view = replace(view, curves=tuple(learned.values()))
                yield view
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address, self.timeout) from None


def _check(where: str) -> None:
    try:
        parse_gpus(where)
    except MatchError as error:
        raise InvalidRequestError(str(error)) from None


def _kind(kind: PlaceKind) -> site_pb2.PlaceKind.ValueType:
    return site_pb2.PlaceKind.Value(f"PLACE_KIND_{PlaceKind(kind).name}")
