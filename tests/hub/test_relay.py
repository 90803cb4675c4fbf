"""Relays as real hub processes between agents and a parent: batches up, directives down."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest

from colossus_protos.v1 import (
    agent_link_pb2,
    common_pb2,
    frame_pb2,
    relay_link_pb2,
    relay_link_pb2_grpc,
    run_pb2,
)
from colossus_tui.client import Client
from colossus_tui.hub.batches import Batches
from colossus_tui.hub.intake import Intake
from colossus_tui.hub.links import Links
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.relay_service import RelayService
from colossus_tui.hub.store import Store
from colossus_tui.model import Event, PlaceKind
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until

Make = Callable[..., Product]


@pytest.fixture
def make() -> Iterator[Make]:
    """Starts hubs, each in a folder of its own; the first is the parent of the others."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        made: list[Product] = []

        def start(name: str, *arguments: str, to: Product | None = None) -> Product:
            path = Path(folder) / name
            path.mkdir()
            product = Product(path)
            made.append(product)
            up = ("--relay-to", to.address, "--relay-name", name) if to is not None else ()
            product.start_hub(*up, *arguments)
            return product

        try:
            yield start
        finally:
            for product in reversed(made):
                product.close()


def test_frames_of_many_nodes_reach_the_parent_through_a_relay_and_a_relay_of_it(
    make: Make,
) -> None:
    parent = make("parent")
    middle = make("middle", to=parent)
    relay = make("relay", to=middle)
    agents = [FakeAgent(relay.address) for _ in range(70)]  # more than a batch
    try:
        for number, agent in enumerate(agents):
            agent.greet(hello(f"n{number:02}", rack=f"r{number // 18}", hall="h"))
            agent.send(frame=frame([(50.0, 100.0 + number), (60.0, 200.0)], (1.0, 2.0)))
        total = sum(300.0 + number for number in range(70))

        def power() -> float:
            for number, agent in enumerate(agents):
                agent.send(frame=frame([(50.0, 100.0 + number), (60.0, 200.0)], (1.0, 2.0)))
            return parent.ask(Client.site).power_watts or 0.0

        until(lambda: power() == pytest.approx(total), 20, message="the power of all nodes")
        wanted = [("h", "r0", 36), ("h", "r1", 36), ("h", "r2", 36), ("h", "r3", 32)]
        until(lambda: racks(parent) == wanted, message="the racks")
        past = parent.ask(lambda client: client.place_history(PlaceKind.HALL, "h", ["power.sum"]))
        assert past[0].unit == "W"
        assert max(past[0].values) == pytest.approx(total)
        detail = parent.ask(lambda client: client.node("n07"))
        assert [gpu.gpu_uuid for gpu in detail.gpus] == ["GPU-0", "GPU-1"]
        agents[7].close()
        until(lambda: "n07" not in parent.linked_nodes(), message="the parent to see a link end")
    finally:
        for agent in agents:
            agent.close()


def test_a_run_behind_a_relay_is_paused_and_resumed_at_the_parent(make: Make) -> None:
    parent = make("parent")
    relay = make("relay", to=parent)
    relay.start_agent()
    until(lambda: parent.linked_nodes() == ["node-1"], 20, message="the node at the parent")
    parent.folder.joinpath("checkpoints").mkdir()
    parent.train("r")

    paused = parent.cli("pause", "r", "--yes")
    assert paused.returncode == 0, paused.stderr
    parent.wait_state("r", "paused")
    step = parent.run_of("r")["durable_step"]
    resumed = parent.cli("resume", "r", "--yes")

    assert resumed.returncode == 0, resumed.stderr
    parent.wait_step("r", step + 1)
    assert parent.run_of("r")["attempt"] == relay.run_of("r")["attempt"] == 2
    assert parent.cli("stop", "r", "--yes").returncode == 0


def test_what_happened_while_the_parent_was_away_reaches_it_once(make: Make) -> None:
    parent = make("parent")
    relay = make("relay", to=parent)
    with FakeAgent(relay.address) as agent:
        agent.greet()
        agent.report(local_run())
        agent.steps("r", [1, 2, 3])
        until(lambda: parent.run_of("r").get("step") == 3, message="the steps at the parent")
        parent.kill("hub")
        agent.steps("r", [4, 5])
        event = {"severity": 2, "kind": "gpu.xid", "message": "XID 79", "time_unix_ns": 5}
        agent.send(event=event)
        until(lambda: relay.run_of("r").get("step") == 5, message="the steps at the relay")

        parent.start_hub()
        # The relay's other hub is new: it asks its agents to say everything again.
        seen = iter(agent._answers)
        until(lambda: next(seen).HasField("welcome"), message="a second welcome")
        agent.report(local_run())
        until(lambda: parent.run_of("r").get("step") == 5, 40, message="the later steps")
        events = parent.ask(lambda client: client.events(node_name="node-1"))
        assert [one.message for one in events if one.kind == "gpu.xid"] == ["XID 79"]


