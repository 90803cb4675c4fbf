"""What the hub knows of each node beside its figures: inventory, sensors, processes, freshness.

A site has a hundred thousand nodes, and most of what they say of themselves is the same: it is kept
once. What is rarely looked at stays as it came, packed.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.hub.sequences import Sequences
from colossus_tui.hub.store import Kind, NodeRows, Store
from colossus_tui.model import RUN_ID, Freshness

GREY_SECONDS = 5.0
STALE_SECONDS = 15.0
LOST_SECONDS = 60.0
PACK_BYTES = 512  # what is longer is compressed
FAILING = frozenset(
    {
        common_pb2.MISSING_REASON_FAILED,
        common_pb2.MISSING_REASON_STUCK,
        common_pb2.MISSING_REASON_LOST,
    }
)


@dataclass(slots=True)
class NodeRecord:
    """One node; replaced parts come whole from its agent.

    Attributes:
        shared: What its agent's Hello has in common with those of nodes of its kind.
        run_ids: Runs with a process on it.
        failing: Its sensors that should give a value and give none.
    """

    node_name: str
    rows: NodeRows
    shared: frame_pb2.Hello
    hall: str
    rack: str
    instance_id: str
    boot_id: str
    run_ids: tuple[str, ...] = ()
    failing: tuple[frame_pb2.SensorStatus, ...] = ()
    _sensors: bytes = b""
    _processes: bytes = b""

    @property
    def sensor_report(self) -> frame_pb2.SensorReport:
        """What its agent last said of its sensors and collectors."""
        return frame_pb2.SensorReport.FromString(_unpacked(self._sensors))

    @property
    def processes(self) -> Sequence[frame_pb2.ProcessSample]:
        """What its agent last said of its processes."""
        return frame_pb2.ProcessReport.FromString(_unpacked(self._processes)).processes

    def take_sensors(self, report: frame_pb2.SensorReport) -> None:
        """Take the node's word on its sensors."""
        self.failing = tuple(s for s in report.sensors if s.reason in FAILING)
        self._sensors = _packed(report.SerializeToString())

    def take_processes(self, report: frame_pb2.ProcessReport) -> tuple[list[str], list[int]]:
        """Take the node's processes; return run and rank on each GPU, "" and -1 for none."""
        self._processes = _packed(report.SerializeToString())
        holders = [""] * self.rows.gpu_count
        ranks = [-1] * self.rows.gpu_count
        named: dict[str, None] = {}
        for process in report.processes:
            if RUN_ID.fullmatch(process.run_id):
                run_id = sys.intern(process.run_id)
                named[run_id] = None
                for gpu in process.gpu_indices:
                    if 0 <= gpu < len(holders):
                        holders[gpu], ranks[gpu] = run_id, process.rank
        self.run_ids = _one(tuple(sorted(named)))
        return holders, ranks


@lru_cache(maxsize=4096)
def _one(run_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first of equal tuples: thousands of nodes have the same runs."""
    return run_ids


def _packed(body: bytes) -> bytes:
    return b"z" + zlib.compress(body, 1) if len(body) > PACK_BYTES else b"-" + body


def _unpacked(body: bytes) -> bytes:
    return zlib.decompress(body[1:]) if body[:1] == b"z" else body[1:]


class Nodes:
    """All nodes by name, and by their row in the store."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._shared: dict[bytes, tuple[frame_pb2.Hello, Kind]] = {}
        self.records: dict[str, NodeRecord] = {}
        self.by_row: list[NodeRecord] = []
        self.failing: set[str] = set()  # those with sensors that should give a value and give none
        self.sequences = Sequences()
        self.revision = 1

    def admit(self, hello: frame_pb2.Hello) -> NodeRecord:
        """Take a node in, or take it up again.

        Raises:
            FrameError: Its Hello does not fit.
        """
        known = self.records.get(hello.node_name)
        shared, kind = self._share(hello)
        rows = self._store.admit(hello, kind, known.rows if known else None)
        record = NodeRecord(
            sys.intern(hello.node_name),
            rows,
            shared,
            sys.intern(hello.hall),
            sys.intern(hello.rack),
            hello.instance_id,
            hello.host.boot_id,
        )
        self.records[record.node_name] = record
        if rows.node_row == len(self.by_row):
            self.by_row.append(record)
        else:
            self.by_row[rows.node_row] = record
        self.revision += 1
        return record

    def _share(self, hello: frame_pb2.Hello) -> tuple[frame_pb2.Hello, Kind]:
        """Return the Hello without what is the node's own, one for all nodes that agree."""
        shared = frame_pb2.Hello()
        shared.CopyFrom(hello)
        for field in ("node_name", "hall", "rack", "instance_id", "sent_time_unix_ns"):
            shared.ClearField(field)
        shared.ClearField("oldest_sequence")
        shared.host.ClearField("boot_id")
        for gpu in shared.gpus:
            gpu.ClearField("gpu_uuid")
        key = shared.SerializeToString(deterministic=True)
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = shared, self._store.kind(hello)
        return found

    def take_sensors(self, record: NodeRecord, report: frame_pb2.SensorReport) -> None:
        """Take a node's word on its sensors."""
        record.take_sensors(report)
        (self.failing.add if record.failing else self.failing.discard)(record.node_name)

    def hello(self, record: NodeRecord) -> frame_pb2.Hello:
        """Return what a node's agent said first."""
        hello = frame_pb2.Hello()
        hello.CopyFrom(record.shared)
        hello.node_name, hello.hall, hello.rack = record.node_name, record.hall, record.rack
        hello.instance_id = record.instance_id
        if record.boot_id:
            hello.host.boot_id = record.boot_id
        for gpu, uuid in zip(hello.gpus, self._store.uuids[record.rows.gpus], strict=True):
            gpu.gpu_uuid = uuid.decode()
        return hello

    def age(self, node_name: str) -> float:
        """Return the age of a node's newest frame, seconds; endless for one that is not known."""
        record = self.records.get(node_name)
        return self._store.age(record.rows, self._clock()) if record else float("inf")

    def rows_of(self, node_names: Sequence[str]) -> npt.NDArray[np.intp]:
        """Return the nodes' rows in the store; -1 for those that are not known."""
        records = map(self.records.get, node_names)
        return np.array([r.rows.node_row if r else -1 for r in records], dtype=np.intp)

    def failing_rows(self) -> npt.NDArray[np.intp]:
        """Return the rows of nodes with a sensor that should give a value and gives none."""
        rows = [self.records[name].rows.node_row for name in tuple(self.failing)]
        return np.array(sorted(rows), dtype=np.intp)

    def ages_of(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return the ages of nodes by their rows, seconds; infinite for row -1."""
        if not rows.size:
            return np.zeros(0)
        ages: npt.NDArray[np.float64] = self._clock() - self._store.received[rows]
        ages[rows < 0] = np.inf
        return ages


def freshness(age_seconds: float) -> Freshness:
    """Return how fresh figures of this age are."""
    if age_seconds < GREY_SECONDS:
        return Freshness.LIVE
    if age_seconds < STALE_SECONDS:
        return Freshness.GREY
    return Freshness.STALE if age_seconds < LOST_SECONDS else Freshness.LOST
