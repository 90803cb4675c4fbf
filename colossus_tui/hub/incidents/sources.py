"""What fails on nodes now: silence, lost GPUs, red XIDs, heat, power brakes, drained by schedulers.

Figures of all nodes are looked at as columns; one by one only nodes that fail.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import common_pb2
from colossus_tui.hub.backends.base import Standing
from colossus_tui.hub.events import KEPT_IN_MEMORY, Events
from colossus_tui.hub.incidents.grouping import Rows, Seconds
from colossus_tui.hub.incidents.throttles import Throttles
from colossus_tui.hub.nodes import STALE_SECONDS, NodeRecord, Nodes
from colossus_tui.hub.store import Store
from colossus_tui.text import ranges

# Bits of the metric "clock_event_reasons" (nvml.h): software and hardware thermal, power brake.
HOT, BRAKE = 0x60, 0x80
# The hardware's XIDs; all others are an application's, or come with one of these.
RED_XIDS = frozenset({48, 79, 95, 119})
XID_SECONDS = 600.0  # an XID is one event: how long it counts
STORM_EVENTS, STORM_GPUS = 5, 3  # of one run within that time; fewer are its own affair
CORDONED_SECONDS = 10.0  # between two looks at what schedulers hold
_XID = re.compile(r"XID (\d{1,5})")


@dataclass(frozen=True, slots=True, eq=False)
class Failing:
    """Nodes that fail in one way.

    Attributes:
        rows: Their rows in the store, ascending.
        since: Unix seconds since when.
        gpus: How many GPUs fail on each; None where the whole node fails.
        details: What is known more, by row of the node.
    """

    kind: str
    rows: Rows
    since: Seconds
    gpus: Rows | None = None
    details: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Storm:
    """XIDs of a run's own: Unix seconds, node and GPU, and code of each."""

    run_id: str
    xids: tuple[tuple[float, str, int, int], ...]


