"""The local backend: agents own the ranks; every verb is directives and what is then observed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from colossus_protos.v1 import common_pb2, directive_pb2, run_pb2
from colossus_tui.hub.actions.ports import AgentLinks, ObservedRun, RunRegistry
from colossus_tui.hub.backends.agreement import ANSWER_SECONDS
from colossus_tui.hub.backends.base import ActionFailedError, Order, Outlook, RefusalError, Stage
from colossus_tui.hub.backends.cap import TIMEOUT_SECONDS, Capping
from colossus_tui.hub.backends.gang import LINK_SECONDS, RELEASE_SECONDS, Gang, freeze_outlook
from colossus_tui.hub.backends.nodes import ask, nodes_of
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    Figure,
    PriorityClass,
    ReasonCode,
    Run,
    RunState,
    Verb,
)
from colossus_tui.wire import to_proto

START_SECONDS = 25.0
GRACE_SECONDS = 600.0
SETTLED_SECONDS = 1.0  # a start counts once the ranks have lived this long
EXIT_SECONDS = 3.0  # how long ranks that save and exit may take before they get SIGTERM
_ALIVE = (RunState.RUNNING, RunState.STARTING, RunState.RESUMING)
_STATES = {
    Verb.CHECKPOINT: (RunState.RUNNING,),
    Verb.PAUSE: (RunState.RUNNING,),
    Verb.FREEZE: _ALIVE,
    Verb.RESUME: (
        RunState.PAUSED,
        RunState.FROZEN,
        RunState.FAILED,
        RunState.LOST,
        RunState.STOPPED,
    ),
    Verb.STOP: (*_ALIVE, RunState.FROZEN, RunState.PAUSED, RunState.PAUSING),
    Verb.CAP: (*_ALIVE, RunState.FROZEN),
}


class LocalBackend:
    """Runs whose ranks the agents started."""

    name = "local"
    nodes = None  # no scheduler gives them work

    def __init__(self, registry: RunRegistry, links: AgentLinks) -> None:
        self._registry = registry
        self._links = links
        self._gang = Gang(registry, links)
        self._capping = Capping(registry, links)

    async def discover(self) -> None:
        """Nothing to do: agents report the runs that they hold."""
        await asyncio.Event().wait()

    # --- before ----------------------------------------------------------------------------

    def capabilities(self, run: Run) -> Mapping[Verb, str]:
        """Return for each verb that it could never do with this run why, and the remedy."""
        if run.hooked:
            return {}
        return {
            verb: f"not supported by this run: {verb} needs the hook (colossus_hook) in its loop"
            for verb in (Verb.CHECKPOINT, Verb.PAUSE)
        }

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run's state lets this be done now.

        Raises:
            RefusalError: It does not; why.
        """
        if verb is Verb.START:
            self._check_start(run, parameters)
            return
        assert run is not None
        allowed = _STATES.get(verb)
        if allowed is not None and run.state not in allowed:
            raise RefusalError(
                ReasonCode.CONFLICT, f"the run is {run.state}; {verb} needs it {_words(allowed)}"
            )
        if why := self.capabilities(run).get(verb):
            raise RefusalError(ReasonCode.UNSUPPORTED, why)
        if verb is Verb.CAP:
            self._capping.check(run, parameters)
            return
        if verb is Verb.FREEZE:
            self._gang.check_freeze(run, parameters)
        self._gang.check_linked(run)

    def _check_start(self, run: Run | None, parameters: ActionParameters) -> None:
        if parameters.spec is None or not parameters.spec.argv:
            raise RefusalError(ReasonCode.INVALID, "spec: a command is needed")
        if run is not None and not run.state.is_over:
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"a run of this name is {run.state}; stop it first, or choose another name",
            )
        self._start_node(parameters)

    def _start_node(self, parameters: ActionParameters) -> str:
        names = self._links.node_names()
        if parameters.node_name:
            if parameters.node_name not in names:
                raise RefusalError(
                    ReasonCode.UNREACHABLE, f"node_name: {parameters.node_name} is not linked"
                )
            return parameters.node_name
        if not names:
            raise RefusalError(ReasonCode.UNREACHABLE, "no agent is linked to this hub")
        if len(names) > 1:
            raise RefusalError(
                ReasonCode.INVALID, f"node_name: name one of {', '.join(names[:10])}"
            )
        return names[0]

    def preview(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> Outlook:
        """Return what will happen, and the figures that only the backend knows."""
        if verb is Verb.CAP and run is not None:
            return self._capping.outlook(run, parameters)
        figures = []
        if verb in (Verb.PAUSE, Verb.STOP):
            grace = parameters.grace_seconds or GRACE_SECONDS
            force = "then SIGKILL" if parameters.force else "never SIGKILL without force"
            figures.append(Figure("grace_seconds", "grace", grace, "s", f"after SIGTERM, {force}"))
        figures.append(Figure("preempted", "preempts", 0.0, "runs", "this backend moves no GPU"))
        effect = self._effect(verb, run, parameters)
        if verb is Verb.FREEZE:
            return replace(freeze_outlook(parameters, effect), figures=tuple(figures))
        return Outlook(effect, tuple(figures))

    def _effect(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> str:
        match verb:
            case Verb.START:
                count = parameters.spec.rank_count if parameters.spec else 1
                return f"starts {count} {'rank' if count == 1 else 'ranks'}, detached"
            case Verb.CHECKPOINT:
                return "every rank saves at one step and goes on"
            case Verb.PAUSE:
                return "every rank saves at one step and exits; its GPUs are released"
            case Verb.FREEZE:
                held = "" if parameters.release_gpus else ", GPU memory stays held"
                return f"stops in place{held}"
            case Verb.RESUME if run is not None and run.state is RunState.FROZEN:
                return "its processes go on where they stopped"
            case Verb.RESUME:
                step = run.durable_step if run else None
                where = f"after step {step}" if step is not None else "from the beginning"
                return f"starts attempt {run.attempt + 1 if run else 1} {where}"
            case Verb.REPRIORITIZE if run is not None and not run.alive_rank_count:
                return f"{_classes(run, parameters)} for its next attempt; moves no GPU"
            case Verb.REPRIORITIZE:
                return f"{_classes(run, parameters)}, nice of its processes too; moves no GPU"
            case Verb.STOP:
                return "ends the run: SIGTERM to all its processes, nothing is saved"
            case _:
                raise AssertionError(f"{verb} is no verb on a run")

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""
        if parameters.timeout_seconds:
            return parameters.timeout_seconds
        grace = parameters.grace_seconds or GRACE_SECONDS
        return {
            Verb.START: 60.0,
            Verb.CHECKPOINT: 900.0,
            Verb.PAUSE: 900.0 + grace,
            Verb.FREEZE: 300.0 if parameters.release_gpus else 30.0,
            Verb.RESUME: 300.0,
            Verb.REPRIORITIZE: 30.0,
            Verb.STOP: grace + 60.0 + RELEASE_SECONDS,
            Verb.CAP: TIMEOUT_SECONDS,
        }[verb]

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was."""
        match order.action.verb:
            case Verb.START:
                return await self._start(order)
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
            case Verb.STOP:
                return await self._stop(order)
            case Verb.CAP:
                return await self._capping.cap(order)
            case _:
                raise AssertionError(f"{order.action.verb} is no verb on a run")

    async def _start(self, order: Order) -> str:
        action = order.action
        assert action.parameters.spec is not None
        spec = replace(
            action.parameters.spec,
            start_id=action.action_id,
            priority_class=action.parameters.priority_class
            or action.parameters.spec.priority_class,
        )
        node_name = await self._node_of_start(action)
        self._registry.register(spec, node_name)
        self._registry.set_open_action(action.run_id, action.action_id)
        start = directive_pb2.StartRun(spec=to_proto(run_pb2.RunSpec, spec), attempt=1)
        # On disk with its node: after a crash it is this one that is asked again.
        await order.report(
            Stage(
                f"{node_name} is asked to start it",
                node_count=1,
                missing_nodes=(node_name,),
                can_cancel=False,
            )
        )
        try:
            answers = await ask(
                order, self._links, (node_name,), "start", START_SECONDS, start_run=start
            )
            answers.raise_unless_ok()
        except ActionFailedError as error:
            self._registry.set_state(action.run_id, RunState.FAILED, str(error))
            raise
        await order.report(Stage(f"{node_name} has started it"))
        await self._settle(action.run_id)
        await order.report(Stage("seen alive", missing_nodes=(), confirmed_node_count=1))
        return f"{spec.rank_count} of {spec.rank_count} ranks alive on {node_name}"

    async def _node_of_start(self, action: Action) -> str:
        """Return where to start it: where a hub before this one has begun to, if one has."""
        begun = action.missing_nodes[0] if action.missing_nodes else ""
        parameters = replace(action.parameters, node_name=begun or action.parameters.node_name)
        deadline = asyncio.get_running_loop().time() + LINK_SECONDS
        while True:
            try:
                return self._start_node(parameters)
            except RefusalError as error:
                late = asyncio.get_running_loop().time() > deadline
                if late or error.code is not ReasonCode.UNREACHABLE:
                    raise ActionFailedError(error.code, str(error)) from None
            await self._registry.wait_change(action.run_id, 0.5)

    async def _settle(self, run_id: str) -> None:
        """Wait until every rank lives, or all ended well; a bad end raises."""

        def settled(seen: ObservedRun) -> bool:
            self._raise_bad_end(seen)
            return bool(seen.ranks) and all(rank.alive or rank.exit for rank in seen.ranks)

        await self._gang.until(run_id, settled)
        await self._registry.wait_change(run_id, SETTLED_SECONDS)
        await self._gang.until(run_id, settled)

    def _raise_bad_end(self, seen: ObservedRun) -> None:
        for rank in seen.ranks:
            end = rank.exit
            if end is not None and (not end.known or end.exit_code or end.detail):
                detail = end.detail or (
                    f"signal {end.exit_signal}" if end.exit_signal else f"exit code {end.exit_code}"
                )
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED, f"rank {rank.rank} ended at once: {detail}"
                )

    async def _pause(self, order: Order) -> str:
        action = order.action
        run_id = action.run_id
        # Before any rank can act on it: a rank that saves and exits has not completed its work.
        self._registry.set_state(run_id, RunState.PAUSING, "saves at a step, then exits")
        seen = self._registry.observed(run_id)
        durable = seen.durable_step if seen else None
        if action.agreed_step < 0 or durable is None or durable < action.agreed_step:
            await self._gang.save(order, Verb.PAUSE)
        if not await self._exited(run_id):
            await self._terminate(order)
        gpus = await self._released(run_id, RunState.PAUSED, "saved, and no process is left")
        seen = self._registry.observed(run_id)
        return f"paused at step {seen.durable_step if seen else '?'}, no process left, {gpus}"

    async def _released(self, run_id: str, state: RunState, why: str) -> str:
        """Enter a state without processes, and return what the devices say of its GPUs."""
        try:
            gpus = await self._gang.released(run_id)
        except ActionFailedError as error:
            self._registry.set_state(run_id, state, f"{why}; {error}")
            raise
        self._registry.set_state(run_id, state, why)
        return gpus

    async def _exited(self, run_id: str) -> bool:
        """Return whether the ranks left by themselves, as they do after they have saved."""
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                await self._gang.until(run_id, _gone)
        except TimeoutError:
            return False
        return True

    async def _stop(self, order: Order) -> str:
        self._registry.set_state(order.action.run_id, RunState.STOPPING, "an operator ends it")
        await self._terminate(order)
        gpus = await self._released(order.action.run_id, RunState.STOPPED, "ended by an operator")
        return f"stopped, no process left, {gpus}"

    async def _terminate(self, order: Order) -> None:
        parameters = order.action.parameters
        message = directive_pb2.Terminate(
            grace_seconds=parameters.grace_seconds or GRACE_SECONDS, force=parameters.force
        )
        nodes = nodes_of(order, self._registry)
        await order.report(Stage("SIGTERM to every process", can_cancel=False))
        answers = await ask(
            order, self._links, nodes, "terminate", ANSWER_SECONDS, terminate=message
        )
        await order.report(answers.stage("SIGTERM sent"))
        if answers.missing and len(answers.missing) < len(nodes):
            raise ActionFailedError(
                ReasonCode.UNREACHABLE,
                f"SIGTERM went to {len(nodes) - len(answers.missing)}/{len(nodes)} nodes; "
                f"{answers.detail}",
                ActionState.PARTIAL,
            )
        answers.raise_unless_ok()
        await self._gang.until(order.action.run_id, _gone)
        await order.report(Stage("no process left", confirmed_node_count=len(nodes)))

    async def _resume(self, order: Order) -> str:
        run_id = order.action.run_id
        seen, run = self._registry.observed(run_id), self._registry.get(run_id)
        assert seen is not None
        assert run is not None
        attempt = order.action.attempt
        if not attempt:  # it was frozen when this was accepted, though its fuse may have ended
            return await self._gang.thaw(order)
        before = run.state
        self._registry.set_state(run_id, RunState.RESUMING, f"attempt {attempt} starts")
        nodes = nodes_of(order, self._registry)
        await order.report(Stage(f"attempt {attempt} is asked for", can_cancel=False))
        starts = _starts(seen, nodes, attempt)
        answers = await ask(order, self._links, nodes, "start", START_SECONDS, start_run=starts)
        await order.report(answers.stage(f"attempt {attempt} has started"))
        try:
            answers.raise_unless_ok()
        except ActionFailedError:
            self._registry.set_state(run_id, before, "the resume failed")
            raise
        step = await self._gang.new_step(run_id, attempt, seen, self._raise_bad_end)
        return f"attempt {attempt} runs" + (f": step {step} was seen" if step else "")

    async def _reprioritize(self, order: Order) -> str:
        action = order.action
        wanted = action.parameters.priority_class
        assert wanted is not None
        message = directive_pb2.SetPriority(
            priority_class=common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{wanted.name}")
        )
        nodes = nodes_of(order, self._registry)
        await order.report(Stage(f"{len(nodes)} nodes are asked", can_cancel=False))
        answers = await ask(
            order, self._links, nodes, "priority", ANSWER_SECONDS, set_priority=message
        )
        await order.report(answers.stage("read back"))
        if answers.missing and len(answers.missing) < len(nodes):
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED,
                f"{len(nodes) - len(answers.missing)}/{len(nodes)} nodes have class {wanted}; "
                f"{answers.detail}",
                ActionState.PARTIAL,
            )
        answers.raise_unless_ok()
        values = {rank.nice for rank in answers.ranks}
        await self._gang.until(
            action.run_id,
            lambda seen: all(rank.nice in values for rank in seen.ranks if rank.alive),
        )
        self._registry.set_priority_class(action.run_id, PriorityClass(wanted))
        if not values:
            return f"class {wanted} stored for its next attempt; it has no process now"
        read = ", ".join(str(value) for value in sorted(values))
        return f"class {wanted}: the system reads back nice {read}"


def _starts(
    seen: ObservedRun, nodes: tuple[str, ...], attempt: int
) -> dict[str, directive_pb2.StartRun]:
    """Return what each node is to start: with the durable points of its own ranks, not of all."""
    starts = {
        name: directive_pb2.StartRun(
            spec=run_pb2.RunSpec(run_id=seen.run_id), attempt=attempt, recorded=True
        )
        for name in nodes
    }
    points = {point.rank: point for point in seen.durable_paths}
    for rank in seen.ranks:
        if (point := points.get(rank.rank)) is not None:
            starts[rank.node_name].resume_points.add(
                rank=point.rank, step=point.step, path=point.path
            )
    return starts


def _gone(seen: ObservedRun) -> bool:
    """Whether no process is left."""
    return not any(rank.alive for rank in seen.ranks) and seen.process_count == 0


def _words(states: tuple[RunState, ...]) -> str:
    return " or ".join(states)


def _classes(run: Run | None, parameters: ActionParameters) -> str:
    wanted = parameters.priority_class
    if run is None or wanted is None:
        return "sets the class"
    return f"class {run.priority_class} to {wanted}"
