"""Drives a simulated site in real time and carries it to a hub through simulated relays."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from colossus_tui.sim.relay import SimulatedRelay
from colossus_tui.sim.simulation import Simulation, Tick

LOG = logging.getLogger(__name__)
RELAY_NODES = 1_024
DRAIN_SECONDS = 1.5


class Carrier:
    """All relays of one simulated site.

    Args:
        rate: Frames a second of each node.
        clock: Unix nanoseconds.
        on_tick: Called with each tick.
    """

    def __init__(
        self,
        simulation: Simulation,
        addresses: tuple[str, ...],
        *,
        rate: float = 1.0,
        relay_nodes: int = RELAY_NODES,
        clock: Callable[[], int] = time.time_ns,
        on_tick: Callable[[Tick], object] = lambda _: None,
    ) -> None:
        self._simulation = simulation
        self._period = 1.0 / rate
        self._clock = clock
        self._on_tick = on_tick
        count = simulation.plan.node_count
        self.relays = [
            SimulatedRelay(
                simulation,
                range(first, min(first + relay_nodes, count)),
                addresses,
                f"sim-{first // relay_nodes:04}",
            )
            for first in range(0, count, relay_nodes)
        ]
        self.late_ticks = 0
        self._is_ending = False

    @property
    def sent_frames(self) -> int:
        """Frames that were handed to the streams."""
        return sum(relay.sent_frames for relay in self.relays)

    @property
    def replaced_frames(self) -> int:
        """Frames of these that gave way to newer ones, because the hub did not read."""
        return sum(relay.upstream.batches.replaced_frames for relay in self.relays)

    async def end(self) -> None:
        """Say nothing new, and let what was said arrive."""
        self._is_ending = True
        await asyncio.sleep(DRAIN_SECONDS)

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for relay in self.relays:
                tasks.create_task(relay.upstream.run())
            tasks.create_task(self._tick())

    async def _tick(self) -> None:
        """Tick on whole periods of the wall clock, as agents do; one that is late is left out."""
        while not self._is_ending:
            now = time.time()
            await asyncio.sleep(self._period - now % self._period)
            began = time.monotonic()
            tick = self._simulation.tick(self._clock())
            self._on_tick(tick)
            for index, relay in enumerate(self.relays):
                relay.tick(tick, self._clock)
                if index % 8 == 7:
                    await asyncio.sleep(0)  # what is full is written meanwhile
            if time.monotonic() - began > self._period:
                self.late_ticks += 1
                LOG.warning("sim=late seconds=%.2f", time.monotonic() - began)
