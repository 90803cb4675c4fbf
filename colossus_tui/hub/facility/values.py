"""The newest value of each point with its time and quality, and a minute of its past."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.facility.payload import PayloadError, Reading, decode
from colossus_tui.hub.facility.points import MEASURES, PointError, Points, Quantity, Subject
from colossus_tui.model import FacilityFault, Measured, Quality
from colossus_tui.text import safe

STALE_SECONDS = 200.0
FUTURE_SECONDS = 30.0  # how much a source's clock may be ahead
PAST_TICKS = 67  # a minute, and what may be amiss of it
FAULT_KINDS = 32
_WORSE = (Quality.GOOD, Quality.UNCERTAIN, Quality.BAD, Quality.STALE)  # in this order


@dataclass(slots=True)
class _Newest:
    value: float = 0.0
    time_seconds: float = 0.0  # Unix, when it was measured
    quality: Quality = Quality.GOOD
    modelled: bool = False


class Values:
    """What the building's sensors said.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, points: Points, clock: Callable[[], float] = time.time) -> None:
        self.points = points
        self._clock = clock
        self._newest: dict[int, _Newest] = {}
        self._faults: dict[str, FacilityFault] = {}
        self._past: npt.NDArray[np.float64] = np.full((PAST_TICKS, 0), np.nan)
        self._times: npt.NDArray[np.float64] = np.full((PAST_TICKS, 0), np.nan)
        self._ticks = 0

    # --- what comes ------------------------------------------------------------------------

    def take(self, source: str, data: bytes, *, retained: bool = False) -> bool:
        """Take a message in; what cannot be taken is counted, and why. Return whether it was.

        Args:
            retained: The broker kept it: it was said before the hub came.
        """
        try:
            reading = decode(data)
        except PayloadError as error:
            self.fault(error.kind, source, str(error))
            return False
        if retained and reading.time_seconds is None:
            self.fault("retained", source, "an old message that does not say how old")
            return False
        return self.put(source, reading)

    def put(self, source: str, reading: Reading) -> bool:
        """Take a reading in for all points of its source; return whether it was taken."""
        try:
            numbers = self.points.numbers(source)
        except PointError as error:
            self.fault("no_point", source, str(error))
            return False
        if not numbers:
            self.fault("no_point", source, "no point of the settings, nor of the usual layout")
        taken = [self._put(source, number, reading) for number in numbers]  # each has its faults
        return any(taken)

    def _put(self, source: str, number: int, reading: Reading) -> bool:
        now, one = self._clock(), self.points.all[number]
        value, measure = one.kept(reading.value), MEASURES[one.quantity]
        if not measure.low <= value <= measure.high:
            self.fault("implausible", source, f"{value:g} is no {one.quantity} of a building")
            return False
        when = now if reading.time_seconds is None else reading.time_seconds
        if when > now + FUTURE_SECONDS:
            self.fault("from_the_future", source, f"measured {when - now:.0f} s from now")
            return False
        newest = self._newest.setdefault(number, _Newest())
        # What is too far ahead was dated before the hub's clock was set back.
        if when < newest.time_seconds <= now + FUTURE_SECONDS:
            self.fault("out_of_order", source, "older than the one before")
            return False
        newest.value, newest.time_seconds = value, when
        newest.quality, newest.modelled = reading.quality, reading.modelled
        return True

    def fault(self, kind: str, source: str, detail: str) -> None:
        """Count what could not be taken."""
        before = self._faults.pop(kind, None)
        count = before.count if before is not None else 0
        if before is None and len(self._faults) >= FAULT_KINDS:
            return
        self._faults[kind] = FacilityFault(
            kind, count + 1, safe(source, 128), safe(detail, 200), int(self._clock() * 1e9)
        )

    def faults(self) -> tuple[FacilityFault, ...]:
        """Return what could not be taken, the newest kind first."""
        return tuple(reversed(self._faults.values()))

    # --- what is asked ---------------------------------------------------------------------

    def measured(self, subject: Subject, quantity: Quantity) -> Measured | None:
        """Return a quantity over all of its points; None until each has told one.

        It is as good as its worst point, and as old as its oldest. One that is too far ahead, since
        the hub's clock was set back, is of an age that nobody knows: stale.
        """
        numbers = self.points.of(subject, quantity)
        found = [self._newest[number] for number in numbers if number in self._newest]
        if not found or len(found) < len(numbers):
            return None
        now, times = self._clock(), [one.time_seconds for one in found]
        age = max(now - min(times), 0.0)
        is_stale = age > STALE_SECONDS or max(times) > now + FUTURE_SECONDS
        quality = max((one.quality for one in found), key=_WORSE.index)
        return Measured(
            MEASURES[quantity].together([one.value for one in found]),
            Quality.STALE if is_stale else quality,
            age,
            any(one.modelled for one in found),
        )

    def each(self) -> Iterator[tuple[Subject, Quantity, Measured]]:
        """Yield every quantity that is measured."""
        for subject, quantity in self.points.measured():
            found = self.measured(subject, quantity)
            if found is not None:
                yield subject, quantity, found

    # --- the past --------------------------------------------------------------------------

    def tick(self) -> None:
        """Keep what is so now; about once a second."""
        count = len(self.points.all)
        missing = count - self._past.shape[1]
        if missing > 0:
            blank = np.full((PAST_TICKS, missing + count // 8), np.nan)
            self._past = np.hstack((self._past, blank))
            self._times = np.hstack((self._times, blank))
        self._ticks += 1
        row = self._ticks % PAST_TICKS
        self._past[row] = self._times[row] = np.nan
        for number, newest in self._newest.items():
            if newest.quality is Quality.GOOD:
                self._past[row, number] = newest.value
                self._times[row, number] = newest.time_seconds

    def change(self, subject: Subject, quantity: Quantity, seconds: float) -> float | None:
        """Return how a sum has changed; None where a sensor did not measure so far apart."""
        changes = [self._change(n, seconds) for n in self.points.of(subject, quantity)]
        known = [change for change in changes if change is not None]
        return sum(known) if known and len(known) == len(changes) else None

    def _change(self, number: int, seconds: float) -> float | None:
        if number >= self._past.shape[1]:
            return None
        now, times = self._ticks % PAST_TICKS, self._times[:, number]
        wrong = np.abs(times[now] - times - seconds)  # NaN where there was no good value
        if np.isnan(wrong).all() or not np.nanmin(wrong) <= max(seconds * 0.1, 0.5):
            return None
        then = int(np.nanargmin(wrong))
        return float(self._past[now, number] - self._past[then, number])
