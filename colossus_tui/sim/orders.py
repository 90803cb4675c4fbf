"""Directives as a simulated node's agent carries them out: what each does, and the answer."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum

from colossus_protos.v1 import common_pb2, directive_pb2
from colossus_tui.sim.physics import LIMIT_WATTS, LOWEST_LIMIT_WATTS
from colossus_tui.sim.promises import Phase
from colossus_tui.sim.ranks import NICE, PRIORITY_CLASSES, End
from colossus_tui.sim.training import Gang

KEPT_COUNT = 32  # directives whose answers are remembered, each for all nodes that it went to
ID_LIMIT = 200
HOLD_LIMIT_SECONDS = 60.0
SPAN_LIMIT_SECONDS = 86_400.0  # of a fuse or a grace
WATCHDOG_MARGIN = 0.8
CAP_LIMIT_WATTS = 100_000.0
NO_RELEASE = "the agent of a simulated node cannot move GPU memory; freeze it without"
_CLASSES = {
    common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{name}"): number
    for number, name in enumerate(PRIORITY_CLASSES)
}
_STEP_VERBS = (common_pb2.VERB_CHECKPOINT, common_pb2.VERB_PAUSE)


class Outcome(StrEnum):
    """How far a directive came."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answers; its ranks answer alike.

    Attributes:
        rank_count: Ranks that answer; 0 where a directive is not about them.
        is_of_ranks: Whether `detail` is a rank's.
        limit_watts: What each GPU reads back of its power limit; 0 where it was not asked.
    """

    outcome: Outcome
    detail: str = ""
    rank_count: int = 0
    rank_detail: str = ""
    step: int = -1
    nice: int = 0
    is_of_ranks: bool = False
    limit_watts: float = 0.0


class Memory:
    """Answers by directive and node: the same id gets the first answer."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, dict[int, Answer]] = OrderedDict()
        self._same: dict[Answer, Answer] = {}

    def get(self, directive_id: str, node_index: int) -> Answer | None:
        """Return what the node has answered; None when it has not."""
        known = self._by_id.get(directive_id)
        return known.get(node_index) if known else None

    def keep(self, directive_id: str, node_index: int, answer: Answer) -> None:
        """Remember an answer; tens of thousands of nodes share one."""
        known = self._by_id.get(directive_id)
        if known is None:
            known = self._by_id[directive_id] = {}
            while len(self._by_id) > KEPT_COUNT:
                self._by_id.popitem(last=False)
        if len(self._same) > 1_000:
            self._same.clear()
        known[node_index] = self._same.setdefault(answer, answer)


def refuse(directive: directive_pb2.Directive, gang: Gang | None) -> Answer | None:
    """Return why nothing may be done; None when it may be tried."""
    if not 0 < len(directive.directive_id) <= ID_LIMIT:
        return Answer(Outcome.REFUSED, f"directive_id: 1 to {ID_LIMIT} characters")
    if why := _wrong(directive):
        return Answer(Outcome.REFUSED, why)
    if gang is None or gang.run.run_id != directive.run_id:
        return Answer(Outcome.REFUSED, f"this node has no run {directive.run_id}")
    return None


def carry_out(
    directive: directive_pb2.Directive, gang: Gang, node: int, now_unix_ns: int
) -> Answer:
    """Do what a directive asks of a node, at once.

    Args:
        node: Its number within the run.
    """
    order = directive.WhichOneof("order")
    if order == "start_run":
        return _start(directive.start_run, gang, node)
    if gang.forgotten[node]:
        return Answer(Outcome.REFUSED, f"this node has no run {directive.run_id}")
    match order:
        case "prepare_step":
            return _prepare(directive.prepare_step, gang, node)
        case "ready_step":
            agreement = directive.ready_step.agreement
            return _bind(gang, node, agreement, Phase.READY, now_unix_ns)
        case "commit_step":
            agreement = directive.commit_step.agreement
            return _bind(gang, node, agreement, Phase.COMMITTED, now_unix_ns)
        case "abort_step":
            return _abort(gang, node, directive.abort_step.agreement)
        case "terminate":
            return _terminate(gang, node)
        case "freeze":
            return _freeze(directive.freeze, gang, node, now_unix_ns)
        case "thaw":
            gang.thaw(node)
            return Answer(Outcome.DONE, "thawed")
        case "set_priority":
            return _set_priority(directive.set_priority, gang, node)
        case "set_power_limit":
            return _cap(directive.set_power_limit.watts, gang, node)
        case _:
            return _forget(gang, node)


def _wrong(directive: directive_pb2.Directive) -> str:
    """Return which field cannot be used, and why; "" when all can."""
    match directive.WhichOneof("order"):
        case None:
            return "order: not known to this agent, which may be older than its hub"
        case "start_run":
            start = directive.start_run
            if start.spec.run_id != directive.run_id:
                return "start_run.spec.run_id: differs from the directive's run_id"
            return "" if start.attempt > 0 else f"start_run.attempt {start.attempt}: 1 or more"
        case "prepare_step":
            prepare = directive.prepare_step
            if prepare.verb not in _STEP_VERBS:
                return "prepare_step.verb: only CHECKPOINT and PAUSE have a step"
            return _within("prepare_step.hold_seconds", prepare.hold_seconds, math.inf)
        case "terminate":
            grace = directive.terminate.grace_seconds
            return _within("terminate.grace_seconds", grace, SPAN_LIMIT_SECONDS, zero=True)
        case "freeze":
            fuse = directive.freeze.fuse_seconds
            return _within("freeze.fuse_seconds", fuse, SPAN_LIMIT_SECONDS)
        case "set_priority" if directive.set_priority.priority_class not in _CLASSES:
            return "set_priority.priority_class: not known to this agent"
        case "set_power_limit":
            watts = directive.set_power_limit.watts
            return _within("set_power_limit.watts", watts, CAP_LIMIT_WATTS, zero=True)
    return ""


