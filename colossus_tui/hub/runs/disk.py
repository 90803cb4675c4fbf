"""Runs and their steps on the hub's disk."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from contextlib import suppress

from colossus_tui.hub.database import Database, DatabaseAwayError
from colossus_tui.hub.runs.curve import LossCurve
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.live import LiveRun

LOG = logging.getLogger(__name__)
UPSERT_STEP = (
    "insert into steps (run_id, step, time_ns, loss, grad_norm, step_seconds, tokens, hub) "
    "values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (run_id, step, hub) do update set "
    "time_ns = excluded.time_ns, loss = excluded.loss, grad_norm = excluded.grad_norm, "
    "step_seconds = excluded.step_seconds, tokens = excluded.tokens"
)
UPSERT_CURVE = (
    "insert into curves (run_id, body, hub) values (?, ?, ?) "
    "on conflict (run_id, hub) do update set body = excluded.body"
)
CURVE_TURNS = 30  # writes in which each curve comes once


class RunDisk:
    """Reads all runs once, then writes what is new of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = 0

    def read(self, now: float) -> dict[str, LiveRun]:
        """Return every run with its steps; one that is damaged is left out and told.

        Args:
            now: The hub's monotonic clock.
        """
        runs: dict[str, LiveRun] = {}
        hub = self._database.hub
        for run_id, body in self._database.fetch_now(
            "select run_id, body from runs where hub = ?", (hub,)
        ):
            try:
                run = LiveRun.from_json(run_id, body)
                run.read_at = now
                runs[run_id] = run
            except (ValueError, KeyError, TypeError) as error:
                LOG.warning("run=%r state=damaged error=%r", run_id, error)
        for run_id, step, time_ns, *values, tokens in self._database.fetch_now(
            "select run_id, step, time_ns, loss, grad_norm, step_seconds, tokens from steps "
            "where hub = ? order by run_id, step",
            (hub,),
        ):
            if run_id in runs:
                point = StepPoint(step, time_ns, *_nan(values), tokens)
                runs[run_id].history.restore([point])
        for run_id, body in self._database.fetch_now(
            "select run_id, body from curves where hub = ?", (hub,)
        ):
            try:
                if run_id in runs:
                    runs[run_id].curve = LossCurve.from_json(body)
            except (ValueError, KeyError, TypeError) as error:
                LOG.warning("curve=%r state=damaged error=%r", run_id, error)
        return runs

    async def write(self, runs: Iterable[LiveRun], *, all_curves: bool = False) -> None:
        """Write every run and its new steps; these wait while the database is away.

        Args:
            all_curves: Write each curve that has changed; else those whose turn it is.
        """
        kept = list(runs)
        for run in kept:
            points = run.history.take_unwritten()
            if run.history.thinned:
                run.history.thinned = False
                await self._rewrite(run)
            await self._write_steps(run.run_id, points)
        turn, self._turn = self._turn, (self._turn + 1) % CURVE_TURNS
        due = kept if all_curves else kept[turn::CURVE_TURNS]
        await self._write_curves([run for run in due if not run.curve.is_kept])
        await self._write_states(kept)

    async def write_state(self, run: LiveRun) -> None:
        """Write one run's state now; its steps wait for the next `write`.

        While the database is away, the state is written with the first `write` when it is back.
        """
        await self._write_states([run])

    async def _write_states(self, runs: Iterable[LiveRun]) -> None:
        if self._database.away:
            return  # every run is written anew when it is back
        hub = self._database.hub
        with suppress(DatabaseAwayError):
            await self._database.write(
                "insert into runs (run_id, body, hub) values (?, ?, ?) "
                "on conflict (run_id, hub) do update set body = excluded.body",
                [(run.run_id, run.state_json(), hub) for run in runs],
            )

    async def _write_curves(self, runs: Iterable[LiveRun]) -> None:
        if self._database.away:
            return
        hub = self._database.hub
        rows = [(run.run_id, run.curve.state_json(), hub) for run in runs]
        await self._database.keep(UPSERT_CURVE, rows)

    async def _rewrite(self, run: LiveRun) -> None:
        stride, top = run.history.stride, run.top_step
        await self._database.keep(
            "delete from steps where hub = ? and run_id = ? and (step % ? != 0 or step > ?)",
            [(self._database.hub, run.run_id, stride, top)],
        )

    async def _write_steps(self, run_id: str, points: Iterable[StepPoint]) -> None:
        await self._database.keep(
            UPSERT_STEP,
            [
                (
                    run_id,
                    point.step,
                    point.time_unix_ns,
                    point.loss,
                    point.grad_norm,
                    point.step_seconds,
                    point.tokens,
                    self._database.hub,
                )
                for point in points
            ],
        )


def _nan(row: Iterable[float | None]) -> tuple[float, float, float]:
    """SQLite keeps NaN as null, PostgreSQL as it is."""
    loss, grad_norm, step_seconds = (math.nan if value is None else value for value in row)
    return loss, grad_norm, step_seconds
