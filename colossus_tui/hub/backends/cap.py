"""A power limit on each of a run's GPUs, put on by the agents of its nodes: alike on every backend.

It needs no agreement of the nodes: each that does it lowers the site's power, and a run that is
capped on some of them is slow, not wrong.
"""

from __future__ import annotations

import asyncio
import math

from colossus_protos.v1 import directive_pb2
from colossus_tui.hub.actions.ports import AgentLinks, RunRegistry
from colossus_tui.hub.backends.base import ActionFailedError, Order, Outlook, RefusalError, Stage
from colossus_tui.hub.backends.nodes import KEPT_LIMIT, Answers, ask, nodes_of
from colossus_tui.model import ActionParameters, ActionState, Figure, ReasonCode, Run
from colossus_tui.text import named, watts

CAP_SECONDS = 20.0  # a driver takes up to a second a GPU, and an agent may have to link again
TIMEOUT_SECONDS = 60.0
LINK_SECONDS = 20.0
IDLE_RATIO = 0.12  # of a GPU's highest limit it draws at rest, as data sheets and idle racks say
_BASIS = "modelled: compute-bound, power above idle goes with the square of the clock"


class Capping:
    """What every backend does to cap a run."""

    def __init__(self, registry: RunRegistry, links: AgentLinks) -> None:
        self._registry = registry
        self._links = links

    # --- before ----------------------------------------------------------------------------

    def check(self, run: Run, parameters: ActionParameters) -> None:
        """Return when at least some of the run's GPUs can have this limit.

        Raises:
            RefusalError: None can; why.
        """
        cap = parameters.cap_watts
        if not run.gpu_count:
            raise RefusalError(
                ReasonCode.UNSUPPORTED, "it is not seen to hold a GPU; there is nothing to cap"
            )
        limits = self._registry.power_range(run.run_id)
        highest = limits.highest_watts or math.inf
        if cap and not limits.lowest_watts <= cap <= highest:
            raise RefusalError(
                ReasonCode.INVALID,
                f"cap_watts: {cap:g} W is not within {limits.lowest_watts:g} to {highest:g} W, "
                "what its GPUs take",
            )
        if run.node_names and len(self._unlinked(run)) == len(run.node_names):
            raise RefusalError(
                ReasonCode.UNREACHABLE,
                f"none of its nodes is linked: {named(run.node_names)}; start colossus-agent there",
            )

    def _unlinked(self, run: Run) -> list[str]:
        return [name for name in run.node_names if not self._links.linked(name)]

    def outlook(self, run: Run, parameters: ActionParameters) -> Outlook:
        """Return what a cap will do to the run's power and pace."""
        cap, now = parameters.cap_watts, run.power_watts
        none = Figure("preempted", "preempts", 0.0, "runs", "it takes no GPU from another run")
        if not cap:
            was = f"of {run.power_cap_watts:g} W " if run.power_cap_watts else ""
            return Outlook(
                f"takes the cap {was}off: each GPU has the limit again that it had before",
                (Figure("power_change", "power", None, "W", "what it takes then"), none),
                self._warnings(run),
            )
        count, known = run.gpu_count, run.reporting_gpu_count
        each = now / known if now is not None and known else None
        most = cap * known
        change = None if now is None else min(most - now, 0.0)
        idle = IDLE_RATIO * self._registry.power_range(run.run_id).highest_watts
        factor = None if each is None else slowdown(each, cap, idle)
        is_above = each is not None and cap >= each
        basis = f"at most {watts(most)} on {known}/{count} GPUs that tell, {watts(now)} now"
        return Outlook(
            f"limits each of its GPUs to {cap:g} W; its steps take longer, nothing stops",
            (
                Figure("cap_watts", "cap of a GPU", cap, "W", _each(each)),
                Figure("power_change", "power", change, "W", f"modelled: {basis}"),
                Figure("step_time_factor", "step time", factor, "x", _BASIS),
                none,
            ),
            (
                *self._warnings(run),
                *(("it takes less than that now: the cap only holds it there",) * is_above),
            ),
        )

    def _warnings(self, run: Run) -> tuple[str, ...]:
        found = []
        if unlinked := self._unlinked(run):
            found.append(
                f"{len(unlinked)}/{len(run.node_names)} of its nodes are not linked and stay as "
                f"they are: {named(unlinked)}"
            )
        if detail := self._registry.power_range(run.run_id).detail:
            found.append(detail)
        return tuple(found)

    # --- doing -----------------------------------------------------------------------------

    async def cap(self, order: Order) -> str:
        """Have every node limit the run's GPUs; return what they read back.

        Raises:
            ActionFailedError: No GPU did, or not all; the nodes that did not are named.
        """
        cap = order.action.parameters.cap_watts
        nodes = await self._nodes(order)
        told = f"{len(nodes)} nodes are asked"
        await order.report(
            Stage(
                told,
                node_count=len(nodes),
                missing_nodes=nodes[:KEPT_LIMIT],
                can_cancel=False,
            )
        )
        message = directive_pb2.SetPowerLimit(watts=cap)
        answers = await ask(order, self._links, nodes, "cap", CAP_SECONDS, set_power_limit=message)
        limits = answers.gpu_power_limits
        good = [limit for limit in limits if limit.ok]
        words = f"{cap:g} W" if cap else "the limit before it"
        seen = f"{len(good)}/{len(limits)} GPUs read back {words}"
        await order.report(answers.stage(seen))
        if good and not answers.ok:
            raise ActionFailedError(
                _code(answers),
                f"{seen} on {len(nodes) - len(answers.missing)}/{len(nodes)} nodes; "
                f"{answers.detail}",
                ActionState.PARTIAL,
            )
        answers.raise_unless_ok()
        if not limits:
            return "no cap of it was on any GPU"
        return f"{seen}: {_read(good)}" if not cap else seen

    async def _nodes(self, order: Order) -> tuple[str, ...]:
        """Return the nodes to ask: those that a hub before this one has begun to ask among them."""
        run_id, begun = order.action.run_id, order.action.missing_nodes
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LINK_SECONDS
        while True:
            run = self._registry.get(run_id)
            known = set(begun) | set(run.node_names if run else ())
            if known and len(known) >= order.action.node_count:
                return tuple(sorted(known))
            if loop.time() > deadline:
                return tuple(sorted(known)) or nodes_of(order, self._registry)
            await self._registry.wait_change(run_id, 0.5)


