"""Runs and their steps on the hub's disk."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from colossus_tui.hub.database import Database
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.live import LiveRun

LOG = logging.getLogger(__name__)


class RunDisk:
    """Reads all runs once, then writes what is new of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self, now: float) -> dict[str, LiveRun]:
        """Return every run with its steps; one that is damaged is left out and told.

        Args:
            now: The hub's monotonic clock.
        """
        runs: dict[str, LiveRun] = {}
        for run_id, body in self._database.fetch_now("select run_id, body from runs"):
            try:
                run = LiveRun.from_json(run_id, body)
                run.read_at = now
                runs[run_id] = run
            except (ValueError, KeyError, TypeError) as error:
                LOG.warning("run=%r state=damaged error=%r", run_id, error)
        for run_id, step, time_ns, *values, tokens in self._database.fetch_now(
            "select run_id, step, time_ns, loss, grad_norm, step_seconds, tokens from steps "
            "order by run_id, step"
        ):
            if run_id in runs:
                point = StepPoint(step, time_ns, *_nan(values), tokens)
                runs[run_id].history.restore([point])
        return runs

    async def write(self, runs: Iterable[LiveRun]) -> None:
        """Write every run and its new steps."""
        kept = list(runs)
        for run in kept:
            points = run.history.take_unwritten()
            if run.history.thinned:
                run.history.thinned = False
                await self._rewrite(run)
            await self._write_steps(run.run_id, points)
        await self._write_states(kept)

    async def write_state(self, run: LiveRun) -> None:
        """Write one run's state now; its steps wait for the next `write`."""
        await self._write_states([run])

    async def _write_states(self, runs: Iterable[LiveRun]) -> None:
        await self._database.write(
            "insert or replace into runs values (?, ?)",
            [(run.run_id, run.state_json()) for run in runs],
        )

    async def _rewrite(self, run: LiveRun) -> None:
        stride, top = run.history.stride, run.top_step
        await self._database.write(
            "delete from steps where run_id = ? and (step % ? != 0 or step > ?)",
            [(run.run_id, stride, top)],
        )

    async def _write_steps(self, run_id: str, points: Iterable[StepPoint]) -> None:
        await self._database.write(
            "insert or replace into steps values (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    run_id,
                    point.step,
                    point.time_unix_ns,
                    point.loss,
                    point.grad_norm,
                    point.step_seconds,
                    point.tokens,
                )
                for point in points
            ],
        )


def _nan(row: Iterable[float | None]) -> tuple[float, float, float]:
    """SQLite keeps NaN as null."""
    loss, grad_norm, step_seconds = (math.nan if value is None else value for value in row)
    return loss, grad_norm, step_seconds
