"""What nodes measure of power, summed by rack, hall, feed and site each tick; a minute of its past.

Beside the roll-ups, which are of GPUs alone: here processors are in it, and feeds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.nodes import GREY_SECONDS
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import APART, Store

Reals = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
PAST_TICKS = 61
NONE = -1


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Figures of the places of one kind, by their codes.

    Attributes:
        gpu_watts: NaN where no GPU reports.
        cpu_watts: NaN where no processor does.
        ages: Of the oldest node that is live, seconds; 0 where none is.
    """

    gpu_watts: Reals
    cpu_watts: Reals
    gpus: Integers
    reporting_gpus: Integers
    nodes: Integers
    reporting_nodes: Integers
    ages: Reals

    @property
    def watts(self) -> Reals:
        """GPUs and processors; NaN where neither reports."""
        gpu, cpu = self.gpu_watts, self.cpu_watts
        both: Reals = np.where(np.isnan(gpu), 0.0, gpu) + np.where(np.isnan(cpu), 0.0, cpu)
        both[np.isnan(gpu) & np.isnan(cpu)] = np.nan
        return both

    def by(self, codes: npt.NDArray[np.integer], size: int) -> Sums:
        """Return the sums of places that belong to others, whose codes these are."""
        belongs = np.flatnonzero(codes >= 0)
        of = codes[belongs]

        def total(figures: Reals) -> Reals:
            parts = figures[belongs]
            known = np.flatnonzero(~np.isnan(parts))
            return _total(of[known], parts[known], size)

        def count(figures: Integers) -> Integers:
            return np.bincount(of, figures[belongs], size).astype(np.int64)

        ages = np.zeros(size)
        np.maximum.at(ages, of, self.ages[belongs])
        return Sums(
            total(self.gpu_watts),
            total(self.cpu_watts),
            count(self.gpus),
            count(self.reporting_gpus),
            count(self.nodes),
            count(self.reporting_nodes),
            ages,
        )

    def plus(self, other: Sums) -> Sums:
        """Return the sums of both, place by place."""

        def total(one: Reals, two: Reals) -> Reals:
            return np.where(np.isnan(one), two, np.where(np.isnan(two), one, one + two))

        return Sums(
            total(self.gpu_watts, other.gpu_watts),
            total(self.cpu_watts, other.cpu_watts),
            self.gpus + other.gpus,
            self.reporting_gpus + other.reporting_gpus,
            self.nodes + other.nodes,
            self.reporting_nodes + other.reporting_nodes,
            np.maximum(self.ages, other.ages),
        )


def _total(of: npt.NDArray[np.integer], parts: Reals, size: int) -> Reals:
    """Return sums by code; NaN where there is no part."""
    sums = np.bincount(of, parts, size).astype(np.float64)
    sums[np.bincount(of, minlength=size) == 0] = np.nan
    return sums


class Past:
    """A minute of the watts of places, by code; the oldest overwritten."""

    def __init__(self) -> None:
        self._watts = np.full((PAST_TICKS, 0), np.nan)
        self._ticks = 0

    def put(self, watts: Reals) -> None:
        missing = watts.size - self._watts.shape[1]
        if missing > 0:
            self._watts = np.pad(self._watts, ((0, 0), (0, missing)), constant_values=np.nan)
        self._ticks += 1
        row = self._ticks % PAST_TICKS
        self._watts[row] = np.nan
        self._watts[row, : watts.size] = watts

    def change(self, code: int, ticks: int) -> float | None:
        """Return how the watts have changed over so many ticks; None where either is not known."""
        now, then = self._ticks % PAST_TICKS, (self._ticks - ticks) % PAST_TICKS
        difference = float(self._watts[now, code] - self._watts[then, code])
        return difference if np.isfinite(difference) else None


class Level:
    """The places of one kind: sums and past."""

    def __init__(self) -> None:
        none, zero = np.zeros(0), np.zeros(0, dtype=np.int64)
        self.sums = Sums(none, none, zero, zero, zero, zero, none)
        self.past = Past()

    def put(self, sums: Sums) -> None:
        self.sums = sums
        self.past.put(sums.watts)


