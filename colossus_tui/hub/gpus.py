"""Figures of the GPUs that runs hold, over the store's columns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from colossus_tui.hub.actions.ports import HeldGpu, PowerRange
from colossus_tui.hub.nodes import GREY_SECONDS, NodeRecord, Nodes, freshness
from colossus_tui.hub.runs.summary import RunGpus
from colossus_tui.hub.store import Rows, Store
from colossus_tui.model import Alert, Freshness
from colossus_tui.text import safe


class RunGpuFigures:
    """Answers what a run's GPUs do now; sums cover live nodes only."""

    def __init__(
        self, store: Store, nodes: Nodes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock
        self.troubles: Callable[[str], tuple[Alert, ...]] = lambda _: ()  # set by who watches them
        self._rows: dict[str, Rows] = {}
        self._revision = -1

    def of(self, run_id: str) -> RunGpus:
        """Return the figures of the GPUs that the run holds."""
        rows = self.rows(run_id)
        if not rows.size:
            return RunGpus()
        store, now = self._store, self._clock()
        live = rows[now - store.received[store.node_of[rows]] < GREY_SECONDS]
        values = store.gpus.column("power")[live]
        known = values[np.isfinite(values)]
        peaks = store.peak_flops[rows]
        power = float(known.sum(dtype=np.float64)) if known.size else None
        peak = float(peaks.sum()) if peaks.all() else 0.0
        return RunGpus(rows.size, known.size, power, peak, self.troubles(run_id))

    def rows(self, run_id: str) -> Rows:
        """Return the store's rows of the GPUs that the run holds."""
        if self._revision != self._store.revision:
            self._rows, self._revision = {}, self._store.revision
        rows = self._rows.get(run_id)
        if rows is None:
            code = self._store.runs.known(run_id)
            held = self._store.run_of[: self._store.gpus.row_count]
            rows = np.flatnonzero(held == code) if code >= 0 else np.zeros(0, dtype=np.intp)
            self._rows[run_id] = rows
        return rows

    def release_refusal(self, node_name: str) -> str:
        """Return why a freeze cannot release GPU memory on a node; "" when it can."""
        record = self._nodes.records.get(node_name)
        if record is not None and record.shared.can_release_gpus:
            return ""
        detail = record.shared.release_gpus_detail if record is not None else ""
        return detail or "its agent does not know how to; update it"

    def power_range(self, run_id: str) -> PowerRange:
        """Return between what the power limits of all GPUs that the run holds can be set."""
        nodes = np.unique(self._store.node_of[self.rows(run_id)])
        records = [self._nodes.by_row[node] for node in nodes.tolist()]
        kinds = {id(record.shared): record.shared for record in records}  # one a kind of node
        gpus = [gpu for shared in kinds.values() for gpu in shared.gpus]
        lowest = max((gpu.power_limit_lowest_watts for gpu in gpus), default=0.0)
        highest = min((w for gpu in gpus if (w := gpu.power_limit_highest_watts)), default=0.0)
        denied = [record for record in records if record.shared.power_cap_detail]
        detail = ""
        if denied:
            why = safe(denied[0].shared.power_cap_detail, 200)
            detail = f"{len(denied)}/{len(records)} of its nodes may be denied it: {why}"
        return PowerRange(lowest, highest, detail)

    def held_by(self, run_id: str) -> tuple[HeldGpu, ...]:
        """Return every GPU that the run holds or was the last to hold, as the devices say now."""
        store, code = self._store, self._store.runs.known(run_id)
        if code < 0:
            return ()
        rows = np.flatnonzero(store.holder_of[: store.gpus.row_count] == code)
        nodes = store.node_of[rows]
        gpus = rows - store.first_of[nodes]
        return tuple(
            self._held(self._nodes.by_row[node], gpu, run_id)
            for node, gpu in zip(nodes.tolist(), gpus.tolist(), strict=True)
        )

    def _held(self, record: NodeRecord, gpu: int, run_id: str) -> HeldGpu:
        """Return what one GPU says; memory that no process has is the run's that had it last."""
        sizes = {
            (process.pid, process.run_id == run_id): float(size)
            for process in record.processes
            for index, size in zip(process.gpu_indices, process.gpu_memory_bytes, strict=False)
            if index == gpu
        }
        own = [size for (_, is_own), size in sizes.items() if is_own]
        others = [size for (_, is_own), size in sizes.items() if not is_own]
        used = math.nan
        rows = record.rows
        if gpu < rows.gpu_count and (
            freshness(self._store.age(rows, self._clock())) is Freshness.LIVE
        ):
            used = float(self._store.gpus.column("memory_used")[rows.first + gpu])
        held = sum(size for size in own if size > 0)
        if math.isfinite(used) and all(size >= 0 for size in others):
            held = max(held, used - sum(others))
        known = held > 0 or math.isfinite(used)
        pids = tuple(sorted(pid for pid, is_own in sizes if is_own))
        return HeldGpu(record.node_name, gpu, held if known else None, pids)
