"""A node taken out of use: cordoned, its runs saved and begun anew elsewhere, and given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from colossus_tui.hub.actions.ports import RunRegistry
from colossus_tui.hub.backends.base import (
    ActionFailedError,
    Backend,
    NodeOwner,
    Order,
    RefusalError,
    Stage,
    Standing,
)
from colossus_tui.model import ActionState, ReasonCode, Run, RunState, Verb
from colossus_tui.text import named, safe

DRAIN_SECONDS = 2_400.0  # a pause and a resume of the slowest run
UNDRAIN_SECONDS = 60.0
QUEUE_SECONDS = 20.0  # a run that waits so long for other nodes is left to its scheduler
LOOK_SECONDS = 2.0  # between two looks at what ends or begins
SCHEDULER_SECONDS = 20.0  # a scheduler has named its nodes within this after the hub's start
_HERE = (
    RunState.STARTING,
    RunState.RUNNING,
    RunState.PAUSING,
    RunState.FROZEN,
    RunState.RESUMING,
    RunState.STOPPING,
)


class Drain:
    """Carries out what is done to nodes; what it does to runs are actions of their own.

    Args:
        runs: Returns all runs as consoles see them.
    """

    def __init__(
        self,
        registry: RunRegistry,
        backends: Mapping[str, Backend],
        runs: Callable[[], Iterable[Run]],
    ) -> None:
        self._registry = registry
        self._backends = backends
        self._runs = runs

    # --- before ----------------------------------------------------------------------------

    @property
    def has_owner(self) -> bool:
        """Whether a scheduler of this hub owns nodes."""
        return any(backend.nodes is not None for backend in self._backends.values())

    def standing(self, node_name: str) -> Standing | None:
        """Return how its scheduler holds a node; None where none owns it."""
        for backend in self._backends.values():
            if backend.nodes is not None and (found := backend.nodes.standing(node_name)):
                return found
        return None

    def cordoned(self) -> dict[str, Standing]:
        """Return by name the nodes to which their schedulers give no new work, and how."""
        found: dict[str, Standing] = {}
        for backend in self._backends.values():
            if backend.nodes is not None:
                found = {**backend.nodes.cordoned(), **found}  # the first to hold a node owns it
        return found

    def check(self, verb: Verb, node_name: str) -> None:
        """Return when the node can be drained, or given back.

        Raises:
            RefusalError: It can not; why, and the remedy.
        """
        _, owner = self._owner(node_name)
        now = owner.standing(node_name)
        if verb is Verb.UNDRAIN and now is not None and not now.is_cordoned:
            raise RefusalError(
                ReasonCode.CONFLICT, f"{node_name} is not drained: it is {now.state}"
            )

    def _owner(self, node_name: str) -> tuple[str, NodeOwner]:
        for name, backend in self._backends.items():
            if backend.nodes is not None and backend.nodes.standing(node_name) is not None:
                return name, backend.nodes
        raise RefusalError(
            ReasonCode.UNSUPPORTED,
            f"no scheduler of this hub owns {node_name}, so nothing could keep new work from it: "
            "pause or stop its runs, or add its scheduler to the hub's settings",
        )

    def runs_on(self, node_name: str) -> list[Run]:
        """Return the runs that hold the node now."""
        return [run for run in self._runs() if node_name in run.node_names and run.state in _HERE]

    def timeout_seconds(self, verb: Verb) -> float:
        """Return how long the effect may take to be observed."""
        return DRAIN_SECONDS if verb is Verb.DRAIN else UNDRAIN_SECONDS

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was.

        Raises:
            ActionFailedError: It did not happen, or not for every run.
        """
        node_name = order.action.parameters.node_name
        name, owner = await self._owner_soon(node_name)
        if order.action.verb is Verb.UNDRAIN:
            await order.report(Stage(f"{name} is asked to use it again", can_cancel=False))
            await owner.uncordon(node_name)
            now = await owner.read(node_name)
            return f"{node_name} takes new work again: {name} reads back {now.state}"
        return await self._drain(order, name, owner, node_name)

    async def _owner_soon(self, node_name: str) -> tuple[str, NodeOwner]:
        """Return the node's owner, also when this hub has just begun to ask its schedulers."""
        deadline = time.monotonic() + SCHEDULER_SECONDS
        while True:
            try:
                return self._owner(node_name)
            except RefusalError:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(LOOK_SECONDS / 10)

    async def _drain(self, order: Order, name: str, owner: NodeOwner, node_name: str) -> str:
        reason = f"{order.action.reason or 'drained'} (by {order.action.operator}, colossus)"
        await order.report(Stage(f"{name} is asked to give it no new work", can_cancel=False))
        await owner.cordon(node_name, reason)
        run_ids = sorted({*order.begun, *(run.run_id for run in self.runs_on(node_name))})
        await order.report(Stage(f"no new work goes there; {len(run_ids)} runs are on it"))
        moves = _Moves(order, self._registry, node_name, run_ids)
        await moves.all()
        if not moves.left:
            await self._until_empty(owner, node_name)
        now = await owner.read(node_name)
        moved = f"{len(moves.moved)}/{len(run_ids)} runs go on elsewhere"
        if moves.left or moves.waiting:
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED,
                f"{node_name} gets no new work ({now.state}); {moved}; {moves.rest()}",
                ActionState.PARTIAL,
            )
        return f"{node_name} is empty and gets no new work ({now.state}); {moved}"

    async def _until_empty(self, owner: NodeOwner, node_name: str) -> None:
        while True:
            now = await owner.read(node_name)
            if not now.is_busy:
                return
            await asyncio.sleep(LOOK_SECONDS)


