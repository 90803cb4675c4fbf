"""A cap over several nodes: all, some or none of them do it; on real links to a real hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from colossus_protos.v1 import directive_pb2, frame_pb2, run_pb2
from colossus_tui.client import Client
from colossus_tui.hub.backends.cap import slowdown
from colossus_tui.model import Action, ActionParameters, Confirmation, Run
from tests.cli.answering import Answering
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.support import until

NODES = ("n1", "n2", "n3")
WATTS = 650.0


def limits(watts: float, *, ok: bool = True) -> list[directive_pb2.GpuPowerLimit]:
    return [directive_pb2.GpuPowerLimit(gpu_index=g, watts=watts, ok=ok) for g in range(2)]


def part(node: int, **changes: Any) -> run_pb2.LocalRun:
    """Return one node's part of the run: two ranks, a GPU each."""
    ranks = [
        run_pb2.LocalRank(rank=2 * node + gpu, pid=gpu + 1, alive=True, hooked=True, state="S")
        for gpu in range(2)
    ]
    run = local_run(rank_count=6, process_count=2, **changes)
    del run.ranks[:]
    run.ranks.extend(ranks)
    return run


class Site:
    """Three nodes with a run of six GPUs over all of them."""

    def __init__(self, hub: Product, stack: ExitStack) -> None:
        self.agents: dict[str, FakeAgent] = {}
        self.client = stack.enter_context(Client(hub.address, operator="alice"))
        for number, name in enumerate(NODES):
            agent = self.agents[name] = stack.enter_context(FakeAgent(hub.address))
            inventory = [
                frame_pb2.GpuInventory(
                    gpu_index=g,
                    gpu_uuid=f"GPU-{name}-{g}",
                    power_limit_lowest_watts=200,
                    power_limit_highest_watts=700,
                )
                for g in range(2)
            ]
            message = hello(name, gpu_count=0)
            message.gpus.extend(inventory)
            if name == "n3":
                message.power_cap_detail = "not root"
            agent.greet(message)
            agent.report(part(number))
            processes = [
                frame_pb2.ProcessSample(pid=g + 1, run_id="r", rank=2 * number + g, gpu_indices=[g])
                for g in range(2)
            ]
            agent.send(process_report=frame_pb2.ProcessReport(processes=processes))
        self.draw()
        until(lambda: self.run().gpu_count == 6)

    def draw(self) -> None:
        """Let every GPU draw its watts."""
        for agent in self.agents.values():
            agent.send(frame=frame([(50, WATTS)] * 2, (1, 2)))

    def run(self) -> Run:
        """Return the run as the hub shows it."""
        return next(run for run in self.client.runs() if run.run_id == "r")

    def answer(self, name: str, detail: str = "done", **changes: Any) -> Answering:
        """Let a node's agent do it, or what `changes` say."""
        given: dict[str, Any] = {"gpu_power_limits": limits(500), **changes}
        return Answering(self.agents[name], detail, **given)

    def cap(self, watts: float = 500.0) -> Action:
        return self.client.cap("r", watts, wait=True, timeout=50)


@pytest.fixture
def site(hub: Product) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(hub, stack)


def test_it_is_observed_once_every_gpu_of_every_node_has_read_it_back(site: Site) -> None:
    asked = [site.answer(name) for name in NODES]

    action = site.cap()

    assert (action.state, action.detail) == ("observed", "6/6 GPUs read back 500 W")
    assert (action.confirmed_node_count, action.node_count) == (3, 3)
    assert not action.missing_nodes
    assert [one.orders for one in asked] == [["set_power_limit"]] * 3


def test_nodes_that_did_not_are_named_and_the_others_keep_it(site: Site) -> None:
    site.answer("n1")
    site.answer(
        "n2",
        "GPU 0: the driver denied it",
        outcome=directive_pb2.DIRECTIVE_OUTCOME_FAILED,
        gpu_power_limits=limits(0, ok=False),
    )
    site.answer("n3")

    action = site.cap()

    assert (action.state, action.reason_code) == ("partial", "backend_denied")
    assert action.missing_nodes == ("n2",)
    assert action.detail.startswith("4/6 GPUs read back 500 W on 2/3 nodes; n2: ")


