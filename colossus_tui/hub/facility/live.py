"""The building's sensors as a whole: who is asked, what was said, what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from colossus_tui.hub.facility.config import FacilityConfig
from colossus_tui.hub.facility.link import Link
from colossus_tui.hub.facility.loops import LoopConfig, Loops
from colossus_tui.hub.facility.points import Points
from colossus_tui.hub.facility.trouble import Trouble
from colossus_tui.hub.facility.values import STALE_SECONDS, Values
from colossus_tui.model import Alert, FacilityFault, FacilityLink, Quality, Severity
from colossus_tui.text import named

LOG = logging.getLogger(__name__)
AGAIN_SECONDS = 30.0  # after a fault of the hub's own
NAMED = 4  # sensors that an alert names
SENSOR_TICKS = 5  # between two looks at all sensors


class Facility:
    """Sources, their values and the cooling loops.

    Args:
        clock: Unix seconds.

    Attributes:
        troubles: What is wrong with loops, sources and sensors, as of the last tick.
    """

    def __init__(
        self,
        config: FacilityConfig | None,
        loops: Sequence[LoopConfig] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config or FacilityConfig()
        heard = [point for device in self._config.redfish for point in device.points]
        points = Points([*self._config.points, *heard], self._config.prefix)
        self.values = Values(points, clock)
        self.loops = Loops(loops, self.values)
        self._broker = Link("mqtt", self._config.address, clock) if self._config.host else None
        self._devices = [Link("redfish", one.address, clock) for one in self._config.redfish]
        self._ticks = 0
        self._of_sensors: tuple[Trouble, ...] = ()
        self.troubles: tuple[Trouble, ...] = ()

    async def run(self) -> None:
        """Read all sources until cancelled."""
        config, values = self._config, self.values
        async with asyncio.TaskGroup() as tasks:
            if self._broker is not None:
                from colossus_tui.hub.facility.mqtt import Broker  # its library is an extra

                tasks.create_task(_ever(Broker(config, values, self._broker).run))
            if config.redfish:
                from colossus_tui.hub.facility.redfish import Poller

                devices = self._devices
                tasks.create_task(_ever(lambda: Poller(config.redfish, devices, values).run()))

    def tick(self) -> None:
        """Keep what is so now, and look for what is wrong; about once a second."""
        self.values.tick()
        if self._ticks % SENSOR_TICKS == 0:
            self._of_sensors = tuple(self._sensor_troubles())
        self._ticks += 1
        links = [link.trouble() for link in self._links()]
        away = [trouble for trouble in links if trouble is not None]
        self.troubles = (*self.loops.troubles(), *away, *self._of_sensors)

    def alerts(self) -> tuple[Alert, ...]:
        """Return the same as alerts."""
        return tuple(trouble.alert for trouble in self.troubles)

    def _links(self) -> list[Link]:
        return [*([self._broker] if self._broker is not None else []), *self._devices]

    def links(self) -> tuple[FacilityLink, ...]:
        """Return how the hub stands with each source."""
        return tuple(link.now() for link in self._links())

    def faults(self) -> tuple[FacilityFault, ...]:
        """Return what could not be taken."""
        return self.values.faults()

    def _sensor_troubles(self) -> Iterator[Trouble]:
        """Yield one trouble for all stale sensors, and one for all bad ones."""
        old: list[str] = []
        bad: list[str] = []
        for subject, quantity, found in self.values.each():
            name = f"{subject} {quantity.replace('_', ' ')}"
            if found.quality is Quality.STALE:
                old.append(name)
            elif found.quality is not Quality.GOOD:
                bad.append(f"{name} ({found.quality})")
        if old:
            text = f"nothing new for over {STALE_SECONDS:.0f} s: {named(old, NAMED)}"
            yield Trouble("silent sensors", Alert(Severity.WARNING, "facility.stale", text))
        if bad:
            text = f"not to be trusted, their source says: {named(bad, NAMED)}"
            yield Trouble("doubtful sensors", Alert(Severity.WARNING, "facility.quality", text))


async def _ever(work: Callable[[], Awaitable[None]]) -> None:
    """Do it for ever: a fault of the hub's own must not end the hub."""
    while True:
        try:
            await work()
        except Exception:
            LOG.exception("facility=broken; again in %.0f s", AGAIN_SECONDS)
        await asyncio.sleep(AGAIN_SECONDS)