@pytest.mark.waits
def test_an_agent_is_told_that_something_is_safe_only_when_the_parent_has_it(make: Make) -> None:
    parent = make("parent")
    relay = make("relay", to=parent)
    with FakeAgent(relay.address) as agent:
        agent.greet()
        until(lambda: parent.linked_nodes() == ["node-1"], message="the node at the parent")
        parent.kill("hub")
        agent.report(local_run())
        number = agent.send(step_batch=one_step())
        time.sleep(7.0)  # a hub acknowledges every 5 s
        parent.start_hub()

        began = time.monotonic()
        agent.until_acknowledged(number)
        assert time.monotonic() - began < 40
        agent.report(local_run())  # as an agent does once it hears of another hub
        until(lambda: parent.run_of("r").get("step") == 1, message="the step")


def racks(hub: Product) -> list[tuple[str, str, int]]:
    found = hub.ask(lambda client: client.places(PlaceKind.RACK))
    return [(rack.hall, rack.name, rack.gpu_count) for rack in found]


def one_step() -> run_pb2.StepBatch:
    return run_pb2.StepBatch(
        run_id="r", attempt=1, rank=0, steps=[1], times_unix_ns=[1], losses=[1.0],
        grad_norms=[1.0], tokens=[1], step_seconds=[1.0],
    )  # fmt: skip


def test_an_agent_goes_to_the_next_relay_when_one_dies_and_loses_no_step(make: Make) -> None:
    parent = make("parent")
    first = make("first", to=parent)
    second = make("second", to=parent)
    parent.start_agent(f"{first.address},{second.address}")
    parent.train("r", "--steps-per-second", "10")
    until(lambda: first.linked_nodes() == ["node-1"], message="the agent at the first relay")
    first.kill("hub")

    until(lambda: second.linked_nodes() == ["node-1"], 20, message="the agent at the second")
    step = parent.run_of("r")["step"]
    parent.wait_step("r", step + 20)

    points = parent.ask(lambda client: client.history("r", ["loss"]))[0].steps
    assert list(points) == list(range(1, points[-1] + 1))
    assert parent.cli("stop", "r", "--yes").returncode == 0


def test_the_oldest_batches_are_given_up_beyond_the_limit() -> None:
    batches = Batches(byte_limit=10_000)
    for number in range(100):
        batches.message(0, message(number + 1))
        batches.mark()

    kept = [batches.next_batch(replayed=False) for _ in range(200)]
    sizes = [len(body) for body in kept if body]
    assert sum(sizes) <= 11_000
    assert batches.dropped_batches == 100 - len(sizes)
    assert batches.oldest_batch == 101 - len(sizes)


def message(number: int) -> agent_link_pb2.LinkRequest:
    event = common_pb2.Event(kind="k", message="x" * 500)
    return agent_link_pb2.LinkRequest(sequence=number, event=event)


@pytest.mark.parametrize("parent_has", [0, 3, 7, -1])
def test_a_new_link_brings_what_the_parent_does_not_have_in_order(parent_has: int) -> None:
    batches = Batches()
    for number in range(5):
        batches.message(0, message(number + 1))
        batches.next_batch(replayed=False)
    for number in range(5, 7):
        batches.message(0, message(number + 1))
        batches.mark()

    batches.begin_link(parent_has)

    again = list(itertools.takewhile(bool, iter(lambda: batches.next_batch(replayed=True), 0)))
    assert len(again) == 7 - max(parent_has, 0)
    assert batches.oldest_batch == max(parent_has, 0) + 1


def test_what_waits_goes_in_batches_that_a_parent_takes() -> None:
    batches = Batches()
    columns = {"ranks": 4, "steps": 8, "times_unix_ns": 8, "losses": 8, "grad_norms": 8}
    columns |= {"tokens": 8, "step_seconds": 8}
    for _ in range(100):  # of one run, five megabytes together
        parts = {name: bytes(size * 1_000) for name, size in columns.items()}
        batches.steps(relay_link_pb2.StepTable(run_id="r", attempt=1, **parts))
    for number, size in enumerate((700_000, 700_000, 100, 5_000_000, 2_000_000, 100)):
        event = common_pb2.Event(kind="k", message="x" * size)
        batches.message(0, agent_link_pb2.LinkRequest(sequence=number + 1, event=event))

    bodies = list(itertools.takewhile(bool, iter(lambda: batches.next_batch(replayed=False), 0)))

    assert max(len(body) for body in bodies if body) < 4 << 20
    requests = [relay_link_pb2.RelayRequest.FromString(body) for body in bodies if body]
    assert [request.batch for request in requests] == list(range(1, len(requests) + 1))
    sequences = [one.message.sequence for request in requests for one in request.messages]
    assert sequences == [1, 2, 3, 5, 6]
    assert batches.dropped_batches == 1
    tables = [table for request in requests for table in request.steps]
    assert sum(len(table.ranks) for table in tables) == 100 * 4_000
    assert all(len(table.tokens) == 2 * len(table.ranks) for table in tables)


