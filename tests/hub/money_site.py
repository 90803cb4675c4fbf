"""A small site with prices: nodes in a store, runs that hold GPUs, and clocks that are set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from colossus_protos.v1 import frame_pb2
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.money.idle import Idle
from colossus_tui.hub.money.ledger import Ledger
from colossus_tui.hub.money.prices import Prices
from colossus_tui.hub.money.site import SiteCosts
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import RunState

COLUMNS = ("power", "gpu_utilisation", "sm_active", "memory_used")
NOW = 1_790_000_000.0


class PricedSite:
    """Everything that money is made of, without a hub around it."""

    def __init__(self, prices: Prices | None) -> None:
        self.wall, self.monotonic = NOW, 100.0
        self.store = Store()
        self.nodes = Nodes(self.store, lambda: self.monotonic)
        self.gpus = RunGpuFigures(self.store, self.nodes, lambda: self.monotonic)
        self.roll_ups = RollUps(self.store, self.nodes, lambda: self.monotonic)
        self.ledger = Ledger(prices, self.store, self.gpus, lambda: self.wall)
        self.idle = Idle(
            self.store, self.nodes, self.ledger, lambda: self.wall, lambda: self.monotonic
        )
        self.site = SiteCosts(self.store, self.roll_ups, self.ledger, self.idle)
        self.runs: dict[str, LiveRun] = {}

    def admit(self, name: str, count: int, product: str = "NVIDIA GB200", hall: str = "") -> None:
        """Let a node come."""
        self.nodes.admit(
            frame_pb2.Hello(
                node_name=name,
                hall=hall,
                gpu_columns=[frame_pb2.MetricColumn(name=column) for column in COLUMNS],
                gpus=[
                    frame_pb2.GpuInventory(
                        gpu_index=index, gpu_uuid=f"GPU-{name}-{index}", product_name=product
                    )
                    for index in range(count)
                ],
            )
        )

    def hold(self, name: str, *run_ids: str, user: str = "") -> None:
        """Let runs hold a node's GPUs, "" for none."""
        record = self.nodes.records[name]
        report = frame_pb2.ProcessReport(
            processes=[
                frame_pb2.ProcessSample(pid=gpu + 1, run_id=run_id, user=user, gpu_indices=[gpu])
                for gpu, run_id in enumerate(run_ids)
                if run_id
            ]
        )
        self.store.hold(record.rows, *record.take_processes(report))
        for run_id in run_ids:
            if run_id and run_id not in self.runs:
                self.runs[run_id] = LiveRun(run_id, state=RunState.RUNNING)

    def tell(self, name: str, **values: Sequence[float]) -> None:
        """Take a frame of a node in; what is not given is NaN."""
        rows = self.nodes.records[name].rows
        blank = [math.nan] * rows.gpu_count
        matrix = np.array([values.get(column, blank) for column in COLUMNS], dtype="<f4").T
        self.store.put(rows, frame_pb2.Frame(gpu_values=matrix.tobytes()), self.monotonic)

    def tick(self, seconds: float = 1.0) -> None:
        """Let time pass; what was told last is told again."""
        self.wall += seconds
        self.monotonic += seconds
        self.store.received[: self.store.hosts.row_count] += seconds
        for run_id, run in self.runs.items():
            self.ledger.add(run, self.gpus.of(run_id), seconds)
        self.roll_ups.tick()
        self.idle.tick(self.runs)
