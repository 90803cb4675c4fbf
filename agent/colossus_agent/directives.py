"""Directives, each carried out once: the same id gets the first answer, even after a restart."""

from __future__ import annotations

import json
import logging
import os
from collections import OrderedDict
from pathlib import Path

from google.protobuf import json_format

from colossus_agent import wire
from colossus_agent.runs.record import RunSpecError
from colossus_agent.runs.state import FAILED, REFUSED, Outcome
from colossus_agent.runs.supervisor import Supervisor
from colossus_protos.v1 import directive_pb2

LOG = logging.getLogger(__name__)
_KEPT = 1000


class Directives:
    """Carries directives out and remembers the answers.

    Args:
        path: The journal: one answer a line. One that was begun before a crash has no line and is
            carried out again, which is safe: each looks at the world first.
    """

    def __init__(self, path: Path, supervisor: Supervisor) -> None:
        self._path = path
        self._supervisor = supervisor
        self._answers: OrderedDict[str, directive_pb2.DirectiveResult] = OrderedDict()
        self._read()

    def _read(self) -> None:
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return
        for line in lines:
            try:
                answer = json_format.Parse(line, directive_pb2.DirectiveResult())
            except (json_format.ParseError, ValueError):
                LOG.warning("journal=damaged path=%s", self._path)  # a line cut by a crash
                continue
            self._answers[answer.directive_id] = answer
        while len(self._answers) > _KEPT:
            self._answers.popitem(last=False)
        self._rewrite()

    def _rewrite(self) -> None:
        partial = self._path.with_suffix(".part")
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(_line(answer) for answer in self._answers.values())
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path)

    def execute(self, directive: directive_pb2.Directive) -> directive_pb2.DirectiveResult:
        """Carry the directive out, or answer as before. Blocks; call it from the runs' thread."""
        known = self._answers.get(directive.directive_id)
        if known is not None:
            answer = directive_pb2.DirectiveResult()
            answer.CopyFrom(known)
            answer.repeated_answer = True
            return answer
        try:
            outcome = self._carry_out(directive)
        except RunSpecError as error:
            outcome = Outcome(REFUSED, str(error))
        except OSError as error:
            outcome = Outcome(FAILED, str(error))
        answer = wire.result(directive, outcome)
        self._answers[directive.directive_id] = answer
        with self._path.open("a", encoding="utf-8") as file:
            file.write(_line(answer))
            file.flush()
            os.fsync(file.fileno())
        if len(self._answers) > 2 * _KEPT:
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
            self._rewrite()
        return answer

    def _carry_out(self, directive: directive_pb2.Directive) -> Outcome:
        hand, run_id = self._supervisor, directive.run_id
        match directive.WhichOneof("order"):
            case "start_run":
                return self._start(directive.start_run)
            case "prepare_step":
                order = directive.prepare_step
                verb = wire.VERBS.get(order.verb)
                if verb is None:
                    return Outcome(REFUSED, f"verb {order.verb} has no step to agree on")
                hold_ns = int(min(max(order.hold_seconds, 0.1), 60.0) * 1e9)
                return hand.prepare(run_id, order.agreement, verb, order.step, hold_ns)
            case "commit_step":
                return hand.commit(run_id, directive.commit_step.agreement)
            case "abort_step":
                return hand.abort(run_id, directive.abort_step.agreement)
            case "terminate":
                order_ = directive.terminate
                return hand.terminate(run_id, order_.grace_seconds, order_.force)
            case "freeze":
                return hand.freeze(run_id, directive.freeze.fuse_seconds)
            case "thaw":
                return hand.thaw(run_id)
            case "set_priority":
                priority_class = wire.priority_class(directive.set_priority.priority_class)
                if priority_class is None:
                    return Outcome(REFUSED, "priority_class: not known to this agent")
                return hand.set_priority(run_id, priority_class)
            case "forget_run":
                return hand.forget(run_id)
            case _:
                return Outcome(REFUSED, "this agent does not know the order; it may be too old")

    def _start(self, order: directive_pb2.StartRun) -> Outcome:
        points = {point.rank: (point.step, point.path) for point in order.resume_points}
        if order.recorded:
            return self._supervisor.start_recorded(order.spec.run_id, order.attempt, points)
        return self._supervisor.start(wire.run_spec(order.spec), order.attempt, points)


def _line(answer: directive_pb2.DirectiveResult) -> str:
    return json.dumps(json_format.MessageToDict(answer, preserving_proto_field_name=True)) + "\n"
