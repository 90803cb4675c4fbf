"""When a run will have reached its target, and between when and when.

The expected end takes the median step time and, of the time to come, the share that has counted so
far. The earliest end takes the pace of the fastest tenth of the last hour and loses nothing more;
the latest takes that of the slowest tenth and loses as before.
"""

from __future__ import annotations

import math
import time
from collections import deque
from dataclasses import dataclass

from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.ledger import Ledger

WINDOW_SECONDS, WINDOW_COUNT = 10, 360  # an hour
LEAST_WINDOWS = 5  # fewer say nothing of a spread
LEAST_LEDGER_SECONDS = 600.0  # before it, how a run starts would pass for how it goes on
LOW, HIGH = 0.1, 0.9
FAR_SECONDS = 100 * 365.25 * 86_400.0


class Pace:
    """Step times of the last hour, each the mean of ten seconds."""

    def __init__(self) -> None:
        self._windows: deque[tuple[int, float, int]] = deque(maxlen=WINDOW_COUNT)

    def add(self, point: StepPoint) -> None:
        """Take a finished step in."""
        if not (math.isfinite(point.step_seconds) and point.step_seconds > 0):
            return
        number = point.time_unix_ns // (WINDOW_SECONDS * 10**9)
        if self._windows and self._windows[-1][0] >= number:
            last, seconds, count = self._windows.pop()
            self._windows.append((last, seconds + point.step_seconds, count + 1))
        else:
            self._windows.append((number, point.step_seconds, 1))
        while self._windows[0][0] <= self._windows[-1][0] - WINDOW_COUNT:
            self._windows.popleft()

    def spread(self) -> tuple[float, float] | None:
        """Return the fast and the slow tenth's step time over the median's; None for too few."""
        if len(self._windows) < LEAST_WINDOWS:
            return None
        means = sorted(seconds / count for _, seconds, count in self._windows)
        median = _quantile(means, 0.5)
        return _quantile(means, LOW) / median, _quantile(means, HIGH) / median


@dataclass(frozen=True, slots=True)
class Eta:
    """Expected, earliest and latest end, Unix nanoseconds; 0 is not known."""

    expected: int = 0
    early: int = 0
    late: int = 0


def eta(remaining_seconds: float | None, pace: Pace, ledger: Ledger) -> Eta:
    """Return when the run will end.

    Args:
        remaining_seconds: Left at the median step time, if nothing were lost.
    """
    if remaining_seconds is None:
        return Eta()
    counts = counting_ratio(ledger)
    expected, spread = _in(remaining_seconds / counts), pace.spread()
    if spread is None:
        return Eta(expected)
    fast, slow = spread
    return Eta(expected, _in(remaining_seconds * fast), _in(remaining_seconds * slow / counts))


def counting_ratio(ledger: Ledger) -> float:
    """Return which share of the time in which it was meant to run has counted.

    What an operator or a scheduler let it wait says nothing of the time to come.
    """
    productive, meant = ledger.meant_seconds()
    if meant < LEAST_LEDGER_SECONDS or productive <= 0:
        return 1.0
    return productive / meant


def _quantile(values: list[float], share: float) -> float:
    """Return a quantile of sorted values, between neighbours in proportion."""
    place = share * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def _in(seconds: float) -> int:
    """Return the time so many seconds from now; 0, which is not known, beyond a century."""
    return time.time_ns() + int(seconds * 1e9) if seconds < FAR_SECONDS else 0
