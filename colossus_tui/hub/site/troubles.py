"""What the GPUs of a run betray before its steps do: a slow one, and a collective that hangs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.model import Alert, Extreme, RunState, Severity

SLOW_RATIO, SLOW_TICKS = 0.7, 3
BUSY_RATIO = 0.5  # median utilisation below which a clock says nothing
HANG_UTILISATION, HANG_POWER, HANG_SECONDS = 0.95, 0.5, 60.0
# Of the newest second in a run's usual power: some minutes. What is first seen saving or loading is
# soon seen to draw more.
FALL_WEIGHT, RISE_WEIGHT = 1 / 300, 1 / 10
NAMED = 4  # slow GPUs that an alert names


@dataclass(slots=True)
class _Known:
    """What was seen of one run."""

    slow: dict[int, int] = field(default_factory=dict)  # ticks in a row, by row of a GPU
    usual_watts: float | None = None  # median GPU's power while steps come


class Troubles:
    """Watches the roll-ups of all runs, once a tick."""

    def __init__(self, roll_ups: RollUps) -> None:
        self._roll_ups = roll_ups
        self._known: dict[str, _Known] = {}
        self._alerts: dict[str, tuple[Alert, ...]] = {}

    def tick(self, runs: Mapping[str, LiveRun], now: float) -> None:
        """Look at every run that has GPUs."""
        alerts, watched = {}, {}
        for run_id in self._roll_ups.runs():
            run = runs.get(run_id)
            if run is not None and run.state is RunState.RUNNING:
                known = watched[run_id] = self._known.get(run_id) or _Known()
                alerts[run_id] = (*self._slow(run_id, known), *self._hang(run, known, now))
        self._known, self._alerts = watched, alerts

    def of(self, run_id: str) -> tuple[Alert, ...]:
        """Return what is so now of a run's GPUs."""
        return self._alerts.get(run_id, ())

    def slow_rows(self, run_id: str) -> list[int]:
        """Return the store's rows of the GPUs that the run waits for."""
        known = self._known.get(run_id)
        return [row for row, ticks in known.slow.items() if ticks >= SLOW_TICKS] if known else []

    def _slow(self, run_id: str, known: _Known) -> list[Alert]:
        clock = self._roll_ups.median("sm_clock", run_id)
        busy = self._roll_ups.median("gpu_utilisation", run_id)
        if clock is None or busy is None or busy < BUSY_RATIO or clock <= 0:
            known.slow = {}
            return []
        rows, clocks = self._roll_ups.below("sm_clock", run_id, SLOW_RATIO * clock)
        found = dict(zip(rows.tolist(), clocks.tolist(), strict=True))  # the slowest first
        known.slow = {row: known.slow.get(row, 0) + 1 for row in found}
        slow = [row for row, ticks in known.slow.items() if ticks >= SLOW_TICKS]
        if not slow:
            return []
        named = (self._roll_ups.extreme(row, found[row]) for row in slow[:NAMED])
        names = ", ".join(_named(one, clock) for one in named)
        more = f" and {len(slow) - NAMED} more" if len(slow) > NAMED else ""
        text = f"{names}{more}: slower than {SLOW_RATIO:g} of the run's median clock"
        return [Alert(Severity.WARNING, "run.straggler", text)]

    def _hang(self, run: LiveRun, known: _Known, now: float) -> list[Alert]:
        watts = self._roll_ups.median("power", run.run_id)
        busy = self._roll_ups.median("gpu_utilisation", run.run_id)
        if watts is None or busy is None:
            return []
        usual, quiet = known.usual_watts, now - run.step_seen
        is_low = usual is not None and watts < HANG_POWER * usual
        if not is_low:  # else the hang itself would become what is usual
            known.usual_watts = watts if usual is None else _nearer(usual, watts)
        if not (is_low and busy >= HANG_UTILISATION and run.step_seen and quiet > HANG_SECONDS):
            return []
        text = (
            f"a collective hangs: utilisation {busy:.0%}, but {watts:,.0f} W where "
            f"{usual or 0.0:,.0f} W are usual, and no step for {quiet:.0f} s"
        )
        return [Alert(Severity.CRITICAL, "run.collective_hang", text)]


def _nearer(usual: float, watts: float) -> float:
    return usual + (watts - usual) * (RISE_WEIGHT if watts > usual else FALL_WEIGHT)


def _named(gpu: Extreme, clock: float) -> str:
    rank = f" (rank {gpu.rank})" if gpu.rank >= 0 else ""
    return f"{gpu.node_name} GPU {gpu.gpu_index}{rank} at {gpu.value:,.0f} of {clock:,.0f} MHz"
