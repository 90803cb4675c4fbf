"""The Python client: blocking and asyncio alike, typed, with clear errors."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from pathlib import Path

import pytest

from colossus_tui.client import (
    AsyncClient,
    Client,
    ColossusError,
    DeadlineError,
    HubUnreachableError,
    InvalidRequestError,
    NotFoundError,
    RefusedError,
)
from colossus_tui.client.address import parse
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.support import until


def public(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(method)
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_methods_with_the_same_parameters() -> None:
    blocking, asynchronous = public(Client), public(AsyncClient)

    assert blocking.keys() == asynchronous.keys()
    for name, signature in blocking.items():
        assert signature.parameters == asynchronous[name].parameters, name


def test_both_clients_return_the_same_types() -> None:
    for name, signature in public(Client).items():
        expected = str(public(AsyncClient)[name].return_annotation)
        assert str(signature.return_annotation) == expected.replace("AsyncIterator", "Iterator"), (
            name
        )


def test_looking_gives_typed_values(hub: Product) -> None:
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2, 3])
        until(lambda: client.runs() and client.runs()[0].step == 3)

        (run,) = client.runs()
        detail = client.run("r")
        (loss,) = client.history("r", ["loss"])
        assert (run.state, run.priority_class, run.tokens) == ("running", "P2", 30)
        assert [rank.rank for rank in detail.ranks] == [0]
        assert (loss.name, loss.steps, loss.values) == ("loss", (1, 2, 3), (2.0, 2.0, 2.0))
        assert client.node("node-1").node.linked
        assert client.site().gpu_count == 2


def test_watching_yields_each_change_and_follows_the_present(hub: Product) -> None:
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run())
        steps = []
        for number, view in enumerate(client.watch(period=0.1)):
            steps += [run.step for run in view.runs]
            agent.steps("r", [number + 1])
            if number == 8:
                break

    assert steps[-1] is not None
    assert steps[-1] >= 5


def test_asyncio_serves_many_calls_at_once(hub: Product) -> None:
    async def many() -> int:
        async with AsyncClient(hub.address) as client:
            return len(await asyncio.gather(*(client.runs() for _ in range(50))))

    assert asyncio.run(many()) == 50


def test_clients_of_a_process_share_one_thread_which_ends_with_the_last(hub: Product) -> None:
    def threads() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name == "colossus-client"]

    hub.hang_up()
    with Client(hub.address) as first:
        second = Client(hub.address)
        watched = second.watch(period=0.1)
        next(watched)
        assert len(threads()) == 1
        second.close()
        second.close()
        with pytest.raises(ColossusError):
            list(watched)
        for _ in range(20):
            assert first.site().gpu_count == 0
        with pytest.raises(ColossusError):
            second.site()
    assert not threads()


def test_what_is_not_there_is_said(hub: Product) -> None:
    with Client(hub.address) as client:
        with pytest.raises(NotFoundError, match="no run nobody"):
            client.run("nobody")
        with pytest.raises(NotFoundError, match="nobody"):
            client.node("nobody")
        with pytest.raises(NotFoundError, match="no such action"):
            client.wait("12345678")
        with pytest.raises(RefusedError, match="there is no run nobody") as caught:
            client.pause("nobody")
    assert caught.value.action.reason_code == "not_found"


def test_a_hub_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with (
        Client(f"unix:{tmp_path}/none.sock", timeout=3) as client,
        pytest.raises(HubUnreachableError, match=r"none\.sock"),
    ):
        client.runs()
    assert time.monotonic() - began < 3


def test_a_hub_that_does_not_answer_meets_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout=0.5) as client, pytest.raises(ColossusError) as caught:
            client.runs()
    assert isinstance(caught.value, DeadlineError | HubUnreachableError)


@pytest.mark.parametrize(
    "address",
    ["unix:relative", "example.org:7717", "10.0.0.1:1", "0.0.0.0:1", "127.0.0.1", "127.0.0.1:0",
     ":7717", "127.0.0.1:http"],
)  # fmt: skip
def test_an_unusable_address_is_refused_with_the_remedy(address: str) -> None:
    with pytest.raises(InvalidRequestError, match="hub"):
        Client(address)


def test_ssh_forwarding_works() -> None:
    assert parse("localhost:7717") == "localhost:7717"


@pytest.mark.timeout(90)
def test_waiting_goes_on_when_the_hub_restarts(hub: Product) -> None:
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run())
        until(lambda: client.runs())
        action = client.freeze("r", fuse_seconds=60)
        agent.directive()
        ended: list[str] = []
        waiter = threading.Thread(
            target=lambda: ended.append(client.wait(action.action_id, 60).state)
        )
        waiter.start()
        hub.kill("hub")
        hub.start_hub()
        with FakeAgent(hub.address) as second:
            second.greet(hello(instance_id="instance-2"))
            second.report(local_run())
            second.answer(second.directive())
            frozen = local_run(state=3, fuse_deadline_unix_ns=time.time_ns() + 60 * 10**9)
            second.report(frozen)
            waiter.join(30)

    assert ended == ["observed"]


def test_several_actions_are_followed_together_to_their_ends(hub: Product) -> None:
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet()
        agent.report(local_run("a"), local_run("b"))
        until(lambda: len(client.runs()) == 2)
        ids = [client.submit("stop", name).action_id for name in "ab"]
        seen: dict[str, str] = {}
        for action in client.follow_all(ids):
            seen[action.action_id] = action.state
            if action.state == "dispatched" and len(seen) == 2:
                agent.report()  # both are gone from the node

        assert set(seen) == set(ids)
        assert all(client.wait(action_id).state == seen[action_id] for action_id in ids)


def test_following_ends_with_what_went_wrong_after_the_others(hub: Product) -> None:
    with Client(hub.address) as client:
        refused = client.submit("pause", "nobody").action_id
        seen: list[str] = []
        both = client.follow_all(["no-such-action", refused])
        with pytest.raises(NotFoundError):
            seen.extend(action.action_id for action in both)

    assert seen == [refused]


def test_actions_are_found_by_the_beginning_of_their_id_also_after_a_restart(
    hub: Product,
) -> None:
    with Client(hub.address) as client:
        for name in ("aaaaaaaa-1", "aaaaaaaa-2", "bbbbbbbb-1"):
            client.submit("pause", "nobody", action_id=name)
    hub.kill("hub")
    hub.start_hub()
    with Client(hub.address) as client:
        found = client.actions(action_id_prefix="aaaaaaaa-")
        assert {action.action_id for action in found} == {"aaaaaaaa-1", "aaaaaaaa-2"}
        assert client.actions(action_id_prefix="aaaaaaaa-3") == ()
        assert client.actions(parent_action_id="aaaaaaaa-1") == ()
