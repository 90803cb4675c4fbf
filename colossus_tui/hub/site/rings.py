"""The past of runs, halls and the site: 15 min by the second, 6 h by 10 s, 7 d by the minute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]
SERIES_LIMIT = 2_048  # 13,140 points of 4 bytes each: at most 108 MB, and 13 of a site's 250
SERIES_STEP = 64
LEVELS = ((1, 900), (10, 2_160), (60, 10_080))  # ticks to a point, points


@dataclass(slots=True)
class _Level:
    """Points [place, series] of one resolution, the oldest overwritten; NaN is not available."""

    ticks: int
    points: npt.NDArray[np.float32]
    times_unix_ns: npt.NDArray[np.int64]
    written: int = 0  # points ever

    def put(self, time_unix_ns: int, values: Reals) -> None:
        place = self.written % self.times_unix_ns.size
        self.points[place] = np.nan
        self.points[place, : values.size] = values
        self.times_unix_ns[place] = time_unix_ns
        self.written += 1

    def widen(self, count: int) -> None:
        wider = np.full((self.points.shape[0], count), np.nan, dtype=np.float32)
        wider[:, : self.points.shape[1]] = self.points
        self.points = wider

    def order(self) -> npt.NDArray[np.intp]:
        size = self.times_unix_ns.size
        if self.written < size:
            return np.arange(self.written)
        return (np.arange(size) + self.written) % size

    @property
    def is_full(self) -> bool:
        """Whether older points than these have been overwritten."""
        return self.written > self.times_unix_ns.size


class Rings:
    """Bounded series by name; a coarser point is the mean of the finer ones that have a value."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._levels = [
            _Level(ticks, np.zeros((size, 0), np.float32), np.zeros(size, np.int64))
            for ticks, size in LEVELS
        ]
        self._tick = 0
        self._placed: list[str] = []  # the same by place
        self._named = np.zeros(SERIES_LIMIT, dtype=np.int64)  # when each was last
        self._sums = np.zeros((len(LEVELS), 0))
        self._counts = np.zeros((len(LEVELS), 0), dtype=np.int64)

    @property
    def byte_count(self) -> int:
        """Memory of all points."""
        return sum(level.points.nbytes for level in self._levels)

    def put(self, time_unix_ns: int, names: Sequence[str], values: Reals) -> None:
        """Keep a value of each series at this tick.

        Of more than SERIES_LIMIT, those of now take the place of those that were; more than that of
        now are left out.
        """
        row = np.full(self._width(names), np.nan)
        kept = [place for place, name in enumerate(names) if name in self._names]
        row[[self._names[names[place]] for place in kept]] = values[kept]
        self._tick += 1
        present = np.isfinite(row)
        for index, level in enumerate(self._levels):
            self._sums[index, : row.size] += np.where(present, row, 0.0)
            self._counts[index, : row.size] += present
            if self._tick % level.ticks:
                continue
            sums, counts = self._sums[index], self._counts[index]
            means = np.divide(sums, counts, out=np.full(sums.size, np.nan), where=counts > 0)
            level.put(time_unix_ns, means)
            sums[:], counts[:] = 0.0, 0

    def _width(self, names: Sequence[str]) -> int:
        """Make room for new series; return how many there are."""
        for name in names:
            if name not in self._names:
                if len(self._names) < SERIES_LIMIT:
                    self._names[name] = len(self._names)
                    self._placed.append(name)
                elif not self._take_over(name):
                    break
            self._named[self._names[name]] = self._tick
        count = len(self._names)
        if count > self._sums.shape[1]:
            wide = -(-count // SERIES_STEP) * SERIES_STEP
            for level in self._levels:
                level.widen(wide)
            added = wide - self._sums.shape[1]
            self._sums = np.pad(self._sums, ((0, 0), (0, added)))
            self._counts = np.pad(self._counts, ((0, 0), (0, added)))
        return count

    def _take_over(self, name: str) -> bool:
        """Give a series the place of the one that was named the longest ago, if not just now."""
        oldest = int(self._named.argmin())
        if self._named[oldest] >= self._tick - 1:
            return False
        del self._names[self._placed[oldest]]
        self._names[name], self._placed[oldest] = oldest, name
        self._sums[:, oldest], self._counts[:, oldest] = 0.0, 0
        for level in self._levels:
            level.points[:, oldest] = np.nan
        return True

    def series(self, name: str, since_unix_ns: int) -> tuple[list[int], list[float]]:
        """Return times and values of a series, oldest first, of the finest points that reach back.

        Args:
            since_unix_ns: Only points of this time or later; 0 for what the finest have.
        """
        column = self._names.get(name)
        if column is None:
            return [], []
        chosen = self._levels[0]
        for level in self._levels if since_unix_ns else ():
            chosen, order = level, level.order()
            if not level.is_full or level.times_unix_ns[order[0]] <= since_unix_ns:
                break
        order = chosen.order()
        times, values = chosen.times_unix_ns[order], chosen.points[order, column]
        kept = np.isfinite(values) & (times >= since_unix_ns)
        return times[kept].tolist(), values[kept].astype(np.float64).tolist()
