"""Figures of the GPUs that runs hold, over the store's columns."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from colossus_tui.hub.nodes import Nodes, freshness
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
        count = reporting = 0
        watts: list[float] = []
        peaks: list[float] = []
        power = self._store.gpus.column("power")
        for record in self._nodes.records.values():
            rows = record.rows
            held = [gpu for gpu, run in record.gpu_runs.items() if run == run_id]
            if not held:
                continue
            count += len(held)
            peaks += [gpu.peak_bf16_flops for gpu in record.hello.gpus if gpu.gpu_index in held]
            if freshness(self._store.age(rows, self._clock())) is not Freshness.LIVE:
                continue
            values = [float(power[rows.first + gpu]) for gpu in held if gpu < rows.gpu_count]
            known = [value for value in values if math.isfinite(value)]
            reporting += len(known)
            watts += known
        peak = sum(peaks) if peaks and all(peaks) else 0.0
        return RunGpus(count, reporting, sum(watts) if watts else None, peak)

    def memory_of(self, run_id: str) -> int | None:
        """Return the most memory in bytes that the run holds on any GPU; None without one."""
        return self._nodes.gpu_memory_of(run_id)
