"""A modelled building: feeds with losses, cooling loops that follow the load; said over MQTT."""

from __future__ import annotations

import asyncio
import json
import logging
import math

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.facility.loops import WATER_DENSITY, WATER_HEAT
from colossus_tui.sim.plan import SitePlan
from colossus_tui.sim.simulation import Tick

LOG = logging.getLogger(__name__)
PERIOD_SECONDS, AGAIN_SECONDS = 1.0, 3.0
PREFIX = "colossus/facility"
# Beside its GPUs a hall has processors, fans and pumps, and conversion loses some of all.
HOST_RATIO, LOSS_RATIO = 0.09, 0.035
SUPPLY_CELSIUS, WARMING_KELVIN = 32.0, 10.0  # as a loop is laid out for its hall's planned load
WARMER_SUPPLY_KELVIN = 1.5  # at full load
LAG_SECONDS = 45.0  # in which return comes 63 % nearer to what the load makes of it
MAX_SUPPLY_CELSIUS = 36.0


class Building:
    """Feeds and loops of a simulated site; one loop cools one hall.

    Attributes:
        watts: float64 [hall], what all of a hall's machines draw.
    """

    def __init__(self, plan: SitePlan) -> None:
        self._plan = plan
        count = len(plan.hall_names)
        self._planned = np.array([limit.watts for limit in plan.limits[:count]])
        self._flow = (
            self._planned * (1 + HOST_RATIO) / (WATER_DENSITY * WATER_HEAT * WARMING_KELVIN)
        )  # m3/s
        self.watts: npt.NDArray[np.float64] = np.zeros(count)
        self._carried = np.zeros(count)  # heat, watts
        self._now_ns = 0

    def advance(self, tick: Tick) -> None:
        """Follow the site's load."""
        seconds = (tick.now_unix_ns - self._now_ns) / 1e9 if self._now_ns else math.inf
        self._now_ns = tick.now_unix_ns
        self.watts = tick.hall_watts * (1 + HOST_RATIO)
        self._carried += (self.watts - self._carried) * (1 - math.exp(-seconds / LAG_SECONDS))

    def messages(self) -> list[tuple[str, str]]:
        """Return topics of the usual layout with what is so now, each marked as modelled."""
        found = [("site/power", float(self.watts.sum() * (1 + LOSS_RATIO)))]
        for name, halls in feeds(self._plan):
            found.append((f"feed/{name}/power", float(self.watts[halls].sum() * (1 + LOSS_RATIO))))
        warm = self._carried / (self._flow * WATER_DENSITY * WATER_HEAT)
        supply = SUPPLY_CELSIUS + WARMER_SUPPLY_KELVIN * self._carried / self._planned
        for index, hall in enumerate(self._plan.hall_names):
            loop = f"loop/{hall}"
            found += [
                (f"{loop}/supply_temperature", float(supply[index])),
                (f"{loop}/return_temperature", float(supply[index] + warm[index])),
                (f"{loop}/flow", float(self._flow[index])),
                (f"{loop}/leak", 0.0),
            ]
        head = {"timestamp": self._now_ns / 1e9, "quality": "good", "modelled": True}
        return [
            (f"{PREFIX}/{topic}", json.dumps({"value": float(f"{value:.6g}"), **head}))
            for topic, value in found
        ]

    async def publish(self, host: str, port: int) -> None:
        """Say what is so each second, until cancelled; a broker that is away is asked again."""
        from colossus_tui.hub.facility.mqtt import publisher

        while True:
            try:
                async with publisher(host, port) as publish:
                    while True:
                        if self._now_ns:
                            await publish(self.messages())
                        await asyncio.sleep(PERIOD_SECONDS)
            except OSError as error:
                LOG.warning("facility=away broker=%s:%d error=%r", host, port, str(error))
            await asyncio.sleep(AGAIN_SECONDS)


def feeds(plan: SitePlan) -> list[tuple[str, list[int]]]:
    """Return the feeds by name, each with the indices of its halls."""
    limits = plan.limits[len(plan.hall_names) :]
    return [(str(number), list(limit.halls)) for number, limit in enumerate(limits, 1)]


def settings(plan: SitePlan, broker: str = "") -> str:
    """Return feeds, cooling loops and broker as settings of a hub."""
    parts = []
    for (name, halls), limit in zip(feeds(plan), plan.limits[len(plan.hall_names) :], strict=True):
        named = json.dumps([plan.hall_names[hall] for hall in halls])
        watts = limit.megawatts * (1 + HOST_RATIO) * (1 + LOSS_RATIO)
        parts.append(f'[[feeds]]\nname = "{name}"\nmegawatts = {watts:.6f}\nhalls = {named}\n')
    parts += [
        f'[[cooling_loops]]\nname = "{hall}"\nhalls = ["{hall}"]\n'
        f"max_supply_celsius = {MAX_SUPPLY_CELSIUS}\n"
        for hall in plan.hall_names
    ]
    if broker:
        parts.append(f'[facility]\nmqtt = "mqtt://{broker}"\n')
    return "\n".join(parts)
