"""The site's runs as the planner sees them.

What a run draws is the median of its last minute where that is more than just now: one that
saves draws half of it, and one whose cap was taken off draws more.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from colossus_tui.hub.actions.ports import PowerRange, RunRegistry
from colossus_tui.hub.backends.agreement import LEAD_STEPS
from colossus_tui.hub.nodes import GREY_SECONDS
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.shed.planner import Load
from colossus_tui.hub.store import Store
from colossus_tui.model import ActionParameters, PlaceKind, Run, RunState, Verb

Refusal = Callable[[Verb, Run, ActionParameters], str]  # why it cannot be done now; "" when it can
USUAL_SECONDS = 60.0
IDLE_RATIO = 0.01  # a GPU of less utilisation is idle
EXIT_SECONDS = 15.0  # from the durable save to GPUs that are free
_GOING = (RunState.STARTING, RunState.RUNNING, RunState.FROZEN, RunState.RESUMING)
_WHOLE = (*_GOING, RunState.PAUSED, RunState.PAUSING)  # what a class's floor is a share of


class PowerPast(Protocol):
    """What places and runs drew; the roll-ups."""

    def history(
        self, kind: PlaceKind, name: str, series: str, since_unix_ns: int
    ) -> tuple[str, list[int], list[float]]:
        """Return unit, times and values of a place's series."""


class Loads:
    """Reads them from the hub's live state.

    Args:
        runs: Returns all runs as consoles see them.
    """

    def __init__(
        self,
        runs: Callable[[], Iterable[Run]],
        registry: RunRegistry,
        store: Store,
        past: PowerPast,
        config: ShedConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runs = runs
        self._registry = registry
        self._store = store
        self._past = past
        self._config = config
        self._clock = clock

    def now(self, refusal: Refusal) -> tuple[list[Load], float]:
        """Return every run that computes or is paused, and what they draw more than just now."""
        loads, more = [], 0.0
        for run in self._runs():
            if run.state in _WHOLE:
                usual, at_tick = self._usual_watts(run)
                loads.append(self._load(run, usual, refusal))
                more += (usual or 0.0) - at_tick if run.state in _GOING else 0.0
        return loads, more

    def _usual_watts(self, run: Run) -> tuple[float | None, float]:
        """Return what the run draws as a rule, and what of it is in the site's power of the tick.

        What it drew before its state changed is no rule.
        """
        if run.power_watts is None:
            return None, 0.0
        since = max(time.time_ns() - int(USUAL_SECONDS * 1e9), run.state_since_unix_ns)
        _, _, known = self._past.history(PlaceKind.RUN, run.run_id, "power.sum", since)
        at_tick = known[-1] if known else run.power_watts
        usual = max(statistics.median(known or [at_tick]), at_tick)
        if run.power_cap_watts:
            usual = min(usual, run.power_cap_watts * run.reporting_gpu_count)
        return usual, at_tick

    def _load(self, run: Run, usual: float | None, refusal: Refusal) -> Load:
        is_going = run.state in _GOING
        is_asked = is_going and run.flex_tier > 0
        limits = self._registry.power_range(run.run_id) if is_asked else PowerRange()
        return Load(
            run.run_id,
            run.priority_class,
            run.flex_tier,
            run.gpu_count or run.rank_count,
            run.reporting_gpu_count,
            usual,
            limits.highest_watts or None,
            limits.lowest_watts,
            run.power_cap_watts or 0.0,
            run.work_at_risk_hours,
            run.work_unit or "GPU·h",
            is_going,
            self._pause_seconds(run),
            self._refusals(run, limits, refusal) if is_asked else {},
        )

    def _refusals(self, run: Run, limits: PowerRange, refusal: Refusal) -> dict[Verb, str]:
        """Return why it cannot be limited or paused, where it cannot."""
        allowed = ActionParameters(cap_watts=limits.highest_watts)
        cap = limits.detail or refusal(Verb.CAP, run, allowed)
        pause = refusal(Verb.PAUSE, run, ActionParameters())
        return {verb: why for verb, why in ((Verb.CAP, cap), (Verb.PAUSE, pause)) if why}

    def _pause_seconds(self, run: Run) -> float:
        """Return how long until it has saved at a step that all ranks agree on, and is gone."""
        landing = (LEAD_STEPS + 1) * (run.step_seconds_p50 or 0.0)
        return landing + (run.checkpoint_seconds or self._config.save_seconds) + EXIT_SECONDS

    def idle_watts(self) -> float:
        """Return what a GPU draws that no run holds and nobody uses: their median.

        While a site links, GPUs are busy of which nobody has said yet whose they are.
        """
        store, count = self._store, self._store.gpus.row_count
        node_of = store.node_of[:count]
        fresh = self._clock() - store.received[node_of] < GREY_SECONDS
        watts, use = store.gpus.column("power"), store.gpus.column("gpu_utilisation")
        unused = np.nan_to_num(use, nan=1.0) < IDLE_RATIO
        idle = watts[(node_of >= 0) & fresh & unused & (store.run_of[:count] < 0)]
        idle = idle[np.isfinite(idle)]
        return float(np.median(idle)) if idle.size else self._config.idle_watts
