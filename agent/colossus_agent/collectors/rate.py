"""Rates from counters that grow."""

from __future__ import annotations

import time

LEAST_SECONDS = 0.05  # over less than half the shortest sample period a rate says nothing


class Rate:
    """Turns growing counters into rates."""

    def __init__(self) -> None:
        self._before: tuple[float, tuple[float, ...]] | None = None

    def of(self, counters: tuple[float, ...]) -> tuple[float, ...]:
        """Return the counters' growth a second since the last call.

        NaN for all at the first call and right after it, and for one that started anew meanwhile.
        """
        now, before = time.monotonic(), self._before
        seconds = now - before[0] if before else 0.0
        if before is None or seconds >= LEAST_SECONDS:
            self._before = now, counters
        if before is None or seconds < LEAST_SECONDS:
            return (float("nan"),) * len(counters)
        return tuple(
            (after - earlier) / seconds if after >= earlier else float("nan")
            for after, earlier in zip(counters, before[1], strict=True)
        )
