"""Directives, each carried out once: the same id gets the first answer, even after a restart."""

from __future__ import annotations

import json
import logging
import math
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from colossus_agent import wire
from colossus_agent.runs.record import RUN_ID, RunSpecError
from colossus_agent.runs.state import FAILED, REFUSED, Outcome
from colossus_agent.runs.supervisor import Supervisor
from colossus_protos.v1 import directive_pb2

LOG = logging.getLogger(__name__)
KEPT_COUNT = 1000
ID_LIMIT = 200
FUSE_LIMIT_SECONDS = 86_400.0
GRACE_LIMIT_SECONDS = 86_400.0
HOLD_LIMIT_SECONDS = 60.0
CAP_LIMIT_WATTS = 100_000.0


class DirectiveError(ValueError):
    """A directive's field cannot be used; the message names it."""


class Directives:
    """Carries directives out and remembers the answers.

    Args:
        path: The journal: a line when a directive is begun and one with its answer. One that was
            begun before a crash is carried out again when it comes again, which is safe: each
            looks at the world first.

    Attributes:
        interrupted: Ids that were begun and never answered before this start.
    """

    def __init__(self, path: Path, supervisor: Supervisor, kept_count: int = KEPT_COUNT) -> None:
        self._path = path
        self._supervisor = supervisor
        self._kept_count = kept_count
        self._answers: OrderedDict[str, directive_pb2.DirectiveResult] = OrderedDict()
        self._line_count = 0
        self.interrupted: list[str] = []
        self._read()

    def _read(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        begun: dict[str, None] = {}
        for line in lines:
            try:
                entry = json.loads(line)
                if "begun" in entry:
                    begun[str(entry["begun"])] = None
                    continue
                answer = json_format.ParseDict(entry, directive_pb2.DirectiveResult())
            except (ValueError, TypeError, json_format.ParseError):
                LOG.warning("journal=damaged path=%r", str(self._path))  # a line cut by a crash
                continue
            self._answers[answer.directive_id] = answer
        self.interrupted = [identity for identity in begun if identity not in self._answers]
        self._rewrite()

    def _rewrite(self) -> None:
        while len(self._answers) > self._kept_count:
            self._answers.popitem(last=False)
        partial = self._path.with_suffix(".part")
        with open(partial, "w", encoding="utf-8", opener=_private) as file:
            file.writelines(_line(_entry(answer)) for answer in self._answers.values())
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path)
        self._line_count = len(self._answers)

    def _append(self, entry: dict[str, Any], *, is_awaited: bool) -> None:
        """Write a line that survives a crash; a full disk must not stop the order itself.

        Ranks do not stand still for a disk: of an order that they wait for, a line survives the
        agent's end. Should the whole machine go down, so do the ranks that it is about.
        """
        try:
            with open(self._path, "a", encoding="utf-8", opener=_private) as file:
                file.write(_line(entry))
                file.flush()
                if not is_awaited:
                    os.fsync(file.fileno())
            self._line_count += 1
            if self._line_count > 4 * self._kept_count:
                self._rewrite()
        except OSError as error:
            LOG.error("journal=unwritable path=%r detail=%r", str(self._path), str(error))

    def execute(self, directive: directive_pb2.Directive) -> directive_pb2.DirectiveResult:
        """Carry the directive out, or answer as before. Blocks; call it from the runs' thread."""
        known = self._answers.get(directive.directive_id)
        if known is not None:
            answer = directive_pb2.DirectiveResult()
            answer.CopyFrom(known)
            answer.repeated_answer = True
            return answer
        LOG.info(
            "directive=%r run=%r order=%s",
            directive.directive_id[:ID_LIMIT],
            directive.run_id[:ID_LIMIT],
            directive.WhichOneof("order"),
        )
        try:
            check(directive)
        except DirectiveError as error:
            return wire.result(directive, Outcome(REFUSED, str(error)))
        is_awaited = wire.is_awaited(directive)
        begun = {"begun": directive.directive_id, "run_id": directive.run_id}
        self._append(begun, is_awaited=is_awaited)
        answer = wire.result(directive, self._outcome(directive))
        self._answers[answer.directive_id] = answer
        self._append(_entry(answer), is_awaited=is_awaited)
        return answer

    def _outcome(self, directive: directive_pb2.Directive) -> Outcome:
        try:
            return self._carry_out(directive)
        except RunSpecError as error:
            return Outcome(REFUSED, str(error))
        except OSError as error:
            return Outcome(FAILED, str(error))
        except Exception as error:  # the root of one order: the next one must still be heard
            LOG.exception("directive=failed id=%r", directive.directive_id)
            return Outcome(FAILED, f"the agent failed: {error!r}")

    def _carry_out(self, directive: directive_pb2.Directive) -> Outcome:
        hand, run_id = self._supervisor, directive.run_id
        match directive.WhichOneof("order"):
            case "start_run":
                return self._start(directive.start_run)
            case "prepare_step":
                order = directive.prepare_step
                hold_ns = int(min(order.hold_seconds, HOLD_LIMIT_SECONDS) * 1e9)
                verb = wire.VERBS[order.verb]
                return hand.prepare(run_id, order.agreement, verb, order.step, hold_ns)
            case "ready_step":
                return hand.ready(run_id, directive.ready_step.agreement)
            case "commit_step":
                return hand.commit(run_id, directive.commit_step.agreement)
            case "abort_step":
                return hand.abort(run_id, directive.abort_step.agreement)
            case "terminate":
                end = directive.terminate
                return hand.terminate(run_id, end.grace_seconds, end.force)
            case "freeze":
                freeze = directive.freeze
                return hand.freeze(run_id, freeze.fuse_seconds, release_gpus=freeze.release_gpus)
            case "thaw":
                return hand.thaw(run_id)
            case "set_priority":
                number = directive.set_priority.priority_class
                return hand.set_priority(run_id, wire.priority_class(number) or "")
            case "set_power_limit":
                return hand.set_power_limit(run_id, directive.set_power_limit.watts)
            case _:
                return hand.forget(run_id)

    def _start(self, order: directive_pb2.StartRun) -> Outcome:
        points = {point.rank: (point.step, point.path) for point in order.resume_points}
        if order.recorded:
            return self._supervisor.start_recorded(order.spec.run_id, order.attempt, points)
        return self._supervisor.start(wire.run_spec(order.spec), order.attempt, points)


