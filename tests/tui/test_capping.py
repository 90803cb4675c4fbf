"""The power limit that is typed on a card: in a real terminal over a real hub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colossus_protos.v1 import directive_pb2, frame_pb2
from tests.cli.answering import Answering
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until
from tests.terminal import Terminal

RUNS = ("a", "b")


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node with two runs, a GPU each."""
    with FakeAgent(hub.address) as agent:
        agent.greet(hello())
        agent.report(*(local_run(name) for name in RUNS))
        processes = [
            frame_pb2.ProcessSample(pid=gpu + 1, run_id=name, rank=0, gpu_indices=[gpu])
            for gpu, name in enumerate(RUNS)
        ]
        agent.send(process_report=frame_pb2.ProcessReport(processes=processes))
        agent.send(frame=frame([(50, 650)] * 2, (1, 2)))
        for name in RUNS:
            agent.steps(name, [1, 2, 3])
        until(lambda: hub.run_of("b").get("step") == 3 and hub.run_of("b")["gpu_count"] == 1)
        yield agent


def answering(agent: FakeAgent) -> Answering:
    limit = directive_pb2.GpuPowerLimit(gpu_index=0, watts=500, ok=True)
    runs = [local_run(name) for name in RUNS]
    return Answering(agent, "done", runs, gpu_power_limits=[limit])


def console(hub: Product) -> Terminal:
    terminal = Terminal([str(BIN / "colossus")], hub.environment, 80, 24)
    terminal.until(*RUNS, "running")
    return terminal


def test_the_watts_are_typed_then_their_effect_is_shown_then_it_is_done(
    hub: Product, agent: FakeAgent
) -> None:
    orders = answering(agent).orders
    with console(hub) as terminal:
        terminal.press("C")
        terminal.until("cap a", "not capped", "watts of each GPU: _")
        terminal.press("q5\r")
        terminal.until("watts of each GPU: q5_", "type whole watts, 1 to 100000, or 0")
        assert orders == []
        terminal.press("\x7f\x7f500\r")
        terminal.until("limits each of its GPUs to 500 W", "modelled", "y does it")
        terminal.press("y")
        terminal.until("cap a  observed", "1/1 GPUs read back 500 W")
        assert orders == ["set_power_limit"]
        agent.report(local_run("a", power_cap_watts=500), local_run("b"))
        terminal.press("\x1b")
        terminal.until_that(lambda: "esc closes" not in terminal.text)
        until(lambda: hub.run_of("a")["power_cap_watts"] == 500)
        terminal.press("\r")
        terminal.until("each GPU capped at 500 W")
        terminal.press("C")
        terminal.until("capped at 500 W", "0 takes the cap off")
        terminal.press("0\r")
        terminal.until("takes the cap of 500 W off")


def test_one_limit_is_typed_for_all_marked_runs(hub: Product, agent: FakeAgent) -> None:
    orders = answering(agent).orders
    with console(hub) as terminal:
        terminal.press("*C")
        terminal.until("cap 2 runs", "watts of each GPU: _")
        terminal.press("500\r")
        terminal.until("cap 2 runs   2 can", "y does it")
        terminal.press("y")
        terminal.until("2 observed")
        assert orders == ["set_power_limit"] * 2
