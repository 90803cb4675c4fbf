"""Agreement of all ranks on a step, in three phases: no failure but one lets half of them act.

Prepare: every rank promises the step, and one that waits there in vain trains on. Ready: all have
promised, so from now on one that waits in vain acts. Commit: act at once. A node that is lost
before it has heard of ready, or after it has answered, thus does what the others do. In between
nobody can know, so the others are told to train on, and it is, too, for as long as its ranks wait:
only a node whose link does not come back meanwhile can act alone. The action then names it, and
docs/actions.md says so.
"""

from __future__ import annotations

import asyncio
import math

from google.protobuf.message import Message

from colossus_protos.v1 import common_pb2, directive_pb2
from colossus_tui.hub.actions.ports import AgentLinks, RunRegistry
from colossus_tui.hub.backends.base import ActionFailedError, Order, Stage
from colossus_tui.hub.backends.nodes import Answers, ask, nodes_of
from colossus_tui.model import ReasonCode, Verb
from colossus_tui.text import named, ranges

LEAD_SECONDS = 0.5  # how far ahead of the fastest rank, beside at least LEAD_STEPS
LEAD_STEPS = 2
HOLD_SECONDS = 15.0  # longer than READY_SECONDS and ABORT_SECONDS together
READY_SECONDS = 3.0
ABORT_SECONDS = 10.0  # a link that broke is up again by then, as a rule
ANSWER_SECONDS = 5.0
ATTEMPTS = 4
_STEPS = 1_000_000  # of a step's number so much goes into the number of a try
VERBS = {Verb.CHECKPOINT: common_pb2.VERB_CHECKPOINT, Verb.PAUSE: common_pb2.VERB_PAUSE}


async def agree(order: Order, registry: RunRegistry, links: AgentLinks, verb: Verb) -> int:
    """Bring every rank to act at one step; return that step.

    The number of a try is the time in milliseconds of the request with the step's last digits, and
    its directives are named by its step: so it is the same try again after a crash, and another
    one with another step.

    Raises:
        ActionFailedError: The ranks could not agree; no rank acts.
    """
    action = order.action
    base = action.requested_time_unix_ns // 1_000_000 * _STEPS
    lead, detail, step = LEAD_SECONDS, "", action.agreed_step
    for number in range(ATTEMPTS):
        if number or step < 0:
            step = max(_choose(order, registry, lead), step + 1)
        nodes = nodes_of(order, registry)
        # On disk before any rank hears of it: after a crash this very step is asked for again.
        await order.report(
            Stage(f"step {step} proposed to all ranks", agreed_step=step, node_count=len(nodes))
        )
        vote = _Vote(order, links, nodes, base + step % _STEPS)
        try:
            answers = await vote.take(verb, step)
        except asyncio.CancelledError:
            if not order.leaving.is_set():
                await asyncio.shield(vote.abort())
            raise
        if answers is None:
            await order.report(Stage(f"every rank acts at step {step}"))
            return step
        detail = answers.detail
        if "not supported" in detail:
            raise ActionFailedError(ReasonCode.UNSUPPORTED, detail)
        if answers.unreachable:
            alone = f" but maybe those on {named(vote.unsure)} alone" if vote.unsure else ""
            raise ActionFailedError(
                ReasonCode.UNREACHABLE, f"{detail}; no rank acts{alone}", answers.failure_state
            )
        lead *= 2
    raise ActionFailedError(
        ReasonCode.BACKEND_FAILED, f"the ranks did not agree on a step: {detail}; no rank acts"
    )


