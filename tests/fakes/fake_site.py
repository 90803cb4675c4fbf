"""A hub of a whole site for consoles: a real gRPC server that answers from what it is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

from colossus_protos.v1 import console_pb2, power_pb2, site_pb2
from colossus_tui.model.match import GPU_FIELDS, NumberField, parse_gpus

SERVICE = console_pb2.DESCRIPTOR.services_by_name["Console"].full_name


@dataclass(frozen=True, slots=True)
class GpuRow:
    """One GPU as the filter language sees it."""

    gpu: site_pb2.FoundGpu

    def number(self, field: str) -> float | None:
        """Return a number by the filter's name for it."""
        own = {"age": self.gpu.age_seconds, "rank": self.gpu.rank, "gpu": self.gpu.gpu_index}
        if field in own:
            return own[field]
        known = GPU_FIELDS[field]
        assert isinstance(known, NumberField)
        return self.gpu.values.get(known.metric)

    def texts(self, field: str) -> Sequence[str]:
        """Return a field's texts."""
        gpu = self.gpu
        fields = {"run": gpu.run_id, "node": gpu.node_name, "rack": gpu.rack, "hall": gpu.hall}
        return ((fields | {"uuid": gpu.gpu_uuid}).get(field, ""),)

    def words(self) -> Sequence[str]:
        """Return the texts by which it is known."""
        return tuple(name for field in ("run", "node", "rack", "hall", "uuid")
                     for name in self.texts(field))  # fmt: skip


class FakeSite:
    """Answers some of Console's questions; the others are not implemented.

    Attributes:
        site: The site in one line.
        runs: What GetRun chooses from.
        gpus: What FindGpus looks through.
        hidden_count: So many more it says that it found.
        places: What ListPlaces chooses from.
        maps: What WatchView streams, one a view; GetMap answers with the first.
        power: What GetPower answers with.
        asked: Every request, in order.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.site = console_pb2.Site(site_name="fake")
        self.runs: list[console_pb2.RunDetail] = []
        self.gpus: list[site_pb2.FoundGpu] = []
        self.hidden_count = 0
        self.places: list[site_pb2.Place] = []
        self.maps: list[site_pb2.SiteMap] = []
        self.power = power_pb2.PowerView()
        self.asked: list[Any] = []
        self._server: Any = None

    def __enter__(self) -> FakeSite:
        self._server = grpc.server(ThreadPoolExecutor(4))
        answers: dict[str, tuple[Any, Any]] = {
            "ListRuns": (console_pb2.ListRunsRequest, self._list_runs),
            "GetRun": (console_pb2.GetRunRequest, self._get_run),
            "GetMap": (console_pb2.GetMapRequest, self._get_map),
            "FindGpus": (site_pb2.FindGpusRequest, self._find_gpus),
            "ListPlaces": (site_pb2.ListPlacesRequest, self._list_places),
            "GetPower": (power_pb2.GetPowerRequest, self._get_power),
        }
        handlers: dict[str, Any] = {
            name: grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (request, answer) in answers.items()
        }
        handlers["WatchView"] = grpc.unary_stream_rpc_method_handler(
            self._watch_view,
            request_deserializer=console_pb2.WatchViewRequest.FromString,
            response_serializer=console_pb2.WatchViewResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(SERVICE, handlers)
        self._server.add_generic_rpc_handlers((service,))
        assert self._server.add_insecure_port(self.address)
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait()

    def _list_runs(self, request: Any, _: Any) -> console_pb2.ListRunsResponse:
        self.asked.append(request)
        runs = [detail.run for detail in self.runs]
        return console_pb2.ListRunsResponse(site=self.site, runs=runs)

    def _get_run(self, request: Any, context: Any) -> console_pb2.GetRunResponse:
        self.asked.append(request)
        for detail in self.runs:
            if detail.run.run_id == request.run_id:
                return console_pb2.GetRunResponse(detail=detail)
        context.abort(grpc.StatusCode.NOT_FOUND, f"there is no run {request.run_id}")
        raise AssertionError("an abort raises")

    def _get_map(self, request: Any, _: Any) -> console_pb2.GetMapResponse:
        self.asked.append(request)
        return console_pb2.GetMapResponse(map=self.maps[0])

    def _get_power(self, request: Any, _: Any) -> console_pb2.GetPowerResponse:
        self.asked.append(request)
        return console_pb2.GetPowerResponse(power=self.power)

    def _find_gpus(self, request: Any, _: Any) -> console_pb2.FindGpusResponse:
        self.asked.append(request)
        meets = parse_gpus(request.where)
        found = [gpu for gpu in self.gpus if meets(GpuRow(gpu))]
        if request.order:
            found.sort(key=lambda gpu: -gpu.values.get(request.order, 0.0))
        return console_pb2.FindGpusResponse(
            total_count=len(found) + (self.hidden_count if found else 0),
            gpus=found[: request.limit or 100],
        )

    def _list_places(self, request: Any, _: Any) -> console_pb2.ListPlacesResponse:
        self.asked.append(request)
        chosen = [
            place
            for place in self.places
            if place.kind == request.kind
            and request.hall in ("", place.hall)
            and request.name in ("", place.name)
        ]
        return console_pb2.ListPlacesResponse(places=chosen)

    def _watch_view(self, request: Any, _: Any) -> Iterator[console_pb2.WatchViewResponse]:
        self.asked.append(request)
        for one in self.maps:
            yield console_pb2.WatchViewResponse(header=console_pb2.Header(revision=1), map=one)
