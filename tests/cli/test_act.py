"""Commands that act: preflight, confirmation at a terminal, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator

import pytest

from colossus_protos.v1 import common_pb2, directive_pb2
from tests.cli.answering import Answering
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.terminal import Terminal


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2, 3])
        until(lambda: hub.run_of("r").get("step") == 3)
        yield agent


def test_a_dry_run_says_the_cost_and_does_nothing(hub: Product, agent: FakeAgent) -> None:
    orders = Answering(agent).orders
    result = hub.cli("pause", "r", "--dry-run")
    answer = json.loads(hub.cli("pause", "r", "--dry-run", "--json").stdout)

    assert result.returncode == 0
    assert "every rank saves at one step and exits" in result.stdout
    assert answer["preflight"]["allowed"]
    assert all(figure["basis"] for figure in answer["preflight"]["figures"])
    assert hub.json("actions")["actions"] == []
    assert orders == []


def test_nobody_at_the_terminal_confirms_nothing(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli("pause", "r")

    assert result.returncode == 2
    assert "--yes" in result.stderr
    assert hub.json("actions")["actions"] == []


def test_a_run_of_the_highest_class_is_confirmed_by_typing_its_name(
    hub: Product, agent: FakeAgent
) -> None:
    highest = local_run(priority_class=common_pb2.PRIORITY_CLASS_P0, run_id="top")
    agent.report(local_run(), highest)
    until(lambda: hub.run_of("top"))
    command = [str(BIN / "colossus"), "stop", "top"]
    with Terminal(command, hub.environment) as wrong:
        wrong.until("type the run's name")
        wrong.press("y\r")
        assert wrong.wait() == 2
        assert "not done" in wrong.text
    assert hub.json("actions")["actions"] == []

    orders = Answering(agent).orders
    with Terminal([*command, "--no-wait"], hub.environment) as right:
        right.until("type the run's name")
        right.press("top\r")
        assert right.wait() == 3
    until(lambda: orders == ["terminate"])


@pytest.mark.parametrize("keys", ["\r", "n\r", "r\r", "\x04"])
def test_anything_but_yes_is_no(hub: Product, agent: FakeAgent, keys: str) -> None:
    with Terminal([str(BIN / "colossus"), "stop", "r"], hub.environment) as terminal:
        terminal.until("[y/N]")
        terminal.press(keys)
        assert terminal.wait() == 2
    assert hub.json("actions")["actions"] == []


def test_an_observed_action_ends_with_0(hub: Product, agent: FakeAgent) -> None:
    Answering(agent)

    result = hub.cli("freeze", "r", "--fuse", "60", "--yes", "--reason", "let B go")

    assert result.returncode == 0, result.stderr
    assert "observed" in result.stdout
    (action,) = hub.json("actions")["actions"]
    assert (action["state"], action["reason"]) == ("observed", "let B go")


def test_a_denial_ends_with_6_and_a_failure_with_1(hub: Product, agent: FakeAgent) -> None:
    failed = directive_pb2.DIRECTIVE_OUTCOME_FAILED
    answering = Answering(agent, "the system denied it: pid 1", outcome=failed)

    result = hub.cli("reprioritize", "r", "P0", "--yes")
    assert result.returncode == 6
    assert "pid 1" in result.stdout
    answering.detail = "no disk"
    assert hub.cli("reprioritize", "r", "P0", "--yes").returncode == 1


def test_what_is_not_confirmed_in_time_ends_with_3(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli("reprioritize", "r", "P0", "--yes", "--timeout", "0.5")

    assert result.returncode == 3
    assert "unconfirmed" in result.stdout


def test_a_state_that_forbids_it_ends_with_4_and_says_why(hub: Product, agent: FakeAgent) -> None:
    result = hub.cli("resume", "r", "--yes")

    assert result.returncode == 4
    assert "running" in result.stderr
    answer = json.loads(hub.cli("resume", "r", "--yes", "--json").stdout)
    assert answer["preflight"]["refusal"] == "conflict"


def test_a_run_without_hook_ends_with_5(hub: Product, agent: FakeAgent) -> None:
    bare = local_run()
    bare.ranks[0].hooked = False
    agent.report(bare)
    until(lambda: not hub.run_of("r")["hooked"])

    result = hub.cli("checkpoint", "r", "--yes")

    assert result.returncode == 5
    assert "hook" in result.stderr


def test_interrupting_the_wait_leaves_the_action_going_on(hub: Product, agent: FakeAgent) -> None:
    command = [str(BIN / "colossus"), "freeze", "r", "--fuse", "60", "--yes"]
    with subprocess.Popen(
        command, env=hub.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        until(lambda: hub.json("actions")["actions"])
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=10)

    assert process.returncode == 130
    (action,) = hub.json("actions", "--open")["actions"]
    assert f"action {action['action_id']} goes on" in error
    assert f"colossus cancel {action['action_id']} takes it back" in error
    assert "Traceback" not in error
    Answering(agent)
    until(lambda: hub.json("actions")["actions"][0]["state"] == "observed")
