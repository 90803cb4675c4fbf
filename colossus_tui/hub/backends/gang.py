"""What every backend does with a run through the agents on its nodes: save, freeze, thaw, wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from colossus_protos.v1 import directive_pb2
from colossus_tui.hub.actions.ports import AgentLinks, ObservedRank, ObservedRun, RunRegistry
from colossus_tui.hub.backends.agreement import ANSWER_SECONDS, agree
from colossus_tui.hub.backends.base import ActionFailedError, Order, RefusalError, Stage
from colossus_tui.hub.backends.nodes import ask, nodes_of
from colossus_tui.model import ActionParameters, RankResult, ReasonCode, Run, RunState, Verb
from colossus_tui.text import named, ranges

FUSE_SECONDS = 60.0
FREEZE_SECONDS = 15.0
LINK_SECONDS = 20.0  # an agent whose hub has restarted links again within this
WATCHDOG_MARGIN = 0.8
NAMED_RANKS = 64


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
            raise RefusalError(ReasonCode.UNREACHABLE, "no linked node has this run on record")

    def check_fuse(self, run: Run, parameters: ActionParameters) -> None:
        """Return when no watchdog would fire before the fuse.

        Raises:
            RefusalError: One would.
        """
        if not run.watchdog_seconds:
            return
        limit = run.watchdog_seconds * WATCHDOG_MARGIN
        if (parameters.fuse_seconds or FUSE_SECONDS) > limit:
            raise RefusalError(
                ReasonCode.POLICY,
                f"the run's watchdog fires after {run.watchdog_seconds:g} s: "
                f"freeze with a fuse of at most {limit:g} s",
            )

    async def _visible(self, run_id: str) -> None:
        """Wait until every node of the run is linked and reports it, as after the hub's start.

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
                    if not missing and known:
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
        fuse = order.action.parameters.fuse_seconds or FUSE_SECONDS
        run = self._registry.get(order.action.run_id)
        nodes = tuple(sorted(run.node_names)) if run else ()
        nodes = nodes or nodes_of(order, self._registry)
        message = directive_pb2.Freeze(fuse_seconds=fuse)
        try:
            answers = await ask(order, self._links, nodes, "freeze", FREEZE_SECONDS, freeze=message)
            await order.report(answers.stage(f"{len(nodes) - len(answers.missing)} nodes froze it"))
            answers.raise_unless_ok()
            await self.until(order.action.run_id, lambda seen: seen.frozen_node_count == len(nodes))
        except BaseException:
            if order.leaving.is_set():
                raise  # the fuse is armed, and the next hub goes on from here
            thaw = ask(
                order,
                self._links,
                nodes,
                "thaw-all",
                ANSWER_SECONDS,
                thaw=directive_pb2.Thaw(),
            )
            await asyncio.shield(thaw)
            raise
        await order.report(Stage("seen frozen", confirmed_node_count=len(nodes), can_cancel=False))
        how = ", ".join(sorted(answers.done))  # "frozen by cgroup v2"
        return f"{how} on {len(nodes)} of {len(nodes)} nodes; thaws by itself after {fuse:g} s"

    async def thaw(self, order: Order, before: ObservedRun) -> str:
        """Let every process go on, and wait until the run is seen to move."""
        run_id = order.action.run_id
        nodes = nodes_of(order, self._registry)
        thaw = directive_pb2.Thaw()
        answers = await ask(order, self._links, nodes, "thaw", ANSWER_SECONDS, thaw=thaw)
        await order.report(answers.stage("thawed"))
        answers.raise_unless_ok()
        hooked = bool(before.ranks) and all(rank.hooked for rank in before.ranks)

        def moves(seen: ObservedRun) -> bool:
            stepped = (seen.newest_step or 0) > (before.newest_step or 0)
            return seen.frozen_node_count == 0 and (stepped or not hooked)

        await self.until(run_id, moves)
        return "goes on, a new step was seen" if hooked else "goes on"

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


def _unsaved(seen: ObservedRun, step: int) -> list[ObservedRank]:
    return [
        rank for rank in seen.ranks if rank.checkpoint_step is None or rank.checkpoint_step < step
    ]
