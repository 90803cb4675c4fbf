"""Roll-ups of all halls, racks and runs, made once a tick, and given out as the model's values."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.nodes import GREY_SECONDS, Nodes
from colossus_tui.hub.site.cells import Cells, group
from colossus_tui.hub.site.rings import Rings
from colossus_tui.hub.site.rollup import HIGH, Pairs, Rolled, Spread, pair, roll
from colossus_tui.hub.store import APART, Floats, Rows, Store
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
# What the past keeps of each place.
KEPT = {
    "power": ("sum",),
    "gpu_temperature": ("median", "max"),
    "gpu_utilisation": ("median",),
    "tensor_active": ("median",),
    "sm_clock": ("median", "min"),
    "memory_used": ("sum",),
}
RATE = "tokens_per_second"
# Of a large site, what changes slowly is not rolled up each tick.
SLOW, SLOW_TICKS, LARGE_GPUS = ("memory_used",), 5, 50_000
WORST = 8  # GPUs that are named
GROUP_SHARE = 10.0  # grouping anew may take a tenth of the time


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """A hall, a run or the site, which pairs make it up."""

    kind: PlaceKind
    name: str
    number: int  # row of `RollUps._spreads`
    cells: Rows
    nodes: npt.NDArray[np.int32]
    gpu_count: int


class RegroupedError(Exception):
    """The places are others than they were."""


class RollUps:
    """The site's roll-ups as of the last tick.

    Attributes:
        rates: Tells what else the past keeps of a run: its tokens/s, by name.
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
        self._spreads: dict[str, Spread] = {}  # by metric; one row a group
        self._groups: dict[tuple[PlaceKind, str], _Group] = {}
        self._members: Rows = np.zeros(0, dtype=np.intp)  # pairs, group after group
        self._starts: Rows = np.zeros(0, dtype=np.intp)  # where each group begins in them
        self._places: dict[tuple[PlaceKind, str, str], list[Place]] = {}  # given out since
        self.cells: Cells = group(store)
        self._pairs: Pairs = pair(self.cells)
        self._ticks, self._rolled_revision = 0, -1
        self.rings = Rings()
        self.rates: Callable[[], Mapping[str, float]] = dict
        self.revision = 0
        self.seconds = 0.0
        self._find_groups()

    def tick(self) -> None:
        """Roll everything up as it is now."""
        began = time.perf_counter()
        self._regroup()
        self._ages = self._store.ages(self._clock())
        fresh = self._ages < GREY_SECONDS
        is_fresh = np.True_ if fresh.all() else fresh[self.cells.node_of]
        is_due = (
            self._ticks % SLOW_TICKS == 0
            or self._rolled_revision != self.revision
            or self._store.gpus.row_count < LARGE_GPUS
        )
        self._rolled = {
            metric: self._rolled[metric]
            if metric in SLOW and metric in self._rolled and not is_due
            else roll(self.cells, self._pairs, self._values(metric, is_fresh))
            for metric in ROLLED
            if metric in self._store.gpus.names
        }
        self._ticks, self._rolled_revision = self._ticks + 1, self.revision
        self._spreads = {
            metric: rolled.over(self._members, self._starts)
            for metric, rolled in self._rolled.items()
        }
        self._places = {}
        self._remember()
        self.seconds = time.perf_counter() - began

    def _remember(self) -> None:
        """Keep what a place's past is made of."""
        names, values = [], []
        for metric, parts in KEPT.items():
            spread = self._spreads.get(metric)
            for part in parts if spread is not None else ():
                names += [f"{one.kind}/{one.name}/{metric}.{part}" for one in self._groups.values()]
                values.append(getattr(spread, part))
        rates = self.rates()
        names += [f"{PlaceKind.RUN}/{run_id}/{RATE}" for run_id in rates]
        values.append(np.fromiter(rates.values(), np.float64, len(rates)))
        if names:
            self.rings.put(time.time_ns(), names, np.concatenate(values))

    def history(
        self, kind: PlaceKind, name: str, series: str, since_unix_ns: int
    ) -> tuple[str, list[int], list[float]]:
        """Return unit, times and values of a place's series, such as "power.sum"."""
        unit = self._store.gpus.units.get(series.partition(".")[0], "")
        unit = "tokens/s" if series == RATE else unit
        return unit, *self.rings.series(f"{kind}/{name}/{series}", since_unix_ns)

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
        self._find_groups()
        self.revision += 1
        self._grouped_at, self._grouping_seconds = now, time.perf_counter() - began

    def _values(self, metric: str, is_fresh: npt.NDArray[np.bool_] | np.bool_) -> Floats:
        """Return a copy, which stays as of the tick; what is no number is not available."""
        column, order = self._store.gpus.column(metric), self.cells.order
        values = column[: order.size].copy() if self.cells.is_plain else column[order]
        values[np.flatnonzero(~(np.isfinite(values) & is_fresh))] = np.nan
        return values

    # --- what is asked ---------------------------------------------------------------------

    def places(self, kind: PlaceKind, hall: str = "", name: str = "") -> list[Place]:
        """Return places of a kind with their roll-ups, by name."""
        key = kind, hall, name
        found = self._places.get(key)
        if found is None:
            found = self._places[key] = self._made(kind, hall, name)
        return found

    def _made(self, kind: PlaceKind, hall: str, name: str) -> list[Place]:
        if kind is PlaceKind.RACK:
            racks = self.each_rack(hall, name)
            return sorted(racks, key=lambda place: (place.hall, place.name))
        return [self._place(one) for one in self._of_kind(kind) if name in ("", one.name)]

    def power(self, kind: PlaceKind, name: str) -> tuple[float | None, int, int]:
        """Return the power of a place, watts, its GPUs, and those whose power is in it."""
        one, spread = self._groups.get((kind, name)), self._spreads.get("power")
        if spread is None or one is None:
            return None, 0, 0
        reporting = int(spread.reporting[one.number])
        watts = float(spread.sum[one.number])
        return (watts if reporting else None), one.gpu_count, reporting

    def over_cells(self, metric: str) -> Spread | None:
        """Return a metric's figures by cell; None where nobody reports it."""
        rolled = self._rolled.get(metric)
        return rolled.cells if rolled is not None else None

    def run(self, run_id: str) -> Place | None:
        """Return the roll-ups of a run's GPUs; None where it holds none."""
        return next(iter(self.places(PlaceKind.RUN, name=run_id)), None) if run_id else None

    def _of_kind(self, kind: PlaceKind) -> list[_Group]:
        found = [one for one in self._groups.values() if one.kind is kind]
        return sorted(found, key=lambda one: one.name)

    def _find_groups(self) -> None:
        """Find the site, its halls and runs anew."""
        pairs, store = self._pairs, self._store
        chosen = {(PlaceKind.SITE, ""): np.arange(pairs.hall.size)}
        for kind, codes, known in (
            (PlaceKind.HALL, pairs.hall, store.halls),
            (PlaceKind.RUN, pairs.run, store.runs),
        ):
            for code, members in _by_code(codes):
                chosen[kind, known.names[code]] = members
        by_pair = dict(_by_code(pairs.of_cell))
        self._groups = {}
        for number, ((kind, name), members) in enumerate(chosen.items()):
            cells = np.concatenate([by_pair[one] for one in members.tolist()] or [pairs.of_cell])
            cells.sort()
            nodes = np.unique(self.cells.node_of[self.cells.rows_of(cells)])
            count = int(self.cells.sizes[cells].sum())
            self._groups[kind, name] = _Group(kind, name, number, cells, nodes, count)
        sizes = [members.size for members in chosen.values()]
        self._members = np.concatenate(list(chosen.values()))
        self._starts = np.cumsum([0, *sizes[:-1]])

    def _place(self, one: _Group) -> Place:
        figures = {metric: (spread, one.number) for metric, spread in self._spreads.items()}
        return self._built(one.kind, one.name, "", one.cells, one.nodes, figures)

    def each_rack(self, hall: str = "", name: str = "") -> Iterator[Place]:
        """Yield racks, one by one, for a site's thousands take seconds.

        Raises:
            RegroupedError: GPUs came or moved since the first: begin anew.
        """
        grouped, codes = self.cells, self.cells.rack
        firsts = np.flatnonzero(np.diff(codes, prepend=-2)).tolist()  # a rack's are together
        for first, end in itertools.pairwise([*firsts, codes.size]):
            if codes[first] < 0:
                continue
            in_hall, _, rack = self._store.racks.names[codes[first]].rpartition(APART)
            if hall not in ("", in_hall) or name not in ("", rack):
                continue
            if self.cells is not grouped:
                raise RegroupedError
            cells = np.arange(first, end)
            figures = {m: (self._over(rolled, cells), 0) for m, rolled in self._rolled.items()}
            nodes = np.unique(self.cells.node_of[self.cells.rows_of(cells)])
            yield self._built(PlaceKind.RACK, rack, in_hall, cells, nodes, figures, worst=name)

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
        nodes: npt.NDArray[Any],
        figures: dict[str, tuple[Spread, int]],
        worst: str = "*",
    ) -> Place:
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
                self._roll_up(metric, spread, number, cells, age, named=bool(worst))
                for metric, (spread, number) in figures.items()
            ),
        )

    def _roll_up(
        self, metric: str, spread: Spread, number: int, cells: Rows, age: float, *, named: bool
    ) -> RollUp:
        reporting = int(spread.reporting[number])
        unit, count = self._store.gpus.units[metric], int(self.cells.sizes[cells].sum())
        if not reporting:
            return RollUp(metric, unit, count)
        return RollUp(
            metric,
            unit,
            count,
            reporting,
            float(spread.sum[number]),
            float(spread.min[number]),
            float(spread.median[number]),
            float(spread.max[number]),
            float(spread.p99[number]),
            age,
            self.worst(metric, cells) if named else (),
        )

    def runs(self) -> list[str]:
        """Return the runs that hold GPUs."""
        return [one.name for one in self._of_kind(PlaceKind.RUN)]

    def runs_in(self, hall: str) -> list[str]:
        """Return the runs that hold GPUs in a hall; "" is the whole site."""
        if not hall:
            return self.runs()
        pairs, code = self._pairs, self._store.halls.known(hall)
        codes = np.unique(pairs.run[(pairs.hall == code) & (pairs.run >= 0)]).tolist()
        return [self._store.runs.names[one] for one in codes]

    def median(self, metric: str, run_id: str) -> float | None:
        """Return a metric's median over a run's GPUs; None where none reports."""
        spread, one = self._spreads.get(metric), self._groups.get((PlaceKind.RUN, run_id))
        if spread is None or one is None or not spread.reporting[one.number]:
            return None
        return float(spread.median[one.number])

    def worst(self, metric: str, cells: Rows) -> tuple[Extreme, ...]:
        """Return the GPUs at the worse end, the worst first; idle ones are not the worst of all."""
        rolled, largest = self._rolled[metric], ROLLED[metric]
        if not largest:
            cells = cells[self.cells.run[cells] >= 0]
        places = rolled.worst(self.cells, cells, largest=largest, count=WORST)
        rows, values = self._there(rolled, places)
        return tuple(map(self.extreme, rows.tolist(), values.tolist()))

    def below(self, metric: str, run_id: str, limit: float) -> tuple[Rows, Floats]:
        """Return the rows of a run's GPUs with less of a metric, the lowest first; its values."""
        rolled = self._rolled[metric]
        cells = self._groups[PlaceKind.RUN, run_id].cells
        cells = cells[rolled.cells.min[cells] < limit]
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


def _by_code(codes: npt.NDArray[np.integer]) -> list[tuple[int, Rows]]:
    """Return each code that is there with its places; -1 is none."""
    order = np.argsort(codes, kind="stable")
    order = order[np.searchsorted(codes[order], 0) :]
    if not order.size:
        return []
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return list(zip(codes[order[starts]].tolist(), np.split(order, starts[1:]), strict=True))