class NodePower:
    """The power that nodes measure, by place.

    Attributes:
        racks: By the store's code of a rack.
        halls: By the store's code of a hall.
        feeds: In the order of the settings.
        site: One.
    """

    def __init__(
        self,
        store: Store,
        roll_ups: RollUps,
        feeds: Sequence[FeedConfig],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._roll_ups, self._feeds, self._clock = store, roll_ups, feeds, clock
        self.racks, self.halls, self.feeds, self.site = Level(), Level(), Level(), Level()
        self._feed_of_hall: list[int] = []
        self._feed_of_rack: list[int] = []
        self.racks_of: dict[str, list[int]] = {}  # codes by hall

    def feed_of(self, hall: str) -> int:
        """Return the feed that names a hall; -1 for none."""
        return next((i for i, feed in enumerate(self._feeds) if hall in feed.halls), NONE)

    def tick(self) -> None:
        """Sum up what nodes say now; the roll-ups have ticked."""
        self._find_feeds()
        store = self._store
        count, now = store.hosts.row_count, self._clock()
        nodes = store.hall_of[:count], store.rack_of[:count]
        cells = self._roll_ups.cells
        live = store.ages(now) < GREY_SECONDS
        sizes = len(store.halls.names), len(store.racks.names)
        halls, racks = (
            self._summed(of_cell, of_node, size, live)
            for of_cell, of_node, size in zip((cells.hall, cells.rack), nodes, sizes, strict=True)
        )
        every = np.zeros(cells.count, np.int64), np.zeros(count, np.int64)
        self.site.put(self._summed(*every, 1, live))
        self.halls.put(halls)
        self.racks.put(racks)
        size = len(self._feeds)
        by_hall = halls.by(np.array(self._feed_of_hall, np.int64), size)
        self.feeds.put(by_hall.plus(racks.by(np.array(self._feed_of_rack, np.int64), size)))

    def _find_feeds(self) -> None:
        """Find the feeds of halls and racks that are new. What names a hall comes first."""
        halls, racks = self._store.halls.names, self._store.racks.names
        for hall in halls[len(self._feed_of_hall) :]:
            self._feed_of_hall.append(self.feed_of(hall))
        for code in range(len(self._feed_of_rack), len(racks)):
            hall, _, rack = racks[code].partition(APART)
            self.racks_of.setdefault(hall, []).append(code)
            own = [i for i, feed in enumerate(self._feeds) if feed.supplies_rack(hall, rack)]
            is_free = self.feed_of(hall) == NONE
            self._feed_of_rack.append(own[0] if own and is_free else NONE)

    def _summed(
        self,
        of_cell: npt.NDArray[np.integer],
        of_node: npt.NDArray[np.integer],
        size: int,
        live: npt.NDArray[np.bool_],
    ) -> Sums:
        store, cells = self._store, self._roll_ups.cells
        there = np.flatnonzero(of_cell >= 0)
        places, power = of_cell[there], self._roll_ups.over_cells("power")
        if power is None:
            watts, reporting = np.full(cells.count, np.nan), np.zeros(cells.count, np.int64)
        else:
            watts, reporting = power.sum, power.reporting
        known = there[np.flatnonzero(~np.isnan(watts[there]))]
        cpu = store.hosts.column("cpu_power")
        has_cpu = np.flatnonzero(live & np.isfinite(cpu) & (of_node >= 0))
        placed = np.flatnonzero(of_node >= 0)
        reports = np.flatnonzero(live & (of_node >= 0))
        ages = np.zeros(size)
        np.maximum.at(ages, of_node[reports], store.ages(self._clock())[reports])
        return Sums(
            gpu_watts=_total(of_cell[known], watts[known], size),
            cpu_watts=_total(of_node[has_cpu], cpu[has_cpu].astype(np.float64), size),
            gpus=np.bincount(places, cells.sizes[there], size).astype(np.int64),
            reporting_gpus=np.bincount(places, reporting[there], size).astype(np.int64),
            nodes=np.bincount(of_node[placed], minlength=size),
            reporting_nodes=np.bincount(of_node[reports], minlength=size),
            ages=ages,
        )