def _within(field: str, value: float, limit: float, *, zero: bool = False) -> str:
    if math.isnan(value) or value < 0 or value > limit or (value == 0 and not zero):
        return f"{field} {value:g}: more than 0, at most {limit:g}"
    return ""


def _of_ranks(gang: Gang, node: int, why: str, otherwise: Outcome) -> Answer:
    """Return the answer of a node's ranks: `otherwise` when there is a reason."""
    return Answer(
        otherwise if why else Outcome.DONE,
        why,
        gang.ranks_per_node,
        why,
        gang.step_of(node),
        is_of_ranks=bool(why),
    )


def _start(start: directive_pb2.StartRun, gang: Gang, node: int) -> Answer:
    number = gang.attempts[node]
    if gang.alive[node]:
        if start.attempt == number:
            return Answer(Outcome.DONE, "already started")
        return Answer(Outcome.REFUSED, f"attempt {number} of it is still alive on this node")
    if start.recorded and gang.forgotten[node]:
        return Answer(Outcome.REFUSED, "no usable record of the run here: it was forgotten")
    step = gang.durable_step if start.recorded else 0
    if start.resume_points:
        step = min(point.step for point in start.resume_points)
    if not start.recorded:
        gang.start_id = start.spec.start_id or gang.start_id
        gang.priority[node] = _CLASSES.get(start.spec.priority_class, gang.priority[node])
    gang.start(node, start.attempt, step)
    return replace(_of_ranks(gang, node, "", Outcome.DONE), detail="started", step=-1)


def _prepare(prepare: directive_pb2.PrepareStep, gang: Gang, node: int) -> Answer:
    if not gang.alive[node]:
        return Answer(Outcome.REFUSED, f"0/{gang.ranks_per_node} ranks are alive")
    step = gang.step_of(node)
    if step >= prepare.step:
        return _of_ranks(gang, node, f"already finished step {step}", Outcome.REFUSED)
    gang.promises.prepare(
        node,
        prepare.agreement,
        prepare.step,
        int(min(prepare.hold_seconds, HOLD_LIMIT_SECONDS) * 1e9),
        is_pause=prepare.verb == common_pb2.VERB_PAUSE,
    )
    return _of_ranks(gang, node, "", Outcome.REFUSED)


def _bind(gang: Gang, node: int, agreement: int, phase: Phase, now_unix_ns: int) -> Answer:
    why = gang.promises.bind(node, agreement, phase, now_unix_ns)
    return _of_ranks(gang, node, why, Outcome.FAILED)


def _abort(gang: Gang, node: int, agreement: int) -> Answer:
    why = "" if gang.promises.abort(node, agreement) else "has acted already"
    return _of_ranks(gang, node, why, Outcome.FAILED)


def _terminate(gang: Gang, node: int) -> Answer:
    if not gang.alive[node]:
        return Answer(Outcome.DONE, "SIGTERM to 0 processes")
    gang.kill(node, End.TERMINATED)
    return Answer(Outcome.DONE, f"SIGTERM to {gang.ranks_per_node} processes")


def _freeze(freeze: directive_pb2.Freeze, gang: Gang, node: int, now_unix_ns: int) -> Answer:
    if freeze.release_gpus:
        return Answer(Outcome.REFUSED, NO_RELEASE)
    if not gang.alive[node]:
        return Answer(Outcome.REFUSED, "no rank is alive")
    limit, fuse = gang.run.watchdog_seconds * WATCHDOG_MARGIN, freeze.fuse_seconds
    if not gang.fuse_ns[node]:
        if limit and fuse > limit:
            why = f"the run's watchdog allows at most {limit:g} s, not {fuse:g} s"
            return Answer(Outcome.REFUSED, why)
        gang.freeze(node, now_unix_ns + int(fuse * 1e9))
    return Answer(Outcome.DONE, "frozen by cgroup v2")


def _set_priority(order: directive_pb2.SetPriority, gang: Gang, node: int) -> Answer:
    number = _CLASSES[order.priority_class]
    gang.priority[node] = number
    if not gang.alive[node]:
        return Answer(Outcome.DONE, f"nice {NICE[number]}")
    nice = NICE[number]
    answer = _of_ranks(gang, node, "", Outcome.FAILED)
    return replace(answer, detail=f"nice {nice}", rank_detail=f"nice {nice}", nice=nice)


def _cap(watts: float, gang: Gang, node: int) -> Answer:
    if not gang.alive[node]:
        if not watts:
            return Answer(Outcome.DONE, "no cap of this run is on a GPU here")
        return Answer(Outcome.REFUSED, "its processes are not seen on a GPU of this node")
    if watts and not LOWEST_LIMIT_WATTS <= watts <= LIMIT_WATTS:
        why = f"GPU 0 takes {LOWEST_LIMIT_WATTS:g} to {LIMIT_WATTS:g} W"
        return Answer(Outcome.REFUSED, f"watts {watts:g}: {why}")
    gang.cap(node, watts)
    limit = watts or LIMIT_WATTS
    detail = f"{gang.ranks_per_node} GPUs read back {limit:g} W"
    return Answer(Outcome.DONE, detail, limit_watts=limit)


def _forget(gang: Gang, node: int) -> Answer:
    if gang.alive[node]:
        return Answer(Outcome.REFUSED, "it still has processes")
    gang.forgotten[node] = True
    return Answer(Outcome.DONE, "forgotten")
