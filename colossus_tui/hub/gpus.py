"""Figures of the GPUs that runs hold, over the store's columns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from colossus_tui.hub.actions.ports import HeldGpu
from colossus_tui.hub.nodes import NodeRecord, Nodes, freshness
from colossus_tui.hub.runs.summary import RunGpus
from colossus_tui.hub.store import Store
from colossus_tui.model import Freshness


class RunGpuFigures:
    """Answers what a run's GPUs do now; sums cover live nodes only."""

    def __init__(
        self, store: Store, nodes: Nodes, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._clock = clock

    def of(self, run_id: str) -> RunGpus:
        """Return the figures of the GPUs that the run holds."""
        count, now = 0, self._clock()
        live: list[int] = []  # rows
        peaks: list[float] = []
        for record in self._nodes.records.values():
            held = record.held.get(run_id)
            if held is None or not held.gpu_indices:
                continue
            count += len(held.gpu_indices)
            peaks += held.peak_flops
            rows = record.rows
            if freshness(self._store.age(rows, now)) is Freshness.LIVE:
                live += [rows.first + gpu for gpu in held.gpu_indices if gpu < rows.gpu_count]
        values = self._store.gpus.column("power")[live].astype(float)
        known = values[np.isfinite(values)]
        peak = sum(peaks) if peaks and all(peaks) else 0.0
        return RunGpus(count, known.size, float(known.sum()) if known.size else None, peak)

    def release_refusal(self, node_name: str) -> str:
        """Return why a freeze cannot release GPU memory on a node; "" when it can."""
        record = self._nodes.records.get(node_name)
        if record is not None and record.hello.can_release_gpus:
            return ""
        detail = record.hello.release_gpus_detail if record is not None else ""
        return detail or "its agent does not know how to; update it"

    def held_by(self, run_id: str) -> tuple[HeldGpu, ...]:
        """Return every GPU that the run holds or was the last to hold, as the devices say now."""
        return tuple(
            self._held(record, gpu, run_id)
            for record in self._nodes.records.values()
            for gpu, run in sorted(record.holders.items())
            if run == run_id
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
        return HeldGpu(record.hello.node_name, gpu, held if known else None, pids)