class _Moves:
    """The runs of one node on their way elsewhere, each by a pause and a resume."""

    def __init__(
        self, order: Order, registry: RunRegistry, node_name: str, run_ids: list[str]
    ) -> None:
        self._order = order
        self._registry = registry
        self._node = node_name
        self._run_ids = run_ids
        self.moved: list[str] = []
        self.waiting: dict[str, str] = {}  # saved and off the node, not seen to go on
        self.left: dict[str, str] = {}  # still on the node

    async def all(self) -> None:
        """Move every run that can be moved."""
        await asyncio.gather(*(self._move(run_id) for run_id in self._run_ids))

    def rest(self) -> str:
        """Say of each run that was not moved why."""
        both = {**self.left, **self.waiting}
        first = [f"{name}: {both[name]}" for name in sorted(both)[:3]]
        more = f", and {named(sorted(both)[3:])}" if len(both) > 3 else ""
        return "; ".join(first) + more

    async def _move(self, run_id: str) -> None:
        if why := await self._part(Verb.PAUSE, run_id):
            self.left[run_id] = why
        elif why := await self._resume(run_id):
            self.waiting[run_id] = why
        elif self._is_here(run_id):
            self.left[run_id] = "it began anew on the same node"
        else:
            self.moved.append(run_id)
        await self._order.report(
            Stage(f"{len(self.moved)}/{len(self._run_ids)} runs go on elsewhere")
        )

    async def _resume(self, run_id: str) -> str:
        """Resume; one that waits in its queue goes on by itself, and the node need not wait."""
        part = asyncio.ensure_future(self._part(Verb.RESUME, run_id))
        queued = time.monotonic()
        try:
            while not part.done():
                await asyncio.wait({part}, timeout=LOOK_SECONDS)
                reason = self._waits_for(run_id)
                if not reason:
                    queued = time.monotonic()
                elif time.monotonic() - queued > QUEUE_SECONDS:
                    return reason
            return part.result()
        finally:
            part.cancel()

    async def _part(self, verb: Verb, run_id: str) -> str:
        """Return "" once it was observed, else why it was not."""
        state, detail = ActionState.FAILED, ""
        async for action in self._order.part(verb, run_id):
            state, detail = action.state, action.detail
        return "" if state is ActionState.OBSERVED else f"{verb} {state}: {safe(detail, 200)}"

    def _waits_for(self, run_id: str) -> str:
        run = self._registry.get(run_id)
        if run is None or run.job is None or run.job.state != "PENDING" or run.job.held:
            return ""
        return f"saved; waits in its queue: {safe(run.job.reason, 120)}"

    def _is_here(self, run_id: str) -> bool:
        run = self._registry.get(run_id)
        return run is not None and self._node in run.node_names and run.state in _HERE