@pytest.mark.waits
def test_a_node_that_says_nothing_is_named_too(site: Site) -> None:
    site.answer("n1")
    site.answer("n3")

    action = site.cap()

    assert (action.state, action.reason_code) == ("partial", "unreachable")
    assert action.missing_nodes == ("n2",)


def test_a_node_that_is_not_linked_stays_as_it_is_and_that_is_said_before(site: Site) -> None:
    site.agents["n2"].close()
    until(lambda: not next(n for n in site.client.nodes() if n.node_name == "n2").linked)

    preflight = site.client.preview("cap", "r", ActionParameters(cap_watts=500))

    assert preflight.allowed
    assert any("1/3 of its nodes are not linked" in warning for warning in preflight.warnings)
    assert any("1/3 of its nodes may be denied it: not root" in w for w in preflight.warnings)


def test_the_preflight_has_the_power_before_and_after_and_the_pace(site: Site) -> None:
    site.draw()

    preflight = site.client.preview("cap", "r", ActionParameters(cap_watts=500))

    figures = {figure.name: figure for figure in preflight.figures}
    assert figures["power_change"].value == pytest.approx(6 * (500 - WATTS))
    assert "at most 3.0 kW on 6/6 GPUs that tell, 3.9 kW now" in figures["power_change"].basis
    assert figures["step_time_factor"].value == pytest.approx((566 / 416) ** 0.5, abs=0.01)
    assert preflight.confirmation is Confirmation.YES_NO
    lift = site.client.preview("cap", "r", ActionParameters())
    assert {f.name: f.value for f in lift.figures}["power_change"] is None
    assert lift.effect.startswith("takes the cap off")


def test_a_run_shows_the_lowest_cap_that_its_nodes_report(site: Site) -> None:
    for number, watts in enumerate((500.0, 450.0, 0.0)):
        site.agents[NODES[number]].report(part(number, power_cap_watts=watts))

    until(lambda: site.run().power_cap_watts == 450)
    for number, name in enumerate(NODES):
        site.agents[name].report(part(number))
    until(lambda: site.run().power_cap_watts is None)


@pytest.mark.parametrize(
    ("watts", "says"),
    [(150, "within 200 to 700 W"), (0.5, "cap_watts"), (float("nan"), "cap_watts")],
)
def test_a_wrong_limit_is_refused_by_its_name(site: Site, watts: float, says: str) -> None:
    preflight = site.client.preview("cap", "r", ActionParameters(cap_watts=watts))

    assert not preflight.allowed
    assert preflight.refusal == "invalid"
    assert says in preflight.refusal_detail


def test_only_a_cap_has_watts(site: Site) -> None:
    preflight = site.client.preview("checkpoint", "r", ActionParameters(cap_watts=500))

    assert (preflight.refusal, preflight.refusal_detail) == (
        "invalid",
        "cap_watts: only cap has it",
    )


def test_a_run_without_a_gpu_cannot_be_capped(hub: Product) -> None:
    with FakeAgent(hub.address) as agent, Client(hub.address) as client:
        agent.greet(hello(gpu_count=0))
        agent.report(local_run())
        until(lambda: hub.run_of("r"))

        preflight = client.preview("cap", "r", ActionParameters(cap_watts=500))

    assert (preflight.refusal, preflight.refusal_detail[:28]) == (
        "unsupported",
        "it is not seen to hold a GPU",
    )


def test_the_model_of_the_pace_has_its_ends() -> None:
    assert slowdown(500, 600, 84) == 1
    assert slowdown(500, 500, 84) == 1
    assert slowdown(1000, 550, 100) == pytest.approx(2**0.5)
    assert slowdown(500, 100, 84) is None
