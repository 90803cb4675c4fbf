"""What every backend does with a run through the agents on its nodes: save, freeze, thaw, wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from colossus_protos.v1 import directive_pb2
from colossus_tui.hub.actions.ports import (
    AgentLinks,
    HeldGpu,
    ObservedRank,
    ObservedRun,
    RunRegistry,
)
from colossus_tui.hub.backends.agreement import ANSWER_SECONDS, agree
from colossus_tui.hub.backends.base import ActionFailedError, Order, Outlook, RefusalError, Stage
from colossus_tui.hub.backends.nodes import ask, nodes_of
from colossus_tui.model import (
    ActionParameters,
    ActionState,
    RankResult,
    ReasonCode,
    Run,
    RunState,
    Verb,
)
from colossus_tui.text import bytes_, named, ranges

FUSE_SECONDS = 60.0
RELEASE_FUSE_SECONDS = 600.0  # others want time with the GPUs that it has released
FREEZE_SECONDS = 15.0
MOVE_SECONDS = 150.0  # for an agent to move the GPU memory of its ranks to the host, or back
LINK_SECONDS = 20.0  # an agent whose hub has restarted links again within this
WATCHDOG_MARGIN = 0.8
NAMED_RANKS = 64
NAMED_GPUS = 8
GPU_RELEASED_BYTES = 512 * 1024 * 1024
LOOK_SECONDS = 2.0
SILENT_SECONDS = 10.0  # a device that gives no value is not waited for longer than this
RELEASE_SECONDS = 50.0
NO_GPU = "no GPU to look at"


class Gang:
    """The ranks of a run as their agents show and move them."""

    def __init__(self, registry: RunRegistry, links: AgentLinks) -> None:
        self._registry = registry
        self._links = links

    # --- before ----------------------------------------------------------------------------

    def check_linked(self, run: Run) -> None:
        """Return when the agents of all its nodes are linked.

        Raises:
            RefusalError: Some are not.
        """
        unlinked = [name for name in run.node_names if not self._links.linked(name)]
        if unlinked:
            raise RefusalError(
                ReasonCode.UNREACHABLE,
                f"{len(unlinked)}/{len(run.node_names)} of its nodes are not linked: "
                f"{named(unlinked)}; start colossus-agent there",
            )
        if not run.node_names:
            raise RefusalError(
                ReasonCode.UNREACHABLE,
                "no linked node has this run on record; start colossus-agent where it ran",
            )

    def check_freeze(self, run: Run, parameters: ActionParameters) -> None:
        """Return when no watchdog would fire before the fuse, and its GPUs can be released.

        Raises:
            RefusalError: One would, or they cannot.
        """
        if parameters.release_gpus:
            self._check_release(run)
        if not run.watchdog_seconds:
            return
        limit = run.watchdog_seconds * WATCHDOG_MARGIN
        if fuse_of(parameters) > limit:
            raise RefusalError(
                ReasonCode.POLICY,
                f"the run's watchdog fires after {run.watchdog_seconds:g} s: "
                f"freeze with a fuse of at most {limit:g} s",
            )

    def _check_release(self, run: Run) -> None:
        count = len(run.node_names)
        why = f"it is on {count} nodes, and cuda-checkpoint knows one; freeze it, or pause it"
        if count == 1:
            (node_name,) = run.node_names
            refusal = self._registry.release_refusal(node_name)
            why = f"{node_name}: {refusal}" if refusal else ""
        if not why and not run.gpu_count:
            why = "it is not seen to hold a GPU; freeze it without"
        if why:
            raise RefusalError(
                ReasonCode.UNSUPPORTED, f"its GPU memory cannot be released in a freeze: {why}"
            )

    async def _visible(self, run_id: str) -> None:
        """Wait until every node of the run is linked and reports its ranks, as after a hub's start.

        Raises:
            ActionFailedError: Some do not within LINK_SECONDS.
        """
        missing: list[str] = []
        try:
            async with asyncio.timeout(LINK_SECONDS):
                while True:
                    run, seen = self._registry.get(run_id), self._registry.observed(run_id)
                    known = seen.linked_nodes if seen else frozenset()
                    missing = sorted(set(run.node_names if run else ()) - known)
                    # Without a rank that exists somewhere, an agreement would be one of a half.
                    whole = not seen or not seen.ranks or len(seen.ranks) >= _rank_count(run)
                    if not missing and known and whole:
                        return
                    await self._registry.wait_change(run_id, 0.5)
        except TimeoutError:
            raise ActionFailedError(
                ReasonCode.UNREACHABLE,
                f"{len(missing)} of its nodes do not report it: {named(missing)}; nothing was done",
            ) from None

    # --- saving ----------------------------------------------------------------------------

    async def save(self, order: Order, verb: Verb) -> int:
        """Have every rank save at one step; return it once it is durable.

        Args:
            verb: PAUSE to have the ranks exit after it.

        Raises:
            ActionFailedError: The ranks did not agree, or one ended before it had saved.
        """
        await self._visible(order.action.run_id)
        step = await agree(order, self._registry, self._links, verb)
        run_id = order.action.run_id
        told = -1

        async def progress(seen: ObservedRun) -> None:
            nonlocal told
            missing = _unsaved(seen, step)
            done = len(seen.ranks) - len(missing)
            if done not in (told, len(seen.ranks)):
                told = done
                await order.report(self._saved(seen, missing, step))

        def saved(seen: ObservedRun) -> bool:
            if seen.durable_step is not None and seen.durable_step >= step:
                return True
            missing = _unsaved(seen, step)
            gone = [rank.rank for rank in missing if not rank.alive and rank.exit is not None]
            if gone:
                done = len(seen.ranks) - len(missing)
                ended = f"rank {ranges(gone)} ended before it had"
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED,
                    f"{done}/{len(seen.ranks)} ranks saved step {step}; {ended}",
                )
            return False

        await self.until(run_id, saved, progress)
        seen = self._registry.observed(run_id)
        count = len(seen.ranks) if seen else 0
        await order.report(
            Stage(
                f"step {step} is durable: {count}/{count} ranks saved it",
                ranks=(),
                rank_count=count,
                confirmed_rank_count=count,
            )
        )
        return step

    def _saved(self, seen: ObservedRun, missing: list[ObservedRank], step: int) -> Stage:
        done, count = len(seen.ranks) - len(missing), len(seen.ranks)
        named_ranks = tuple(
            RankResult(rank.rank, False, f"on {rank.node_name}: not saved yet", rank.step or -1)
            for rank in missing[:NAMED_RANKS]
        )
        return Stage(
            f"{done}/{count} ranks saved step {step}",
            ranks=named_ranks,
            rank_count=count,
            confirmed_rank_count=done,
        )

    # --- freezing --------------------------------------------------------------------------

    async def freeze(self, order: Order) -> str:
        """Stop every process on every node behind a fuse on each; any node fails: thaw all."""
        parameters = order.action.parameters
        fuse, release = fuse_of(parameters), parameters.release_gpus
        run = self._registry.get(order.action.run_id)
        nodes = tuple(sorted(run.node_names)) if run else ()
        nodes = nodes or nodes_of(order, self._registry)
        message = directive_pb2.Freeze(fuse_seconds=fuse, release_gpus=release)
        seconds = MOVE_SECONDS if release else FREEZE_SECONDS
        gpus = ""

        def frozen(seen: ObservedRun) -> bool:
            if seen.ranks and all(rank.exit is not None for rank in seen.ranks):
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED, "every rank has ended; nothing is left to freeze"
                )
            return seen.frozen_node_count == len(nodes)

        try:
            answers = await ask(order, self._links, nodes, "freeze", seconds, freeze=message)
            await order.report(answers.stage(f"{len(nodes) - len(answers.missing)} nodes froze it"))
            answers.raise_unless_ok()
            await self.until(order.action.run_id, frozen)
            if release:
                gpus = f", {await self.released(order.action.run_id)}"
        except BaseException:
            if order.leaving.is_set():
                raise  # the fuse is armed, and the next hub goes on from here
            thaw = ask(
                order,
                self._links,
                nodes,
                "thaw-all",
                MOVE_SECONDS if release else ANSWER_SECONDS,
                thaw=directive_pb2.Thaw(),
            )
            await asyncio.shield(thaw)
            raise
        await order.report(Stage("seen frozen", confirmed_node_count=len(nodes), can_cancel=False))
        how = ", ".join(sorted(filter(None, answers.done))) or "frozen"  # "frozen by cgroup v2"
        return (
            f"{how} on {len(nodes)} of {len(nodes)} nodes{gpus}; thaws by itself after {fuse:g} s"
        )

    async def thaw(self, order: Order) -> str:
        """Let every process go on, and wait until the run is seen to move."""
        run_id = order.action.run_id
        await self._visible(run_id)
        before = self._registry.observed(run_id)
        assert before is not None
        nodes = nodes_of(order, self._registry)
        await order.report(Stage(f"{len(nodes)} nodes are asked to thaw it", can_cancel=False))
        thaw = directive_pb2.Thaw()
        answers = await ask(order, self._links, nodes, "thaw", _thaw_seconds(nodes), thaw=thaw)
        await order.report(answers.stage("thawed"))
        answers.raise_unless_ok()
        hooked = bool(before.ranks) and all(rank.hooked for rank in before.ranks)

        def moves(seen: ObservedRun) -> bool:
            ended = [rank.rank for rank in seen.ranks if rank.exit is not None]
            if ended and seen.frozen_node_count == 0:
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED, f"thawed, but rank {ranges(ended)} has ended"
                )
            stepped = (seen.newest_step or 0) > (before.newest_step or 0)
            return seen.frozen_node_count == 0 and (stepped or not hooked)

        await self.until(run_id, moves)
        return "goes on, a new step was seen" if hooked else "goes on"

    # --- devices ---------------------------------------------------------------------------

    async def released(self, run_id: str) -> str:
        """Wait until the devices say that the run's GPUs are free; return what they said.

        Raises:
            ActionFailedError: One of them still holds memory after RELEASE_SECONDS.
        """
        if not self._registry.held_gpus(run_id):
            run = self._registry.get(run_id)
            count = run.gpu_count if run else 0
            return f"none of its {count} GPUs was seen by an agent" if count else NO_GPU
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:  # what the devices said before the processes ended is not looked at
            await asyncio.sleep(LOOK_SECONDS)
            gpus = self._registry.held_gpus(run_id)
            busy = [gpu for gpu in gpus if (gpu.held_bytes or 0) >= GPU_RELEASED_BYTES]
            silent = [gpu for gpu in gpus if gpu.held_bytes is None]
            passed = loop.time() - begun
            if not busy and (not silent or passed > SILENT_SECONDS):
                words = f"{len(gpus) - len(silent)}/{len(gpus)} GPUs released"
                return f"{words}; not known of {_gpus(silent)}" if silent else words
            if passed > RELEASE_SECONDS:
                raise ActionFailedError(
                    ReasonCode.BACKEND_FAILED,
                    f"after {RELEASE_SECONDS:g} s memory is still held on {_gpus(busy)}",
                    ActionState.UNCONFIRMED,
                )

    async def gone(self, run_id: str, attempt: int) -> None:
        """Wait until no rank of the attempt is seen any more."""
        await self.until(run_id, lambda seen: _gone(seen, attempt))

    async def leave(self, run_id: str, state: RunState, why: str) -> str:
        """Enter a state without processes; return what the devices say of the GPUs that it held.

        Raises:
            ActionFailedError: A GPU is still held; the state is entered all the same.
        """
        try:
            gpus = await self.released(run_id)
        except ActionFailedError as error:
            self._registry.set_state(run_id, state, f"{why}; {error}")
            raise
        self._registry.set_state(run_id, state, why)
        return gpus

    # --- waiting ---------------------------------------------------------------------------

    async def new_step(
        self,
        run_id: str,
        attempt: int,
        before: ObservedRun | None,
        check: Callable[[ObservedRun], None],
    ) -> int:
        """Wait for a step that the attempt before had not saved; 0 for a run without hook.

        Args:
            before: The run before it was resumed: one that had a hook must show a step again.
            check: Raises when the new attempt has come to a bad end.
        """
        durable = (before.durable_step if before else None) or 0
        was_hooked = before is not None and (
            before.durable_step is not None or any(rank.hooked for rank in before.ranks)
        )

        def moved(seen: ObservedRun) -> bool:
            if seen.attempt < attempt:
                return False
            check(seen)
            run = self._registry.get(run_id)
            runs = run is not None and run.state is RunState.RUNNING and not run.hooked
            unhooked = runs and not was_hooked
            ended = bool(seen.ranks) and all(rank.exit is not None for rank in seen.ranks)
            over = ended or (run is not None and run.state.is_over)
            return unhooked or over or (seen.newest_step or 0) > durable

        await self.until(run_id, moved)
        seen = self._registry.observed(run_id)
        return (seen.newest_step or 0) if seen else 0

    async def until(
        self,
        run_id: str,
        holds: Callable[[ObservedRun], bool],
        progress: Callable[[ObservedRun], Awaitable[None]] | None = None,
    ) -> None:
        """Wait until what the agents report is so; the engine's deadline ends it otherwise."""
        while True:
            seen = self._registry.observed(run_id)
            if seen is not None:
                if holds(seen):
                    return
                if progress is not None:
                    await progress(seen)
            await self._registry.wait_change(run_id, 1.0)


