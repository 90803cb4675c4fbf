"""Actions through a real hub, against an agent that answers when and what a test wants."""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from colossus_protos.v1 import action_pb2, directive_pb2, run_pb2
from colossus_tui.client import Client, RefusedError
from colossus_tui.hub.actions.gate import Caller
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    PriorityClass,
    RunState,
    Verb,
)
from colossus_tui.wire import from_proto
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.hub.engine_world import Clock, Hub, World
from tests.support import until

FREEZE_FOR_A_MINUTE = ActionParameters(fuse_seconds=60)


@contextmanager
def linked(hub: Product, *runs: run_pb2.LocalRun) -> Iterator[FakeAgent]:
    """An agent that reports one running run."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(*(runs or (local_run(),)))
        agent.steps("r", [1, 2])
        until(lambda: hub.run_of("r").get("state") in ("running", "frozen"))
        yield agent


@pytest.fixture
def client(hub: Product) -> Iterator[Client]:
    with Client(hub.address, operator="alice") as client:
        yield client


def frozen() -> run_pb2.LocalRun:
    return local_run(
        state=run_pb2.LOCAL_RUN_STATE_FROZEN, fuse_deadline_unix_ns=time.time_ns() + 60 * 10**9
    )


def journaled(folder: Path, action_id: str) -> Action:
    """Return an action as the disk has it."""
    (file,) = (folder / "state" / "hub").glob("*.sqlite3")
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        (body,) = connection.execute(
            "select body from actions where action_id = ?", (action_id,)
        ).fetchone()

    return from_proto(Action, action_pb2.Action.FromString(body))


def test_an_action_is_on_disk_before_its_directive_leaves(hub: Product, client: Client) -> None:
    with linked(hub) as agent:
        action = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE, reason="let B go first")
        directive = agent.directive()

        known = journaled(hub.folder, action.action_id)
        assert known.state is ActionState.DISPATCHED
        assert (known.operator, known.reason) == ("alice", "let B go first")
        assert directive.freeze.fuse_seconds == 60

        agent.answer(directive)
        assert client.actions()[0].state is ActionState.DISPATCHED  # an answer is no observation
        agent.report(frozen())
        assert client.wait(action.action_id, 10).state is ActionState.OBSERVED
        states = [stage.state for stage in client.actions()[0].stages]
        assert states[:3] == ["requested", "accepted", "dispatched"]
        assert states[-1] == "observed"


def test_the_same_id_is_carried_out_once(hub: Product, client: Client) -> None:
    identity = str(uuid.uuid4())
    with linked(hub) as agent:
        first = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE, action_id=identity)
        again = client.submit("stop", "r", action_id=identity)  # even when it says otherwise
        assert (first.action_id, again.verb) == (again.action_id, "freeze")
        directive = agent.directive()
        agent.answer(directive)
        agent.report(frozen())
        client.wait(identity, 10)

        assert client.submit("freeze", "r", action_id=identity).state is ActionState.OBSERVED
        assert len(client.actions()) == 1


def test_a_run_is_held_by_one_action_at_a_time(hub: Product, client: Client) -> None:
    with linked(hub) as agent:
        first = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE)
        with pytest.raises(RefusedError, match=first.action_id):
            client.pause("r")
        assert client.preview("pause", "r").refusal == "conflict"
        agent.answer(agent.directive())
        agent.report(frozen())
        client.wait(first.action_id, 10)

        assert client.preview("resume", "r").allowed


def test_a_run_that_changed_since_it_was_looked_at_is_left_alone(
    hub: Product, client: Client
) -> None:
    with linked(hub) as agent:
        seen = client.preview("freeze", "r").generation
        agent.report(local_run(attempt=2))
        until(lambda: hub.run_of("r").get("attempt") == 2)

        action = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE, expected_generation=seen)

    assert (action.state, action.reason_code) == ("refused", "conflict")
    assert "changed since you looked" in action.detail


def test_what_the_system_denies_is_said_in_its_words(hub: Product, client: Client) -> None:
    with linked(hub) as agent:
        action = client.submit(
            "reprioritize", "r", ActionParameters(priority_class=PriorityClass("P0"))
        )
        agent.answer(
            agent.directive(),
            outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
            detail="the system denied it: pid 1: Operation not permitted",
        )

        end = client.wait(action.action_id, 10)
        assert (end.state, end.reason_code) == ("failed", "backend_denied")
        assert "Operation not permitted" in end.detail
        assert client.runs()[0].priority_class == "P2"


def test_an_agent_that_never_answers_leaves_an_action_unconfirmed(
    hub: Product, client: Client
) -> None:
    with linked(hub) as agent:
        parameters = ActionParameters(priority_class=PriorityClass("P0"), timeout_seconds=1)
        action = client.submit("reprioritize", "r", parameters)
        agent.directive()

        end = client.wait(action.action_id, 10)
        assert end.state is ActionState.UNCONFIRMED
        assert client.preview("freeze", "r").allowed  # the run is free again


def test_a_freeze_that_fails_is_thawed(hub: Product, client: Client) -> None:
    with linked(hub) as agent:
        action = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE)
        agent.answer(
            agent.directive(),
            outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
            detail="not every process stopped",
        )
        thaw = agent.directive()
        assert thaw.WhichOneof("order") == "thaw"
        agent.answer(thaw)

        assert client.wait(action.action_id, 10).state is ActionState.FAILED


@pytest.mark.parametrize(
    ("verb", "run_id", "parameters", "named"),
    [
        ("freeze", "r", ActionParameters(fuse_seconds=-1), "fuse_seconds"),
        ("freeze", "r", ActionParameters(fuse_seconds=float("nan")), "fuse_seconds"),
        ("freeze", "r", ActionParameters(fuse_seconds=1e9), "fuse_seconds"),
        ("pause", "r", ActionParameters(grace_seconds=float("inf")), "grace_seconds"),
        ("pause", "a b", ActionParameters(), "run_id"),
        ("reprioritize", "r", ActionParameters(), "priority_class"),
        ("start", "s", ActionParameters(), "spec"),
    ],
)
def test_a_wrong_field_is_refused_by_name(
    hub: Product, client: Client, verb: str, run_id: str, parameters: ActionParameters, named: str
) -> None:
    with linked(hub):
        action = client.submit(verb, run_id, parameters)

    assert (action.state, action.reason_code) == ("refused", "invalid")
    assert named in action.detail


def test_an_agreement_that_cannot_be_had_lets_every_rank_go_on(
    hub: Product, client: Client
) -> None:
    with linked(hub) as agent:
        action = client.submit("checkpoint", "r")
        orders = []
        for _ in range(8):  # four tries: a promise refused, then taken back
            directive = agent.directive()
            orders.append(directive.WhichOneof("order"))
            refused = directive.HasField("prepare_step")
            agent.answer(
                directive,
                outcome=directive_pb2.DIRECTIVE_OUTCOME_REFUSED
                if refused
                else directive_pb2.DIRECTIVE_OUTCOME_DONE,
                detail="rank 0: already finished step 9" if refused else "",
            )
        end = client.wait(action.action_id, 10)

    assert orders == ["prepare_step", "abort_step"] * 4
    assert end.state is ActionState.FAILED
    assert "already finished" in end.detail


@pytest.mark.timeout(120)
def test_a_hub_killed_after_dispatch_takes_the_action_up_again(hub: Product) -> None:
    with linked(hub) as agent, Client(hub.address) as client:
        action = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE)
        first = agent.directive()
        hub.kill("hub")

    hub.start_hub()
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run())
        again = agent.directive()
        assert again.directive_id == first.directive_id  # so that the agent does it once
        agent.answer(again, repeated_answer=True)
        agent.report(frozen())

        end = client.wait(action.action_id, 20)
    assert end.state is ActionState.OBSERVED


@pytest.mark.timeout(120)
def test_a_hub_killed_in_its_second_try_at_a_step_takes_up_that_one(hub: Product) -> None:
    with linked(hub) as agent, Client(hub.address) as client:
        action = client.submit("checkpoint", "r")
        first = agent.directive()
        agent.answer(
            first,
            outcome=directive_pb2.DIRECTIVE_OUTCOME_REFUSED,
            detail="rank 0: already finished step 9",
        )
        agent.answer(agent.directive())  # the promise is taken back
        second = agent.directive()
        assert second.prepare_step.step > first.prepare_step.step
        assert second.prepare_step.agreement != first.prepare_step.agreement
        hub.kill("hub")

    hub.start_hub()
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2])
        again = agent.directive()
        assert again == second  # and not the first by name with the second's step
        client.cancel(action.action_id)


def test_a_link_that_breaks_in_between_gets_the_directive_again(
    hub: Product, client: Client
) -> None:
    with linked(hub) as agent:
        action = client.submit("freeze", "r", FREEZE_FOR_A_MINUTE)
        first = agent.directive()
    with FakeAgent(hub.address) as agent:
        agent.greet(hello(instance_id="instance-2"))
        again = agent.directive()
        assert again.directive_id == first.directive_id
        agent.answer(again)
        agent.report(frozen())

        assert client.wait(action.action_id, 10).state is ActionState.OBSERVED


def test_a_run_on_a_node_that_is_not_linked_cannot_be_acted_on(
    hub: Product, client: Client
) -> None:
    with linked(hub):
        pass
    until(lambda: not hub.json("nodes")["nodes"][0]["linked"])

    result = hub.cli("freeze", "r", "--yes")

    assert result.returncode == 1
    assert "not linked" in result.stderr


def test_long_words_of_an_operator_are_kept_short(hub: Product, client: Client) -> None:
    with linked(hub):
        action = client.submit("pause", "no-such-run", reason="x" * 100_000)

    assert action.state is ActionState.REFUSED
    assert len(action.reason) == 512


def test_an_action_on_a_run_that_is_lost_before_it_begins_ends_at_once(tmp_path: Path) -> None:
    async def stop() -> Action:
        world = World(Clock(), linked=False)
        hub = Hub(world, tmp_path / "hub.sqlite3")
        asked = Action("stop-of-a", Verb.STOP, "a", agreed_step=-1)
        await hub.engine.submit(asked, 0, Caller("operator", "alice"))
        world.change("a", state=RunState.LOST)
        async with asyncio.timeout(10):
            async for action in hub.engine.watch(asked.action_id):
                asked = action
        assert not hub.holding
        await hub.drop()
        return asked

    end = asyncio.run(stop())
    assert end.state is ActionState.FAILED
    assert end.detail.startswith("the run is lost")