def test_no_frame_of_before_follows_a_new_hello() -> None:
    batches = Batches()
    for number in range(3):
        batches.frame(number, 0, agent_link_pb2.LinkRequest(frame=frame_pb2.Frame()))
    together = relay_link_pb2.FrameBatch(node_numbers=np.array([7, 8], dtype="<i4").tobytes())
    batches.frames(np.array([7, 8], dtype=np.intp), together)

    batches.link(1, hello("n"))
    batches.link(8, hello("m"))

    request = relay_link_pb2.RelayRequest.FromString(batches.next_frames() or b"")
    numbers = b"".join(batch.node_numbers for batch in request.frames)
    assert sorted(memoryview(numbers).cast("i")) == [0, 2]
    assert (batches.frame_count, batches.replaced_frames) == (0, 3)


def test_a_bad_word_of_a_job_is_left_out_told_once_and_ends_no_link(make: Make) -> None:
    parent = make("parent")
    relay = make("relay", to=parent)
    with FakeAgent(relay.address) as agent:
        agent.greet(hello("n"))
        agent.report(local_run("r"))
        for rank, losses in ((-1, [1.0]), (0, []), (2**31 - 2, [1.0])):
            batch = run_pb2.StepBatch(run_id="r", attempt=1, rank=rank, steps=[1], losses=losses)
            agent.send(step_batch=batch)
        agent.send(checkpoint_report=run_pb2.CheckpointReport(run_id="r", rank=-1, step=1))
        agent.until_acknowledged(agent.send(event=common_pb2.Event(kind="k", message="heard")))
        until(lambda: told(parent, "k"), message="what came after it")

    refused = told(relay, "run.refused")
    assert [(event.node_name, event.run_id) for event in refused] == [("n", "r")]
    assert "step_batch.times_unix_ns: 0 values, but 1 steps" in refused[0].message
    assert not told(parent, "relay.refused")


def told(hub: Product, kind: str) -> list[Event]:
    """Return a hub's events of a kind."""
    return [event for event in hub.ask(Client.events) if event.kind == kind]


def test_what_fills_a_place_at_the_relay_passes_for_nothing_at_the_parent(make: Make) -> None:
    parent = make("parent")
    relay = make("relay", to=parent)
    with FakeAgent(relay.address) as agent:
        agent.greet(hello("n"))
        agent.send(sequence=900, replayed=True)
        agent.send(sequence=850, event=common_pb2.Event(kind="k", message="before it"))
        until(lambda: told(parent, "k"), message="the event")


async def test_a_relay_is_welcomed_with_what_is_on_disk() -> None:
    store, links = Store(), Links()
    nothing: Any = None  # no message here is about runs
    service = RelayService(Intake(store, Nodes(store), links, nothing, nothing))
    server = grpc.aio.server()
    relay_link_pb2_grpc.add_RelayLinkServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def welcomed(*batches: int) -> int:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = relay_link_pb2_grpc.RelayLinkStub(channel).Relay(None)
            greeting = relay_link_pb2.RelayHello(relay_name="r", instance_id="i", oldest_batch=1)
            await call.write(relay_link_pb2.RelayRequest(hello=greeting))
            answer = await call.read()
            assert isinstance(answer, relay_link_pb2.RelayResponse)
            for number in batches:
                await call.write(relay_link_pb2.RelayRequest(batch=number))
            while service.taken()["i"] < max(batches, default=0):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            call.cancel()
            return answer.welcome.last_batch

    assert await welcomed(1, 2) == -1
    assert await welcomed() == -1  # it has come, but nothing is on disk
    service.acknowledge({"i": 1})
    assert await welcomed() == 1
    await server.stop(None)


def test_only_the_newest_frame_of_a_node_waits() -> None:
    batches = Batches()
    for value in (1.0, 2.0):
        for number in range(70):
            frame_ = frame_pb2.Frame(gpu_values=b"%f" % value, sample_time_unix_ns=int(value))
            batches.frame(number, 0, agent_link_pb2.LinkRequest(frame=frame_))

    assert batches.frame_count == 70
    request = relay_link_pb2.RelayRequest.FromString(batches.next_frames() or b"")
    assert [len(batch.node_numbers) // 4 for batch in request.frames] == [64, 6]
    assert batches.frame_count == 0
    assert batches.next_frames() is None


@pytest.mark.parametrize(("size", "expected"), [(4, [16, 4]), (20_000, [1] * 20)])
def test_a_message_of_frames_is_bounded_and_what_is_left_follows(
    size: int, expected: list[int]
) -> None:
    batches = Batches()
    for number in range(20 * 64):
        frame_ = frame_pb2.Frame(gpu_values=bytes(size))
        batches.frame(number, number % 2, agent_link_pb2.LinkRequest(frame=frame_))

    bodies = list(itertools.takewhile(bool, iter(batches.next_frames, None)))

    requests = [relay_link_pb2.RelayRequest.FromString(body) for body in bodies if body]
    assert [len(request.frames) for request in requests] == expected
    numbers = b"".join(batch.node_numbers for request in requests for batch in request.frames)
    assert sorted(memoryview(numbers).cast("i")) == list(range(20 * 64))
