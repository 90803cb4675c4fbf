"""Nodes in a hub's store, told by Hellos and reports, with what looks at them for incidents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.hub.backends.base import Standing
from colossus_tui.hub.database import Database
from colossus_tui.hub.events import Events
from colossus_tui.hub.incidents.book import Book
from colossus_tui.hub.incidents.findings import Finding
from colossus_tui.hub.incidents.places import Places
from colossus_tui.hub.incidents.rules import parse
from colossus_tui.hub.incidents.sources import NodeSources
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.store import Store
from colossus_tui.model import Event

BEGAN, MONOTONIC = 1_800_000_000.0, 5_000.0
PER_RACK, GPUS = 18, 4
COLUMNS = (("power", "W"), ("clock_event_reasons", "mask"))


class NodeWorld:
    """Racks of 18 nodes of 4 GPUs, and a clock."""

    def __init__(
        self,
        folder: Path,
        racks: int = 4,
        *,
        halls: int = 1,
        feeds: Sequence[FeedConfig] = (),
        drained: dict[str, Standing] | None = None,
    ) -> None:
        self.store = Store()
        self.nodes = Nodes(self.store, lambda: self.monotonic)
        self.monotonic, self.now = MONOTONIC, BEGAN
        self.database = Database(folder / "hub.sqlite3")
        self.events = Events(self.database)
        for rack in range(racks):
            for node in range(PER_RACK):
                self._admit(f"r{rack:02}n{node:02}", f"h{rack * halls // racks}", f"r{rack:02}")
        self.drained = drained
        self.places = Places(
            self.store, self.nodes, lambda _: (), can_drain=drained is not None, feeds=feeds
        )
        self.sources = NodeSources(
            self.store, self.nodes, self.events, lambda: drained or {}, BEGAN - 3_600
        )
        self.book = Book(parse({}), (), self.events.add, BEGAN)

    def _admit(self, name: str, hall: str, rack: str) -> None:
        self.nodes.admit(
            frame_pb2.Hello(
                node_name=name,
                hall=hall,
                rack=rack,
                gpu_columns=[frame_pb2.MetricColumn(name=n, unit=unit) for n, unit in COLUMNS],
                gpus=[
                    frame_pb2.GpuInventory(gpu_index=gpu, gpu_uuid=f"GPU-{name}-{gpu}")
                    for gpu in range(GPUS)
                ],
            )
        )

    def hold(self, run_id: str, names: Iterable[str]) -> None:
        """Let a run have a rank on each GPU of these nodes, in order."""
        rank = 0
        for name in names:
            rows = self.nodes.records[name].rows
            self.store.hold(rows, [run_id] * GPUS, list(range(rank, rank + GPUS)))
            rank += GPUS

    def fail_sensor(self, name: str, gpu: int, reason: common_pb2.MissingReason.ValueType) -> None:
        """Let a node say that a sensor of a GPU gives no value."""
        status = frame_pb2.SensorStatus(gpu_index=gpu, sensor="power", reason=reason)
        report = frame_pb2.SensorReport(sensors=[status] if reason else [])
        self.nodes.take_sensors(self.nodes.records[name], report)

    def xid(self, name: str, gpu: int, code: int) -> None:
        """Let a node tell of an XID."""
        self.events.add(
            Event(kind="gpu.xid", message=f"XID {code}: hurt", node_name=name, gpu_index=gpu)
        )

    def throttle(self, name: str, gpu: int, reasons: int) -> None:
        """Let a GPU's clocks be held back for these reasons."""
        row = self.nodes.records[name].rows.first + gpu
        self.store.gpus.column("clock_event_reasons")[row] = reasons

    def look(self, seconds: int = 1, *, silent: Iterable[str] = ()) -> list[Finding]:
        """Let time pass, with frames of all but these nodes; return what is found at its end."""
        gone = np.zeros(self.store.hosts.row_count, dtype=np.bool_)
        gone[[self.nodes.records[name].rows.node_row for name in silent]] = True
        found: list[Finding] = []
        for _ in range(seconds):
            self.now, self.monotonic = self.now + 1, self.monotonic + 1
            received = self.store.received[: gone.size]
            received[:] = np.where(gone, np.maximum(received, MONOTONIC), self.monotonic)
            found = []
            for one in self.sources.look(self.now, self.monotonic):
                found += self.places.find(one, self.book.standing(one.kind), self.now)
            self.book.tick(self.now, found)
        return found

    def names(self, *racks: int) -> list[str]:
        """Return the nodes of these racks."""
        return [f"r{rack:02}n{node:02}" for rack in racks for node in range(PER_RACK)]

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()