def fuse_of(parameters: ActionParameters) -> float:
    """Return after how many seconds the freeze ends by itself."""
    default = RELEASE_FUSE_SECONDS if parameters.release_gpus else FUSE_SECONDS
    return parameters.fuse_seconds or default


def freeze_outlook(parameters: ActionParameters, effect: str) -> Outlook:
    """Return what a freeze will do, and what there is to know when it releases the GPUs."""
    fuse = fuse_of(parameters)
    if not parameters.release_gpus:
        return Outlook(f"{effect}; thaws by itself after {fuse:g} s")
    return Outlook(
        f"its GPU memory is moved to the host and its GPUs are released; {effect}; "
        f"thaws by itself after {fuse:g} s and takes them back",
        warnings=(
            "save first: an error of the driver while memory moves can end the run",
            "it can only go on once its GPUs are free again, on this node",
        ),
    )


def _thaw_seconds(nodes: tuple[str, ...]) -> float:
    """Return how long to wait: only a run on one node may have GPU memory to take back."""
    return MOVE_SECONDS if len(nodes) == 1 else ANSWER_SECONDS


def _rank_count(run: Run | None) -> int:
    return run.rank_count if run is not None else 0


def _gone(seen: ObservedRun, attempt: int) -> bool:
    return not any(rank.alive for rank in seen.ranks) or seen.attempt > attempt


def _unsaved(seen: ObservedRun, step: int) -> list[ObservedRank]:
    return [
        rank for rank in seen.ranks if rank.checkpoint_step is None or rank.checkpoint_step < step
    ]


def _gpus(gpus: list[HeldGpu]) -> str:
    """Name GPUs with what is on them."""
    words = []
    for gpu in gpus[:NAMED_GPUS]:
        size = f" {bytes_(gpu.held_bytes)}" if gpu.held_bytes is not None else ""
        by = f" by pid {', '.join(map(str, gpu.pids[:4]))}" if gpu.pids else ""
        words.append(f"{gpu.node_name} GPU {gpu.gpu_index}{size}{by}")
    more = f" and {len(gpus) - NAMED_GPUS} more" if len(gpus) > NAMED_GPUS else ""
    return ", ".join(words) + more
