"""A run's steps over its whole life, thinned evenly, and its rates over the last minutes."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from colossus_tui.model import Series

STEP_LIMIT = 4_096
RATE_LIMIT = 900  # 15 minutes at one a second

UNITS = {
    "loss": "",
    "grad_norm": "",
    "step_seconds": "s",
    "tokens_per_second": "tokens/s",
    "power_watts": "W",
}


Row: TypeAlias = tuple[int, int, float]


def every_so_often(rows: list[Row], max_points: int) -> list[Row]:
    """Return the first row of each of at most so many equal times, and the last row.

    The times are whole seconds since the epoch, so that the same rows are chosen again when a few
    have come and gone: a plot of them stands still.

    Args:
        rows: Time in Unix nanoseconds first, in the order of their times; 0 points are all.
    """
    if not 1 < max_points < len(rows):
        return rows
    seconds = max(-(-(rows[-1][0] - rows[0][0]) // ((max_points - 1) * 10**9)), 1)
    kept, last = [], -1
    for row in rows:
        number = row[0] // (seconds * 10**9)
        if number != last:
            kept.append(row)
            last = number
    return kept if kept[-1] is rows[-1] else [*kept[: max_points - 1], rows[-1]]


@dataclass(frozen=True, slots=True)
class StepPoint:
    """One step over all ranks: mean loss, slowest time, sum of tokens. NaN is not available."""

    step: int
    time_unix_ns: int
    loss: float
    grad_norm: float
    step_seconds: float
    tokens: int


class History:
    """Step points by step number and rate points by time.

    When there are more than STEP_LIMIT steps, only every second, fourth, ... is kept. A step that
    was done again takes the place of the first.
    """

    def __init__(self) -> None:
        self._points: dict[int, StepPoint] = {}
        self._stride = 1
        self._unwritten: dict[int, StepPoint] = {}
        self._rates: dict[str, deque[tuple[int, float]]] = {
            name: deque(maxlen=RATE_LIMIT) for name in ("tokens_per_second", "power_watts")
        }
        self.thinned = False

    def add(self, point: StepPoint) -> None:
        """Keep a finished step."""
        if point.step % self._stride:
            return
        self._points[point.step] = point
        self._unwritten[point.step] = point
        if len(self._points) > STEP_LIMIT:
            self._stride *= 2
            self._points = {
                step: kept for step, kept in self._points.items() if step % self._stride == 0
            }
            self.thinned = True

    def forget_after(self, step: int) -> None:
        """Drop steps that will be done again."""
        for later in [known for known in self._points if known > step]:
            del self._points[later]
            self._unwritten.pop(later, None)

    def add_rate(self, name: str, time_unix_ns: int, value: float) -> None:
        """Keep a rate of this second."""
        self._rates[name].append((time_unix_ns, value))

    def restore(self, points: Iterable[StepPoint]) -> None:
        """Take up what an earlier hub wrote."""
        for point in points:
            self.add(point)
        self._unwritten.clear()

    def take_unwritten(self) -> list[StepPoint]:
        """Return the points that are not on disk yet."""
        points = list(self._unwritten.values())
        self._unwritten.clear()
        return points

    @property
    def stride(self) -> int:
        """Every how manieth step is kept."""
        return self._stride

    def recent_losses(self, count: int) -> tuple[float, ...]:
        """Return losses over the whole run, oldest first, each the mean of its share of steps."""
        losses = [point.loss for point in self._sorted() if math.isfinite(point.loss)]
        if len(losses) <= count:
            return tuple(losses)
        edges = [index * len(losses) // count for index in range(count + 1)]
        return tuple(statistics.fmean(losses[a:b]) for a, b in itertools.pairwise(edges))

    def series(self, name: str, max_points: int, since_unix_ns: int) -> Series:
        """Return one series; an unknown name gives an empty one."""
        if name in self._rates:
            rows = [(time, -1, value) for time, value in self._rates[name]]
        elif name in ("loss", "grad_norm", "step_seconds"):
            rows = [
                (point.time_unix_ns, point.step, getattr(point, name)) for point in self._sorted()
            ]
        else:
            rows = []
        rows = [row for row in rows if row[0] >= since_unix_ns and math.isfinite(row[2])]
        if since_unix_ns:
            rows = every_so_often(rows, max_points)
        elif max_points > 1 and len(rows) > max_points:
            last = len(rows) - 1
            rows = [rows[round(index * last / (max_points - 1))] for index in range(max_points)]
        return Series(
            name,
            UNITS.get(name, ""),
            tuple(row[0] for row in rows),
            tuple(row[1] for row in rows),
            tuple(row[2] for row in rows),
        )

    def _sorted(self) -> list[StepPoint]:
        return [self._points[step] for step in sorted(self._points)]