class _Vote:
    """One try at one step.

    Attributes:
        unsure: Nodes that may have heard of ready, but neither said so nor heard of its end.
    """

    def __init__(
        self,
        order: Order,
        links: AgentLinks,
        nodes: tuple[str, ...],
        agreement: int,
    ) -> None:
        self._order = order
        self._links = links
        self._nodes = nodes
        self._agreement = agreement
        self.unsure: tuple[str, ...] = ()

    async def take(self, verb: Verb, step: int) -> Answers | None:
        """Return None once every rank is bound, else what stood in the way; then none acts."""
        prepare = directive_pb2.PrepareStep(
            verb=VERBS[verb], step=step, hold_seconds=HOLD_SECONDS, agreement=self._agreement
        )
        answers = await self._ask("prepare", ANSWER_SECONDS, prepare_step=prepare)
        if answers.ok and len(self._nodes) > 1:
            ready = directive_pb2.ReadyStep(agreement=self._agreement)
            answers = await self._ask("ready", READY_SECONDS, ready_step=ready)
            if not answers.ok:
                deaf = (await self.abort(ABORT_SECONDS)).unreachable
                self.unsure = tuple(sorted(set(deaf) & set(answers.unreachable)))
                return answers
        if not answers.ok:
            # Who is missing is said at once: the lost ones may not answer to this either.
            told = self._order.report(answers.stage(f"step {step}: {answers.detail}"))
            await asyncio.gather(self.abort(), told)
            return answers
        count = len(answers.ranks)
        await self._order.report(
            Stage(
                f"{count}/{count} ranks promise step {step}",
                rank_count=count,
                confirmed_rank_count=count,
                confirmed_node_count=len(self._nodes),
                missing_nodes=(),
                can_cancel=False,
            )
        )
        commit = directive_pb2.CommitStep(agreement=self._agreement)
        # Alone, a node's ranks wait for this until their hold ends: until then it is worth asking.
        alone = len(self._nodes) == 1
        seconds = HOLD_SECONDS if alone else ANSWER_SECONDS
        answers = await self._ask("commit", seconds, commit_step=commit)
        if answers.ok or not (alone or answers.refused):
            return None  # who did not hear the commit acts when its hold ends
        raise ActionFailedError(
            ReasonCode.UNREACHABLE if answers.unreachable else ReasonCode.BACKEND_FAILED,
            answers.detail,
            answers.failure_state,
        )

    async def abort(self, seconds: float = READY_SECONDS) -> Answers:
        """Take every promise back."""
        abort = directive_pb2.AbortStep(agreement=self._agreement)
        return await self._ask("abort", seconds, abort_step=abort)

    async def _ask(self, phase: str, seconds: float, **body: Message) -> Answers:
        name = f"{phase}-{self._agreement % _STEPS}"
        return await ask(self._order, self._links, self._nodes, name, seconds, **body)


def _choose(order: Order, registry: RunRegistry, lead_seconds: float) -> int:
    observed = registry.observed(order.action.run_id)
    run = registry.get(order.action.run_id)
    if observed is None or run is None or observed.newest_step is None:
        raise ActionFailedError(ReasonCode.CONFLICT, "no step of this attempt was seen yet")
    missing = sorted(set(range(run.rank_count)) - {rank.rank for rank in observed.ranks})
    if missing:
        raise ActionFailedError(
            ReasonCode.CONFLICT,
            f"{run.rank_count - len(missing)}/{run.rank_count} ranks have joined; "
            f"not yet: rank {ranges(missing)}",
        )
    # Steps go on while the newest report of them is on its way and until the next one.
    age = min(max(observed.node_ages_seconds.values(), default=0.0), 5.0)
    return landing_step(observed.newest_step, run.step_seconds_p50, age + lead_seconds)


def landing_step(
    newest_step: int, step_seconds: float | None, lead_seconds: float = LEAD_SECONDS
) -> int:
    """Return the step that no rank will have passed so many seconds from now.

    Args:
        newest_step: The furthest that a rank was seen.
        step_seconds: A step's time; taken for 1 s when it is not known.
        lead_seconds: What the order takes to every rank.
    """
    return newest_step + math.ceil(lead_seconds / max(step_seconds or 1.0, 1e-4)) + LEAD_STEPS
