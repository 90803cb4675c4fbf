"""Brings requests to the store, a few at a time; repeats what failed, but not for ever."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from colossus_tui.hub.export.config import PrometheusConfig
from colossus_tui.hub.export.connection import Connection
from colossus_tui.hub.export.family import Batch
from colossus_tui.hub.export.health import AWAY, Health

T = TypeVar("T")
IN_FLIGHT = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class Sender:
    """A few connections with one memory of when the store last failed."""

    def __init__(
        self,
        config: PrometheusConfig,
        health: Health,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = [Connection(config) for _ in range(IN_FLIGHT)]
        self._threads = ThreadPoolExecutor(IN_FLIGHT, "export")
        self._health = health
        self._clock = clock
        self._failures = 0
        self._not_before = -float("inf")

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Do what takes more than some milliseconds beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def send(self, batches: Iterator[Batch], deadline: float) -> None:
        """Return when each batch is taken, refused, or given up at the deadline."""
        async with asyncio.TaskGroup() as tasks:
            for connection in self._connections:
                tasks.create_task(self._send(connection, batches, deadline))

    async def _send(
        self, connection: Connection, batches: Iterator[Batch], deadline: float
    ) -> None:
        for batch in batches:
            if self._clock() < deadline:
                await self._deliver(connection, batch, deadline)
            else:
                self._health.dropped(batch.sample_count, AWAY)

    async def _deliver(self, connection: Connection, batch: Batch, deadline: float) -> None:
        body = await self.in_thread(batch.body)
        while await self._turn(deadline):
            answer = await self.in_thread(lambda: connection.post(body))
            if answer.is_taken:
                self._failures = 0
                self._health.taken(batch.sample_count)
                return
            if not answer.may_be_repeated:
                words = f": {answer.text}" if answer.text else ""
                self._health.dropped(
                    batch.sample_count, f"refused with HTTP {answer.status}", words
                )
                return
            self._health.failed(answer)
            self._pause(answer.pause_seconds)
        self._health.dropped(batch.sample_count, AWAY)

    async def _turn(self, deadline: float) -> bool:
        """Wait until the store may be asked; return whether that is before the deadline."""
        while (wait := self._not_before - self._clock()) > 0:
            if self._not_before >= deadline:
                return False
            await asyncio.sleep(wait)
        return self._clock() < deadline

    def _pause(self, asked_seconds: float) -> None:
        """Leave the store alone for as long as it asks, else longer after each failure."""
        longest = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        pause = asked_seconds or random.uniform(longest / 2, longest)
        now = self._clock()
        if now >= self._not_before:  # the other connection has not failed just before
            self._failures = min(self._failures + 1, 10)
        self._not_before = max(self._not_before, now + pause)

    def close(self) -> None:
        """Let go of the store at once."""
        for connection in self._connections:
            connection.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
