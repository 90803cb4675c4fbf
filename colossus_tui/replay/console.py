"""The consoles' service from a recording: what was recorded, and a word about what was not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from colossus_protos.v1 import console_pb2, site_pb2
from colossus_tui.recording.questions import (
    EVENTS,
    INCIDENTS,
    LIST_LIMIT,
    NODE_LIMIT,
    NODES,
    OVERLAY_METRIC,
    RUNS,
    flags,
    incident_scope,
    map_scope,
    node_scope,
    run_scope,
    timeline_scope,
)
from colossus_tui.recording.topics import scope
from colossus_tui.replay.player import Player

_Context = grpc.aio.ServicerContext[Any, Any]
MIN_PERIOD_SECONDS = 0.1
NO_NODES = f"nodes: only on sites of up to {LIST_LIMIT}"
NO_NODE = f"only on sites of up to {NODE_LIMIT} nodes"
NO_MAP = "this map: the site's is, and its halls' by power and health"
NO_FILTER = "a replay cannot filter GPUs; only where a run is was recorded, on the map of the site"


class ReplayConsole:
    """Serves views of the instant at which the player stands.

    What has no method here is answered from the view that carries the same message.
    """

    def __init__(self, player: Player) -> None:
        self._player = player

    def _header(self) -> console_pb2.Header:
        """Return the header: the time is the replay's, and nobody may change anything."""
        recorded = self._player.answer(RUNS, console_pb2.WatchViewResponse)
        return console_pb2.Header(
            revision=self._player.revision,
            time_unix_ns=self._player.position,
            hub_version=recorded.header.hub_version if recorded is not None else "",
            role="viewer",
        )

    # --- views -------------------------------------------------------------------------------

    async def WatchView(
        self, request: console_pb2.WatchViewRequest, context: _Context
    ) -> AsyncIterator[console_pb2.WatchViewResponse]:
        """A view each time it changes, at most once a period; at once when somebody seeks."""
        del context
        period = max(request.period_seconds or 1.0, MIN_PERIOD_SECONDS)
        sent = -1
        while True:
            if (revision := self._player.revision) != sent:
                sent = revision
                yield self._view(request)
            await self._player.wait(period)

    def _view(self, request: console_pb2.WatchViewRequest) -> console_pb2.WatchViewResponse:
        answer, missing = console_pb2.WatchViewResponse(), []
        for name in flags():
            if not getattr(request, name):
                continue
            found = self._recorded(name)
            if found is not None:
                answer.MergeFrom(found)
            else:
                missing.append(NO_NODES if name == NODES else f"{name}, nothing up to here")
        if request.run_id:
            missing += self._add_run(request, answer)
        if request.node_name:
            found = self._recorded(node_scope(request.node_name))
            if found is not None:
                answer.node.CopyFrom(found.node)
            else:
                missing.append(f"node {request.node_name[:64]}, {NO_NODE}")
        if request.power_hall:
            missing.append("racks of a hall in its power")
        if request.HasField("map"):
            drawn, why = self._map(request.map)
            answer.map.CopyFrom(drawn)
            missing += [why] if why else []
        answer.header.CopyFrom(self._header())
        text = f"not recorded: {'; '.join(missing)}" if missing else ""
        answer.playback.CopyFrom(self._player.playback(text))
        return answer

    def _recorded(self, name: str) -> console_pb2.WatchViewResponse | None:
        return self._player.answer(name, console_pb2.WatchViewResponse)

    def _add_run(
        self, request: console_pb2.WatchViewRequest, answer: console_pb2.WatchViewResponse
    ) -> list[str]:
        """Add a run and its past; returns what is missing."""
        found = self._run(request.run_id)
        if found is None:
            return [f"run {request.run_id[:64]}, nothing up to here"]
        answer.run.CopyFrom(found.run)
        by_name = {one.name: one for one in found.series}
        answer.series.extend(by_name[name] for name in request.series if name in by_name)
        return []

    def _run(self, run_id: str) -> console_pb2.WatchViewResponse | None:
        """Return a run in full, its own figures as new as those in the list of runs."""
        found = self._recorded(run_scope(run_id))
        if found is None or not found.HasField("run"):
            return None
        listed = self._recorded(RUNS)
        newer = next((run for run in listed.runs if run.run_id == run_id), None) if listed else None
        if newer is not None:
            names = list(found.run.run.node_names)
            found.run.run.CopyFrom(newer)
            del found.run.run.node_names[:]
            found.run.run.node_names.extend(names)
        return found

    def _map(self, request: site_pb2.MapRequest) -> tuple[site_pb2.SiteMap, str]:
        """Return a map, and what of it is missing."""
        plain = site_pb2.MapRequest(hall=request.hall, rack=request.rack, metric=request.metric)
        found = self._recorded(map_scope(plain))
        if found is None:
            return site_pb2.SiteMap(
                hall=request.hall, rack=request.rack, metric=request.metric, where=request.where
            ), NO_MAP
        drawn = found.map
        if request.where:
            drawn.where = request.where
            plain.metric, plain.where = OVERLAY_METRIC, request.where
            overlay = self._recorded(map_scope(plain))
            cells = len(drawn.layout.cell_names)
            if overlay is None or len(overlay.map.matching_counts) != 4 * cells:
                drawn.where_error = NO_FILTER
            else:
                drawn.matching_counts = overlay.map.matching_counts
                drawn.matching_gpu_count = overlay.map.matching_gpu_count
                drawn.ClearField("roll_up")  # it is of the whole map
        return drawn, ""

    # --- single questions --------------------------------------------------------------------

    async def ListRuns(
        self, request: console_pb2.ListRunsRequest, context: _Context
    ) -> console_pb2.ListRunsResponse:
        """The site and all runs."""
        found = self._recorded(RUNS)
        if found is None:
            await _missing(context, "runs")
        return console_pb2.ListRunsResponse(header=self._header(), site=found.site, runs=found.runs)

    async def GetRun(
        self, request: console_pb2.GetRunRequest, context: _Context
    ) -> console_pb2.GetRunResponse:
        """One run."""
        found = self._run(request.run_id)
        if found is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"run_id: nothing of run {request.run_id[:64]} up to here",
            )
            raise AssertionError
        return console_pb2.GetRunResponse(header=self._header(), detail=found.run)

    async def ListNodes(
        self, request: console_pb2.ListNodesRequest, context: _Context
    ) -> console_pb2.ListNodesResponse:
        """All nodes."""
        found = self._recorded(NODES)
        if found is None:
            await _missing(context, NO_NODES)
        return console_pb2.ListNodesResponse(header=self._header(), nodes=found.nodes)

    async def GetNode(
        self, request: console_pb2.GetNodeRequest, context: _Context
    ) -> console_pb2.GetNodeResponse:
        """One node."""
        found = self._recorded(node_scope(request.node_name))
        if found is None or not found.HasField("node"):
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"node_name: nothing of node {request.node_name[:64]}; {NO_NODE}",
            )
            raise AssertionError
        return console_pb2.GetNodeResponse(header=self._header(), detail=found.node)

    async def ListGpus(
        self, request: console_pb2.ListGpusRequest, context: _Context
    ) -> console_pb2.ListGpusResponse:
        """GPUs, of one run or of one node."""
        gpus: list[console_pb2.Gpu] = []
        if request.run_id:
            run = self._run(request.run_id)
            gpus = list(run.run.gpus) if run is not None else []
        elif request.node_name:
            node = self._recorded(node_scope(request.node_name))
            gpus = list(node.node.gpus) if node is not None else []
        if not gpus:
            await _missing(context, f"these GPUs; name a run, or a node: {NO_NODE}")
        named = request.node_name
        return console_pb2.ListGpusResponse(
            header=self._header(), gpus=[gpu for gpu in gpus if named in ("", gpu.node_name)]
        )

    async def ListEvents(
        self, request: console_pb2.ListEventsRequest, context: _Context
    ) -> console_pb2.ListEventsResponse:
        """Events, newest first."""
        found = self._recorded(EVENTS)
        if found is None:
            await _missing(context, "events")
        events = [
            event
            for event in found.events
            if request.run_id in ("", event.run_id)
            and request.node_name in ("", event.node_name)
            and event.event_id > request.after_event_id
        ]
        return console_pb2.ListEventsResponse(
            header=self._header(), events=events[: request.limit or None]
        )

    async def GetHistory(
        self, request: console_pb2.GetHistoryRequest, context: _Context
    ) -> console_pb2.GetHistoryResponse:
        """Values over time, of a run."""
        found = self._run(request.run_id) if request.run_id else None
        if found is None:
            await _missing(context, "this history; those of runs are")
        by_name = {one.name: one for one in found.series}
        return console_pb2.GetHistoryResponse(
            header=self._header(),
            series=[by_name[name] for name in request.series if name in by_name],
        )

    async def GetMap(
        self, request: console_pb2.GetMapRequest, context: _Context
    ) -> console_pb2.GetMapResponse:
        """A map."""
        drawn, missing = self._map(request.map)
        if missing:
            await _missing(context, missing)
        return console_pb2.GetMapResponse(header=self._header(), map=drawn)

    async def ListPlaces(
        self, request: site_pb2.ListPlacesRequest, context: _Context
    ) -> console_pb2.ListPlacesResponse:
        """The site or its halls with their roll-ups."""
        kind = site_pb2.PlaceKind.Name(request.kind) if request.kind in _KINDS else ""
        name = scope("places", kind.removeprefix("PLACE_KIND_").lower())
        found = self._player.answer(name, console_pb2.ListPlacesResponse)
        if found is None:
            await _missing(context, "these places; the site and its halls are")
        places = [place for place in found.places if request.name in ("", place.name)]
        return console_pb2.ListPlacesResponse(header=self._header(), places=places)

    async def GetIncident(
        self, request: console_pb2.GetIncidentRequest, context: _Context
    ) -> console_pb2.GetIncidentResponse:
        """One incident in full, or as the list has it."""
        name = incident_scope(request.incident_id)
        found = self._player.answer(name, console_pb2.GetIncidentResponse)
        listed = self._recorded(INCIDENTS)
        known = {one.incident_id: one for one in listed.incidents} if listed is not None else {}
        incident = found.incident if found is not None else known.get(request.incident_id)
        if incident is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"incident_id: nothing of incident {request.incident_id} up to here",
            )
            raise AssertionError
        return console_pb2.GetIncidentResponse(header=self._header(), incident=incident)

    async def GetTimeline(
        self, request: console_pb2.GetTimelineRequest, context: _Context
    ) -> console_pb2.GetTimelineResponse:
        """The minutes before, of a run or of the site."""
        name = timeline_scope(request.run_id)
        found = self._player.answer(name, console_pb2.GetTimelineResponse)
        if found is None:
            await _missing(context, "this timeline; those of the site and of runs are")
        return console_pb2.GetTimelineResponse(header=self._header(), timeline=found.timeline)

    async def FindGpus(
        self, request: site_pb2.FindGpusRequest, context: _Context
    ) -> console_pb2.FindGpusResponse:
        """Not from a recording."""
        await _missing(context, NO_FILTER)

    async def other(self, kind: type[Message], context: _Context) -> Message:
        """Answer any other question: with what a view carries under the same name."""
        for name in flags():
            if name in kind.DESCRIPTOR.fields_by_name:
                found: Any = self._player.answer(name, kind)
                if found is not None:
                    found.header.CopyFrom(self._header())
                    return cast("Message", found)
        await _missing(context, "the answer to this")


_KINDS = site_pb2.PlaceKind.values()


async def _missing(context: _Context, what: str) -> NoReturn:
    """Say that it was not recorded."""
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"not recorded: {what}")
    raise AssertionError
