"""One action in full, and what is done about it: shown, cancelled, approved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colossus_protos.v1 import directive_pb2
from colossus_tui.client import Client, RefusedError
from tests.cli.answering import Answering
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.support import until
from tests.terminal import Terminal

TWO_APPROVALS = """[[rules]]
runs = ["r"]
approvals = 2
"""


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        yield linked(hub, agent)


@pytest.fixture
def ruled(tmp_path: Path) -> Iterator[Product]:
    """A hub whose rules want two operators for the run r."""
    settings = tmp_path / "hub.toml"
    settings.write_text(TWO_APPROVALS)
    product = Product(tmp_path)
    try:
        product.environment["LOGNAME"] = "alice"
        product.start_hub("--config", str(settings))
        yield product
    finally:
        product.close()


def linked(hub: Product, agent: FakeAgent) -> FakeAgent:
    """The agent with the one run r that does steps."""
    agent.greet()
    agent.report(local_run())
    agent.steps("r", [1, 2, 3])
    until(lambda: hub.run_of("r").get("step") == 3)
    return agent


def asked(hub: Product, *command: str) -> dict[str, Any]:
    """Ask for an action and do not wait for it; return it."""
    result = hub.cli(*command, "--yes", "--no-wait", "--json")
    action: dict[str, Any] = json.loads(result.stdout)["action"]
    return action


def newest(hub: Product) -> dict[str, Any]:
    """Return the newest action of the journal."""
    action: dict[str, Any] = hub.json("actions")["actions"][0]
    return action


# --- looking -------------------------------------------------------------------------------


def test_an_action_is_shown_with_who_did_not_confirm_and_why(hub: Product) -> None:
    whole = local_run(rank_count=2)
    other = local_run(rank_count=2)
    other.ranks[0].rank = 1
    with FakeAgent(hub.address) as first, FakeAgent(hub.address) as second:
        first.greet()
        second.greet(hello("node-2", instance_id="instance-2"))
        first.report(whole)
        second.report(other)
        until(lambda: len(hub.run_of("r").get("node_names", ())) == 2)
        Answering(first)
        wrong = directive_pb2.RankResult(rank=1, detail="waits for disk", step=-1)
        Answering(
            second,
            "not every process stopped",
            outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
            ranks=[wrong],
        )
        ended = hub.cli("freeze", "r", "--fuse", "60", "--yes", "--reason", "feed B")
        action = newest(hub)

        shown = hub.cli("show", action["action_id"][:8])
        answer = hub.json("show", action["action_id"])

    assert ended.returncode == 1
    assert "1/2 nodes" in ended.stdout
    assert shown.returncode == 0
    assert "freeze r: failed [" in shown.stdout
    assert "1 of 2 nodes did not confirm:\nnode-2" in shown.stdout
    assert "waits for disk" in shown.stdout
    assert '"feed B"' in shown.stdout
    assert "dispatched" in shown.stdout  # one of its stages
    assert answer["kind"] == "action"
    assert answer["detail"]["missing_nodes"] == ["node-2"]
    assert answer["parts"] == []


def test_an_action_is_found_by_the_beginning_of_its_id(hub: Product, agent: FakeAgent) -> None:
    with Client(hub.address) as client:
        client.submit("resume", "r", action_id="aaaaaaaa-1")
        client.submit("resume", "r", action_id="aaaaaaaa-12")
        client.submit("resume", "r", action_id="bbbbbbbb-1")

    assert "bbbbbbbb-1" in hub.cli("show", "bbbbbbbb").stdout
    assert hub.json("show", "aaaaaaaa-1")["detail"]["action_id"] == "aaaaaaaa-1"
    several = hub.cli("cancel", "aaaaaaaa")
    assert several.returncode == 2
    assert "aaaaaaaa-1 (resume r)" in several.stderr
    short = hub.cli("cancel", "bbbb")
    assert short.returncode == 2
    assert "at least 8" in short.stderr
    nobody = hub.cli("approve", "cccccccc-1", "--yes")
    assert nobody.returncode == 1
    assert "no action 'cccccccc-1'" in nobody.stderr


def test_only_open_actions_are_listed_when_asked_for(hub: Product, agent: FakeAgent) -> None:
    hub.cli("resume", "r", "--yes")
    with Client(hub.address) as client:
        client.submit("resume", "r")  # refused at once
    going = asked(hub, "freeze", "r")

    assert len(hub.json("actions")["actions"]) == 2
    (only,) = hub.json("actions", "--open")["actions"]
    assert only["action_id"] == going["action_id"]


def test_a_refusal_has_the_same_words_everywhere(hub: Product, agent: FakeAgent) -> None:
    bare = local_run()
    bare.ranks[0].hooked = False
    agent.report(bare)
    until(lambda: not hub.run_of("r")["hooked"])

    with Client(hub.address) as client, pytest.raises(RefusedError) as refused:
        client.checkpoint("r")
    words = str(refused.value)

    assert "colossus_hook" in words  # the remedy
    assert f"refused (unsupported): {words}" in hub.cli("checkpoint", "r", "--dry-run").stderr
    assert f"refused (unsupported): {words}" in hub.cli("show", newest(hub)["action_id"]).stdout
    assert newest(hub)["detail"] == words


# --- taking back ---------------------------------------------------------------------------


def test_an_action_that_nothing_came_of_is_taken_back(hub: Product, agent: FakeAgent) -> None:
    action = asked(hub, "checkpoint", "r")
    until(lambda: newest(hub)["state"] == "dispatched")

    result = hub.cli("cancel", action["action_id"][:8])

    assert result.returncode == 0, result.stderr
    assert "taken back" in result.stdout
    assert newest(hub)["reason_code"] == "cancelled"


def test_what_has_ended_cannot_be_taken_back(hub: Product, agent: FakeAgent) -> None:
    Answering(agent)
    hub.cli("freeze", "r", "--fuse", "60", "--yes")

    result = hub.cli("cancel", newest(hub)["action_id"])

    assert result.returncode == 4
    assert "the action is observed already" in result.stderr


# --- approving -----------------------------------------------------------------------------


def test_a_second_operator_approves_what_the_first_asked_for(ruled: Product) -> None:
    with FakeAgent(ruled.address) as agent:
        linked(ruled, agent)
        waiting = ruled.cli("freeze", "r", "--fuse", "60", "--yes", "--no-wait")
        action = newest(ruled)
        assert waiting.returncode == 3
        assert "requested [1/2 approvals]" in waiting.stdout
        assert f"colossus approve {action['action_id']}" in waiting.stdout

        own = ruled.cli("approve", action["action_id"], "--yes")
        assert own.returncode == 4
        assert "another operator must approve" in own.stderr

        Answering(agent)
        ruled.environment["LOGNAME"] = "bob"
        command = [str(BIN / "colossus"), "approve", action["action_id"][:8]]
        with Terminal(command, ruled.environment, columns=120) as terminal:
            terminal.until("asked by", "approve freeze r? [y/N]")
            terminal.press("y\r")
            assert terminal.wait() == 0
        shown = ruled.cli("show", action["action_id"]).stdout

    assert "2 of 2: alice, bob" in shown
    assert newest(ruled)["state"] == "observed"


def test_an_approval_that_does_not_come_is_waited_for_no_longer_than_said(
    ruled: Product,
) -> None:
    with FakeAgent(ruled.address) as agent:
        linked(ruled, agent)
        began = time.monotonic()
        result = ruled.cli("freeze", "r", "--yes", "--timeout", "0.5")

        assert result.returncode == 3
        assert time.monotonic() - began < 30
        assert "[1/2 approvals]" in result.stderr
        assert newest(ruled)["state"] == "requested"

        taken_back = ruled.cli("cancel", newest(ruled)["action_id"])
    assert taken_back.returncode == 0
    assert "taken back by alice" in taken_back.stdout


def test_the_preflight_says_that_others_must_approve(ruled: Product) -> None:
    with FakeAgent(ruled.address) as agent:
        linked(ruled, agent)
        agent.report(local_run(), local_run("s"))
        until(lambda: ruled.run_of("s"))

        one = ruled.cli("freeze", "r", "--dry-run").stdout
        several = ruled.cli("freeze", "r", "s", "--dry-run").stdout

    assert "waits until another operator has approved it" in one
    assert "r: waits until another operator has approved it" in several
