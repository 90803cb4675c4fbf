"""The one poller of a Slurm: jobs often, nodes seldom, slower when Slurm does not answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping

from colossus_tui.hub.actions.ports import EventLog
from colossus_tui.hub.backends.base import RunSightings, Standing
from colossus_tui.hub.backends.slurm import shapes
from colossus_tui.hub.backends.slurm.command import SlurmCommands, SlurmError
from colossus_tui.hub.backends.slurm.config import SlurmConfig
from colossus_tui.hub.backends.slurm.nodes import cordoned
from colossus_tui.hub.backends.slurm.sightings import sightings
from colossus_tui.model import Event, Severity

LOG = logging.getLogger(__name__)
CALL_SECONDS = 1.0  # between two questions, however much anybody is in a hurry
BACKOFF_SECONDS = 60.0


class Poller:
    """Asks one Slurm for all its jobs and nodes, and tells the registry what has changed.

    Attributes:
        nodes: The nodes by name as Slurm last described them.
        cordoned: Those of them that get no new work.
        away_since: Hub's monotonic clock since Slurm does not answer; 0 while it does.
        why_away: What it last said instead.
    """

    def __init__(
        self,
        config: SlurmConfig,
        commands: SlurmCommands,
        registry: RunSightings,
        events: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._commands = commands
        self._registry = registry
        self._events = events
        self._clock = clock
        self._asked = 0.0
        self._hurry = asyncio.Event()
        self._hurried_until = 0.0
        self._round: asyncio.Future[None] | None = None
        self._failures = 0
        self.nodes: Mapping[str, shapes.SlurmNode] = {}
        self.cordoned: Mapping[str, Standing] = {}
        self.away_since = 0.0
        self.why_away = ""

    async def run(self) -> None:
        """Poll until cancelled."""
        nodes_due = 0.0
        while True:
            started = self._clock()
            try:
                if self._clock() >= nodes_due or self._failures:
                    await self._poll_nodes()
                    nodes_due = self._clock() + self._config.node_seconds
                await self._poll_jobs()
            except SlurmError as error:
                self._away(str(error))
            else:
                self._back()
            self._end_round()
            await self._pause(started)

    def hurry(self, seconds: float = 30.0) -> None:
        """Ask as often as allowed for a while: somebody waits for what an order does."""
        self._hurried_until = max(self._hurried_until, self._clock() + seconds)
        self._hurry.set()

    async def next_round(self) -> None:
        """Return once Slurm was asked anew."""
        self.hurry(5.0)
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._round)

    def _end_round(self) -> None:
        waiting, self._round = self._round, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def _poll_jobs(self) -> None:
        await self._space()
        found = shapes.jobs(await self._commands.jobs())
        self._registry.take_sightings(
            "slurm", sightings(found, self._config.class_of_quality, self._config.partitions)
        )

    async def _poll_nodes(self) -> None:
        await self._space()
        self.nodes = {node.name: node for node in shapes.nodes(await self._commands.nodes())}
        self.cordoned = cordoned(self.nodes.values())

    async def _space(self) -> None:
        wait = self._asked + CALL_SECONDS - self._clock()
        if wait > 0:
            await asyncio.sleep(wait)
        self._asked = self._clock()

    async def _pause(self, started: float) -> None:
        """Wait for the next round: less when hurried, more after each failure."""
        period = self._config.job_seconds
        if self._failures:
            period = min(period * 2**self._failures, BACKOFF_SECONDS) * random.uniform(0.8, 1.0)
        self._hurry.clear()
        if not self._failures and self._clock() < self._hurried_until:
            period = CALL_SECONDS
        try:
            async with asyncio.timeout(max(started + period - self._clock(), 0.0)):
                await self._hurry.wait()
        except TimeoutError:
            return

    def _away(self, why: str) -> None:
        self._failures += 1
        self.why_away = why
        if not self.away_since:
            self.away_since = self._clock()
            text = f"Slurm does not answer: {why}; what is shown of its jobs grows old"
            self._events.add(Event(severity=Severity.WARNING, kind="slurm.away", message=text))
            LOG.warning("slurm=away detail=%r", why)
        self._registry.lose_sight("slurm", why)

    def _back(self) -> None:
        self._failures = 0
        if self.away_since:
            seconds = self._clock() - self.away_since
            text = f"Slurm answers again after {seconds:.0f} s"
            self._events.add(Event(severity=Severity.INFO, kind="slurm.back", message=text))
        self.away_since, self.why_away = 0.0, ""
