"""All runs: takes in what agents report, derives states, keeps them on disk."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping

from colossus_protos.v1 import common_pb2, run_pb2
from colossus_tui.hub.actions.ports import (
    EventLog,
    HeldGpu,
    ObservedRank,
    ObservedRun,
    PowerRange,
)
from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.config import RunConfig
from colossus_tui.hub.database import Database
from colossus_tui.hub.runs.checkpoints import CheckpointRows
from colossus_tui.hub.runs.disk import RunDisk
from colossus_tui.hub.runs.live import LiveRun, rank_exit
from colossus_tui.hub.runs.reports import FrameAges, NodeAges
from colossus_tui.hub.runs.scheduled import Scheduled
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.runs.summary import GpuFigures, summarise
from colossus_tui.model import (
    RUN_ID,
    Event,
    PriorityClass,
    Run,
    RunSpec,
    RunState,
    Severity,
)

RUN_LIMIT = 10_000
PARKED_RUNS, PARKED_MESSAGES = 64, 256
MISSING_NOTES = 8  # of one report: a lost filesystem is one trouble, not a thousand
TOGETHER_SECONDS = 0.02  # what changes within it is looked at once
_CLASSES = {
    common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{member.name}"): member
    for member in PriorityClass
}


class Registry:
    """The hub's runs.

    Args:
        linked: Tells whether a node's agent is linked.
        frames: Tells how old the newest frames of nodes are.
        gpus: Tells what the GPUs do that a run holds.
        priced: Returns a run as it is shown with what it costs.
    """

    def __init__(
        self,
        database: Database,
        events: EventLog,
        configured: Mapping[str, RunConfig],
        linked: Callable[[str], bool],
        frames: FrameAges,
        gpus: GpuFigures,
        clock: Callable[[], float] = time.monotonic,
        priced: Callable[[LiveRun, Run], Run] = lambda _, shown: shown,
    ) -> None:
        self._priced = priced
        self._disk = RunDisk(database)
        self._events = events
        self._configured = configured
        self._linked = linked
        self._frames = frames
        self._gpus = gpus
        self._clock = clock
        self.runs = self._disk.read(clock())
        self.revision = 1
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._parked: dict[str, deque[StepRows | CheckpointRows]] = {}

    # --- what agents report ----------------------------------------------------------------

    def take_report(self, node_name: str, report: run_pb2.RunReport) -> None:
        """Take a node's word on all its runs."""
        now = self._clock()
        reported = set()
        for local in report.runs:
            if not RUN_ID.fullmatch(local.run_id):
                continue
            run = self._run_of(local)
            if run is None:
                continue
            reported.add(run.run_id)
            self._take_local(run, node_name, local, now)
            self._take_parked(run.run_id)
        for run in self.runs.values():
            if node_name in run.nodes and run.run_id not in reported:
                self._lose(run, node_name)

    def _run_of(self, local: run_pb2.LocalRun) -> LiveRun | None:
        """Return the run that a report is about; None for one of another start."""
        run = self.runs.get(local.run_id)
        if run is None:
            if len(self.runs) >= RUN_LIMIT:
                return None
            run = LiveRun(
                local.run_id,
                start_id=local.start_id,
                label=local.label[:256],
                command=local.command[:1024],
                priority_class=_CLASSES.get(local.priority_class, PriorityClass.P2),
                attempt=max(local.attempt, 1),
                started_unix_ns=time.time_ns(),
                state_since_unix_ns=time.time_ns(),
                attempt_seen=self._clock(),
                backend=local.backend[:32] or "local",
            )
            self.runs[run.run_id] = run
            self._note(run, Severity.INFO, "run.adopted", "found on a node's record")
        return run if local.start_id == run.start_id else None

    def _take_local(
        self, run: LiveRun, node_name: str, local: run_pb2.LocalRun, now: float
    ) -> None:
        if local.attempt < run.attempt:
            return
        if local.attempt > run.attempt:
            run.begin_attempt(local.attempt, now)
        told = run.nodes.get(node_name)
        if told is None:
            run.attempt_seen = run.attempt_seen or now
        self._forget_seen(run, told)
        run.nodes.put(node_name, local, now, told)
        run.rank_count = max(run.nodes.sums.ranks, local.rank_count, 1)
        run.command, run.label = run.command or local.command[:1024], run.label or local.label[:256]
        run.output_tail = local.output_tail[:4096] or run.output_tail
        if told is None or told.facts_json != local.facts_json:
            self._merge_facts(run, local.facts_json)
        self._note_ends(run, told, local)
        self._update_state(run)
        self._changed(run)

    def _merge_facts(self, run: LiveRun, facts_json: str = "") -> None:
        run.merge_facts(facts_json, self._settings(run.run_id).facts)

    def _forget_seen(self, run: LiveRun, told: run_pb2.LocalRun | None) -> None:
        for rank in told.ranks if told is not None and run.seen else ():
            run.seen.pop(rank.rank, None)

    def _note_ends(
        self, run: LiveRun, before: run_pb2.LocalRun | None, after: run_pb2.LocalRun
    ) -> None:
        if before is None or before.attempt != after.attempt:
            return
        alive = {rank.rank for rank in before.ranks if rank.alive}
        for rank in after.ranks:
            ended = rank.rank in alive and not rank.alive
            if ended and rank.exit.exit_signal and run.state is RunState.RUNNING:
                detail = f"rank {rank.rank} was ended by signal {rank.exit.exit_signal}"
                self._note(run, Severity.CRITICAL, "run.rank_ended", detail, rank=rank.rank)

    def _lose(self, run: LiveRun, node_name: str) -> None:
        self._forget_seen(run, run.nodes[node_name])
        run.nodes.drop(node_name)
        vanished = run.backend == "local" and not run.nodes
        if vanished and not run.state.is_over and run.state is not RunState.PAUSED:
            self._enter(run, RunState.LOST, "its node has no record of it any more")
        self._changed(run)

    def take_steps(self, rows: StepRows) -> None:
        """Take ranks' steps."""
        run = self.runs.get(rows.run_id)
        if run is None or not run.nodes:  # how many ranks make a step whole is not known
            self._park(rows)
            return
        if rows.attempt < run.attempt or (rows.whole_run and run.step_source == "hook"):
            return
        now = self._clock()
        if rows.attempt > run.attempt:
            run.begin_attempt(rows.attempt, now)
        run.forget_seen(rows.ranks)
        for point in run.progress.add_steps(rows, run.rank_count):
            run.take_step(point, now)
        self._update_state(run)
        self._changed(run)

    def take_checkpoints(self, rows: CheckpointRows) -> None:
        """Take ranks' word that their parts of a checkpoint are safe."""
        run = self.runs.get(rows.run_id)
        if run is None or not run.nodes:
            self._park(rows)
            return
        if rows.attempt != run.attempt:
            return
        missing = run.newly_missing(rows)
        for rank, step in missing[:MISSING_NOTES]:
            text = f"rank {rank} calls step {step} safe, but its agent finds no file"
            self._note(run, Severity.CRITICAL, "run.checkpoint_missing", text, rank=rank)
        run.forget_seen(rows.ranks)
        run.progress.checkpoints.add(rows)
        run.update_durable()
        self._changed(run)

    def _park(self, rows: StepRows | CheckpointRows) -> None:
        """Keep what comes before the report that names its run."""
        if rows.run_id not in self._parked and len(self._parked) >= PARKED_RUNS:
            del self._parked[next(iter(self._parked))]
        self._parked.setdefault(rows.run_id, deque(maxlen=PARKED_MESSAGES)).append(rows)

    def _take_parked(self, run_id: str) -> None:
        for rows in self._parked.pop(run_id, ()):
            if isinstance(rows, StepRows):
                self.take_steps(rows)
            else:
                self.take_checkpoints(rows)

    # --- what schedulers say -----------------------------------------------------------------

    def take_sightings(self, backend: str, sightings: Mapping[str, Sighting]) -> None:
        """Take the scheduler's word on all of its runs; those it does not name are gone."""
        now = self._clock()
        for run_id, sighting in sightings.items():
            run = self.runs.get(run_id)
            if run is None:
                if len(self.runs) >= RUN_LIMIT or not RUN_ID.fullmatch(run_id):
                    continue
                run = self._discovered(backend, sighting)
            if run.backend == backend:
                self._take_sighting(run, sighting, now)
        for run in self.runs.values():
            forgotten = run.backend == backend and run.run_id not in sightings
            if forgotten and not run.state.is_over:
                run.scheduled = None
                self._enter(run, RunState.LOST, f"{backend} does not know it any more")
                self._changed(run)

    def _discovered(self, backend: str, sighting: Sighting) -> LiveRun:
        run = LiveRun(
            sighting.run_id,
            label=sighting.job.name[:256],
            priority_class=sighting.priority_class or PriorityClass.P2,
            attempt=sighting.attempt,
            state=RunState.PENDING,
            started_unix_ns=sighting.started_unix_ns or time.time_ns(),
            state_since_unix_ns=time.time_ns(),
            attempt_seen=self._clock(),
            backend=backend,
        )
        self.runs[run.run_id] = run
        self._note(run, Severity.INFO, "run.found", f"{backend} has it: {sighting.job.name}")
        return run

    def _take_sighting(self, run: LiveRun, sighting: Sighting, now: float) -> None:
        before = run.scheduled
        same = before is not None and before.sighting == sighting
        if sighting.attempt > run.attempt:
            run.begin_attempt(sighting.attempt, now)
            before = None
        since = before.running_since if before is not None else 0.0
        running = sighting.state is RunState.RUNNING
        run.scheduled = Scheduled(sighting, now, (since or now) if running else 0.0)
        run.command = sighting.command[:1024] or run.command
        run.label = sighting.job.name[:256] or run.label
        if sighting.priority_class is not None and not run.open_action_id:
            self.set_priority_class(run.run_id, sighting.priority_class)
        self._merge_facts(run)
        self._update_state(run)
        if not same:
            self._changed(run)

    def lose_sight(self, backend: str, why: str) -> None:
        """Note that the scheduler does not answer; its runs keep what they had, growing older."""
        del why  # the backend has told it as an event
        self.revision += any(run.backend == backend for run in self.runs.values())

    # --- what follows ----------------------------------------------------------------------

    def _update_state(self, run: LiveRun) -> None:
        state, why = run.derive_state(self._clock())
        if state is not run.state:
            self._enter(run, state, why)

    def _enter(self, run: LiveRun, state: RunState, why: str) -> None:
        before, run.state = run.state, state
        run.state_since_unix_ns = time.time_ns()
        run.generation += 1
        bad = state in (RunState.FAILED, RunState.LOST)
        severity = Severity.CRITICAL if bad else Severity.INFO
        self._note(run, severity, f"run.{state}", f"{before} to {state}: {why}")

    def _note(
        self, run: LiveRun, severity: Severity, kind: str, message: str, rank: int = -1
    ) -> None:
        self._events.add(
            Event(severity=severity, kind=kind, message=message, run_id=run.run_id, rank=rank)
        )

    def _changed(self, run: LiveRun) -> None:
        self.revision += 1
        for waiter in self._waiters.get(run.run_id, ()):
            waiter.set()

    def tick(self, seconds: float) -> None:
        """Account the seconds that just passed and look whether time alone changed a state."""
        now, wall = self._clock(), time.time()
        for run in self.runs.values():
            if run.state.is_over and run.state not in (RunState.FAILED, RunState.LOST):
                continue
            run.ledger.add(run.wall_time_cause(now), seconds, wall)
            self._update_state(run)
        for run_id, rate in self.rates().items():
            self.runs[run_id].history.add_rate("tokens_per_second", time.time_ns(), rate)

    def rates(self) -> dict[str, float]:
        """Return the tokens/s of every run that has some now."""
        running = [run for run in self.runs.values() if run.state is RunState.RUNNING]
        rates = ((run.run_id, run.progress.tokens_per_second()) for run in running)
        return {run_id: rate for run_id, rate in rates if rate is not None}

    # --- RunRegistry: what actions use -----------------------------------------------------

    def get(self, run_id: str) -> Run | None:
        """Return the run as consoles see it, or None."""
        run = self.runs.get(run_id)
        if run is None:
            return None
        told = self._settings(run_id)
        gpus, ages = self._gpus.of(run_id), self.node_ages(run)
        return self._priced(run, summarise(run, told, gpus, ages, self._clock()))

    def _settings(self, run_id: str) -> RunConfig:
        return self._configured.get(run_id, RunConfig())

    def all(self) -> list[Run]:
        """Return every run as consoles see it."""
        return [run for run_id in self.runs if (run := self.get(run_id)) is not None]

    def by_node(self) -> dict[str, list[str]]:
        """Return by node the runs that have ranks there and are not over."""
        found: dict[str, list[str]] = {}
        for run in self.runs.values():
            for name in run.nodes if not run.state.is_over else ():
                found.setdefault(name, []).append(run.run_id)
        return found

    def runs_on(self, node_name: str) -> list[str]:
        """Return the runs that have ranks on a node and are not over."""
        runs = self.runs.values()
        return [run.run_id for run in runs if node_name in run.nodes and not run.state.is_over]

    def node_ages(self, run: LiveRun) -> NodeAges:
        """Return how old the newest word of each of the run's nodes is, seconds."""
        return run.nodes.ages(self._frames, self._clock())

    def observed(self, run_id: str) -> ObservedRun | None:
        """Return what agents report of the run now."""
        run = self.runs.get(run_id)
        if run is None:
            return None
        return ObservedRun(
            run_id=run_id,
            attempt=run.attempt,
            ranks=tuple(self._observed_rank(run, node, rank) for node, rank in run.ranks()),
            process_count=run.process_count,
            frozen_node_count=run.frozen_node_count,
            fuse_deadline_unix_ns=run.fuse_deadline_unix_ns,
            node_ages_seconds=self.node_ages(run),
            linked_nodes=frozenset(name for name in run.nodes if self._linked(name)),
            durable_step=run.durable.step if run.durable else None,
            durable_paths=run.durable.paths.points() if run.durable else (),
            newest_step=run.progress.newest_step,
        )

    def release_refusal(self, node_name: str) -> str:
        """Return why a freeze cannot release GPU memory on a node; "" when it can."""
        return self._gpus.release_refusal(node_name)

    def held_gpus(self, run_id: str) -> tuple[HeldGpu, ...]:
        """Return every GPU that the run holds or was the last to hold, as the devices say now."""
        return self._gpus.held_by(run_id)

    def power_range(self, run_id: str) -> PowerRange:
        """Return between what the power limits of the run's GPUs can be set."""
        return self._gpus.power_range(run_id)

    def _observed_rank(self, run: LiveRun, node_name: str, rank: run_pb2.LocalRank) -> ObservedRank:
        known = run.seen.get(rank.rank)
        if known is not None and known.node_name == node_name:
            return known
        progress = run.progress.ranks.get(rank.rank)
        seen = run.seen[rank.rank] = ObservedRank(
            rank=rank.rank,
            node_name=node_name,
            alive=rank.alive,
            hooked=rank.hooked,
            step=progress.step if progress else None,
            checkpoint_step=progress.checkpoint_step if progress else None,
            checkpoint_path=progress.checkpoint_path if progress else "",
            nice=rank.nice,
            state=rank.state,
            exit=rank_exit(rank),
        )
        return seen

    async def wait_change(self, run_id: str, timeout_seconds: float) -> None:
        """Return when something about the run changed, or after the timeout.

        What changes with it, as on all nodes at once, is waited for too: one look is for all.
        """
        waiter = asyncio.Event()
        self._waiters.setdefault(run_id, set()).add(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter.wait()
                await asyncio.sleep(TOGETHER_SECONDS)
        except TimeoutError:
            return
        finally:
            self._waiters[run_id].discard(waiter)

    def register(self, spec: RunSpec, node_name: str) -> None:
        """Take up a run that is about to start for the first time."""
        before = self.runs.get(spec.run_id)
        if before is not None and before.start_id == spec.start_id:
            return
        run = LiveRun(
            spec.run_id,
            start_id=spec.start_id,
            label=spec.label[:256],
            command=" ".join(spec.argv)[:1024],
            priority_class=spec.priority_class,
            rank_count=spec.rank_count,
            started_unix_ns=time.time_ns(),
            state_since_unix_ns=time.time_ns(),
            generation=before.generation + 1 if before else 1,
            attempt_seen=self._clock(),
        )
        # Rewrite what an earlier run of this name left on disk.
        run.history.thinned, run.curve.is_kept = True, False
        self.runs[spec.run_id] = run
        self._note(run, Severity.INFO, "run.starting", f"starts on {node_name}")
        self._changed(run)

    def set_open_action(self, run_id: str, action_id: str) -> None:
        """Name the action that holds the run; "" when it is free again."""
        run = self.runs.get(run_id)
        if run is not None and run.open_action_id != action_id:
            run.open_action_id = action_id
            self._changed(run)

    def set_state(self, run_id: str, state: RunState, why: str) -> None:
        """Record what an action is doing with the run or has made of it."""
        run = self.runs.get(run_id)
        if run is not None and run.state is not state:
            self._enter(run, state, why)
            run.resumed_attempt = run.attempt if state is RunState.RESUMING else 0
            if state in (RunState.PAUSED, RunState.STOPPED):
                run.rest = state
            if state is RunState.RUNNING:
                self._update_state(run)
            self._changed(run)

    def settle(self, run_id: str, why: str) -> None:
        """Drop what a failed action intended: the state follows from the facts again."""
        run = self.runs.get(run_id)
        intended = (RunState.PAUSING, RunState.STOPPING, RunState.RESUMING)
        if run is not None and run.state in intended:
            before, run.state = run.state, RunState.RUNNING
            state, fact = run.derive_state(self._clock())
            run.state = before
            if before is RunState.PAUSING and state is RunState.COMPLETED:
                state, fact = RunState.PAUSED, "its ranks have ended, as they do after they saved"
                run.rest = state
            self._enter(run, state, f"{why}; {fact}" if fact else why)
            self._changed(run)

    def set_priority_class(self, run_id: str, priority_class: PriorityClass) -> None:
        """Record the new class."""
        run = self.runs.get(run_id)
        if run is not None and run.priority_class is not priority_class:
            before, run.priority_class = run.priority_class, priority_class
            run.generation += 1
            self._note(run, Severity.INFO, "run.class", f"class {before} to {priority_class}")
            self._changed(run)

    # --- the disk --------------------------------------------------------------------------

    async def flush(self, *, is_last: bool = False) -> None:
        """Write every run and its new steps; curves in turn, unless it is the last time."""
        await self._disk.write(list(self.runs.values()), all_curves=is_last)

    async def keep(self, run_id: str) -> None:
        """Write one run's state now."""
        if (run := self.runs.get(run_id)) is not None:
            await self._disk.write_state(run)