def check(directive: directive_pb2.Directive) -> None:
    """Make sure that the directive can be carried out as it stands.

    Raises:
        DirectiveError: It cannot; nothing must be done.
    """
    if not 0 < len(directive.directive_id) <= ID_LIMIT:
        raise DirectiveError(f"directive_id: 1 to {ID_LIMIT} characters")
    if not RUN_ID.fullmatch(directive.run_id):
        raise DirectiveError(f"run_id {directive.run_id[:80]!r}: not a run's name")
    match directive.WhichOneof("order"):
        case None:
            raise DirectiveError("order: not known to this agent, which may be older than its hub")
        case "start_run":
            start = directive.start_run
            if start.spec.run_id != directive.run_id:
                raise DirectiveError("start_run.spec.run_id: differs from the directive's run_id")
            if start.attempt < 1:
                raise DirectiveError(f"start_run.attempt {start.attempt}: 1 or more")
        case "prepare_step":
            if directive.prepare_step.verb not in wire.VERBS:
                raise DirectiveError("prepare_step.verb: only CHECKPOINT and PAUSE have a step")
            _within("prepare_step.hold_seconds", directive.prepare_step.hold_seconds, math.inf)
        case "terminate":
            grace = directive.terminate.grace_seconds
            _within("terminate.grace_seconds", grace, GRACE_LIMIT_SECONDS, zero=True)
        case "freeze":
            _within("freeze.fuse_seconds", directive.freeze.fuse_seconds, FUSE_LIMIT_SECONDS)
        case "set_priority":
            if wire.priority_class(directive.set_priority.priority_class) is None:
                raise DirectiveError("set_priority.priority_class: not known to this agent")
        case "set_power_limit":
            watts = directive.set_power_limit.watts
            _within("set_power_limit.watts", watts, CAP_LIMIT_WATTS, zero=True)


def _within(field: str, value: float, limit: float, *, zero: bool = False) -> None:
    if math.isnan(value) or value < 0 or value > limit or (value == 0 and not zero):
        raise DirectiveError(f"{field} {value:g}: more than 0, at most {limit:g}")


def _entry(answer: directive_pb2.DirectiveResult) -> dict[str, Any]:
    entry: dict[str, Any] = json_format.MessageToDict(answer, preserving_proto_field_name=True)
    return entry


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry) + "\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
