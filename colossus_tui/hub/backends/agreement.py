"""Agreement of all ranks on a step: prepare everywhere, then commit everywhere, or nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from colossus_protos.v1 import common_pb2, directive_pb2
from colossus_tui.hub.actions.ports import AgentLinks, NodeUnreachableError, RunRegistry
from colossus_tui.hub.backends.base import ActionFailedError, Order, Stage
from colossus_tui.model import RankResult, ReasonCode, Verb
from colossus_tui.wire import from_proto

LEAD_SECONDS = 0.5  # how far ahead of the fastest rank, beside at least LEAD_STEPS
LEAD_STEPS = 2
HOLD_SECONDS = 10.0
ATTEMPTS = 4
ANSWER_SECONDS = 5.0
VERBS = {Verb.CHECKPOINT: common_pb2.VERB_CHECKPOINT, Verb.PAUSE: common_pb2.VERB_PAUSE}


async def agree(order: Order, registry: RunRegistry, links: AgentLinks) -> int:
    """Bring every rank to act at one step; return that step.

    The number of the agreement is the time in milliseconds of the request with the try in the last
    digits, so it grows within a run and is the same after a crash.

    Raises:
        ActionFailedError: The ranks could not agree; no rank acts.
    """
    action = order.action
    base = action.requested_time_unix_ns // 1_000_000 * 10
    lead = LEAD_SECONDS
    detail = ""
    for number in range(ATTEMPTS):
        step = action.agreed_step if number == 0 and action.agreed_step >= 0 else None
        step = _choose(order, registry, lead) if step is None else step
        nodes = nodes_of(order, registry)
        # On disk before any rank hears of it: after a crash this very step is asked for again.
        await order.report(Stage(f"step {step} proposed to all ranks", agreed_step=step))
        prepare = directive_pb2.PrepareStep(
            verb=VERBS[action.verb], step=step, hold_seconds=HOLD_SECONDS, agreement=base + number
        )
        answers = await _ask(order, links, nodes, f"prepare-{number}", prepare_step=prepare)
        if answers.ok:
            return await _commit(order, links, nodes, base + number, number, step)
        detail = answers.detail
        abort = directive_pb2.AbortStep(agreement=base + number)
        await _ask(order, links, nodes, f"abort-{number}", abort_step=abort)
        if "not supported" in detail:
            raise ActionFailedError(ReasonCode.UNSUPPORTED, detail)
        lead *= 2
    raise ActionFailedError(
        ReasonCode.BACKEND_FAILED, f"the ranks did not agree on a step: {detail}"
    )


def nodes_of(order: Order, registry: RunRegistry) -> tuple[str, ...]:
    """Return the nodes that the run has ranks on."""
    observed = registry.observed(order.action.run_id)
    if observed is None or not observed.node_ages_seconds:
        raise ActionFailedError(ReasonCode.UNREACHABLE, "no node reports this run")
    return tuple(sorted(observed.node_ages_seconds))


def _choose(order: Order, registry: RunRegistry, lead_seconds: float) -> int:
    observed = registry.observed(order.action.run_id)
    run = registry.get(order.action.run_id)
    if observed is None or run is None or observed.newest_step is None:
        raise ActionFailedError(ReasonCode.CONFLICT, "no step of this attempt was seen yet")
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


async def _commit(
    order: Order, links: AgentLinks, nodes: Iterable[str], agreement: int, number: int, step: int
) -> int:
    commit = directive_pb2.CommitStep(agreement=agreement)
    answers = await _ask(order, links, nodes, f"commit-{number}", commit_step=commit)
    if not answers.ok:
        raise ActionFailedError(ReasonCode.BACKEND_FAILED, answers.detail)
    await order.report(Stage(f"every rank acts at step {step}", ranks=tuple(answers.ranks)))
    return step


class _Answers:
    """What all nodes answered to one question."""

    def __init__(self) -> None:
        self.ok = True
        self.detail = ""
        self.ranks: list[RankResult] = []

    def add(self, node_name: str, result: directive_pb2.DirectiveResult) -> None:
        self.ranks += [from_proto(RankResult, rank) for rank in result.ranks]
        if result.outcome != directive_pb2.DIRECTIVE_OUTCOME_DONE:
            self.fail(f"{node_name}: {result.detail}")

    def fail(self, detail: str) -> None:
        self.ok = False
        self.detail = self.detail or detail


async def _ask(
    order: Order, links: AgentLinks, nodes: Iterable[str], phase: str, **body: object
) -> _Answers:
    answers = _Answers()
    for node_name in nodes:
        try:
            answers.add(
                node_name,
                await links.send(
                    node_name, directive(order, phase, node_name, **body), ANSWER_SECONDS
                ),
            )
        except NodeUnreachableError as error:
            answers.fail(str(error))
            break
    return answers


def directive(order: Order, phase: str, node_name: str, **body: object) -> directive_pb2.Directive:
    """Return one directive; its id is the same whenever this phase of the action is begun anew."""
    action = order.action
    message = directive_pb2.Directive(
        directive_id=f"{action.action_id}/{phase}/{node_name}", run_id=action.run_id
    )
    for name, part in body.items():
        getattr(message, name).CopyFrom(part)
        getattr(message, name).SetInParent()
    return message
