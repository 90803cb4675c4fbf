"""One verb on several runs: one preflight, one question, an action for each, one exit code."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from colossus_protos.v1 import common_pb2, directive_pb2, run_pb2
from colossus_tui.cli.exit_codes import of_all
from tests.cli.answering import Answering
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.terminal import Terminal

FREEZE = ("freeze", "--fuse", "60")


def reported(*names: str) -> list[run_pb2.LocalRun]:
    """Runs of falling class: the first is P2, the next P3, then P4; "over" has ended."""
    classes = [common_pb2.PRIORITY_CLASS_P2, common_pb2.PRIORITY_CLASS_P3]
    found = []
    for index, name in enumerate(names):
        lowest = common_pb2.PRIORITY_CLASS_P4
        run = local_run(name, priority_class=classes[index] if index < len(classes) else lowest)
        if name == "over":
            run.state = run_pb2.LOCAL_RUN_STATE_ENDED
            run.process_count = 0
            run.ranks[0].alive = False
            run.ranks[0].exit.known = True
        found.append(run)
    return found


RUNS = ("a", "b", "c", "over")


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(*reported(*RUNS))
        for name in RUNS:
            agent.steps(name, [1, 2, 3])
        until(lambda: len(hub.json("runs")["runs"]) == len(RUNS))
        until(lambda: hub.run_of("c").get("step") == 3)
        yield agent


def asked(hub: Product) -> dict[str, str]:
    """Return the journal: run and state."""
    return {one["run_id"]: one["state"] for one in hub.json("actions")["actions"]}


def test_several_runs_have_one_preflight_and_nothing_is_done(
    hub: Product, agent: FakeAgent
) -> None:
    shown = hub.cli(*FREEZE, "a", "b", "--dry-run")
    answer = json.loads(hub.cli(*FREEZE, "a", "b", "--dry-run", "--json").stdout)

    assert shown.returncode == 0
    assert "freeze 2 of 2 runs" in shown.stdout
    assert "WORK AT RISK" in shown.stdout
    assert "2/2 runs known" in shown.stdout
    preflight = answer["bulk_preflight"]
    assert [one["run_id"] for one in preflight["preflights"]] == ["a", "b"]
    assert preflight["allowed_count"] == 2
    assert asked(hub) == {}


def test_each_run_gets_an_action_of_its_own_and_all_are_waited_for(
    hub: Product, agent: FakeAgent
) -> None:
    Answering(agent, runs=reported(*RUNS))

    result = hub.cli(*FREEZE, "a", "--yes", "b", "c", "--reason", "feed B")

    assert result.returncode == 0, result.stderr
    assert "freeze 3 runs: 3 observed" in result.stdout
    actions = hub.json("actions")["actions"]
    assert {one["run_id"]: one["state"] for one in actions} == dict.fromkeys("abc", "observed")
    assert len({one["action_id"] for one in actions}) == 3
    assert {one["reason"] for one in actions} == {"feed B"}
    for name in "abc":
        assert f"  {name}: observed" in result.stderr


def test_an_expression_chooses_the_runs_that_are_not_over(hub: Product, agent: FakeAgent) -> None:
    Answering(agent, runs=reported(*RUNS))

    result = hub.cli(*FREEZE, "--match", "class>=P3", "--yes", "--json")

    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert {one["run_id"] for one in answer["actions"]} == {"b", "c"}
    assert answer["left_out"] == []
    assert "not meant: 1 that are over" in result.stderr
    assert asked(hub) == {"b": "observed", "c": "observed"}


def test_a_term_on_state_means_what_is_over_too(hub: Product, agent: FakeAgent) -> None:
    state = hub.run_of("over")["state"]

    result = hub.cli("pause", "--match", f"state={state}", "--dry-run")

    assert result.returncode == 4
    assert "over: refused (conflict): the run is" in result.stderr


def test_an_expression_that_matches_nothing_ends_with_1(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli("pause", "--match", "class=P0", "--yes")

    assert result.returncode == 1
    assert "no run matches" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a", "--match", "class>=P3"], "not both"),
        ([], "--match"),
        (["a", "b", "a"], "'a' is named twice"),
        (["--match", ""], "every run"),
        (["--match", "speed>3"], "'speed' is no field"),
        (["--match", "class>=P9"], "P9"),
    ],
)
def test_what_is_wrong_about_the_choice_is_named_before_a_hub_is_asked(
    hub: Product, arguments: list[str], named: str
) -> None:
    hub.environment["COLOSSUS_HUB"] = "unix:/nonexistent/hub.sock"
    result = hub.cli("pause", *arguments)

    assert result.returncode == 2
    assert named in result.stderr


def test_one_wrong_name_stops_all(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli(*FREEZE, "a", "nobody", "--yes", "--skip-refused")

    assert result.returncode == 1
    assert "there is no run nobody" in result.stderr
    assert "nothing was done" in result.stderr
    assert asked(hub) == {}


def test_a_run_that_refuses_stops_all_unless_it_may_be_left_out(
    hub: Product, agent: FakeAgent
) -> None:
    Answering(agent, runs=reported(*RUNS))
    assert hub.cli(*FREEZE, "a", "--yes").returncode == 0

    strict = hub.cli(*FREEZE, "a", "b", "--yes")
    assert strict.returncode == 4
    assert "a: refused (conflict): the run is frozen" in strict.stderr
    assert "--skip-refused" in strict.stderr
    assert asked(hub) == {"a": "observed"}

    lenient = hub.cli(*FREEZE, "a", "b", "--yes", "--skip-refused")
    assert lenient.returncode == 0, lenient.stderr
    assert "1 observed, 1 left out" in lenient.stdout
    assert asked(hub) == {"a": "observed", "b": "observed"}


def test_some_that_fail_end_with_7_and_are_named(hub: Product, agent: FakeAgent) -> None:
    Answering(agent, "no room", runs=reported(*RUNS), refusing=frozenset({"b"}))

    result = hub.cli(*FREEZE, "a", "b", "--yes")

    assert result.returncode == 7
    assert "1 observed, 1 failed" in result.stdout
    assert "b: failed" in result.stdout
    assert "no room" in result.stdout


def test_the_number_of_runs_is_typed_where_one_needs_its_name(
    hub: Product, agent: FakeAgent
) -> None:
    highest = [local_run("top", priority_class=common_pb2.PRIORITY_CLASS_P0), *reported(*RUNS)]
    agent.report(*highest)
    until(lambda: hub.run_of("top"))
    command = [str(BIN / "colossus"), *FREEZE, "a", "top"]
    with Terminal(command, hub.environment, columns=120) as wrong:
        wrong.until("type the number of runs")
        wrong.press("y\r")
        assert wrong.wait() == 2
    assert asked(hub) == {}

    Answering(agent, runs=highest)
    with Terminal(command, hub.environment, columns=120) as right:
        right.until("type the number of runs")
        right.press("2\r")
        assert right.wait() == 0
    assert asked(hub) == {"a": "observed", "top": "observed"}


def test_a_run_that_changes_after_it_was_shown_is_left_alone(
    hub: Product, agent: FakeAgent
) -> None:
    changed = reported(*RUNS)
    changed[1].attempt = 2
    with Terminal(
        [str(BIN / "colossus"), *FREEZE, "a", "b"], hub.environment, columns=160
    ) as terminal:
        terminal.until("freeze 2 runs? [y/N]")
        agent.report(*changed)
        until(lambda: hub.run_of("b").get("attempt") == 2)
        Answering(agent, runs=changed)
        terminal.press("y\r")
        assert terminal.wait() == 7
        assert "b: refused (conflict): the run has changed since you looked" in terminal.text
    assert asked(hub) == {"a": "observed", "b": "refused"}


def test_interrupting_the_wait_names_all_that_goes_on(hub: Product, agent: FakeAgent) -> None:
    command = [str(BIN / "colossus"), *FREEZE, "a", "b", "--yes"]
    with subprocess.Popen(
        command, env=hub.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: list(asked(hub).values()) == ["dispatched"] * 2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)

    assert process.returncode == 130
    assert "2 actions go on: colossus actions --open" in error
    assert "Traceback" not in error
    for one in hub.json("actions", "--open")["actions"]:
        assert one["action_id"] in error


def test_no_waiting_ends_with_3(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli(*FREEZE, "a", "b", "--yes", "--no-wait")

    assert result.returncode == 3
    assert len(asked(hub)) == 2


def test_a_denial_of_all_keeps_its_own_code(hub: Product, agent: FakeAgent) -> None:
    failed = directive_pb2.DIRECTIVE_OUTCOME_FAILED
    Answering(agent, "the system denied it: pid 1", runs=reported(*RUNS), outcome=failed)

    assert hub.cli("reprioritize", "a", "b", "P1", "--yes").returncode == 6


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([0, 0], 0),
        ([4, 4], 4),
        ([0, 3], 3),
        ([0, 4], 7),
        ([3, 6], 7),
        ([4, 7], 7),
        ([4, 6], 1),
    ],
)
def test_the_exit_code_of_several_follows_one_rule(codes: list[int], code: int) -> None:
    assert of_all(codes) == code
    assert of_all(codes[::-1]) == code
