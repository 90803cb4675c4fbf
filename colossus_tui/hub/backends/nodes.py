"""One question to all nodes of a run at once, and what they answered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from google.protobuf.message import Message

from colossus_protos.v1 import directive_pb2
from colossus_tui.hub.actions.ports import AgentLinks, RunRegistry
from colossus_tui.hub.backends.base import ActionFailedError, Order, Stage
from colossus_tui.model import ActionState, RankResult, ReasonCode
from colossus_tui.text import named
from colossus_tui.wire import from_proto

KEPT_RANKS = 64  # of a run up to this size every rank's answer is kept
KEPT_LIMIT = 1_000
KEPT_WORDS = 3


class Answers:
    """What all nodes answered to one question."""

    def __init__(self, node_count: int) -> None:
        self.node_count = node_count
        self.unreachable: list[str] = []
        self.refused: dict[str, str] = {}
        self.done: set[str] = set()  # what nodes that did it said
        self.denied = False
        self.ranks: list[directive_pb2.RankResult] = []
        self.gpu_power_limits: list[directive_pb2.GpuPowerLimit] = []
        self._why = ""

    @property
    def ok(self) -> bool:
        """Whether every node did it."""
        return not self.unreachable and not self.refused

    @property
    def missing(self) -> tuple[str, ...]:
        """Nodes that did not do it."""
        return tuple(sorted([*self.unreachable, *self.refused]))

    @property
    def failure_state(self) -> ActionState:
        """A node that said nothing may have done it."""
        return ActionState.UNCONFIRMED if self.unreachable else ActionState.FAILED

    @property
    def detail(self) -> str:
        """Who did not do it and why, in one sentence."""
        if self.refused:
            name = min(self.refused)
            others = len(self.refused) - 1
            more = f", and {others} more nodes likewise" if others else ""
            return f"{name}: {self.refused[name]}{more}"
        if len(self.unreachable) == 1:
            return self._why
        done = self.node_count - len(self.unreachable)
        return f"{done}/{self.node_count} nodes answered; not: {named(sorted(self.unreachable))}"

    def add(self, node_name: str, result: directive_pb2.DirectiveResult) -> None:
        """Take one node's answer."""
        self.ranks += result.ranks
        self.gpu_power_limits += result.gpu_power_limits
        if result.outcome != directive_pb2.DIRECTIVE_OUTCOME_DONE:
            self.refused[node_name] = result.detail
            self.denied |= "denied" in result.detail
        elif len(self.done) < KEPT_WORDS:
            self.done.add(result.detail)

    def lose(self, node_name: str, why: str) -> None:
        """Note that a node did not answer."""
        self.unreachable.append(node_name)
        self._why = why

    def stage(self, detail: str) -> Stage:
        """Return a stage that names who did not do it.

        Answers that speak of no rank, as to a SIGTERM, leave what was said of the ranks before.
        """
        wrong = [rank for rank in self.ranks if not rank.ok]
        kept = self.ranks if len(self.ranks) <= KEPT_RANKS else wrong[:KEPT_LIMIT]
        return Stage(
            detail,
            ranks=tuple(
                from_proto(RankResult, rank) for rank in sorted(kept, key=lambda rank: rank.rank)
            )
            if self.ranks
            else None,
            rank_count=len(self.ranks) if self.ranks else None,
            confirmed_rank_count=len(self.ranks) - len(wrong) if self.ranks else None,
            node_count=self.node_count,
            confirmed_node_count=self.node_count - len(self.missing),
            missing_nodes=self.missing[:KEPT_LIMIT],
        )

    def raise_unless_ok(self) -> None:
        """Return when every node did it.

        Raises:
            ActionFailedError: One did not.
        """
        if self.ok:
            return
        code, remedy = ReasonCode.BACKEND_FAILED, ""
        if self.denied:
            code = ReasonCode.BACKEND_DENIED
            remedy = "; the agent there needs the right to do it"
        elif self.unreachable:
            code = ReasonCode.UNREACHABLE
        raise ActionFailedError(code, f"{self.detail}{remedy}", self.failure_state)


async def ask(
    order: Order,
    links: AgentLinks,
    nodes: Iterable[str],
    phase: str,
    timeout_seconds: float,
    **body: Message | Mapping[str, Message],
) -> Answers:
    """Ask every node at the same time and return all answers.

    Args:
        body: The order's field and its message, or a message by node.
    """
    names = tuple(nodes)
    ((field, part),) = body.items()
    if isinstance(part, Message):
        directives = dict.fromkeys(names, _directive(order, phase, field, part))
    else:
        directives = {name: _directive(order, phase, field, part[name]) for name in names}
    given = await links.ask(directives, timeout_seconds)
    answers = Answers(len(names))
    for name in names:
        if (result := given.get(name)) is not None:
            answers.add(name, result)
            continue
        state = "did not answer" if links.linked(name) else "is not linked"
        why = f"the agent of {name} {state} for {timeout_seconds:g} s; look at colossus-agent there"
        answers.lose(name, why)
    return answers


def nodes_of(order: Order, registry: RunRegistry) -> tuple[str, ...]:
    """Return the nodes that the run has ranks on."""
    observed = registry.observed(order.action.run_id)
    if observed is None or not observed.node_ages_seconds:
        raise ActionFailedError(ReasonCode.UNREACHABLE, "no node reports this run")
    return tuple(sorted(observed.node_ages_seconds))


def _directive(order: Order, phase: str, field: str, part: Message) -> directive_pb2.Directive:
    """Return a directive; its id is the same whenever this phase of the action is begun anew."""
    action = order.action
    message = directive_pb2.Directive(
        directive_id=f"{action.action_id}/{phase}", run_id=action.run_id
    )
    getattr(message, field).CopyFrom(part)
    getattr(message, field).SetInParent()  # an empty one is an order too
    return message
