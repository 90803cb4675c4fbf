"""Once a period: look at the store and the roll-ups, and bring what is new to the other store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from colossus_tui.hub.events import Events
from colossus_tui.hub.export.config import PrometheusConfig
from colossus_tui.hub.export.family import Batch, Outgoing
from colossus_tui.hub.export.gpus import Eye, GpuSeries, RackSeries, Sight
from colossus_tui.hub.export.health import BROKEN, Health
from colossus_tui.hub.export.names import ROLLED
from colossus_tui.hub.export.places import PlaceSeries
from colossus_tui.hub.export.sender import Sender
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import PlaceKind

LOG = logging.getLogger(__name__)
GIVE_UP_SECONDS = 60.0


class Exporter:
    """The export of one hub; nothing waits in it but what one look at the store found."""

    def __init__(
        self,
        config: PrometheusConfig,
        store: Store,
        nodes: Nodes,
        roll_ups: RollUps,
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        rolled = [metric for metric in config.metrics if metric in ROLLED]
        self._config = config
        self._clock = clock
        self._eye = Eye(store, nodes, config.metrics, names_gpus=config.raw)
        self._gpus = GpuSeries(config.metrics, config.labels) if config.raw else None
        self._racks: RackSeries | None = None
        self._places: list[PlaceSeries] = []
        if config.roll_ups and rolled:
            self._racks = RackSeries(config.metrics, rolled, config.labels)
            self._places = [
                PlaceSeries(kind, store, roll_ups, rolled, config.labels)
                for kind in (PlaceKind.SITE, PlaceKind.HALL, PlaceKind.RUN)
            ]
        self.health = Health(config.shown_url, events, clock)
        self._sender = Sender(config, self.health, clock)
        self._last_ms = 0
        self._last_count = 0

    async def run(self) -> None:
        """Export until cancelled."""
        config = self._config
        LOG.info(
            "export=on url=%s period=%gs metrics=%s raw=%s roll_ups=%s",
            config.shown_url,
            config.period_seconds,
            ",".join(config.metrics),
            config.raw,
            config.roll_ups,
        )
        due = self._clock()
        try:
            while True:
                await asyncio.sleep(max(0.0, due - self._clock()))
                await self._round()
                due += config.period_seconds
                missed = 0
                if (late := self._clock() - due) >= 0:  # the newest is next; no look waits
                    missed = int(late // config.period_seconds)
                    due = self._clock()
                self.health.round_ended(missed * self._last_count)
        finally:
            self._sender.close()

    async def _round(self) -> None:
        """Look and send; a fault of the export's own does not end the hub."""
        try:
            outgoing = await self._look()
            batches = await self._sender.in_thread(lambda: _batches(outgoing))
            self._last_count = sum(batch.sample_count for batch in batches)
            await self._sender.send(iter(batches), self._clock() + GIVE_UP_SECONDS)
        except Exception:  # the task's root
            LOG.exception("export=broken")
            self._eye.forget()
            self.health.dropped(self._last_count or 1, BROKEN)

    async def _look(self) -> list[Outgoing]:
        """Return what all series have to say now."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        unix_ms = self._last_ms
        sight = self._eye.sight(self._clock())
        found = await self._sender.in_thread(lambda: self._of_gpus(sight, unix_ms))
        return found + [await places.advance(unix_ms) for places in self._places]

    def _of_gpus(self, sight: Sight, unix_ms: int) -> list[Outgoing]:
        families = [family for family in (self._gpus, self._racks) if family is not None]
        return [family.advance(sight, unix_ms) for family in families]


def _batches(outgoing: Sequence[Outgoing]) -> list[Batch]:
    return [batch for each in outgoing for batch in each.batches()]
