"""How fast nodes are let in: a hall that links again in one second must not drown the rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

RATE = 1_000.0  # nodes a second; a link costs the hub about a quarter of a millisecond to take up
WAIT_SECONDS = 5.0  # an agent waits 10 s for its welcome


class BusyError(Exception):
    """There is no turn soon; the message says when to come again."""


class Admission:
    """Gives out turns at a bounded rate.

    Args:
        rate: Turns a second.
    """

    def __init__(self, rate: float = RATE, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = 1.0 / rate
        self._clock = clock
        self._next = 0.0

    async def turn(self, count: int = 1) -> None:
        """Wait for a turn, for so many nodes at once.

        Raises:
            BusyError: It would be a long wait; who asks had better come back.
        """
        now = self._clock()
        wait = max(self._next - now, 0.0)
        if wait > WAIT_SECONDS:
            raise BusyError(f"many nodes link at once; come again in {wait:.0f} s")
        self._next = now + wait + count * self._seconds
        if wait:
            await asyncio.sleep(wait)
