"""The agent's stream against a hub that is well, slow, silent, dead or hostile."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from colossus_agent.app import seconds_to_tick
from colossus_agent.link import REMOTE, Link, Patience
from colossus_agent.outbox import Outbox
from colossus_protos.v1 import agent_link_pb2, directive_pb2, frame_pb2, run_pb2
from tests.fakes.fake_hub import FakeHub
from tests.support import until

QUICK = Patience(base_seconds=0.05, cap_seconds=0.1, welcome_seconds=0.5, write_seconds=0.5)


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with (
        tempfile.TemporaryDirectory(prefix="colossus-") as folder,
        FakeHub(f"unix:{Path(folder)}/hub.sock") as hub,
    ):
        yield hub


def frame(time_ns: int, size: int = 8) -> agent_link_pb2.LinkRequest:
    values = frame_pb2.Frame(sample_time_unix_ns=time_ns, gpu_values=b"\0" * size)
    return agent_link_pb2.LinkRequest(frame=values)


def steps(step: int) -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest(step_batch=run_pb2.StepBatch(run_id="r", steps=[step]))


def hello() -> agent_link_pb2.LinkRequest:
    return agent_link_pb2.LinkRequest(hello=frame_pb2.Hello(node_name="n", instance_id="i"))


def reports() -> dict[str, agent_link_pb2.LinkRequest]:
    return {"runs": agent_link_pb2.LinkRequest(run_report=run_pb2.RunReport())}


@asynccontextmanager
async def linked(hub: FakeHub, outbox: Outbox) -> AsyncIterator[Link]:
    link = Link([hub.address], outbox, hello, reports, QUICK, random.Random(1))
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], object]) -> None:
    """`until` for a test that shares its event loop with what it waits for."""
    await asyncio.to_thread(until, condition)


def seen_steps(hub: FakeHub) -> list[int]:
    return [message.step_batch.steps[0] for message in hub.bodies("step_batch")]


async def test_hello_comes_first_then_what_is_so_now_then_the_gap(hub: FakeHub) -> None:
    outbox = Outbox(frame_limit=100)
    for number in range(5):
        outbox.add(frame(number))
    outbox.add(steps(1))

    async with linked(hub, outbox):
        await eventually(lambda: len(hub.messages) >= 7 and len(outbox) == 0)

    kinds = [message.WhichOneof("body") for message in hub.messages]
    assert kinds == ["frame", "step_batch", "run_report", "frame", "frame", "frame", "frame"]
    assert len(hub.hellos) == 1
    frames = hub.bodies("frame")
    assert [message.frame.sample_time_unix_ns for message in frames] == [4, 0, 1, 2, 3]
    assert [message.replayed for message in frames] == [False, True, True, True, True]


async def test_nothing_is_lost_when_the_hub_dies_and_comes_back(hub: FakeHub) -> None:
    outbox = Outbox(frame_limit=1000)
    async with linked(hub, outbox) as link:
        await eventually(lambda: link.is_up)
        for number in range(1, 11):
            link.send(steps(number))
        await eventually(lambda: len(seen_steps(hub)) == 10)
        hub.stop()
        await eventually(lambda: not link.is_up)
        for number in range(11, 200):
            link.send(steps(number))
            link.send(frame(number))
        hub.start()
        await eventually(lambda: len(seen_steps(hub)) >= 199)
        link.send(steps(200))
        await eventually(lambda: 200 in seen_steps(hub))
        await eventually(lambda: len(outbox) == 0)

    assert seen_steps(hub) == list(range(1, 201))
    waited = [message for message in hub.bodies("frame") if message.replayed]
    newest = next(message for message in hub.bodies("frame") if not message.replayed)
    assert newest.frame.sample_time_unix_ns == 199
    assert [message.frame.sample_time_unix_ns for message in waited] == list(range(11, 199))


async def test_unacknowledged_messages_come_again_under_their_numbers(hub: FakeHub) -> None:
    hub.acknowledges = False
    outbox = Outbox(frame_limit=100)
    async with linked(hub, outbox) as link:
        await eventually(lambda: link.is_up)
        for number in range(3):
            link.send(steps(number))
        await eventually(lambda: len(seen_steps(hub)) == 3)
        hub.stop()
        await eventually(lambda: not link.is_up)
        hub.start()
        await eventually(lambda: len(seen_steps(hub)) == 6)

    batches = hub.bodies("step_batch")
    assert [m.sequence for m in batches[:3]] == [m.sequence for m in batches[3:]]
    assert [m.replayed for m in batches] == [False] * 3 + [True] * 3


async def test_a_hub_that_does_not_read_gets_the_newest_frame_and_no_backlog(hub: FakeHub) -> None:
    outbox = Outbox(frame_limit=50)
    hub.reads.clear()
    async with linked(hub, outbox) as link:
        await eventually(lambda: link.is_up)
        slowest = 0.0
        for number in range(400):
            started = time.monotonic()
            link.send(frame(number, size=100_000))
            slowest = max(slowest, time.monotonic() - started)
            await asyncio.sleep(0.002)
        assert len(outbox) <= 50
        assert slowest < 0.2
        assert outbox.dropped_frames > 300
        await eventually(lambda: len(hub.hellos) > 1)  # it gave the stalled link up
        hub.reads.set()
        hub.acknowledges = True
        await eventually(lambda: len(outbox) == 0)

    fresh = [m.frame.sample_time_unix_ns for m in hub.bodies("frame") if not m.replayed]
    assert fresh[-1] == 399


async def test_a_hub_that_accepts_and_never_answers_is_left_and_tried_again(hub: FakeHub) -> None:
    hub.welcomes = False
    outbox = Outbox(frame_limit=10)
    async with linked(hub, outbox) as link:
        await eventually(lambda: len(hub.hellos) >= 2)
        assert not link.is_up
        hub.welcomes = True
        link.send(steps(1))
        await eventually(lambda: seen_steps(hub) == [1])


async def test_a_flood_of_directives_is_read_no_faster_than_it_is_carried_out(
    hub: FakeHub,
) -> None:
    outbox = Outbox(frame_limit=10)
    async with linked(hub, outbox) as link:
        await eventually(lambda: link.is_up)
        for number in range(3000):
            hub.order(directive_pb2.Directive(directive_id=str(number), run_id="r"))
        await eventually(link.directives.full)
        link.send(frame(1))
        await eventually(lambda: hub.bodies("frame"))
        got = [await link.next_directive() for _ in range(3000)]

    assert [directive.directive_id for directive in got] == [str(n) for n in range(3000)]


async def test_what_ranks_wait_for_goes_before_what_else_waits(hub: FakeHub) -> None:
    async with linked(hub, Outbox(frame_limit=10)) as link:
        await eventually(lambda: link.is_up)
        hub.order(directive_pb2.Directive(directive_id="a", start_run=directive_pb2.StartRun()))
        hub.order(directive_pb2.Directive(directive_id="b", freeze=directive_pb2.Freeze()))
        for name in ("c", "d"):
            commit = directive_pb2.CommitStep(agreement=1)
            hub.order(directive_pb2.Directive(directive_id=name, commit_step=commit))
        await eventually(lambda: link.directives.qsize() == 4)
        got = [(await link.next_directive()).directive_id for _ in range(4)]

    assert got == ["c", "d", "a", "b"]


async def test_a_report_takes_the_place_of_one_that_waits(hub: FakeHub) -> None:
    link = Link([hub.address], Outbox(frame_limit=10), hello, reports, QUICK)
    task = asyncio.create_task(link.run())
    await eventually(lambda: hub.bodies("run_report"))
    for number in range(20):  # no turn of the loop between them
        run = run_pb2.LocalRun(run_id=f"r{number}")
        body = agent_link_pb2.LinkRequest(run_report=run_pb2.RunReport(runs=[run]))
        link.report("runs", body)
    await eventually(lambda: len(hub.bodies("run_report")) == 2)
    task.cancel()

    assert hub.bodies("run_report")[1].run_report.runs[0].run_id == "r19"


async def test_new_inventory_brings_a_new_hello_at_once(hub: FakeHub) -> None:
    async with linked(hub, Outbox(frame_limit=10)) as link:
        await eventually(lambda: link.is_up)
        link.renew()
        await eventually(lambda: len(hub.hellos) == 2)


def test_backing_off_is_full_jitter_up_to_its_cap() -> None:
    class Highest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    link = Link(["127.0.0.1:1"], Outbox(1), hello, reports, REMOTE, Highest())
    ceilings = [link.backoff_seconds(attempt) - 0.05 for attempt in range(8)]

    assert ceilings == pytest.approx([1, 2, 4, 8, 16, 30, 30, 30])


@pytest.mark.parametrize(
    ("wall", "wait"),
    [(100.0, 1.0), (100.25, 0.75), (100.999, 1.001), (100.6, 1.4), (100.5, 0.5)],
)
def test_ticks_fall_on_whole_seconds_and_never_twice(wall: float, wait: float) -> None:
    assert seconds_to_tick(wall, 1.0) == pytest.approx(wait)