def slowdown(each_watts: float, cap_watts: float, idle_watts: float) -> float | None:
    """Return how many times longer a step takes under a cap; modelled.

    A run that computes all the time goes as fast as its clock, and what a GPU draws above its idle
    power goes about with the clock's square, for the voltage falls with it, but less: so the step
    time is ((P - idle) / (cap - idle)) ** 0.5. One that waits for memory or its network loses less.

    Args:
        each_watts: What a GPU draws now.
        cap_watts: The limit.
        idle_watts: What it draws at rest.

    Returns:
        1 for a cap that it does not reach; None for one so near to idle that nothing can be said.
    """
    if cap_watts >= each_watts:
        return 1.0
    if cap_watts <= 1.2 * idle_watts:
        return None
    return math.sqrt((each_watts - idle_watts) / (cap_watts - idle_watts))


def _each(each: float | None) -> str:
    return "a GPU's power is not known" if each is None else f"{each:.0f} W now, on average"


def _code(answers: Answers) -> ReasonCode:
    if answers.denied:
        return ReasonCode.BACKEND_DENIED
    return ReasonCode.UNREACHABLE if answers.unreachable else ReasonCode.BACKEND_FAILED


def _read(limits: list[directive_pb2.GpuPowerLimit]) -> str:
    return ", ".join(f"{value:g} W" for value in sorted({limit.watts for limit in limits})[:4])
