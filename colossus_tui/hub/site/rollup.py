"""Roll-ups of one metric over cells, and over the halls, runs and the site that they make up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.site.cells import Block, Cells, Integers, blocks
from colossus_tui.hub.store import Floats, Rows

BINS = 1_000  # a quantile over many cells is exact to a thousandth of the metric's range
STRIDE = BINS + 1  # the last is of what is not there
HIGH = 0.99
FLAT = 1e-30  # a smaller range is none: its bins are beyond float32
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """Figures of some groups; where none reports, all but the counts are NaN."""

    reporting: Integers
    sum: Reals
    min: Reals
    median: Reals
    max: Reals
    p99: Reals

    def of(self, groups: Rows) -> Spread:
        """Return the figures of some groups."""
        return Spread(
            self.reporting[groups],
            self.sum[groups],
            self.min[groups],
            self.median[groups],
            self.max[groups],
            self.p99[groups],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """The (hall, run) pairs that cells belong to: what halls, runs and the site are summed from.

    Attributes:
        of_cell: Pair of each cell.
        base: First bin of each GPU's pair in a histogram of all pairs, in the cells' order.
    """

    hall: Integers
    run: Integers
    of_cell: Rows
    base: npt.NDArray[np.int32]


def pair(cells: Cells) -> Pairs:
    """Return the pairs of the cells."""
    keys = np.stack((cells.hall, cells.run), axis=1)
    if not cells.count:
        empty = np.zeros(0, dtype=np.int64)
        return Pairs(empty, empty, empty.astype(np.intp), empty.astype(np.int32))
    found, of_cell = np.unique(keys, axis=0, return_inverse=True)
    of_cell = of_cell.ravel()
    base = np.repeat((of_cell * STRIDE).astype(np.int32), cells.sizes)
    return Pairs(found[:, 0], found[:, 1], of_cell, base)


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """One metric rolled up.

    Attributes:
        values: float32, in the cells' order; NaN is not available or not fresh.
        cells: By cell, exact.
        pairs: By (hall, run), exact but for the quantiles.
    """

    values: Floats
    cells: Spread
    pairs: Spread
    _histogram: Integers  # [pair, bin]
    _low: float
    _step: float

    def over(self, members: Rows, starts: Rows) -> Spread:
        """Return the figures over groups of pairs.

        Args:
            members: Pairs of each group, group after group; none is empty, unless all are.
            starts: Where each group begins in it.
        """
        spread, known = self.pairs, self.pairs.reporting > 0
        if not members.size:
            none = np.full(starts.size, np.nan)
            return Spread(np.zeros(starts.size, dtype=np.int64), none, none, none, none, none)

        def each(ufunc: np.ufunc, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            found: npt.NDArray[Any] = ufunc.reduceat(values[members], starts, axis=0)
            return found

        counts: Integers = each(np.add, self._histogram)
        reporting: Integers = each(np.add, spread.reporting)
        total: Reals = each(np.add, np.where(known, spread.sum, 0.0))
        low: Reals = each(np.minimum, np.where(known, spread.min, np.inf))
        high: Reals = each(np.maximum, np.where(known, spread.max, -np.inf))
        absent = reporting == 0
        total[absent] = low[absent] = high[absent] = np.nan
        median, p99 = _quantiles(counts, reporting, self._low, self._step, low, high)
        return Spread(reporting, total, low, median, high, p99)

    def worst(self, cells: Cells, chosen: Rows, *, largest: bool, count: int) -> Rows:
        """Return the places of the largest or smallest values in some cells, the worst first.

        The `count` worst GPUs are in the `count` cells with the worst extremes.
        """
        ends = self.cells.max[chosen] if largest else -self.cells.min[chosen]
        known = np.isfinite(ends)
        chosen, ends = chosen[known], ends[known]
        if chosen.size > count:
            chosen = chosen[np.argpartition(ends, chosen.size - count)[-count:]]
        places = cells.rows_of(chosen)
        values = self.values[places] if largest else -self.values[places]
        fresh = np.isfinite(values)
        places, values = places[fresh], values[fresh]
        if places.size > count:
            top = np.argpartition(values, values.size - count)[-count:]
            places, values = places[top], values[top]
        ranked: Rows = places[np.argsort(-values, kind="stable")]
        return ranked


def roll(cells: Cells, pairs: Pairs, values: Floats) -> Rolled:
    """Roll one metric up.

    Args:
        values: In the cells' order; NaN is not available or not fresh.
    """
    missing = np.flatnonzero(np.isnan(values))
    by_cell, lower = _spread(values, missing, cells.starts, cells.blocks)
    known = by_cell.reporting > 0
    # No median of cells is below the lowest of theirs, and no 99th percentile above the highest:
    # in cells of more than a hundred a single wild value does not widen the bins of all others.
    low = float(lower[known].min()) if known.any() else 0.0
    high = float(by_cell.p99[known].max()) if known.any() else 0.0
    step = (high - low) / BINS if high - low > FLAT else 0.0
    histogram = _histogram(pairs, values, missing, low, step)
    size = pairs.hall.size
    reporting = np.bincount(pairs.of_cell, by_cell.reporting, size).astype(np.int64)
    sums = np.bincount(pairs.of_cell, np.where(known, by_cell.sum, 0.0), size)
    lows, highs = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(lows, pairs.of_cell[known], by_cell.min[known])
    np.maximum.at(highs, pairs.of_cell[known], by_cell.max[known])
    some = reporting > 0
    lows, highs = np.where(some, lows, np.nan), np.where(some, highs, np.nan)
    median, p99 = _quantiles(histogram, reporting, low, step, lows, highs)
    by_pair = Spread(reporting, np.where(some, sums, np.nan), lows, median, highs, p99)
    return Rolled(values, by_cell, by_pair, histogram, low, step)


def spread(values: Floats, starts: Rows) -> Spread:
    """Return exact figures of groups of values that begin at these places."""
    sizes = np.diff(starts, append=values.size).astype(np.int64)
    return _spread(values, np.flatnonzero(np.isnan(values)), starts, blocks(starts, sizes))[0]


def _spread(
    values: Floats, missing: Rows, starts: Rows, matrices: tuple[Block, ...]
) -> tuple[Spread, Reals]:
    """Return exact figures of groups, and the lower median of each."""
    count = starts.size
    if not count:
        none = np.zeros(0)
        return Spread(np.zeros(0, dtype=np.int64), none, none, none, none, none), none
    present, filled = np.ones(values.size, dtype=np.bool_), values
    if missing.size:
        filled = values.copy()
        present[missing], filled[missing] = False, 0.0
    reporting = np.add.reduceat(present, starts, dtype=np.int64)
    sums: Reals = np.add.reduceat(filled, starts, dtype=np.float64)
    sums[reporting == 0] = np.nan
    padded = np.append(values, np.float32(np.nan))
    figures = np.full((5, count), np.nan)
    for block in matrices:
        if block.first < 0:
            ordered = padded[block.places]
            ordered.sort(axis=1)  # NaN last
        else:
            end = block.first + block.cells.size * block.width
            ordered = np.sort(values[block.first : end].reshape(-1, block.width), axis=1)
        counts, row = reporting[block.cells], np.arange(block.cells.size)
        last = np.maximum(counts - 1, 0)
        high = np.maximum(np.ceil(HIGH * counts).astype(np.intp) - 1, 0)
        lower, upper = ordered[row, last // 2], ordered[row, np.minimum(counts // 2, last)]
        figures[0, block.cells] = ordered[:, 0]
        figures[1, block.cells] = (lower.astype(np.float64) + upper) / 2
        figures[2, block.cells] = ordered[row, last]
        figures[3, block.cells] = ordered[row, high]
        figures[4, block.cells] = lower
    low, median, top, p99, lowers = figures
    return Spread(reporting, sums, low, median, top, p99), lowers


def _histogram(pairs: Pairs, values: Floats, missing: Rows, low: float, step: float) -> Integers:
    """Return how many values of each pair are in each bin; the outer ones take what is beyond."""
    size = pairs.hall.size
    if step > 0:
        with np.errstate(over="ignore"):  # what is beyond float32 is beyond the last bin
            scaled = values - np.float32(low)
            scaled *= np.float32(1.0 / step)
        np.clip(scaled, np.float32(0), np.float32(BINS - 1), out=scaled)
    else:
        scaled = np.zeros_like(values)
    scaled[missing] = BINS
    bins = scaled.astype(np.int32)
    bins += pairs.base
    counts = np.bincount(bins, minlength=size * STRIDE).reshape(size, STRIDE)
    return np.ascontiguousarray(counts[:, :BINS])


def _quantiles(
    counts: Integers, reporting: Integers, low: float, step: float, lows: Reals, highs: Reals
) -> tuple[Reals, Reals]:
    """Return median and 99th percentile of each row of a histogram."""
    reached = np.cumsum(counts, axis=1)

    def at(place: Reals | Integers) -> Reals:
        bins = np.argmax(reached >= np.maximum(place, 1)[:, None], axis=1)
        values = np.clip(low + (bins + 0.5) * step, lows, highs)
        return np.where(reporting > 0, values, np.nan)

    median = (at((reporting + 1) // 2) + at(reporting // 2 + 1)) / 2
    return median, at(np.ceil(HIGH * reporting))
