"""Rates from counters that grow."""

from __future__ import annotations

import time


class Rate:
    """Turns growing counters into rates."""

    def __init__(self) -> None:
        self._before: tuple[float, tuple[float, ...]] | None = None

    def of(self, counters: tuple[float, ...]) -> tuple[float, ...]:
        """Return the counters' growth a second since the last call.

        NaN for all at the first call, and for one that started anew meanwhile.
        """
        now = time.monotonic()
        before, self._before = self._before, (now, counters)
        if before is None or now <= before[0]:
            return (float("nan"),) * len(counters)
        seconds = now - before[0]
        return tuple(
            (after - earlier) / seconds if after >= earlier else float("nan")
            for after, earlier in zip(counters, before[1], strict=True)
        )
