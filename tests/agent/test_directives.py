"""Directives: once each, answered alike, journaled, and refused where they make no sense."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_agent.directives import Directives
from colossus_agent.runs.supervisor import Supervisor
from colossus_protos.v1 import common_pb2, directive_pb2, run_pb2
from tests.support import until

DONE = directive_pb2.DIRECTIVE_OUTCOME_DONE
FAILED = directive_pb2.DIRECTIVE_OUTCOME_FAILED
REFUSED = directive_pb2.DIRECTIVE_OUTCOME_REFUSED


class Node:
    """A supervisor and its directives, as one agent process has them."""

    def __init__(self, folder: Path, kept_count: int = 1000) -> None:
        folder.mkdir(exist_ok=True)
        self.supervisor = Supervisor(folder)
        self.supervisor.adopt()
        self.journal = folder / "directives.jsonl"
        self.directives = Directives(self.journal, self.supervisor, kept_count)

    def do(self, identity: str, **order: object) -> directive_pb2.DirectiveResult:
        run_id = str(order.pop("run_id", "r"))
        directive = directive_pb2.Directive(directive_id=identity, run_id=run_id, **order)  # type: ignore[arg-type]
        return self.directives.execute(directive)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "agent")
    yield node
    after = Supervisor(tmp_path / "agent")
    after.adopt()
    for run in after.poll().runs:
        after.terminate(run.run_id, 0, True)
        until(lambda: after.poll().runs and not sum(r.process_count for r in after.poll().runs))


def start(run_id: str = "r", *argv: str, attempt: int = 1) -> directive_pb2.StartRun:
    command = argv or (sys.executable, "-c", "import time; time.sleep(300)")
    spec = run_pb2.RunSpec(run_id=run_id, argv=command, rank_count=1, environment=dict(os.environ))
    return directive_pb2.StartRun(spec=spec, attempt=attempt)


def pids(node: Node) -> list[int]:
    return [rank.pid for run in node.supervisor.poll().runs for rank in run.ranks if rank.alive]


def test_the_same_id_is_carried_out_once(node: Node) -> None:
    first = node.do("a", start_run=start())
    second = node.do("a", start_run=start())

    assert (first.outcome, first.repeated_answer) == (DONE, False)
    assert (second.outcome, second.repeated_answer) == (DONE, True)
    assert second.detail == first.detail
    assert len(pids(node)) == 1


def test_the_next_agent_gives_the_first_answer(node: Node, tmp_path: Path) -> None:
    node.do("a", start_run=start())
    refused = node.do("b", thaw=directive_pb2.Thaw(), run_id="unknown")
    before = pids(node)

    second = Node(tmp_path / "agent")

    again = second.do("a", start_run=start())
    assert (again.outcome, again.repeated_answer) == (DONE, True)
    assert pids(second) == before
    repeated = second.do("b", thaw=directive_pb2.Thaw(), run_id="unknown")
    assert (repeated.outcome, repeated.detail) == (REFUSED, refused.detail)
    assert repeated.repeated_answer
    assert second.directives.interrupted == []


def test_one_begun_before_a_crash_is_judged_by_the_world(node: Node, tmp_path: Path) -> None:
    node.do("a", start_run=start())
    before = pids(node)
    lines = node.journal.read_text().splitlines()
    node.journal.write_text(lines[0] + "\n" + lines[1][: len(lines[1]) // 2])  # cut by the crash

    second = Node(tmp_path / "agent")
    assert second.directives.interrupted == ["a"]
    answer = second.do("a", start_run=start())

    assert (answer.outcome, answer.repeated_answer) == (DONE, False)
    assert answer.detail == "already started"
    assert pids(second) == before


def test_the_journal_is_private_and_bounded(tmp_path: Path) -> None:
    node = Node(tmp_path / "agent", kept_count=10)
    for number in range(100):
        node.do(f"d{number}", thaw=directive_pb2.Thaw(), run_id="unknown")

    lines = [json.loads(line) for line in node.journal.read_text().splitlines()]

    assert len(lines) <= 41
    assert "d99" in [line.get("directive_id") for line in lines]
    assert node.journal.stat().st_mode & 0o77 == 0


def test_a_full_disk_does_not_stop_an_order(node: Node) -> None:
    node.do("a", start_run=start())
    node.journal.unlink()
    node.journal.mkdir()  # from now on no line can be written, whoever runs this

    answer = node.do("b", terminate=directive_pb2.Terminate(grace_seconds=1, force=True))

    assert answer.outcome == DONE
    until(lambda: not pids(node))


def test_an_order_of_a_newer_hub_is_refused_in_clear_words(node: Node) -> None:
    newer = directive_pb2.Directive(directive_id="x", run_id="r").SerializeToString()
    newer += b"\xa2\x06\x00"  # field 100, which this version does not know

    answer = node.directives.execute(directive_pb2.Directive.FromString(newer))

    assert answer.outcome == REFUSED
    assert "not known to this agent" in answer.detail
    assert not node.journal.exists()


def spec_for(run_id: str) -> directive_pb2.StartRun:
    return directive_pb2.StartRun(spec=run_pb2.RunSpec(run_id=run_id), attempt=1, recorded=True)


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ({"start_run": start("other")}, "start_run.spec.run_id"),
        ({"start_run": start(attempt=0)}, "start_run.attempt"),
        ({"start_run": spec_for("../../etc"), "run_id": "../../etc"}, "run_id"),
        ({"freeze": directive_pb2.Freeze(fuse_seconds=math.nan)}, "freeze.fuse_seconds"),
        ({"freeze": directive_pb2.Freeze(fuse_seconds=0)}, "freeze.fuse_seconds"),
        ({"freeze": directive_pb2.Freeze(fuse_seconds=math.inf)}, "freeze.fuse_seconds"),
        ({"terminate": directive_pb2.Terminate(grace_seconds=-1)}, "terminate.grace_seconds"),
        ({"prepare_step": directive_pb2.PrepareStep(verb=common_pb2.VERB_STOP)}, "verb"),
        (
            {
                "prepare_step": directive_pb2.PrepareStep(
                    verb=common_pb2.VERB_PAUSE, hold_seconds=math.nan
                )
            },
            "prepare_step.hold_seconds",
        ),
        ({"set_priority": directive_pb2.SetPriority()}, "set_priority.priority_class"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    node: Node, order: dict[str, object], named: str
) -> None:
    answer = node.do("x", **order)

    assert answer.outcome == REFUSED
    assert named in answer.detail


def test_a_specification_that_is_wrong_names_its_field(node: Node) -> None:
    empty = directive_pb2.StartRun(spec=run_pb2.RunSpec(run_id="r"), attempt=1)

    answer = node.do("x", start_run=empty)

    assert answer.outcome == REFUSED
    assert "argv" in answer.detail


def test_a_surprise_fails_one_order_and_not_the_agent(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def surprise(run_id: str) -> None:
        raise KeyError(run_id)

    monkeypatch.setattr(node.supervisor, "thaw", surprise)

    assert node.do("x", thaw=directive_pb2.Thaw()).outcome == FAILED
    assert node.do("y", forget_run=directive_pb2.ForgetRun()).outcome == REFUSED


def test_the_class_is_set_and_read_back(node: Node) -> None:
    node.do("a", start_run=start())
    order = directive_pb2.SetPriority(priority_class=common_pb2.PRIORITY_CLASS_P4)

    answer = node.do("b", set_priority=order)

    assert answer.outcome == DONE
    assert [rank.nice for rank in answer.ranks] == [19]
    assert os.getpriority(os.PRIO_PROCESS, pids(node)[0]) == 19
