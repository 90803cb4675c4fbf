"""Axes of plots: round ends that seldom move, ticks, and the part of them that is shown."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

ROUND_PARTS = 8  # an axis ends on a multiple of its span's eighth, so that it seldom moves
ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200)
DAY_SECONDS = 86_400
DECADES = 1.5  # from so many on a logarithmic axis has its ticks at 1, 2, 5, 10, ...
LEAST_DECADES, LEAST_SECONDS = 0.01, 60.0  # of a span
TINY = 1e-200  # what is less is 0 on a logarithmic axis
CLOSEST_SHARE = 1e-9  # of the middle value: what numbers still tell apart
CLOSEST = 1 / 1_024  # share of the whole that can be shown


class Scale(StrEnum):
    """How values are laid out; TIME is linear in seconds, with ticks at round times."""

    LINEAR = "linear"
    LOG = "log"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Axis:
    """From one value to another; a logarithmic one is of positive values."""

    low: float
    high: float
    scale: Scale = Scale.LINEAR

    def share(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high end."""
        if self.scale is Scale.LOG:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)

    def value(self, share: float) -> float:
        """Return the value at a place."""
        if self.scale is Scale.LOG:
            return float(self.low * (self.high / self.low) ** share)
        return self.low + (self.high - self.low) * share

    def ticks(self, most: int) -> list[float]:
        """Return at most so many round values on it, growing."""
        if self.scale is Scale.LOG and math.log10(self.high / self.low) >= DECADES:
            return self._decades(most)
        step = round_step((self.high - self.low) / max(most, 1), self.scale)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        while last - first + 1 > most > 0:
            step = round_step(step * 1.01, self.scale)
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]

    def _decades(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for within, every in ((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3):
            found = [
                part * 10.0**decade
                for decade in range(first, last + 1)
                if decade % every == 0
                for part in within
                if self.low * 0.999 <= part * 10.0**decade <= self.high * 1.001
            ]
            if len(found) <= most:
                return found
        return found[: max(most, 0)]

    def part(self, window: Window) -> Axis:
        """Return the part of it that a window shows."""
        return Axis(self.value(window.start), self.value(window.end), self.scale)


def round_step(least: float, scale: Scale = Scale.LINEAR) -> float:
    """Return the smallest round number that is not less; of seconds a round time."""
    if scale is Scale.TIME and least >= 1:
        if least > TIMES[-1]:
            return max(round_step(least / DAY_SECONDS), 1.0) * DAY_SECONDS
        return float(next(step for step in TIMES if step >= least))
    size = 10.0 ** math.floor(math.log10(least)) if least > 0 else 1.0
    return next(part * size for part in (*ROUND, 20.0) if part * size >= least * (1 - 1e-9))


def spanning(
    values: Iterable[float], scale: Scale = Scale.LINEAR, least_share: float = 0.0
) -> Axis | None:
    """Return the axis on which all values are, with round ends; None without a value.

    Args:
        values: What is no number is left out, on a logarithmic axis also what is not positive.
        least_share: Span over the middle value that it has at least: noise must not look like a
            mountain.
    """
    known = [value for value in values if math.isfinite(value)]
    if scale is Scale.LOG:
        known = [math.log10(value) for value in known if value > TINY]
    if not known:
        return None
    low, high = min(known), max(known)
    middle = (low + high) / 2
    match scale:
        case Scale.LOG:
            least = math.log10(1 + least_share) or LEAST_DECADES
        case Scale.TIME:
            least = max(LEAST_SECONDS, abs(middle) * CLOSEST_SHARE)
        case _:
            least = abs(middle) * (least_share or CLOSEST_SHARE) or 1.0
    if high - low < least:
        low, high = middle - least / 2, middle + least / 2
    step = round_step((high - low) / ROUND_PARTS, Scale.LINEAR if scale is Scale.LOG else scale)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    if scale is Scale.LOG:
        low, high = 10.0**low, 10.0**high
    return Axis(low, high, scale)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a whole axis that is shown, as shares of it.

    As shares it keeps to the newest while the whole grows, when it reached to the end before.
    """

    start: float = 0.0
    end: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether everything is shown."""
        return self == WHOLE

    def zoomed(self, factor: float) -> Window:
        """Return it narrower (a factor below 1) or wider; one at the end stays at the end."""
        span = min(max((self.end - self.start) * factor, CLOSEST), 1.0)
        if self.end >= 1.0:
            return Window(1.0 - span, 1.0)
        return self._placed((self.start + self.end) / 2 - span / 2, span)

    def panned(self, share: float) -> Window:
        """Return it moved by a share of what it shows, as far as there is something."""
        span = self.end - self.start
        return self._placed(self.start + span * share, span)

    def _placed(self, start: float, span: float) -> Window:
        start = min(max(start, 0.0), 1.0 - span)
        return replace(self, start=start, end=min(start + span, 1.0))


WHOLE = Window()
