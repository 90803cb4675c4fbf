"""Rules and approvals of a shed, through a real hub with one node that an agent reports."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.client import Client, RefusedError
from colossus_tui.model import ActionParameters, Shed, ShedPlan, Verb
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, local_run
from tests.support import until

SETTINGS = """
[shed]
cap_ratios = []
idle_watts = 100
[[rules]]
runs = ["r"]
verbs = ["pause"]
approvals = 2
[[rules]]
runs = ["north"]
verbs = ["shed"]
operators = ["alice", "bob"]
"""
ASKED = Shed(target_watts=500.0, within_seconds=120.0)


@pytest.fixture
def hub() -> Iterator[Product]:
    """A hub with one run whose pause needs two operators."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(f'site_name = "north"\n{SETTINGS}')
        try:
            product.start_hub("--config", f"{folder}/hub.toml")
            yield product
        finally:
            product.close()


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    """A node whose two GPUs the run holds; it says each half second that they draw 400 W."""
    ended = threading.Event()
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run(priority_class=common_pb2.PRIORITY_CLASS_P3))
        agent.steps("r", [1, 2])
        process = frame_pb2.ProcessSample(pid=1, run_id="r", gpu_indices=[0, 1])
        agent.send(process_report=frame_pb2.ProcessReport(processes=[process]))

        def measure() -> None:
            while not ended.wait(0.5):
                agent.send(frame=frame([(50.0, 400.0), (50.0, 400.0)], (0.5, 1e9)))

        thread = threading.Thread(target=measure, daemon=True)
        thread.start()
        until(lambda: (hub.run_of("r").get("power_watts") or 0) > 700, message="its power")
        until(lambda: (hub.ask(Client.power).places[0].drawn_watts or 0) > 700, message="the tick")
        try:
            yield agent
        finally:
            ended.set()
            thread.join()


def plan(client: Client) -> ShedPlan:
    preflight = client.preview("shed", "", ActionParameters(shed=ASKED))
    assert preflight.allowed, preflight.refusal_detail
    assert preflight.plan is not None
    assert preflight.approvals_needed == 2  # no less than its pause would need
    return preflight.plan


def test_whoever_approves_the_shed_approves_its_steps(hub: Product, agent: FakeAgent) -> None:
    with Client(hub.address, operator="alice") as alice:
        seen = plan(alice)
        assert [(step.verb, step.run_id) for step in seen.planned] == [(Verb.PAUSE, "r")]
        assert seen.planned_watts == pytest.approx(200)

        shed = alice.shed(ASKED.approved(seen))
        assert shed.state == "requested"
        with Client(hub.address, operator="bob") as bob:
            bob.approve(shed.action_id)

        directive = agent.directive()
        assert directive.WhichOneof("order") == "prepare_step"
        (part,) = alice.actions(parent_action_id=shed.action_id)
        assert (part.operator, part.approvals) == ("alice", ("alice", "bob"))
        assert part.state == "dispatched"  # it waits for nobody


def test_a_rule_about_the_site_is_asked_by_its_name(hub: Product, agent: FakeAgent) -> None:
    with Client(hub.address, operator="eve") as eve:
        preflight = eve.preview("shed", "", ActionParameters(shed=ASKED))
        assert (preflight.refusal, preflight.allowed) == ("policy", False)
        with pytest.raises(RefusedError, match="only alice, bob may do this"):
            eve.shed(ASKED)


def test_a_site_whose_power_nobody_measures_has_no_plan(hub: Product) -> None:
    with (
        Client(hub.address, operator="alice") as alice,
        pytest.raises(RefusedError, match="no power of this site is measured"),
    ):
        alice.shed(ASKED)


@pytest.mark.parametrize(
    ("shed", "words"),
    [
        (Shed(), "give the power to come under, or the share to cut"),
        (Shed(target_watts=1.0, cut_ratio=0.5), "give the power to come under, or the share"),
        (Shed(target_watts=-1.0), "shed.target_watts: -1 is no power"),
        (Shed(cut_ratio=1.0), "shed.cut_ratio: 1 is no share"),
        (Shed(target_watts=float("nan")), "shed.target_watts: nan is no power"),
        (Shed(target_watts=1.0, within_seconds=1.0), "shed.within_seconds: 1 is not from 5 to"),
        (Shed(target_watts=1.0, duration_seconds=-1.0), "shed.duration_seconds: -1 is not from 0"),
        (Shed(target_watts=1.0, auto_restore=True), "shed.auto_restore: needs shed.duration"),
        (Shed(target_watts=1.0, plan=ShedPlan()), "shed.plan.steps: 1 to 10000 steps"),
    ],
)
def test_a_wrong_field_is_named_with_its_remedy(hub: Product, shed: Shed, words: str) -> None:
    with Client(hub.address, operator="alice") as alice:
        preflight = alice.preview("shed", "", ActionParameters(shed=shed))

    assert preflight.refusal == "invalid"
    assert words in preflight.refusal_detail
