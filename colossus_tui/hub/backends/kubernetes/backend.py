"""The verbs on a Kubernetes: each effect is read back from it or from the agents on its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from colossus_tui.hub.actions.ports import AgentLinks, EventLog, ObservedRun, RunRegistry
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    NodeOwner,
    Order,
    Outlook,
    RefusalError,
    RunSightings,
    Stage,
)
from colossus_tui.hub.backends.cap import TIMEOUT_SECONDS, Capping
from colossus_tui.hub.backends.gang import Gang
from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient, KubernetesError
from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.kubernetes.orders import Orders
from colossus_tui.hub.backends.kubernetes.shapes import at
from colossus_tui.hub.backends.kubernetes.sightings import Whole, node_of, state_of
from colossus_tui.hub.backends.kubernetes.watcher import Watcher
from colossus_tui.hub.backends.queued import check_queued
from colossus_tui.model import (
    ActionParameters,
    ActionState,
    Figure,
    PriorityClass,
    ReasonCode,
    Run,
    RunState,
    Verb,
)

LOOK_SECONDS = 2.0  # between two looks while nothing changes
SUSPEND_SECONDS = 2.0  # between the save and the pods' SIGTERM, as on the recorded server
_ALIVE = (RunState.RUNNING, RunState.STARTING, RunState.RESUMING)
_STATES = {
    Verb.CHECKPOINT: (RunState.RUNNING,),
    Verb.PAUSE: (RunState.RUNNING, RunState.PENDING),
    Verb.RESUME: (RunState.PAUSED, RunState.PENDING),
    Verb.REPRIORITIZE: (*_ALIVE, RunState.PENDING, RunState.PAUSED),
    Verb.STOP: (*_ALIVE, RunState.PENDING, RunState.PAUSED, RunState.PAUSING),
    Verb.CAP: _ALIVE,
}
_NO_FREEZE = (
    "not supported by Kubernetes: the kubelet would take stopped processes for dead by its probes "
    "and start them again; pause it instead"
)
_NO_CLASS = (
    "not supported by this run: its priority is in its pods' template, which Kubernetes lets "
    "nobody change; submit it through Kueue (label kueue.x-k8s.io/queue-name), whose class can be"
)


class KubernetesBackend:
    """Runs that a Kubernetes owns."""

    name = "kubernetes"
    nodes: NodeOwner | None = None

    def __init__(
        self,
        config: KubernetesConfig,
        registry: RunRegistry,
        sightings: RunSightings,
        links: AgentLinks,
        events: EventLog,
    ) -> None:
        self._config = config
        self._registry = registry
        client = KubernetesClient(config)
        self._watcher = Watcher(config, client, sightings, events)
        self._orders = Orders(client, self._watcher)
        self._gang = Gang(registry, links)
        self._capping = Capping(registry, links)

    async def discover(self) -> None:
        """Follow Kubernetes until cancelled."""
        await self._watcher.run()

    # --- before ----------------------------------------------------------------------------

    def capabilities(self, run: Run) -> Mapping[Verb, str]:
        """Return for each verb that it could never do with this run why, and the remedy."""
        missing = {
            Verb.START: "not supported by Kubernetes: submit it with kubectl apply",
            Verb.FREEZE: _NO_FREEZE,
        }
        whole = self._watcher.wholes.get(run.run_id)
        if not run.hooked:
            for verb in (Verb.CHECKPOINT, Verb.PAUSE):
                missing[verb] = (
                    f"not supported by this run: {verb} needs the hook (colossus_hook) in its loop "
                    "and colossus-agent on its nodes; see docs/kubernetes.md for its pod template"
                )
        elif whole is not None and not shapes.gives_attempt(whole.body):
            missing[Verb.PAUSE] = (
                "not supported by this run: its pods would not learn which attempt they are; give "
                f"COLOSSUS_ATTEMPT from the annotation {shapes.ATTEMPT} in its pod template"
            )
        if whole is not None and not whole.queued:
            missing[Verb.REPRIORITIZE] = _NO_CLASS
        return missing

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run's state lets this be done now.

        Raises:
            RefusalError: It does not; why.
        """
        whole = self._watcher.wholes.get(run.run_id) if run is not None else None
        if run is None or run.job is None or whole is None:
            raise RefusalError(ReasonCode.UNREACHABLE, "Kubernetes has not told of this run yet")
        waits = run.state is RunState.PENDING
        if not (verb is Verb.PAUSE and waits) and (why := self.capabilities(run).get(verb)):
            raise RefusalError(ReasonCode.UNSUPPORTED, why)
        away = self._watcher.why_away if self._watcher.away_since else ""
        check_queued("Kubernetes", verb, run, _STATES.get(verb, ()), away)
        if verb is Verb.PAUSE and whole.queued and whole.workload is None:
            raise RefusalError(ReasonCode.CONFLICT, "Kueue has made no Workload for it yet")
        if verb is Verb.REPRIORITIZE:
            self._check_class(whole, parameters.priority_class)
        if verb is Verb.CAP:
            self._capping.check(run, parameters)
        if verb is Verb.CHECKPOINT or (verb is Verb.PAUSE and not waits):
            self._gang.check_linked(run)

    def _check_class(self, whole: Whole, wanted: PriorityClass | None) -> None:
        if wanted not in self._config.queue:
            raise RefusalError(
                ReasonCode.UNSUPPORTED,
                f"not supported by this hub: no WorkloadPriorityClass stands for {wanted}; name "
                f"one as kueue under [kubernetes.classes.{wanted}] in the hub's settings",
            )
        if not whole.suspended and not shapes.label(whole.body, shapes.QUEUE_CLASS):
            raise RefusalError(
                ReasonCode.CONFLICT,
                "it was submitted without a class of Kueue's, and Kueue lets none be added while "
                "it runs; pause it first",
            )

    def preview(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> Outlook:
        """Return what will happen, and the figures that only the backend knows."""
        assert run is not None
        whole = self._watcher.wholes[run.run_id]
        none = Figure("preempted", "preempts", 0.0, "runs", "it takes no node from another run")
        unknown = Figure("preempted", "preempts", None, "runs", "Kubernetes decides")
        match verb:
            case Verb.CHECKPOINT:
                return Outlook("every rank saves at one step and goes on", (none,))
            case Verb.PAUSE if run.state is RunState.PENDING:
                return Outlook(f"{_hold_words(whole)} before it begins", (none,))
            case Verb.PAUSE:
                seconds = run.step_seconds_p50
                redo = SUSPEND_SECONDS / seconds if seconds else None
                basis = f"what it does until its pods are told to end, about {SUSPEND_SECONDS:g} s"
                return Outlook(
                    f"every rank saves at one step; then {_hold_words(whole)}, and its pods end: "
                    f"SIGTERM, then SIGKILL after {_grace_seconds(whole)} s",
                    (Figure("redo_steps", "steps to redo", redo, "steps", basis), none),
                    ("its nodes may be others' when it is resumed: then its pods wait",),
                )
            case Verb.RESUME:
                return Outlook(
                    f"{_release_words(whole)} as attempt {_next(whole, run)}", (unknown,)
                )
            case Verb.REPRIORITIZE:
                wanted = parameters.priority_class
                assert wanted is not None
                return Outlook(
                    f"class {run.priority_class} to {wanted}: Kueue's class "
                    f"{self._config.queue[wanted]}, read back from its Workload",
                    (Figure("preempted", "preempts", None, "runs", "Kueue decides"),),
                )
            case Verb.CAP:
                return self._capping.outlook(run, parameters)
            case _:
                return Outlook(
                    f"the {whole.kind} {shapes.name(whole.body)} itself is deleted with its pods: "
                    f"SIGTERM, then SIGKILL after {_grace_seconds(whole)} s; nothing is saved",
                    (none,),
                    ("it cannot be resumed: it must be submitted anew",),
                )

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""
        if parameters.timeout_seconds:
            return parameters.timeout_seconds
        return {
            Verb.CHECKPOINT: 900.0,
            Verb.PAUSE: 1_500.0,
            Verb.RESUME: 600.0,
            Verb.REPRIORITIZE: 60.0,
            Verb.STOP: 300.0,
            Verb.CAP: TIMEOUT_SECONDS,
        }.get(verb, 60.0)

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was."""
        try:
            match order.action.verb:
                case Verb.CHECKPOINT:
                    return f"step {await self._gang.save(order, Verb.CHECKPOINT)} is durable"
                case Verb.PAUSE:
                    return await self._pause(order)
                case Verb.RESUME:
                    return await self._resume(order)
                case Verb.REPRIORITIZE:
                    return await self._reprioritize(order)
                case Verb.CAP:
                    return await self._capping.cap(order)
                case _:
                    return await self._stop(order)
        except KubernetesError as error:
            raise _failed(error) from None

    async def _pause(self, order: Order) -> str:
        run_id = order.action.run_id
        whole = await self._now(run_id)
        run = self._registry.get(run_id)
        assert run is not None
        if not _runs(whole) and not run.alive_rank_count and order.action.agreed_step < 0:
            return await self._hold(order, whole)
        attempt = run.attempt
        self._registry.set_state(run_id, RunState.PAUSING, "saves at a step, then has no pods")
        seen = self._registry.observed(run_id)
        durable = seen.durable_step if seen else None
        agreed = order.action.agreed_step
        # CHECKPOINT and not PAUSE: ranks that exit by themselves would have completed the Job.
        if not whole.held and (agreed < 0 or durable is None or durable < agreed):
            await self._gang.save(order, Verb.CHECKPOINT)
        await order.report(Stage(_hold_words(whole), can_cancel=False))
        await self._orders.hold(whole)
        await self._until(run_id, lambda now: now.held and now.suspended and not now.active_pods)
        await self._confirm_suspended(run_id)
        await order.report(Stage("Kubernetes has no pod of it any more"))
        await self._gang.gone(run_id, attempt)
        why = "saved, held, and no pod is left"
        gpus = await self._gang.leave(run_id, RunState.PAUSED, why)
        seen = self._registry.observed(run_id)
        step = seen.durable_step if seen and seen.durable_step is not None else "?"
        return f"paused at step {step}: {_hold_words(whole)}, no pod left, {gpus}"

    async def _hold(self, order: Order, whole: Whole) -> str:
        await order.report(Stage(_hold_words(whole), can_cancel=False))
        self._registry.set_state(whole.run_id, RunState.PAUSING, "is held before it begins")
        await self._orders.hold(whole)
        await self._until(
            whole.run_id, lambda now: now.held and now.suspended and not now.active_pods
        )
        self._registry.set_state(whole.run_id, RunState.PAUSED, "held before it began")
        return f"{_hold_words(whole)} before it began"

    async def _confirm_suspended(self, run_id: str) -> None:
        """Read back from the server itself that it is suspended and counts no active pod."""
        body = await self._orders.read(await self._now(run_id))
        if body is None or at(body, "spec", "suspend") is not True or at(body, "status", "active"):
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED, "Kubernetes took it, but reads back that it is not held"
            )

    async def _resume(self, order: Order) -> str:
        run_id = order.action.run_id
        whole, seen = await self._now(run_id), self._registry.observed(run_id)
        run = self._registry.get(run_id)
        assert run is not None
        attempt = _next(whole, run)
        await order.report(Stage(_release_words(whole), can_cancel=False))
        if whole.held:
            await self._orders.release(whole, attempt)
        told = ""
        while not _runs(now := self._seen(run_id)):
            run = self._registry.get(run_id)
            reason = run.job.reason if run is not None and run.job is not None else ""
            if reason != told and not now.held:
                told = reason
                await order.report(Stage(f"released; it waits: {told or 'for its pods'}"))
            if run is not None and run.state is RunState.COMPLETED:
                break  # it had little left to do
            if run is not None and run.state.is_over:
                raise ActionFailedError(ReasonCode.BACKEND_FAILED, f"it is {run.state}: {told}")
            await self._watcher.next_change(LOOK_SECONDS)
        nodes = {node_of(pod) for pod in now.active_pods}
        await order.report(Stage(f"{len(now.active_pods)} pods run on {len(nodes)} nodes"))
        self._registry.set_state(run_id, RunState.RESUMING, f"attempt {now.attempt} starts")
        step = await self._gang.new_step(run_id, now.attempt, seen, self._raise_bad_end)
        return f"attempt {now.attempt} runs" + (f": step {step} was seen" if step else "")

    def _raise_bad_end(self, seen: ObservedRun) -> None:
        run = self._registry.get(seen.run_id)
        if run is not None and run.state.is_over and run.state is not RunState.COMPLETED:
            why = run.alerts[0].message if run.alerts else run.state
            raise ActionFailedError(ReasonCode.BACKEND_FAILED, f"it is {run.state}: {why}")

    async def _reprioritize(self, order: Order) -> str:
        wanted = order.action.parameters.priority_class
        assert wanted is not None
        whole = await self._now(order.action.run_id)
        name = self._config.queue[wanted]
        await order.report(Stage(f"label {shapes.QUEUE_CLASS}={name}", can_cancel=False))
        await self._orders.set_queue_class(whole, name)

        def is_read_back(now: Whole) -> bool:
            spec = at(now.workload, "spec")
            return name in (at(spec, "priorityClassRef", "name"), at(spec, "priorityClassName"))

        await self._until(whole.run_id, is_read_back)
        priority = at(self._seen(whole.run_id).workload, "spec", "priority")
        self._registry.set_priority_class(whole.run_id, wanted)
        return f"class {wanted}: Kueue reads back {name}, priority {priority}"

    async def _stop(self, order: Order) -> str:
        run_id = order.action.run_id
        run, whole = self._registry.get(run_id), await self._told(run_id)
        assert run is not None
        self._registry.set_state(run_id, RunState.STOPPING, "an operator ends it")
        kind = whole.kind if whole is not None else "Job or JobSet"
        await order.report(Stage(f"the {kind} is deleted", can_cancel=False))
        if whole is not None:  # else a hub before this one, or somebody else, has deleted it
            await self._orders.delete(whole)
            while await self._orders.read(whole) is not None:
                await self._watcher.next_change(LOOK_SECONDS)
        await self._gang.gone(run_id, run.attempt)
        gpus = await self._gang.leave(run_id, RunState.STOPPED, "ended by an operator")
        return f"the {kind} is deleted, no pod left, {gpus}"

    # --- reading back ----------------------------------------------------------------------

    def _seen(self, run_id: str) -> Whole:
        whole = self._watcher.wholes.get(run_id)
        if whole is None:
            raise ActionFailedError(ReasonCode.NOT_FOUND, "Kubernetes does not know it any more")
        return whole

    async def _told(self, run_id: str) -> Whole | None:
        """Return all of a run; None only once Kubernetes has told of all runs, this one not."""
        while (whole := self._watcher.wholes.get(run_id)) is None:
            if self._watcher.is_told and not self._watcher.away_since:
                return None
            await self._watcher.next_change(LOOK_SECONDS)  # the hub has just begun
        return whole

    async def _now(self, run_id: str) -> Whole:
        """Return all of a run with the Job or JobSet as the server itself has it now."""
        await self._told(run_id)
        whole = self._seen(run_id)
        body = await self._orders.read(whole)
        if body is None:
            raise ActionFailedError(ReasonCode.NOT_FOUND, "Kubernetes does not know it any more")
        return whole.with_body(body)

    async def _until(self, run_id: str, holds: Callable[[Whole], bool]) -> None:
        """Wait until Kubernetes shows it so.

        Raises:
            ActionFailedError: It is over: one that is has no pods either, and Kueue lets it be.
        """
        while True:
            now = self._seen(run_id)
            state, _, why = state_of(now)
            if state.is_over:
                raise ActionFailedError(ReasonCode.BACKEND_FAILED, f"it is {state}: {why}")
            if holds(now):
                return
            await self._watcher.next_change(LOOK_SECONDS)


def _runs(whole: Whole) -> bool:
    pods = [pod for pod in whole.active_pods if not shapes.is_deleted(pod)]
    return bool(pods) and all(at(pod, "status", "phase") == "Running" for pod in pods)


def _next(whole: Whole, run: Run) -> int:
    """Return the attempt that a resume would start; one that never began begins with the first."""
    begun = at(whole.body, "status", "startTime") is not None or run.step is not None
    known = max(whole.attempt, run.attempt)
    return known + 1 if begun or known > 1 else known


def _hold_words(whole: Whole) -> str:
    return "Kueue holds it (active=false)" if whole.queued else f"the {whole.kind} is suspended"


def _release_words(whole: Whole) -> str:
    if whole.queued:
        return "Kueue may let it go (active=true) as soon as its queue has room"
    return f"the {whole.kind} is no longer suspended; it starts as soon as nodes have room"


def _grace_seconds(whole: Whole) -> int:
    given = [
        shapes.number(template, "spec", "terminationGracePeriodSeconds")
        for template in shapes.pod_templates(whole.body)
    ]
    return max((seconds for seconds in given if seconds is not None), default=30)


def _failed(error: KubernetesError) -> ActionFailedError:
    if error.denied:
        return ActionFailedError(ReasonCode.BACKEND_DENIED, f"Kubernetes: {error}")
    if error.away:
        return ActionFailedError(
            ReasonCode.UNREACHABLE,
            f"Kubernetes does not answer: {error}",
            ActionState.UNCONFIRMED,
        )
    return ActionFailedError(ReasonCode.BACKEND_FAILED, f"Kubernetes: {error}")
