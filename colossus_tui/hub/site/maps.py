"""Maps: of the site a cell is a rack, of a hall a node, of a rack a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.nodes import GREY_SECONDS, Nodes
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.site.columns import NodeNames, StoreColumns, states
from colossus_tui.hub.site.rollup import Spread, spread
from colossus_tui.hub.site.rollups import ROLLED, WORST, RollUps
from colossus_tui.hub.store import APART, Names, Rows, Store
from colossus_tui.hub.where import select
from colossus_tui.model import (
    Found,
    FoundGpu,
    MapLayout,
    MapRequest,
    PlaceKind,
    RollUp,
    SiteMap,
)
from colossus_tui.model.match import MatchError, parse_gpus
from colossus_tui.model.site import FAILING_STATE, MAP_EXTRAS

SUMS, MAXIMA = ("power", "memory_used"), ("gpu_temperature", "memory_temperature", "age", "health")
FIND_LIMIT = 1_000
LARGE_GPUS, REUSE_SECONDS = 4_000, 0.5
KEPT_DRAWINGS = 64
NO_HALL, NO_RACK = "no hall", "no rack"  # names of what nodes are in that name none


class UnknownMetricError(ValueError):
    """No GPU has that metric; the message names those that there are."""


@dataclass(frozen=True, slots=True, eq=False)
class _Grid:
    """Where a map's cells are.

    Attributes:
        rows: Store's rows of the GPUs, cell after cell.
        starts: Where each cell begins in `rows`.
        nodes: Node row of each GPU.
        parts: Node rows of each cell, once each.
        part_starts: Where each cell begins in `parts`.
    """

    layout: MapLayout
    rows: Rows
    starts: Rows
    nodes: npt.NDArray[np.int32]
    parts: npt.NDArray[np.int32]
    part_starts: Rows


class Maps:
    """Draws maps and finds GPUs."""

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        registry: Registry,
        roll_ups: RollUps,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._registry = registry
        self._roll_ups = roll_ups
        self._names = NodeNames(nodes)
        self._clock = clock
        self._grids: dict[tuple[str, str], _Grid] = {}
        self._drawn: dict[MapRequest, tuple[float, SiteMap]] = {}  # and when

    # --- filters ---------------------------------------------------------------------------

    def _columns(self) -> StoreColumns:
        classes = {
            run.run_id: run.priority_class.value for run in list(self._registry.runs.values())
        }
        return StoreColumns(self._store, self._names.get(), classes, self._clock())

    def find(self, where: str, limit: int, order: str) -> Found:
        """Return GPUs that a filter meets, in the site's order or by a metric, the worst first.

        Raises:
            MatchError: The filter is wrong.
            UnknownMetricError: No GPU has the metric to order by.
        """
        if order and order not in self._store.gpus.names:
            known = ", ".join(sorted(self._store.gpus.names))
            raise UnknownMetricError(f"order: {order[:64]!r} is no metric here; known: {known}")
        match, columns = parse_gpus(where), self._columns()
        rows = np.flatnonzero(select(match, columns) & (columns.node_of >= 0))
        if order:
            values = _finite(self._store.gpus.column(order)[rows])
            rows = rows[np.argsort(-values if ROLLED.get(order, True) else values, kind="stable")]
        else:
            rows = rows[np.argsort(columns.node_of[rows], kind="stable")]
        chosen = rows[: min(limit if limit > 0 else 100, FIND_LIMIT)]
        return Found(rows.size, tuple(self._found(row, columns) for row in chosen.tolist()))

    def _found(self, row: int, columns: StoreColumns) -> FoundGpu:
        store = self._store
        node = int(columns.node_of[row])
        record, code = self._nodes.by_row[node], int(store.run_of[row])
        return FoundGpu(
            node_name=record.node_name,
            gpu_index=row - int(store.first_of[node]),
            gpu_uuid=store.uuids[row].decode(errors="replace"),
            hall=record.hall,
            rack=record.rack,
            run_id=store.runs.names[code] if code >= 0 else "",
            rank=int(store.rank_of[row]),
            age_seconds=min(float(columns.ages[node]), 1e9),
            values={
                name: float(store.gpus.values[index, row])
                for name, index in store.gpus.names.items()
                if np.isfinite(store.gpus.values[index, row])
            },
        )

    # --- maps ------------------------------------------------------------------------------

    def draw(self, request: MapRequest) -> SiteMap:
        """Return a map as it is now; a large one that a console has just got is not drawn again."""
        now = self._clock()
        known = self._drawn.get(request)
        if self._is_large and known is not None and now - known[0] < REUSE_SECONDS:
            return known[1]
        if len(self._drawn) >= KEPT_DRAWINGS:
            self._drawn.clear()
        drawn = self._draw(request, now)
        self._drawn[request] = now, drawn
        return drawn

    @property
    def _is_large(self) -> bool:
        return self._store.gpus.row_count > LARGE_GPUS

    def _draw(self, request: MapRequest, now: float) -> SiteMap:
        grid = self._grid(request.hall, request.rack)
        metric = request.metric or "power"
        ages = self._store.ages(now)
        known = metric in MAP_EXTRAS or metric in self._store.gpus.names
        values = self._values(metric if known else "", grid, ages)
        figures = spread(values, grid.starts)
        part = "sum" if metric in SUMS else "max" if metric in MAXIMA else "median"
        chosen, error = self._chosen(request.where)
        matches = chosen[grid.rows] if chosen is not None else None
        drawn: npt.NDArray[np.float64] = getattr(figures, part)
        return SiteMap(
            hall=request.hall,
            rack=request.rack,
            metric=metric,
            unit=MAP_EXTRAS.get(metric) or self._store.gpus.units.get(metric, ""),
            layout=grid.layout,
            values=drawn.astype("<f4").tobytes(),
            states=self._states(grid, ages).tobytes(),
            matching_counts=b"" if matches is None else _counts(matches, grid.starts),
            matching_gpu_count=0 if chosen is None else int(np.count_nonzero(chosen)),
            where_error=error,
            where=request.where,
            roll_up=self._rolled(request, metric)
            or self._roll_up(metric, grid, values, matches, ages),
        )

    def _chosen(self, where: str) -> tuple[npt.NDArray[np.bool_] | None, str]:
        if not where.strip():
            return None, ""
        try:
            columns = self._columns()
            return select(parse_gpus(where), columns) & (columns.node_of >= 0), ""
        except MatchError as error:
            return None, str(error)

    def _values(
        self, metric: str, grid: _Grid, ages: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float32]:
        if metric == "age":
            return np.minimum(ages, 1e9).astype(np.float32)[grid.nodes]
        if metric == "health":
            return states(ages).astype(np.float32)[grid.nodes]
        values = _finite(self._store.gpus.column(metric)[grid.rows])
        fresh = ages < GREY_SECONDS
        return values if fresh.all() else np.where(fresh[grid.nodes], values, np.float32(np.nan))

    def _states(self, grid: _Grid, ages: npt.NDArray[np.float64]) -> npt.NDArray[np.int8]:
        of_node = states(ages)
        failing = np.zeros(of_node.size, dtype=np.bool_)
        rows = self._nodes.failing_rows()
        failing[rows[rows < failing.size]] = True  # nodes may have come since the ages were taken
        if not grid.parts.size:
            return np.zeros(0, dtype=np.int8)
        oldest = np.maximum.reduceat(of_node[grid.parts], grid.part_starts)
        fails = np.logical_or.reduceat(failing[grid.parts], grid.part_starts)
        found: npt.NDArray[np.int8] = (oldest + fails * FAILING_STATE).astype(np.int8)
        return found

    def _rolled(self, request: MapRequest, metric: str) -> RollUp | None:
        """Return what the last tick has of a whole place, where that is shown and it is large."""
        is_whole = not request.where.strip() and request.hall != NO_HALL
        if not (is_whole and self._is_large and metric in ROLLED):
            return None
        kind = (
            PlaceKind.RACK if request.rack else PlaceKind.HALL if request.hall else PlaceKind.SITE
        )
        name = request.rack or request.hall
        places = self._roll_ups.places(kind, request.hall if request.rack else "", name)
        return places[0].roll_up(metric) if len(places) == 1 else None

    def _roll_up(
        self,
        metric: str,
        grid: _Grid,
        values: npt.NDArray[np.float32],
        matches: npt.NDArray[np.bool_] | None,
        ages: npt.NDArray[np.float64],
    ) -> RollUp | None:
        """Return the metric over what is shown, or what the filter meets of it."""
        if metric in MAP_EXTRAS or metric not in self._store.gpus.names:
            return None
        rows, nodes = grid.rows, grid.nodes
        if matches is not None:
            rows, nodes, values = rows[matches], nodes[matches], values[matches]
        unit, count = self._store.gpus.units[metric], int(rows.size)
        fresh = np.isfinite(values)
        reporting = int(np.count_nonzero(fresh))
        if not reporting:
            return RollUp(metric, unit, count)
        figures: Spread = spread(values, np.zeros(1, dtype=np.intp))
        return RollUp(
            metric,
            unit,
            count,
            reporting,
            float(figures.sum[0]),
            float(figures.min[0]),
            float(figures.median[0]),
            float(figures.max[0]),
            float(figures.p99[0]),
            float(ages[nodes[fresh]].max()),
            tuple(
                self._roll_ups.extreme(int(rows[place]), float(values[place]))
                for place in self._worst(metric, rows, values)
            ),
        )

    def _worst(self, metric: str, rows: Rows, values: npt.NDArray[np.float32]) -> list[int]:
        largest = ROLLED.get(metric, True)
        ranked = values if largest else -values
        usable = np.isfinite(ranked)
        if not largest:
            usable &= self._store.run_of[rows] >= 0  # idle ones are not the worst of all
        places = np.flatnonzero(usable)
        if places.size > WORST:
            places = places[np.argpartition(ranked[places], places.size - WORST)[-WORST:]]
        found: list[int] = places[np.argsort(-ranked[places], kind="stable")].tolist()
        return found

    # --- where the cells are ---------------------------------------------------------------

    def _grid(self, hall: str, rack: str) -> _Grid:
        grid = self._grids.get((hall, rack))
        if grid is None or grid.layout.revision != self._store.place_revision:
            if len(self._grids) > 256:
                self._grids.clear()
            grid = self._grids[hall, rack] = self._made(hall, rack)
        return grid

    def _made(self, hall: str, rack: str) -> _Grid:
        store, revision = self._store, self._store.place_revision
        rows = np.flatnonzero(store.node_of[: store.gpus.row_count] >= 0)
        nodes = store.node_of[rows]
        halls, racks = store.hall_of[nodes], store.rack_of[nodes]
        if hall:
            in_hall = "" if hall == NO_HALL else hall
            inside = halls == _code(store.halls, in_hall)
            if rack:
                in_rack = "" if rack == NO_RACK else f"{in_hall}{APART}{rack}"
                inside &= racks == _code(store.racks, in_rack)
            rows, nodes = rows[inside], nodes[inside]
            halls, racks = halls[inside], racks[inside]
        if not rows.size:
            none = np.zeros(0, dtype=np.intp)
            return _Grid(MapLayout(revision), rows, none, nodes, nodes, none)
        by_name = self._ranking(store.racks.names)[racks]
        gpus = rows - store.first_of[nodes]
        if not hall:
            outer, inner = self._ranking(store.halls.names)[halls], by_name
        else:
            of_node = self._node_ranking(nodes)
            outer, inner = (of_node, gpus) if rack else (by_name, of_node)
        order = np.lexsort((rows, inner, outer))
        rows, outer, inner = rows[order], outer[order], inner[order]
        changes = np.flatnonzero((np.diff(outer) != 0) | (np.diff(inner) != 0)) + 1
        starts = np.concatenate((np.zeros(1, dtype=np.intp), changes))
        group_starts = np.flatnonzero(np.diff(outer[starts], prepend=outer[0] - 1))
        layout = MapLayout(
            revision=revision,
            group_names=tuple(self._names_at(rows[starts[group_starts]], hall, rack, outer=True)),
            group_sizes=tuple(np.diff(group_starts, append=starts.size).tolist()),
            cell_names=tuple(self._names_at(rows[starts], hall, rack, outer=False)),
            gpu_counts=tuple(np.diff(starts, append=rows.size).tolist()),
        )
        nodes = store.node_of[rows]
        is_part = np.diff(nodes, prepend=-1) != 0
        is_part[starts] = True
        parts = np.flatnonzero(is_part)
        return _Grid(layout, rows, starts, nodes, nodes[parts], np.searchsorted(parts, starts))

    def _names_at(self, rows: Rows, hall: str, rack: str, *, outer: bool) -> list[str]:
        """Return the names of the groups or cells that begin with these rows."""
        store = self._store
        nodes = store.node_of[rows]
        if rack and not outer:
            return [str(gpu) for gpu in (rows - store.first_of[nodes]).tolist()]
        if rack or (hall and not outer):
            return [self._nodes.by_row[node].node_name for node in nodes.tolist()]
        if hall or not outer:
            codes, names = store.rack_of[nodes], store.racks.names
            return [names[c].rpartition(APART)[2] if c >= 0 else NO_RACK for c in codes.tolist()]
        codes, names = store.hall_of[nodes], store.halls.names
        return [names[code] if code >= 0 else NO_HALL for code in codes.tolist()]

    def _ranking(self, names: list[str]) -> Rows:
        """Return the place of each code by its name; that of code -1, the last, is after all."""
        ranking = np.empty(len(names) + 1, dtype=np.intp)
        ranking[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
        ranking[-1] = len(names)
        return ranking

    def _node_ranking(self, nodes: npt.NDArray[np.int32]) -> Rows:
        found, place = np.unique(nodes, return_inverse=True)
        names = [self._nodes.by_row[node].node_name for node in found.tolist()]
        return self._ranking(names)[place]


def _code(names: Names, name: str) -> int:
    """Return the code of a name, -1 for an empty one; of an unknown one a code that nobody has."""
    return names.known(name) if not name or names.known(name) >= 0 else -2


def _finite(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _counts(matches: npt.NDArray[np.bool_], starts: Rows) -> bytes:
    if not starts.size:
        return b""
    return np.add.reduceat(matches.astype("<i4"), starts).astype("<i4").tobytes()
