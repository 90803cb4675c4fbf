"""A small site in a hub's store, told by Hellos, frames and reports, and the same kept naively."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import numpy.typing as npt
from hypothesis import settings
from hypothesis import strategies as st

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.hub.nodes import GREY_SECONDS, LOST_SECONDS, STALE_SECONDS, Nodes
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.site.maps import Maps
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store

UNITS = {
    "power": "W",
    "gpu_temperature": "C",
    "gpu_utilisation": "ratio",
    "tensor_active": "ratio",
    "sm_clock": "MHz",
    "memory_used": "B",
    "fan_speed": "ratio",  # which is not rolled up
}
METRICS = tuple(UNITS)
NOW = 1_000.0
SITES = settings(max_examples=30, deadline=None)  # a machine may be busy


@dataclass(frozen=True)
class NaiveGpu:
    """One GPU as a list of values, not a place in columns."""

    node: NaiveNode
    index: int
    run_id: str
    rank: int
    raw: Mapping[str, float]

    def fresh(self, metric: str) -> float:
        """Return a metric's value; NaN where it is not available or not fresh."""
        value = self.raw[metric]
        return value if self.node.age < GREY_SECONDS and math.isfinite(value) else math.nan


@dataclass
class NaiveNode:
    """What was last said of one node."""

    name: str
    hall: str = ""
    rack: str = ""
    received: float = -math.inf
    values: list[list[float]] = field(default_factory=list)
    held: list[tuple[str, int]] = field(default_factory=list)
    is_failing: bool = False

    @property
    def age(self) -> float:
        """Its age, at NOW."""
        return NOW - self.received

    @property
    def state(self) -> int:
        """Return 1 live, 2 grey, 3 stale, 4 lost."""
        return 1 + sum(self.age >= edge for edge in (GREY_SECONDS, STALE_SECONDS, LOST_SECONDS))

    def gpus(self) -> list[NaiveGpu]:
        """Return its GPUs."""
        return [
            NaiveGpu(self, index, *held, dict(zip(METRICS, row, strict=True)))
            for index, (row, held) in enumerate(zip(self.values, self.held, strict=True))
        ]


class _Runs:
    def __init__(self, runs: Mapping[str, LiveRun]) -> None:
        self.runs = runs


