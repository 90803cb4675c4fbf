"""What the hub knows of each node beside its figures: inventory, sensors, processes, freshness."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from colossus_protos.v1 import frame_pb2
from colossus_tui.hub.store import NodeRows, Store
from colossus_tui.model import Freshness

GREY_SECONDS = 5.0
STALE_SECONDS = 15.0
LOST_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """The GPUs of one node that one run holds."""

    gpu_indices: tuple[int, ...]
    peak_flops: tuple[float, ...]  # 0 where it is not known


@dataclass(slots=True)
class NodeRecord:
    """One node; replaced parts come whole from its agent."""

    hello: frame_pb2.Hello
    rows: NodeRows
    sensors: list[frame_pb2.SensorStatus] = field(default_factory=list)
    collectors: list[frame_pb2.CollectorStatus] = field(default_factory=list)
    processes: list[frame_pb2.ProcessSample] = field(default_factory=list)
    gpu_runs: dict[int, str] = field(default_factory=dict)  # GPU index: run that holds it
    holders: dict[int, str] = field(default_factory=dict)  # the same, kept once it has let go
    held: dict[str, Held] = field(default_factory=dict)  # by run
    sequences: Sequences = field(default_factory=lambda: Sequences())

    def take_processes(self, report: frame_pb2.ProcessReport) -> None:
        """Take the node's processes and note which run holds which GPU."""
        self.processes = list(report.processes)
        self.gpu_runs = {
            gpu: process.run_id
            for process in report.processes
            if process.run_id
            for gpu in process.gpu_indices
        }
        self.holders |= self.gpu_runs
        named = {process.run_id for process in report.processes if process.run_id}
        self.held = {run_id: self._held(run_id) for run_id in named}

    def _held(self, run_id: str) -> Held:
        indices = tuple(gpu for gpu, run in self.gpu_runs.items() if run == run_id)
        return Held(
            indices,
            tuple(gpu.peak_bf16_flops for gpu in self.hello.gpus if gpu.gpu_index in indices),
        )


class Sequences:
    """Which numbered messages of one agent instance have come; they may come out of order."""

    def __init__(self) -> None:
        self.instance_id = ""
        self.low = 0  # everything up to here has come
        self._ahead: set[int] = set()

    def begin(self, instance_id: str, oldest: int) -> int:
        """Start or go on with an instance; return the last sequence that the hub has."""
        if instance_id != self.instance_id:
            self.instance_id, self.low, self._ahead = instance_id, max(oldest - 1, 0), set()
        elif oldest - 1 > self.low:
            self.low = oldest - 1
            self._advance()
        return self.low

    def is_new(self, sequence: int) -> bool:
        """Note a number; return whether it had not come before. 0 is never numbered."""
        if sequence == 0:
            return True
        if sequence <= self.low or sequence in self._ahead:
            return False
        self._ahead.add(sequence)
        self._advance()
        return True

    def _advance(self) -> None:
        while self.low + 1 in self._ahead:
            self.low += 1
            self._ahead.discard(self.low)
        if self._ahead and min(self._ahead) <= self.low:
            self._ahead = {number for number in self._ahead if number > self.low}


class Nodes:
    """All nodes by name."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self.records: dict[str, NodeRecord] = {}
        self.revision = 1

    def admit(self, hello: frame_pb2.Hello) -> NodeRecord:
        """Take a node in, or take it up again.

        Raises:
            FrameError: Its Hello does not fit.
        """
        known = self.records.get(hello.node_name)
        rows = self._store.admit(hello, known.rows if known else None)
        record = NodeRecord(hello, rows)
        if known is not None:
            record.sequences, record.holders = known.sequences, known.holders
        self.records[hello.node_name] = record
        self.revision += 1
        return record

    def age(self, node_name: str) -> float:
        """Return the age of a node's newest frame, seconds; endless for one that is not known."""
        record = self.records.get(node_name)
        return self._store.age(record.rows, self._clock()) if record else float("inf")


def freshness(age_seconds: float) -> Freshness:
    """Return how fresh figures of this age are."""
    if age_seconds < GREY_SECONDS:
        return Freshness.LIVE
    if age_seconds < STALE_SECONDS:
        return Freshness.GREY
    return Freshness.STALE if age_seconds < LOST_SECONDS else Freshness.LOST
