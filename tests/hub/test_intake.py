"""What a job says that a hub cannot reckon with is left out, and harms neither node nor relay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_protos.v1 import agent_link_pb2, common_pb2, relay_link_pb2, run_pb2
from colossus_tui.hub.batches import step_table
from colossus_tui.hub.database import Database
from colossus_tui.hub.events import Events
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.intake import Intake
from colossus_tui.hub.links import Links
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.runs.curve import LossCurve
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.store import Store
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, hello, local_run
from tests.support import until

FEW_TOKENS = (
    '{"earlier_curve": {"tokens": [1, 2], "losses": [9, 5], "steps": [1000, 2000],'
    ' "times_unix_ns": [1, 2]}}'
)


class Door:
    """An intake with a node and a run, and where its events go."""

    def __init__(self, database: Database) -> None:
        store = Store()
        nodes, links = Nodes(store), Links()
        self.events = Events(database)
        gpus = RunGpuFigures(store, nodes)
        self.registry = Registry(database, self.events, {}, links.linked, nodes, gpus)
        self.intake = Intake(store, nodes, links, self.registry, self.events)
        self.record = nodes.admit(hello("n"))
        self.registry.take_report("n", run_pb2.RunReport(runs=[local_run("r")]))

    def refused(self) -> list[tuple[str, str, str]]:
        """Return node, run and message of each refusal."""
        found = [event for event in self.events.recent(100) if event.kind == "run.refused"]
        return [(event.node_name, event.run_id, event.message) for event in found]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A door of its own."""
    database = Database(tmp_path / "hub.sqlite3")
    yield Door(database)
    database.close()


def batch(step: int) -> run_pb2.StepBatch:
    """Return one step of the run's only rank."""
    return run_pb2.StepBatch(
        run_id="r",
        attempt=1,
        steps=[step],
        times_unix_ns=[step * 10**9],
        losses=[2.0],
        grad_norms=[1.0],
        tokens=[10],
        step_seconds=[0.5],
    )


def table(step: int) -> relay_link_pb2.StepTable:
    """Return the same as a relay brings it."""
    return step_table(StepRows.of_batch(batch(step)))


@pytest.mark.parametrize("error", [ValueError("math domain error"), OverflowError("too large")])
def test_a_sum_that_fails_is_told_once_and_ends_no_link(
    door: Door, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_curve: LossCurve, _point: StepPoint, _total_tokens: int | None) -> None:
        raise error

    monkeypatch.setattr(LossCurve, "add", fails)
    for step in (1, 2):
        message = agent_link_pb2.LinkRequest(sequence=step, step_batch=batch(step))
        door.intake.take(door.record, message)
        door.intake.take_steps(table(step + 2))
    event = common_pb2.Event(kind="k", message="after it")
    door.intake.take(door.record, agent_link_pb2.LinkRequest(sequence=3, event=event))

    said = "it is left out, and what else it says that cannot be"
    assert sorted(door.refused()) == [
        ("", "r", f"step_table.{error}; {said}"),
        ("n", "r", f"step_batch.{error}; {said}"),
    ]
    assert [event.message for event in door.events.recent(1)] == ["after it"]


def test_a_run_that_states_a_life_of_few_tokens_keeps_its_nodes_link(hub: Product) -> None:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run(facts_json=FEW_TOKENS))
        for step in (400, 401):
            agent.steps("r", [step])
        agent.until_acknowledged(agent.send(event=common_pb2.Event(kind="k", message="heard")))
        until(lambda: [run["step"] for run in hub.json("runs")["runs"]] == [401], message="it")