class SmallSite:
    """Nodes in a store, their roll-ups and maps."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = Store()
        self.nodes = Nodes(self.store, lambda: self.now)
        self.roll_ups = RollUps(self.store, self.nodes, lambda: self.now)
        self.runs: dict[str, LiveRun] = {}
        registry = cast(Registry, _Runs(self.runs))
        self.maps = Maps(self.store, self.nodes, registry, self.roll_ups, lambda: self.now)
        self.naive: dict[str, NaiveNode] = {}

    def admit(self, name: str, gpu_count: int, hall: str = "", rack: str = "") -> None:
        """Let a node come, or come back."""
        self.nodes.admit(
            frame_pb2.Hello(
                node_name=name,
                hall=hall,
                rack=rack,
                gpu_columns=[frame_pb2.MetricColumn(name=m, unit=u) for m, u in UNITS.items()],
                gpus=[
                    frame_pb2.GpuInventory(gpu_index=index, gpu_uuid=f"GPU-{name}-{index}")
                    for index in range(gpu_count)
                ],
            )
        )
        node = self.naive.setdefault(name, NaiveNode(name))
        node.hall, node.rack = hall, rack
        if len(node.values) != gpu_count:
            node.values = [[math.nan] * len(METRICS) for _ in range(gpu_count)]
            node.held = [("", -1)] * gpu_count

    def frame(self, name: str, values: npt.ArrayLike, *, age: float = 0.0) -> None:
        """Take a frame of a node in, a row of METRICS for each GPU."""
        matrix = np.array(values, dtype="<f4")
        frame = frame_pb2.Frame(gpu_values=matrix.tobytes())
        self.store.put(self.nodes.records[name].rows, frame, self.now - age)
        node = self.naive[name]
        node.values, node.received = matrix.tolist(), self.now - age

    def tell(self, name: str, age: float = 0.0, **values: Sequence[float]) -> None:
        """Take a frame of a node in; what is not given is NaN."""
        count = len(self.naive[name].values)
        columns = [values.get(metric, [math.nan] * count) for metric in METRICS]
        self.frame(name, np.array(columns).T, age=age)

    def hold(self, name: str, *held: tuple[str, int]) -> None:
        """Let runs hold a node's GPUs: run and rank of each."""
        record = self.nodes.records[name]
        report = frame_pb2.ProcessReport(
            processes=[
                frame_pb2.ProcessSample(pid=gpu + 1, run_id=run_id, rank=rank, gpu_indices=[gpu])
                for gpu, (run_id, rank) in enumerate(held)
                if run_id
            ]
        )
        self.store.hold(record.rows, *record.take_processes(report))
        self.naive[name].held = [(run_id, rank if run_id else -1) for run_id, rank in held]

    def fail(self, name: str, *, failing: bool = True) -> None:
        """Let a sensor of a node fail, or be well."""
        reason = (
            common_pb2.MISSING_REASON_STUCK if failing else common_pb2.MISSING_REASON_UNSUPPORTED
        )
        status = frame_pb2.SensorStatus(sensor="power", reason=reason)
        report = frame_pb2.SensorReport(sensors=[status])
        self.nodes.take_sensors(self.nodes.records[name], report)
        self.naive[name].is_failing = failing

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass and roll up."""
        self.now += seconds
        self.roll_ups.tick()

    def gpus(self) -> list[NaiveGpu]:
        """Return every GPU, naively."""
        return [gpu for node in self.naive.values() for gpu in node.gpus()]


@dataclass(frozen=True)
class Move:
    """A node that comes, or comes back, and what it says then; age None is no frame."""

    name: str
    hall: str
    rack: str
    gpu_count: int
    age: float | None
    runs: Sequence[str]
    is_failing: bool
    seed: int


MOVES = st.lists(
    st.builds(
        Move,
        name=st.sampled_from(["n01", "n02", "n03", "n10", "a", "Z"]),
        hall=st.sampled_from(["", "A", "B", "B2"]),
        rack=st.sampled_from(["", "r1", "r2", "r10"]),
        gpu_count=st.sampled_from([4, 2, 1, 0, 8, 5]),
        age=st.sampled_from([0.0, 1.5, 4.9, 5.0, 14.0, 20.0, 70.0, None]),
        runs=st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=8, max_size=8),
        is_failing=st.booleans(),
        seed=st.integers(0, 1_000),
    ),
    max_size=14,
)


def told(moves: Sequence[Move], *, tick_after: int = -1) -> SmallSite:
    """Return the site after these moves, rolled up at NOW; once in between a minute earlier."""
    site = SmallSite()
    for number, move in enumerate(moves):
        site.admit(move.name, move.gpu_count, move.hall, move.rack)
        held = [(run_id, rank) for rank, run_id in enumerate(move.runs[: move.gpu_count])]
        site.hold(move.name, *held)
        site.fail(move.name, failing=move.is_failing)
        if move.age is not None:
            site.frame(move.name, _values(move), age=move.age)
        if number == tick_after:
            site.now = NOW - 60.0
            site.tick()
            site.now = NOW
    site.tick()
    return site


def _values(move: Move) -> npt.NDArray[np.float32]:
    """Return values of all kinds: equal ones, spread ones, none, and what is no number."""
    rng = np.random.default_rng(move.seed)
    shape = move.gpu_count, len(METRICS)
    values = np.where(rng.random(shape) < 0.5, rng.integers(0, 4, shape), rng.random(shape) * 900)
    values[:, METRICS.index("memory_used")] *= 2e8
    odd = rng.choice([np.nan, np.inf, -np.inf], shape, p=[0.8, 0.1, 0.1])
    return np.where(rng.random(shape) < 0.15 * (move.seed % 3), odd, values).astype(np.float32)