class NodeSources:
    """Looks at all nodes.

    Args:
        held: Returns by name the nodes to which schedulers give no new work.
        began: Unix seconds when the hub began.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        events: Events,
        held: Callable[[], Mapping[str, Standing]],
        began: float,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._events = events
        self._held = held
        self._began = began
        self._throttles = Throttles(store, nodes, events.add)
        self._since: dict[str, Seconds] = {}  # by kind and row; NaN where it does not fail
        self._event_id = events.last_event_id  # what is older was told of before this hub began
        self._red: dict[tuple[str, int], tuple[float, int]] = {}  # by node and GPU
        self._own: dict[str, deque[tuple[float, str, int, int]]] = {}  # by run
        self._cordoned: dict[str, str] = {}
        self._cordoned_at = -np.inf

    def look(self, now: float, monotonic: float) -> list[Failing]:
        """Return what fails now.

        Args:
            now: Unix seconds.
            monotonic: The store's clock.
        """
        self._read_events(now)
        ages = np.minimum(self._store.ages(monotonic), now - self._began)
        return [
            self._silent(ages, now),
            *self._sensors(now),
            *self._throttled(ages < STALE_SECONDS, now),
            self._drained(now),
        ]

    def storms(self) -> list[Storm]:
        """Return the runs with so many XIDs of their own that somebody should know."""
        return [
            Storm(run_id, tuple(xids))
            for run_id, xids in self._own.items()
            if len(xids) >= STORM_EVENTS or len({one[1:3] for one in xids}) >= STORM_GPUS
        ]

    # --- silence and throttling: columns -----------------------------------------------------

    def _silent(self, ages: Seconds, now: float) -> Failing:
        rows = np.flatnonzero(ages >= STALE_SECONDS)
        return Failing("node.lost", rows, now - ages[rows])

    def _throttled(self, is_fresh: npt.NDArray[np.bool_], now: float) -> list[Failing]:
        store = self._store
        if "clock_event_reasons" not in store.gpus.names or not is_fresh.size:
            return []
        reasons = store.gpus.column("clock_event_reasons")
        gpus = np.flatnonzero(reasons >= min(HOT & -HOT, BRAKE))  # NaN is not
        bits = reasons[gpus].astype(np.int64)
        found = []
        for kind, mask in (("node.hot", HOT), ("node.power_brake", BRAKE)):
            held = gpus[(bits & mask) != 0]
            held = held[store.node_of[held] >= 0]
            held = held[is_fresh[store.node_of[held]]]
            self._throttles.look(kind, held, now)
            rows, counts = np.unique(store.node_of[held], return_counts=True)
            rows = rows.astype(np.intp)
            since = self._since_of(kind, rows, now)
            found.append(Failing(kind, rows, since, counts.astype(np.intp)))
        return found

    def _since_of(self, kind: str, rows: Rows, now: float) -> Seconds:
        """Return since when each of these fails, by what was seen before."""
        before = self._since.get(kind)
        known = np.full(self._store.hosts.row_count, np.nan)
        if before is not None:
            known[: before.size] = before
        since = np.where(np.isnan(known[rows]), now, known[rows])
        kept = self._since[kind] = np.full(known.size, np.nan)
        kept[rows] = since
        return since

    # --- sensors and XIDs: those nodes alone that have one -----------------------------------

    def _sensors(self, now: float) -> list[Failing]:
        lost: dict[int, set[int]] = {}
        details: dict[int, str] = {}
        stuck: dict[int, str] = {}
        for name in tuple(self._nodes.failing):
            record = self._nodes.records[name]
            row, gone = record.rows.node_row, _gpus_lost(record)
            if gone:
                lost[row], details[row] = gone, f"GPU {ranges(sorted(gone))} lost from the bus"
            if names := sorted({s.sensor for s in record.failing if _is_stuck(s.reason)}):
                stuck[row] = f"stuck: {', '.join(names[:4])}"
        for (name, gpu), (_, code) in self._red.items():
            if (known := self._nodes.records.get(name)) is not None:
                row = known.rows.node_row
                lost.setdefault(row, set()).add(gpu)
                said = f"XID {code} on GPU {gpu}"
                details[row] = f"{details[row]}, {said}" if row in details else said
        counts = {row: len(gpus) for row, gpus in lost.items()}
        return [
            self._failing("gpu.fault", details, now, counts),
            self._failing("node.sensor_stuck", stuck, now),
        ]

    def _failing(
        self, kind: str, details: dict[int, str], now: float, gpus: dict[int, int] | None = None
    ) -> Failing:
        ordered = sorted(details)
        rows = np.array(ordered, dtype=np.intp)
        counts = None if gpus is None else np.array([gpus[row] for row in ordered], dtype=np.intp)
        return Failing(kind, rows, self._since_of(kind, rows, now), counts, details)

    def _read_events(self, now: float) -> None:
        """Take up XIDs that came since the last time, and forget old ones."""
        fresh = self._events.recent(KEPT_IN_MEMORY, after_event_id=self._event_id)
        self._event_id = self._events.last_event_id
        for event in reversed(fresh):
            code = _XID.match(event.message) if event.kind == "gpu.xid" else None
            if code is None or event.gpu_index < 0:
                continue
            number = int(code[1])
            if number in RED_XIDS:
                self._red[event.node_name, event.gpu_index] = now, number
            elif run_id := event.run_id or self._holder(event.node_name, event.gpu_index):
                xids = self._own.setdefault(run_id, deque(maxlen=KEPT_IN_MEMORY))
                xids.append((now, event.node_name, event.gpu_index, number))
        self._red = {gpu: one for gpu, one in self._red.items() if now - one[0] < XID_SECONDS}
        for run_id, xids in tuple(self._own.items()):
            while xids and now - xids[0][0] >= XID_SECONDS:
                xids.popleft()
            if not xids:
                del self._own[run_id]

    def _holder(self, node_name: str, gpu_index: int) -> str:
        """Return the run that holds a GPU, or was the last to; "" for none."""
        record = self._nodes.records.get(node_name)
        if record is None or gpu_index >= record.rows.gpu_count:
            return ""
        code = int(self._store.holder_of[record.rows.first + gpu_index])
        return self._store.runs.names[code] if code >= 0 else ""

    # --- what schedulers hold ----------------------------------------------------------------

    def _drained(self, now: float) -> Failing:
        if now - self._cordoned_at >= CORDONED_SECONDS:
            self._cordoned_at = now
            self._cordoned = {
                name: f"{one.state[:64]}: {one.reason[:200]}" if one.reason else one.state[:64]
                for name, one in self._held().items()
            }
        records = self._nodes.records
        details = {
            records[name].rows.node_row: why
            for name, why in self._cordoned.items()
            if name in records
        }
        return self._failing("node.drained", details, now)


def _gpus_lost(record: NodeRecord) -> set[int]:
    return {
        sensor.gpu_index
        for sensor in record.failing
        if sensor.reason == common_pb2.MISSING_REASON_LOST and sensor.gpu_index >= 0
    }


def _is_stuck(reason: int) -> bool:
    return reason == common_pb2.MISSING_REASON_STUCK
