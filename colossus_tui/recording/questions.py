"""What a recorder asks: every view, each run, and of a small site each node; maps, places, journal.

The replay looks answers up by the same scopes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from colossus_protos.v1 import action_pb2, console_pb2, site_pb2
from colossus_tui.model.match import Text
from colossus_tui.model.site import MAP_METRICS
from colossus_tui.recording.topics import scope

SERIES = ("loss", "grad_norm", "step_seconds", "tokens_per_second", "power_watts")
SERIES_POINTS = 200
NODE_LIMIT = 256  # of a larger site nothing of a single node
LIST_LIMIT = 2_048  # of a larger site no list of nodes
HALL_LIMIT, RACK_LIMIT = 32, 16
ACTION_LIMIT, INCIDENT_LIMIT = 50, 100
FEW_METRICS = ("power", "health")  # of each hall of a large site
OVERLAY_METRIC = "power"  # of the map that shows where a run is
# Shortest time between two answers to a question, seconds.
VIEW_SECONDS = 1.0
SLOWER_VIEWS = {"nodes": 5.0, "idle": 5.0, "curves": 10.0}
RUN_SECONDS, NODE_SECONDS, MAP_SECONDS = 2.0, 5.0, 10.0
JOURNAL_SECONDS, PLACES_SECONDS = 2.0, 10.0
INCIDENT_SECONDS, TIMELINE_SECONDS = 5.0, 30.0
EVENTS, INCIDENTS, JOURNAL, NODES, RUNS = "events", "incidents", "journal", "nodes", "runs"
MAP, SITE_MAP = "map", "map of the site"


class Source(Protocol):
    """Who is asked."""

    async def view(self, request: console_pb2.WatchViewRequest) -> Message | None:
        """Return a view as it is now; None where there is none."""

    async def call(self, name: str, request: Message) -> Message | None:
        """Return the answer of a call of Console or Actions; None where there is none."""


Ask: TypeAlias = Callable[[Source], Awaitable[Message | None]]


@dataclass(slots=True)
class Question:
    """One question that is asked again and again.

    Attributes:
        kind: What costs about the same, and is worth a share of a processor together.
        period: Shortest time between two answers, seconds.
    """

    kind: str
    scope: str
    period: float
    ask: Ask
    asked: float = float("-inf")

    def overdue(self, now: float) -> float:
        """Return how late it is, in periods; below 1 it is not due."""
        return (now - self.asked) / self.period


def flags() -> list[str]:
    """Return the views that a console asks for by a flag alone; those to come as well."""
    return [
        field.name
        for field in console_pb2.WatchViewRequest.DESCRIPTOR.fields
        if field.type == FieldDescriptor.TYPE_BOOL
    ]


def by_flag(name: str) -> Question:
    """Ask for a view."""
    request = console_pb2.WatchViewRequest()
    setattr(request, name, True)
    return _view(name, name, SLOWER_VIEWS.get(name, VIEW_SECONDS), request)


def journal() -> Question:
    """Ask for the latest actions in full."""
    request = action_pb2.ListRequest(limit=ACTION_LIMIT)
    return Question(JOURNAL, JOURNAL, JOURNAL_SECONDS, lambda source: source.call("List", request))


def of_site() -> Iterator[Question]:
    """Ask for what every site has."""
    for kind in ("site", "hall"):
        yield _places(kind)
    yield _timeline("")
    for metric in MAP_METRICS:
        yield of_map("", "", metric)


def of_run(run_id: str) -> Iterator[Question]:
    """Ask for a run down to its ranks, with its past, and for where it is."""
    request = console_pb2.WatchViewRequest(run_id=run_id, series=SERIES, max_points=SERIES_POINTS)
    yield _view("run", run_scope(run_id), RUN_SECONDS, request)
    yield of_map("", "", OVERLAY_METRIC, str(Text("run", "=", (run_id,))))
    yield _timeline(run_id)


def of_incident(incident_id: int) -> Question:
    """Ask for an incident with its members and its log."""
    request = console_pb2.GetIncidentRequest(incident_id=incident_id)
    name = incident_scope(incident_id)
    return Question(
        "incident", name, INCIDENT_SECONDS, lambda source: source.call("GetIncident", request)
    )


def _timeline(run_id: str) -> Question:
    """Ask for the last minutes of a run, or of the site, on one clock."""
    request = console_pb2.GetTimelineRequest(run_id=run_id, max_points=SERIES_POINTS)
    name = timeline_scope(run_id)
    return Question(
        "timeline", name, TIMELINE_SECONDS, lambda source: source.call("GetTimeline", request)
    )


def of_node(node_name: str) -> Question:
    """Ask for a node down to its processes."""
    request = console_pb2.WatchViewRequest(node_name=node_name)
    return _view("node", node_scope(node_name), NODE_SECONDS, request)


def of_map(hall: str, rack: str, metric: str, where: str = "") -> Question:
    """Ask for a map."""
    asked = site_pb2.MapRequest(hall=hall, rack=rack, metric=metric, where=where)
    request = console_pb2.WatchViewRequest(map=asked)
    turns = 3 if where else 2 if hall else 1  # what is looked at less, less often
    kind = MAP if hall or where else SITE_MAP
    return _view(kind, map_scope(asked), MAP_SECONDS * turns, request)


def _view(kind: str, name: str, period: float, request: console_pb2.WatchViewRequest) -> Question:
    return Question(kind, name, period, lambda source: source.view(request))


def _places(kind: str) -> Question:
    request = site_pb2.ListPlacesRequest(
        kind=site_pb2.PlaceKind.Value(f"PLACE_KIND_{kind.upper()}")
    )
    return Question(
        "places",
        scope("places", kind),
        PLACES_SECONDS,
        lambda source: source.call("ListPlaces", request),
    )


def run_scope(run_id: str) -> str:
    """Return the scope of one run."""
    return scope("run", run_id)


def node_scope(node_name: str) -> str:
    """Return the scope of one node."""
    return scope("node", node_name)


def incident_scope(incident_id: int) -> str:
    """Return the scope of one incident."""
    return scope("incident", str(incident_id))


def timeline_scope(run_id: str) -> str:
    """Return the scope of the timeline of a run, "" for the site."""
    return scope("timeline", run_id)


def map_scope(asked: site_pb2.MapRequest) -> str:
    """Return the scope of a map."""
    metric = asked.metric or MAP_METRICS[0]
    return scope("map", asked.hall, asked.rack, metric, asked.where)
