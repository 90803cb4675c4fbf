"""A hub's store with a few nodes and an exporter of it, in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from colossus_protos.v1 import frame_pb2
from colossus_tui.hub.export.config import parse
from colossus_tui.hub.export.exporter import Exporter
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import Event

COLUMNS = {"power": "W", "gpu_temperature": "C", "sm_clock": "MHz"}
STEP_SECONDS = 0.1


def hello(node: str, gpus: int = 2, hall: str = "h1", rack: str = "r1") -> frame_pb2.Hello:
    """Return a Hello of a node with GPUs."""
    return frame_pb2.Hello(
        node_name=node,
        hall=hall,
        rack=rack,
        gpu_columns=[
            frame_pb2.MetricColumn(name=name, unit=unit) for name, unit in COLUMNS.items()
        ],
        gpus=[
            frame_pb2.GpuInventory(gpu_index=index, gpu_uuid=f"GPU-{node}-{index}")
            for index in range(gpus)
        ],
    )


class Sink:
    """Takes events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        """Take one."""
        self.events.append(event)


class World:
    """Store, roll-ups and exporter; nodes send frames until they are let go.

    Attributes:
        values: Power, temperature and clock of each GPU, by node.
    """

    def __init__(self, *, period_seconds: float = 0.25, **settings: Any) -> None:
        self.store = Store()
        self.nodes = Nodes(self.store)
        self.roll_ups = RollUps(self.store, self.nodes)
        self.sink = Sink()
        self.values: dict[str, list[Sequence[float]]] = {}
        events: Any = self.sink
        config = replace(parse(settings), period_seconds=period_seconds)
        self.exporter = Exporter(config, self.store, self.nodes, self.roll_ups, events)

    def node(self, node: str, *gpus: Sequence[float], run: str = "", **changes: Any) -> None:
        """Let a node come, with the values of its GPUs."""
        record = self.nodes.admit(hello(node, len(gpus), **changes))
        self.store.hold(record.rows, [run] * len(gpus), [0] * len(gpus))
        self.values[node] = list(gpus)

    def hold(self, node: str, run: str) -> None:
        """Let a run have all GPUs of a node."""
        rows = self.nodes.records[node].rows
        self.store.hold(rows, [run] * rows.gpu_count, [0] * rows.gpu_count)

    def let_go(self, node: str) -> None:
        """Let a node send nothing any more; its figures are old at once."""
        del self.values[node]
        self.store.received[self.nodes.records[node].rows.node_row] = -np.inf

    def feed(self) -> None:
        """Take one frame of each node in, and roll up."""
        for node, values in self.values.items():
            frame = frame_pb2.Frame(gpu_values=np.array(values, dtype="<f4").tobytes())
            self.store.put(self.nodes.records[node].rows, frame, time.monotonic())
        self.roll_ups.tick()

    async def _feed(self) -> None:
        while True:
            self.feed()
            await asyncio.sleep(STEP_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Feed and export within this."""
        tasks = [asyncio.create_task(self._feed()), asyncio.create_task(self.exporter.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                assert task.cancelled(), task.exception()
