"""The verbs on a Slurm: each effect is read back from Slurm or from the agents on its nodes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from colossus_tui.hub.actions.ports import AgentLinks, EventLog, ObservedRun, RunRegistry
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    Order,
    Outlook,
    RefusalError,
    RunSightings,
    Stage,
)
from colossus_tui.hub.backends.cap import TIMEOUT_SECONDS, Capping
from colossus_tui.hub.backends.gang import Gang, freeze_outlook
from colossus_tui.hub.backends.queued import check_queued
from colossus_tui.hub.backends.slurm.command import SlurmCommands, SlurmError, failed
from colossus_tui.hub.backends.slurm.config import SlurmConfig
from colossus_tui.hub.backends.slurm.nodes import SlurmNodes
from colossus_tui.hub.backends.slurm.poller import Poller
from colossus_tui.model import (
    ActionParameters,
    ActionState,
    Figure,
    Job,
    PriorityClass,
    ReasonCode,
    Run,
    RunState,
    Verb,
)

REQUEUE_SECONDS = 5.0  # between the save and Slurm's end of the ranks, as measured on a small Slurm
# A job that begins in the second in which it was ended is killed: its credential counts as revoked.
CREDENTIAL_SECONDS = 2.5
_ALIVE = (RunState.RUNNING, RunState.STARTING, RunState.RESUMING)
_STATES = {
    Verb.CHECKPOINT: (RunState.RUNNING,),
    Verb.PAUSE: (RunState.RUNNING, RunState.PENDING),
    Verb.FREEZE: (RunState.RUNNING,),
    Verb.RESUME: (RunState.PAUSED, RunState.FROZEN, RunState.PENDING),
    Verb.REPRIORITIZE: (*_ALIVE, RunState.PENDING, RunState.PAUSED),
    Verb.STOP: (*_ALIVE, RunState.PENDING, RunState.PAUSED, RunState.FROZEN, RunState.PAUSING),
    Verb.CAP: (*_ALIVE, RunState.FROZEN),
}
_BY_AGENTS = (Verb.CHECKPOINT, Verb.FREEZE, Verb.CAP)  # Slurm has no part in these


class SlurmBackend:
    """Runs that a Slurm owns."""

    name = "slurm"

    def __init__(
        self,
        config: SlurmConfig,
        registry: RunRegistry,
        sightings: RunSightings,
        links: AgentLinks,
        events: EventLog,
    ) -> None:
        self._config = config
        self._registry = registry
        self._commands = SlurmCommands(config.conf, config.commands)
        self._poller = Poller(config, self._commands, sightings, events)
        self._gang = Gang(registry, links)
        self._capping = Capping(registry, links)
        self.nodes = SlurmNodes(
            self._commands, lambda: self._poller.nodes, lambda: self._poller.cordoned
        )

    async def discover(self) -> None:
        """Poll Slurm until cancelled."""
        await self._poller.run()

    # --- before ----------------------------------------------------------------------------

    def capabilities(self, run: Run) -> Mapping[Verb, str]:
        """Return for each verb that it could never do with this run why, and the remedy."""
        missing = {Verb.START: "not supported by Slurm: submit it with sbatch"}
        if not run.hooked:
            for verb in (Verb.CHECKPOINT, Verb.PAUSE):
                missing[verb] = (
                    f"not supported by this run: {verb} needs the hook (colossus_hook) in its loop "
                    "and colossus-agent on its nodes"
                )
        if run.job is not None and not run.job.can_requeue:
            missing[Verb.PAUSE] = (
                "not supported by this run: it was submitted with --no-requeue, so Slurm could "
                f"only end it; scontrol update jobid={run.job.job_id} requeue=1 allows it"
            )
        return missing

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run's state lets this be done now.

        Raises:
            RefusalError: It does not; why.
        """
        if run is None or run.job is None:
            raise RefusalError(ReasonCode.UNREACHABLE, "Slurm has not told of this run yet")
        away = self._poller.why_away if self._poller.away_since else ""
        check_queued("Slurm", verb, run, _STATES.get(verb, ()), away)
        waits = run.state is RunState.PENDING
        if not (verb is Verb.PAUSE and waits) and (why := self.capabilities(run).get(verb)):
            raise RefusalError(ReasonCode.UNSUPPORTED, why)
        if verb is Verb.REPRIORITIZE:
            self._check_class(run, run.job, parameters.priority_class)
        if verb is Verb.CAP:
            self._capping.check(run, parameters)
        if verb is Verb.FREEZE:
            self._gang.check_freeze(run, parameters)
        if verb in (Verb.CHECKPOINT, Verb.FREEZE) or (verb is Verb.PAUSE and not waits):
            self._gang.check_linked(run)

    def _check_class(self, run: Run, job: Job, wanted: PriorityClass | None) -> None:
        if (
            job.state != "PENDING"
            and run.state is not RunState.PENDING
            and wanted not in self._config.quality
        ):
            raise RefusalError(
                ReasonCode.UNSUPPORTED,
                "not supported by this Slurm: the priority of a job that runs is its quality of "
                f"service, and none stands for {wanted}; name one under [slurm.classes.{wanted}] "
                "in the hub's settings",
            )

    def preview(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> Outlook:
        """Return what will happen, and the figures that only the backend knows."""
        assert run is not None
        assert run.job is not None
        none = Figure("preempted", "preempts", 0.0, "runs", "it takes no node from another run")
        waits = run.state is RunState.PENDING
        match verb:
            case Verb.CHECKPOINT:
                return Outlook("every rank saves at one step and goes on", (none,))
            case Verb.PAUSE if waits:
                return Outlook("held in Slurm's queue before it begins", (none,))
            case Verb.PAUSE:
                seconds = run.step_seconds_p50
                redo = REQUEUE_SECONDS / seconds if seconds else None
                basis = f"what it does until Slurm ends it, about {REQUEUE_SECONDS:g} s"
                return Outlook(
                    "every rank saves at one step; then Slurm ends it, keeps it held in its queue, "
                    "and gives its nodes to others",
                    (Figure("redo_steps", "steps to redo", redo, "steps", basis), none),
                    ("its nodes may be others' when it is resumed: then it waits in the queue",),
                )
            case Verb.FREEZE:
                effect = (
                    "stops in place by its agents; Slurm keeps its nodes for it and its time "
                    "limit runs on"
                )
                return replace(freeze_outlook(parameters, effect), figures=(none,))
            case Verb.RESUME if run.state is RunState.FROZEN:
                return Outlook("its processes go on where they stopped", (none,))
            case Verb.RESUME:
                return Outlook(
                    f"released; Slurm starts attempt {1 if waits else run.attempt + 1} as "
                    "soon as nodes are free",
                    (Figure("preempted", "preempts", None, "runs", "Slurm decides"),),
                )
            case Verb.REPRIORITIZE:
                return self._class_outlook(run, parameters.priority_class)
            case Verb.CAP:
                return self._capping.outlook(run, parameters)
            case _:
                return Outlook(
                    "Slurm ends it: SIGTERM, then SIGKILL after its KillWait; nothing is saved",
                    (none,),
                )

    def _class_outlook(self, run: Run, wanted: PriorityClass | None) -> Outlook:
        change = f"class {run.priority_class} to {wanted}"
        assert wanted is not None
        quality = self._config.quality.get(wanted)
        how = f"quality of service {quality}" if quality else f"nice {self._config.nice[wanted]}"
        return Outlook(
            f"{change}: {how}, read back from Slurm",
            (Figure("preempted", "preempts", None, "runs", "Slurm decides by its own rules"),),
        )

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""
        if parameters.timeout_seconds:
            return parameters.timeout_seconds
        return {
            Verb.CHECKPOINT: 900.0,
            Verb.PAUSE: 1_500.0,
            Verb.FREEZE: 300.0 if parameters.release_gpus else 30.0,
            Verb.RESUME: 300.0,
            Verb.REPRIORITIZE: 60.0,
            Verb.STOP: 120.0,
            Verb.CAP: TIMEOUT_SECONDS,
        }.get(verb, 60.0)

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was."""
        try:
            run = self._registry.get(order.action.run_id)
            known = run is not None and run.job is not None  # which a hub that begins has to ask
            if not known or order.action.verb not in _BY_AGENTS:
                await self._poller.next_round()  # what follows depends on where the job is now
            match order.action.verb:
                case Verb.CHECKPOINT:
                    return f"step {await self._gang.save(order, Verb.CHECKPOINT)} is durable"
                case Verb.PAUSE:
                    return await self._pause(order)
                case Verb.FREEZE:
                    return await self._gang.freeze(order)
                case Verb.RESUME:
                    return await self._resume(order)
                case Verb.REPRIORITIZE:
                    return await self._reprioritize(order)
                case Verb.CAP:
                    return await self._capping.cap(order)
                case _:
                    return await self._stop(order)
        except SlurmError as error:
            raise failed(error) from None

    async def _pause(self, order: Order) -> str:
        run_id = order.action.run_id
        run, job = self._now(run_id)
        if job.state == "PENDING" and not run.node_names:
            return await self._hold(order, run, job)
        attempt = run.attempt
        self._registry.set_state(run_id, RunState.PAUSING, "saves at a step, then is requeued")
        seen = self._registry.observed(run_id)
        durable = seen.durable_step if seen else None
        agreed = order.action.agreed_step
        # CHECKPOINT and not PAUSE: ranks that exit by themselves would have completed the job.
        if not job.held and (agreed < 0 or durable is None or durable < agreed):
            await self._gang.save(order, Verb.CHECKPOINT)
        await order.report(Stage(f"scontrol requeuehold {job.job_id}", can_cancel=False))
        if not job.held:
            await self._commands.scontrol("requeuehold", job.job_id)
        await self._until(run_id, lambda now: now.held and now.state == "PENDING")
        await order.report(Stage("Slurm holds it in its queue"))
        await self._until_no_step(run_id)
        await self._gang.gone(run_id, attempt)
        why = "saved, held, and no step is left"
        gpus = await self._gang.leave(run_id, RunState.PAUSED, why)
        seen = self._registry.observed(run_id)
        step = seen.durable_step if seen and seen.durable_step is not None else "?"
        return f"paused at step {step}: held in Slurm's queue, no step left, {gpus}"

    async def _hold(self, order: Order, run: Run, job: Job) -> str:
        await order.report(Stage(f"scontrol hold {job.job_id}", can_cancel=False))
        if not job.held:
            self._registry.set_state(run.run_id, RunState.PAUSING, "is held before it begins")
            await self._commands.scontrol("hold", job.job_id)
        await self._until(run.run_id, lambda now: now.held)
        self._registry.set_state(run.run_id, RunState.PAUSED, "held before it began")
        return "held in Slurm's queue before it began"

    async def _resume(self, order: Order) -> str:
        run_id = order.action.run_id
        run, job = self._now(run_id)
        seen = self._registry.observed(run_id)
        if not order.action.attempt:  # it was frozen when this was accepted
            return await self._gang.thaw(order)
        await order.report(Stage(f"scontrol release {job.job_id}", can_cancel=False))
        if job.held:
            passed = (time.time_ns() - run.state_since_unix_ns) / 1e9
            await asyncio.sleep(max(CREDENTIAL_SECONDS - passed, 0.0))
            # A requeued job has to wait for two minutes unless it is told otherwise; and before it
            # is released, for it may begin at once.
            await self._commands.scontrol("update", f"JobId={job.job_id}", "StartTime=now")
            await self._commands.scontrol("release", job.job_id)
        told = ""
        while (now := self._now(run_id)[1]).state == "PENDING":
            if now.reason != told:
                told = now.reason
                await order.report(
                    Stage(f"released; it waits: {told or 'for Slurm to look at it'}")
                )
            await self._poller.next_round()
        await order.report(Stage(f"Slurm starts it on {len(now.node_names)} nodes"))
        attempt = now.restart_count + 1
        self._registry.set_state(run_id, RunState.RESUMING, f"attempt {attempt} starts")
        step = await self._gang.new_step(run_id, attempt, seen, self._raise_bad_end)
        return f"attempt {attempt} runs" + (f": step {step} was seen" if step else "")

    def _raise_bad_end(self, seen: ObservedRun) -> None:
        run = self._registry.get(seen.run_id)
        if run is not None and run.state.is_over and run.state is not RunState.COMPLETED:
            why = run.alerts[0].message if run.alerts else run.state
            raise ActionFailedError(ReasonCode.BACKEND_FAILED, f"it is {run.state}: {why}")

    async def _reprioritize(self, order: Order) -> str:
        wanted = order.action.parameters.priority_class
        assert wanted is not None
        run, job = self._now(order.action.run_id)
        self._check_class(run, job, wanted)
        quality, nice = self._config.quality.get(wanted), self._config.nice[wanted]
        change = f"QOS={quality}" if quality else f"Nice={nice}"
        # A nice value gives a held job a priority and so releases it: it is held again at once, and
        # until then Slurm must not begin it. The journal tells a hub after a crash to hold it.
        held_again = f"scontrol update {change}, then hold"
        held = job.held or held_again in [stage.detail for stage in order.action.stages]
        told = held_again if held else f"scontrol update {change}"
        await order.report(Stage(told, can_cancel=False))
        later = ["StartTime=now+1hour"] if held else []
        await self._commands.scontrol("update", f"JobId={job.job_id}", change, *later)
        if held:
            await self._commands.scontrol("hold", job.job_id)
        fields = await self._commands.show_job(job.job_id)
        name, value = change.split("=")
        if held and fields.get("Priority") != "0":
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED, f"Slurm took {change}, but does not hold it any more"
            )
        if fields.get(name) != value:
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED,
                f"Slurm took it, but reads back {name}={fields.get(name, 'nothing')}",
            )
        self._registry.set_priority_class(order.action.run_id, wanted)
        self._poller.hurry(5.0)
        return f"class {wanted}: Slurm reads back {change}, priority {fields.get('Priority', '?')}"

    async def _stop(self, order: Order) -> str:
        run_id = order.action.run_id
        run, job = self._now(run_id)
        self._registry.set_state(run_id, RunState.STOPPING, "an operator ends it")
        if run.state is RunState.FROZEN:
            with suppress(
                ActionFailedError
            ):  # it would hear SIGTERM late, but SIGKILL all the same
                await self._gang.thaw(order)
        await order.report(Stage(f"scancel {job.job_id}", can_cancel=False))
        await self._commands.scancel(job.job_id)
        while not self._ended(run_id):
            await self._poller.next_round()
        await self._until_no_step(run_id)
        gpus = await self._gang.leave(run_id, RunState.STOPPED, "ended by an operator")
        return f"cancelled, no step left, {gpus}"

    def _ended(self, run_id: str) -> bool:
        run = self._registry.get(run_id)
        words = run.job.state.split("+") if run is not None and run.job is not None else []
        return all(word not in ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED") for word in words)

    # --- reading back ----------------------------------------------------------------------

    def _now(self, run_id: str) -> tuple[Run, Job]:
        run = self._registry.get(run_id)
        if run is None or run.job is None:
            raise ActionFailedError(
                ReasonCode.NOT_FOUND, "Slurm does not know the job any more", ActionState.FAILED
            )
        return run, run.job

    async def _until(self, run_id: str, holds: Callable[[Job], bool]) -> None:
        while not holds(self._now(run_id)[1]):
            await self._poller.next_round()

    async def _until_no_step(self, run_id: str) -> None:
        job_id = self._now(run_id)[1].job_id
        while True:
            steps = await self._commands.steps()
            parts = [job for job in steps if job == job_id or job.partition("+")[0] == job_id]
            if not parts:
                return
            await asyncio.sleep(1.0)
