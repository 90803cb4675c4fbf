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
CHANGE_SECONDS = (1, 60)
PAST_TICKS = 67  # a minute, and what may be amiss of it
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

    def first(self, count: int) -> Sums:
        """Return the first places."""
        return Sums(
            self.gpu_watts[:count],
            self.cpu_watts[:count],
            self.gpus[:count],
            self.reporting_gpus[:count],
            self.nodes[:count],
            self.reporting_nodes[:count],
            self.ages[:count],
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
        self._times = np.full(PAST_TICKS, -np.inf)
        self._ticks = 0
        self._then: dict[int, int | None] = dict.fromkeys(CHANGE_SECONDS)

    def put(self, watts: Reals, now: float) -> None:
        """Keep what is drawn now, seconds of any clock."""
        missing = watts.size - self._watts.shape[1]
        if missing > 0:
            self._watts = np.pad(self._watts, ((0, 0), (0, missing)), constant_values=np.nan)
        self._ticks += 1
        row = self._ticks % PAST_TICKS
        self._watts[row] = np.nan
        self._watts[row, : watts.size] = watts
        self._times[row] = now
        self._then = {seconds: self._row(seconds) for seconds in CHANGE_SECONDS}

    def _row(self, seconds: float) -> int | None:
        """Return what was kept so long ago; None where nothing was about then."""
        wrong = np.abs(self._times[self._ticks % PAST_TICKS] - self._times - seconds)
        row = int(wrong.argmin())
        return row if wrong[row] <= max(seconds * 0.1, 0.5) else None

    def change(self, code: int, seconds: int) -> float | None:
        """Return how the watts have changed; None where either is not known.

        Args:
            seconds: One of CHANGE_SECONDS.
        """
        then = self._then[seconds]
        if then is None:
            return None
        difference = float(self._watts[self._ticks % PAST_TICKS, code] - self._watts[then, code])
        return difference if np.isfinite(difference) else None


class Level:
    """The places of one kind: sums and past."""

    def __init__(self) -> None:
        none, zero = np.zeros(0), np.zeros(0, dtype=np.int64)
        self.sums = Sums(none, none, zero, zero, zero, zero, none)
        self.past = Past()

    def put(self, sums: Sums, now: float) -> None:
        """Take what is so now."""
        self.sums = sums
        self.past.put(sums.watts, now)


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
        self.racks_of: dict[str, list[int]] = {}  # codes by hall
        self._hall_of_rack: list[int] = []
        self._feed_of_rack: list[int] = []  # by the rack's own name
        self._feed_of_hall: list[int] = []

    def feed_of(self, hall: str) -> int:
        """Return the feed that names a hall; -1 for none."""
        return next((i for i, feed in enumerate(self._feeds) if hall in feed.halls), NONE)

    def tick(self) -> None:
        """Sum up what nodes say now; the roll-ups have ticked.

        All is summed by rack once, and by hall, feed and site from that; nodes without a rack are
        in bins of their own, one a hall and one for those without a hall, after the racks.
        """
        self._find_places()
        racks, halls = len(self._store.racks.names), len(self._store.halls.names)
        bins = self._summed(racks, racks + halls + 1)
        hall_of = np.array([*self._hall_of_rack, *range(halls), NONE], np.int64)
        own = np.array([*self._feed_of_rack, *[NONE] * (halls + 1)], np.int64)
        named = np.array([*self._feed_of_hall, NONE], np.int64)[hall_of]
        now = self._clock()
        self.racks.put(bins.first(racks), now)
        self.halls.put(bins.by(hall_of, halls), now)
        self.feeds.put(bins.by(np.where(named >= 0, named, own), len(self._feeds)), now)
        self.site.put(bins.by(np.zeros(bins.nodes.size, np.int64), 1), now)

    def _find_places(self) -> None:
        """Find hall and feed of each rack that is new, and the feed of each hall."""
        halls, racks = self._store.halls, self._store.racks.names
        self._feed_of_hall += [self.feed_of(n) for n in halls.names[len(self._feed_of_hall) :]]
        for code in range(len(self._hall_of_rack), len(racks)):
            hall, _, rack = racks[code].partition(APART)
            self.racks_of.setdefault(hall, []).append(code)
            self._hall_of_rack.append(halls.known(hall))
            own = (i for i, feed in enumerate(self._feeds) if feed.supplies_rack(hall, rack))
            self._feed_of_rack.append(next(own, NONE))

    def _summed(self, racks: int, size: int) -> Sums:
        store, cells, power = self._store, self._roll_ups.cells, self._roll_ups.over_cells("power")
        count = store.hosts.row_count
        ages = store.ages(self._clock())
        live = np.flatnonzero(ages < GREY_SECONDS)
        of_node = _bins(store.rack_of[:count], store.hall_of[:count], racks, size)
        of_cell = _bins(cells.rack, cells.hall, racks, size)
        cpu = store.hosts.column("cpu_power")[live].astype(np.float64)
        has_cpu = np.flatnonzero(np.isfinite(cpu))
        oldest = np.zeros(size)
        np.maximum.at(oldest, of_node[live], ages[live])
        gpu_watts, reporting = np.full(size, np.nan), np.zeros(size, np.int64)
        if power is not None:
            known = np.flatnonzero(power.reporting)
            gpu_watts = _total(of_cell[known], power.sum[known], size)
            reporting = np.bincount(of_cell, power.reporting, size).astype(np.int64)
        return Sums(
            gpu_watts=gpu_watts,
            cpu_watts=_total(of_node[live[has_cpu]], cpu[has_cpu], size),
            gpus=np.bincount(of_cell, cells.sizes, size).astype(np.int64),
            reporting_gpus=reporting,
            nodes=np.bincount(of_node, minlength=size),
            reporting_nodes=np.bincount(of_node[live], minlength=size),
            ages=oldest,
        )


def _bins(
    rack: npt.NDArray[np.integer], hall: npt.NDArray[np.integer], racks: int, size: int
) -> npt.NDArray[np.int64]:
    """Return the bin of each: its rack, else that of its hall, else the last."""
    without = np.where(hall >= 0, racks + hall, size - 1)
    return np.where(rack >= 0, rack, without).astype(np.int64)
