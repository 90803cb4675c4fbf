"""The local backend: agents own the ranks; every verb is directives and what is then observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from colossus_protos.v1 import common_pb2, directive_pb2, run_pb2
from colossus_tui.hub.actions.ports import (
    AgentLinks,
    NodeUnreachableError,
    ObservedRun,
    RunRegistry,
)
from colossus_tui.hub.backends.agreement import ANSWER_SECONDS, agree, directive, nodes_of
from colossus_tui.hub.backends.base import ActionFailedError, Order, RefusalError, Stage
from colossus_tui.model import (
    ActionParameters,
    ActionState,
    PriorityClass,
    RankResult,
    ReasonCode,
    Run,
    RunState,
    Verb,
)
from colossus_tui.wire import from_proto, to_proto

START_SECONDS = 25.0
FUSE_SECONDS = 60.0
WATCHDOG_MARGIN = 0.8
GRACE_SECONDS = 600.0
GPU_RELEASED_BYTES = 512 * 1024 * 1024
SETTLED_SECONDS = 1.0  # a start counts once the ranks have lived this long
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
}


class LocalBackend:
    """Runs whose ranks the agents started."""

    name = "local"

    def __init__(self, registry: RunRegistry, links: AgentLinks) -> None:
        self._registry = registry
        self._links = links

    # --- before ----------------------------------------------------------------------------

    def check(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> None:
        """Return when the run can do this now.

        Raises:
            RefusalError: It cannot; why.
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
        if verb in (Verb.CHECKPOINT, Verb.PAUSE) and not run.hooked:
            raise RefusalError(
                ReasonCode.UNSUPPORTED,
                f"not supported by this run: {verb} needs the hook (colossus_hook) in its loop",
            )
        if verb is Verb.FREEZE and run.watchdog_seconds:
            limit = run.watchdog_seconds * WATCHDOG_MARGIN
            if (parameters.fuse_seconds or FUSE_SECONDS) > limit:
                raise RefusalError(
                    ReasonCode.POLICY,
                    f"the run's watchdog fires after {run.watchdog_seconds:g} s: "
                    f"freeze with a fuse of at most {limit:g} s",
                )
        if verb is Verb.REPRIORITIZE and parameters.priority_class is None:
            raise RefusalError(ReasonCode.INVALID, "priority_class: give one of P0 to P4")
        unlinked = [name for name in run.node_names if not self._links.linked(name)]
        if unlinked:
            raise RefusalError(
                ReasonCode.UNREACHABLE,
                f"{len(unlinked)}/{len(run.node_names)} of its nodes are not linked: {unlinked[0]}",
            )
        if not run.node_names:
            raise RefusalError(ReasonCode.UNREACHABLE, "no linked node has this run on record")

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

    def effect(self, verb: Verb, run: Run | None, parameters: ActionParameters) -> str:
        """Return in one sentence what will happen."""
        match verb:
            case Verb.START:
                count = parameters.spec.rank_count if parameters.spec else 1
                return f"starts {count} {'rank' if count == 1 else 'ranks'}, detached"
            case Verb.CHECKPOINT:
                return "every rank saves at one step and goes on"
            case Verb.PAUSE:
                return "every rank saves at one step and exits; its GPUs are released"
            case Verb.FREEZE:
                fuse = parameters.fuse_seconds or FUSE_SECONDS
                return f"stops in place, GPU memory stays held; thaws by itself after {fuse:g} s"
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

    def timeout_seconds(self, verb: Verb, parameters: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""
        if parameters.timeout_seconds:
            return parameters.timeout_seconds
        grace = parameters.grace_seconds or GRACE_SECONDS
        return {
            Verb.START: 60.0,
            Verb.CHECKPOINT: 900.0,
            Verb.PAUSE: 900.0 + grace,
            Verb.FREEZE: 30.0,
            Verb.RESUME: 300.0,
            Verb.REPRIORITIZE: 30.0,
            Verb.STOP: grace + 60.0,
        }[verb]

    # --- doing -----------------------------------------------------------------------------

    async def carry_out(self, order: Order) -> str:
        """Do it, and return what was observed once it was."""
        match order.action.verb:
            case Verb.START:
                return await self._start(order)
            case Verb.CHECKPOINT:
                return await self._save(order)
            case Verb.PAUSE:
                return await self._pause(order)
            case Verb.FREEZE:
                return await self._freeze(order)
            case Verb.RESUME:
                return await self._resume(order)
            case Verb.REPRIORITIZE:
                return await self._reprioritize(order)
            case Verb.STOP:
                return await self._stop(order)

    async def _start(self, order: Order) -> str:
        action = order.action
        assert action.parameters.spec is not None
        spec = replace(
            action.parameters.spec,
            start_id=action.action_id,
            priority_class=action.parameters.priority_class
            or action.parameters.spec.priority_class,
        )
        try:
            node_name = self._start_node(action.parameters)
        except RefusalError as error:
            raise ActionFailedError(error.code, str(error)) from None
        self._registry.register(spec, node_name)
        self._registry.set_open_action(action.run_id, action.action_id)
        start = directive_pb2.StartRun(spec=to_proto(run_pb2.RunSpec, spec), attempt=1)
        try:
            await self._order(order, node_name, "start", START_SECONDS, start_run=start)
        except ActionFailedError as error:
            self._registry.set_state(action.run_id, RunState.FAILED, str(error))
            raise
        await order.report(Stage(f"{node_name} has started it", node_count=1))
        await self._settle(action.run_id)
        return f"{spec.rank_count} of {spec.rank_count} ranks alive on {node_name}"

    async def _settle(self, run_id: str) -> None:
        """Wait until every rank lives, or all ended well; a bad end raises."""

        def settled(seen: ObservedRun) -> bool:
            self._raise_bad_end(seen)
            return bool(seen.ranks) and all(rank.alive or rank.exit for rank in seen.ranks)

        await self._until(run_id, settled)
        await self._registry.wait_change(run_id, SETTLED_SECONDS)
        await self._until(run_id, settled)

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

    async def _save(self, order: Order) -> str:
        step = await agree(order, self._registry, self._links)
        run_id = order.action.run_id

        def saved(seen: ObservedRun) -> bool:
            if seen.durable_step is not None and seen.durable_step >= step:
                return True
            missing = [
                rank
                for rank in seen.ranks
                if rank.checkpoint_step is None or rank.checkpoint_step < step
            ]
            gone = [rank for rank in missing if not rank.alive and rank.exit is not None]
            if gone:
                done = len(seen.ranks) - len(missing)
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED,
                    f"{done}/{len(seen.ranks)} ranks saved step {step}; rank {gone[0].rank} ended "
                    "before it had",
                )
            return False

        await self._until(run_id, saved)
        seen = self._registry.observed(run_id)
        count = len(seen.ranks) if seen else 0
        await order.report(Stage(f"step {step} is durable: {count}/{count} ranks saved it"))
        return f"step {step} is durable"

    async def _pause(self, order: Order) -> str:
        action = order.action
        run_id = action.run_id
        # Before any rank can act on it: a rank that saves and exits has not completed its work.
        self._registry.set_state(run_id, RunState.PAUSING, "saves at a step, then exits")
        seen = self._registry.observed(run_id)
        durable = seen.durable_step if seen else None
        if action.agreed_step < 0 or durable is None or durable < action.agreed_step:
            await self._save(order)
        await self._terminate(order)
        self._registry.set_state(run_id, RunState.PAUSED, "saved, and no process is left")
        seen = self._registry.observed(run_id)
        return f"paused at step {seen.durable_step if seen else '?'}, no process left"

    async def _stop(self, order: Order) -> str:
        self._registry.set_state(order.action.run_id, RunState.STOPPING, "an operator ends it")
        await self._terminate(order)
        self._registry.set_state(order.action.run_id, RunState.STOPPED, "ended by an operator")
        return "stopped, no process left"

    async def _terminate(self, order: Order) -> None:
        parameters = order.action.parameters
        message = directive_pb2.Terminate(
            grace_seconds=parameters.grace_seconds or GRACE_SECONDS, force=parameters.force
        )
        nodes = nodes_of(order, self._registry)
        for node_name in nodes:
            await self._order(order, node_name, "terminate", ANSWER_SECONDS, terminate=message)
        await order.report(Stage("SIGTERM sent", node_count=len(nodes)))

        def gone(seen: ObservedRun) -> bool:
            alive = any(rank.alive for rank in seen.ranks)
            held = seen.gpu_memory_bytes or 0
            return not alive and seen.process_count == 0 and held < GPU_RELEASED_BYTES

        await self._until(order.action.run_id, gone)
        await order.report(Stage("no process left", confirmed_node_count=len(nodes)))

    async def _freeze(self, order: Order) -> str:
        fuse = order.action.parameters.fuse_seconds or FUSE_SECONDS
        nodes = nodes_of(order, self._registry)
        message = directive_pb2.Freeze(fuse_seconds=fuse)
        try:
            for node_name in nodes:
                await self._order(order, node_name, "freeze", 15.0, freeze=message)
        except ActionFailedError:
            await self._thaw(order, nodes, "thaw-all")
            raise
        await order.report(Stage("all nodes say frozen", node_count=len(nodes)))
        await self._until(
            order.action.run_id, lambda seen: seen.frozen_node_count == len(seen.node_ages_seconds)
        )
        await order.report(Stage("seen frozen", confirmed_node_count=len(nodes)))
        return f"frozen on {len(nodes)} of {len(nodes)} nodes; thaws by itself after {fuse:g} s"

    async def _thaw(self, order: Order, nodes: tuple[str, ...], phase: str) -> None:
        for node_name in nodes:
            await self._order(order, node_name, phase, ANSWER_SECONDS, thaw=directive_pb2.Thaw())

    async def _resume(self, order: Order) -> str:
        run_id = order.action.run_id
        seen, run = self._registry.observed(run_id), self._registry.get(run_id)
        assert seen is not None
        assert run is not None
        if seen.frozen_node_count:
            return await self._resume_frozen(order, seen)
        attempt = order.action.attempt
        points = [
            directive_pb2.ResumePoint(rank=point.rank, step=point.step, path=point.path)
            for point in seen.durable_paths
        ]
        start = directive_pb2.StartRun(
            spec=run_pb2.RunSpec(run_id=run_id),
            attempt=attempt,
            resume_points=points,
            recorded=True,
        )
        before = run.state
        self._registry.set_state(run_id, RunState.RESUMING, f"attempt {attempt} starts")
        nodes = nodes_of(order, self._registry)
        try:
            for node_name in nodes:
                await self._order(order, node_name, "start", START_SECONDS, start_run=start)
        except ActionFailedError:
            self._registry.set_state(run_id, before, "the resume failed")
            raise
        await order.report(Stage(f"attempt {attempt} has started", node_count=len(nodes)))
        step = await self._new_step(run_id, attempt, seen.durable_step or 0)
        return f"attempt {attempt} runs" + (f": step {step} was seen" if step else "")

    async def _new_step(self, run_id: str, attempt: int, durable: int) -> int:
        """Wait for a step that the attempt before had not saved; 0 for a run without hook."""

        def moved(seen: ObservedRun) -> bool:
            if seen.attempt < attempt:
                return False
            self._raise_bad_end(seen)
            run = self._registry.get(run_id)
            unhooked = run is not None and run.state is RunState.RUNNING and not run.hooked
            ended = bool(seen.ranks) and all(rank.exit is not None for rank in seen.ranks)
            return unhooked or ended or (seen.newest_step or 0) > durable

        await self._until(run_id, moved)
        seen = self._registry.observed(run_id)
        return (seen.newest_step or 0) if seen else 0

    async def _resume_frozen(self, order: Order, before: ObservedRun) -> str:
        run_id = order.action.run_id
        nodes = nodes_of(order, self._registry)
        await self._thaw(order, nodes, "thaw")
        await order.report(Stage("thawed", node_count=len(nodes)))
        hooked = all(rank.hooked for rank in before.ranks)

        def moves(seen: ObservedRun) -> bool:
            stepped = (seen.newest_step or 0) > (before.newest_step or 0)
            return seen.frozen_node_count == 0 and (stepped or not hooked)

        await self._until(run_id, moves)
        return "goes on, a new step was seen" if hooked else "goes on"

    async def _reprioritize(self, order: Order) -> str:
        action = order.action
        wanted = action.parameters.priority_class
        assert wanted is not None
        run = self._registry.get(action.run_id)
        if run is not None and not run.alive_rank_count:
            self._registry.set_priority_class(action.run_id, wanted)
            return f"class {wanted} stored; it has no process now"
        message = directive_pb2.SetPriority(
            priority_class=common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{wanted.name}")
        )
        ranks: list[RankResult] = []
        nodes = nodes_of(order, self._registry)
        for node_name in nodes:
            result = await self._order(
                order, node_name, "priority", ANSWER_SECONDS, set_priority=message
            )
            ranks += [from_proto(RankResult, rank) for rank in result.ranks]
        values = {rank.nice for rank in ranks}
        await order.report(Stage("read back", ranks=tuple(ranks), node_count=len(nodes)))
        await self._until(
            action.run_id,
            lambda seen: all(rank.nice in values for rank in seen.ranks if rank.alive),
        )
        self._registry.set_priority_class(action.run_id, PriorityClass(wanted))
        read = ", ".join(str(value) for value in sorted(values))
        return f"class {wanted}: the system reads back nice {read}"

    # --- helpers ---------------------------------------------------------------------------

    async def _order(
        self, order: Order, node_name: str, phase: str, timeout_seconds: float, **body: object
    ) -> directive_pb2.DirectiveResult:
        """Send one directive and raise unless it was carried out."""
        message = directive(order, phase, node_name, **body)
        try:
            result = await self._links.send(node_name, message, timeout_seconds)
        except NodeUnreachableError as error:
            raise ActionFailedError(
                ReasonCode.UNREACHABLE, str(error), ActionState.UNCONFIRMED
            ) from None
        if result.outcome != directive_pb2.DIRECTIVE_OUTCOME_DONE:
            denied = "denied" in result.detail
            raise ActionFailedError(
                ReasonCode.BACKEND_DENIED if denied else ReasonCode.BACKEND_FAILED,
                f"{node_name}: {result.detail}",
            )
        return result

    async def _until(self, run_id: str, holds: Callable[[ObservedRun], bool]) -> None:
        """Wait until what the agents report is so; the engine's deadline ends it otherwise."""
        while True:
            seen = self._registry.observed(run_id)
            if seen is not None and holds(seen):
                return
            await self._registry.wait_change(run_id, 1.0)


def _words(states: tuple[RunState, ...]) -> str:
    return " or ".join(states)


def _classes(run: Run | None, parameters: ActionParameters) -> str:
    wanted = parameters.priority_class
    if run is None or wanted is None:
        return "sets the class"
    return f"class {run.priority_class} to {wanted}"
