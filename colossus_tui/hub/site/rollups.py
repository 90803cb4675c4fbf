"""Roll-ups of all halls, racks and runs, made once a tick, and given out as the model's values."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.nodes import GREY_SECONDS, Nodes
from colossus_tui.hub.site.cells import Cells, group
from colossus_tui.hub.site.rollup import HIGH, Pairs, Rolled, Spread, pair, roll
from colossus_tui.hub.store import Floats, Rows, Store
from colossus_tui.model import Extreme, Place, PlaceKind, RollUp

# What is rolled up, and whether its larger end is the worse.
ROLLED = {
    "power": False,
    "gpu_temperature": True,
    "gpu_utilisation": False,
    "tensor_active": False,
    "sm_clock": False,
    "memory_used": True,
}
WORST = 8  # GPUs that are named
GROUP_SHARE = 10.0  # grouping anew may take a tenth of the time


class RollUps:
    """The site's roll-ups as of the last tick.

    Attributes:
        seconds: How long the last tick took.
        revision: Grows when places or who is in them change.
    """

    def __init__(
        self, store: Store, nodes: Nodes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self._grouped = -1
        self._grouped_at, self._grouping_seconds = -np.inf, 0.0
        self._ages: npt.NDArray[np.float64] = np.zeros(0)
        self._rolled: dict[str, Rolled] = {}
        self.cells: Cells = group(store)
        self._pairs: Pairs = pair(self.cells)
        self.revision = 0
        self.seconds = 0.0

    def tick(self) -> None:
        """Roll everything up as it is now."""
        began = time.perf_counter()
        self._regroup()
        self._ages = self._store.ages(self._clock())
        fresh = self._ages < GREY_SECONDS
        is_fresh = np.True_ if fresh.all() else fresh[self.cells.node_of]
        self._rolled = {
            metric: roll(self.cells, self._pairs, self._values(metric, is_fresh))
            for metric in ROLLED
            if metric in self._store.gpus.names
        }
        self.seconds = time.perf_counter() - began

    def _regroup(self) -> None:
        """Group anew when that has changed; while a site links, not each time."""
        store, now = self._store, self._clock()
        due = now - self._grouped_at >= self._grouping_seconds * GROUP_SHARE
        if self._grouped == store.revision or not due:
            return
        began = time.perf_counter()
        self._grouped = store.revision
        self.cells = group(store)
        self._pairs = pair(self.cells)
        self.revision += 1
        self._grouped_at, self._grouping_seconds = now, time.perf_counter() - began

    def _values(self, metric: str, is_fresh: npt.NDArray[np.bool_] | np.bool_) -> Floats:
        """Return a copy, which stays as of the tick; what is no number is not available."""
        column = self._store.gpus.column(metric)
        order = self.cells.order
        values = column[: order.size] if self.cells.is_plain else column[order]
        return np.where(np.isfinite(values) & is_fresh, values, np.float32(np.nan))

    # --- what is asked ---------------------------------------------------------------------

    def places(self, kind: PlaceKind, hall: str = "", name: str = "") -> list[Place]:
        """Return places of a kind with their roll-ups, by name."""
        if kind is PlaceKind.RACK:
            return self._racks(hall, name)
        found = [
            self._place(kind, place, chosen)
            for place, chosen in self._groups(kind)
            if name in ("", place)
        ]
        return sorted(found, key=lambda place: place.name)

    def power(self, kind: PlaceKind, name: str) -> tuple[float | None, int, int]:
        """Return the power of a place, watts, its GPUs, and those whose power is in it."""
        rolled = self._rolled.get("power")
        chosen = next((pairs for place, pairs in self._groups(kind) if place == name), None)
        if rolled is None or chosen is None:
            return None, 0, 0
        count = int(self.cells.sizes[chosen[self._pairs.of_cell]].sum())
        reporting = int(rolled.pairs.reporting[chosen].sum())
        watts = float(np.nansum(rolled.pairs.sum[chosen]))
        return (watts if reporting else None), count, reporting

    def run(self, run_id: str) -> Place | None:
        """Return the roll-ups of a run's GPUs; None where it holds none."""
        return next(iter(self.places(PlaceKind.RUN, name=run_id)), None) if run_id else None

    def _groups(self, kind: PlaceKind) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        pairs, store = self._pairs, self._store
        match kind:
            case PlaceKind.SITE:
                yield "", np.ones(pairs.hall.size, dtype=np.bool_)
            case PlaceKind.HALL:
                for code in np.unique(pairs.hall[pairs.hall >= 0]).tolist():
                    yield store.halls.names[code], pairs.hall == code
            case _:
                for code in np.unique(pairs.run[pairs.run >= 0]).tolist():
                    yield store.runs.names[code], pairs.run == code

    def _place(self, kind: PlaceKind, name: str, pairs: npt.NDArray[np.bool_]) -> Place:
        cells = np.flatnonzero(pairs[self._pairs.of_cell])
        spreads = {metric: rolled.over(pairs) for metric, rolled in self._rolled.items()}
        return self._built(kind, name, "", cells, spreads)

    def _racks(self, hall: str, name: str) -> list[Place]:
        codes = self.cells.rack
        firsts = np.flatnonzero(np.diff(codes, prepend=-2)).tolist()  # a rack's are together
        found = []
        for first, end in itertools.pairwise([*firsts, codes.size]):
            if codes[first] < 0:
                continue
            in_hall, _, rack = self._store.racks.names[codes[first]].rpartition("/")
            if hall not in ("", in_hall) or name not in ("", rack):
                continue
            cells = np.arange(first, end)
            spreads = {metric: self._over(rolled, cells) for metric, rolled in self._rolled.items()}
            found.append(self._built(PlaceKind.RACK, rack, in_hall, cells, spreads, worst=name))
        return sorted(found, key=lambda place: (place.hall, place.name))

    def _over(self, rolled: Rolled, cells: Rows) -> Spread:
        """Return the figures over the cells of one rack: more than one where runs share it."""
        if cells.size == 1:
            return rolled.cells.of(cells)
        values = np.sort(rolled.values[self.cells.rows_of(cells)])
        values = values[np.isfinite(values)].astype(np.float64)
        count = values.size
        if not count:
            none = np.array([np.nan])
            return Spread(np.array([0]), none, none, none, none, none)
        high = values[int(np.ceil(HIGH * count)) - 1]
        figures = (values.sum(), values[0], np.median(values), values[-1], high)
        return Spread(np.array([count]), *(np.array([figure]) for figure in figures))

    def _built(
        self,
        kind: PlaceKind,
        name: str,
        hall: str,
        cells: Rows,
        spreads: dict[str, Spread],
        worst: str = "*",
    ) -> Place:
        nodes = np.unique(self.cells.node_of[self.cells.rows_of(cells)])
        ages = self._ages[nodes]
        live = ages < GREY_SECONDS
        age = float(ages[live].max()) if live.any() else 0.0
        return Place(
            kind=kind,
            name=name,
            hall=hall,
            node_count=int(nodes.size),
            reporting_node_count=int(np.count_nonzero(live)),
            gpu_count=int(self.cells.sizes[cells].sum()),
            roll_ups=tuple(
                self._roll_up(metric, spread, cells, age, named=bool(worst))
                for metric, spread in spreads.items()
            ),
        )

    def _roll_up(
        self, metric: str, spread: Spread, cells: Rows, age: float, *, named: bool
    ) -> RollUp:
        reporting = int(spread.reporting[0])
        unit, count = self._store.gpus.units[metric], int(self.cells.sizes[cells].sum())
        if not reporting:
            return RollUp(metric, unit, count)
        return RollUp(
            metric,
            unit,
            count,
            reporting,
            float(spread.sum[0]),
            float(spread.min[0]),
            float(spread.median[0]),
            float(spread.max[0]),
            float(spread.p99[0]),
            age,
            self.worst(metric, cells) if named else (),
        )

    def runs(self) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
        """Yield every run that holds GPUs, with its pairs for `median` and `below`."""
        return self._groups(PlaceKind.RUN)

    def median(self, metric: str, pairs: npt.NDArray[np.bool_]) -> float | None:
        """Return a metric's median over pairs; None where none reports."""
        rolled = self._rolled.get(metric)
        spread = rolled.over(pairs) if rolled is not None else None
        return float(spread.median[0]) if spread is not None and spread.reporting[0] else None

    def worst(self, metric: str, cells: Rows) -> tuple[Extreme, ...]:
        """Return the GPUs at the worse end, the worst first; idle ones are not the worst of all."""
        rolled, largest = self._rolled[metric], ROLLED[metric]
        if not largest:
            cells = cells[self.cells.run[cells] >= 0]
        places = rolled.worst(self.cells, cells, largest=largest, count=WORST)
        rows, values = self._there(rolled, places)
        return tuple(map(self.extreme, rows.tolist(), values.tolist()))

    def below(self, metric: str, pairs: npt.NDArray[np.bool_], limit: float) -> tuple[Rows, Floats]:
        """Return the store's rows of GPUs with less of a metric, the lowest first; its values."""
        rolled = self._rolled[metric]
        cells = np.flatnonzero(pairs[self._pairs.of_cell] & (rolled.cells.min < limit))
        places = self.cells.rows_of(cells)
        places = places[rolled.values[places] < limit]
        return self._there(rolled, places[np.argsort(rolled.values[places], kind="stable")])

    def _there(self, rolled: Rolled, places: Rows) -> tuple[Rows, Floats]:
        """Return rows and values of places, less GPUs that have gone since the last tick."""
        rows = self.cells.order[places]
        is_there = self._store.node_of[rows] >= 0
        return rows[is_there], rolled.values[places[is_there]]

    def extreme(self, row: int, value: float) -> Extreme:
        """Return one GPU by its row, with a value of it."""
        store = self._store
        node = int(store.node_of[row])
        code = int(store.run_of[row])
        return Extreme(
            node_name=self._nodes.by_row[node].node_name,
            gpu_index=row - int(store.first_of[node]),
            value=value,
            run_id=store.runs.names[code] if code >= 0 else "",
            rank=int(store.rank_of[row]),
            age_seconds=min(float(self._ages[node]), 1e9) if node < self._ages.size else 0.0,
        )
