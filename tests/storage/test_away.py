"""A hub whose database stops and starts again: what was taken is kept, the rest is refused."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from colossus_tui.client import Client, ColossusError
from colossus_tui.model import Action, ActionState, ReasonCode
from tests.e2e.product import Product
from tests.storage.answering import AnsweringAgent
from tests.storage.cluster import Cluster
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("away")]
RUNS = [f"r{number}" for number in range(400)]


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> str:
    """The address of the database of these tests."""
    return cluster.make_database("away")


@pytest.fixture(scope="module")
def product(shared: str) -> Iterator[Product]:
    """A hub on the shared database."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        try:
            product.start_hub("--store", shared, "--hub-name", "hub-a")
            yield product
        finally:
            product.close()


class Operator:
    """Stops one run after the other until told to end; keeps what the hub answered."""

    def __init__(self, address: str) -> None:
        self.answers: list[Action] = []
        self._ends = threading.Event()
        self._address = address
        self._thread = threading.Thread(target=self._act)
        self._thread.start()

    def _act(self) -> None:
        with Client(self._address) as client:
            for run_id in itertools.cycle(RUNS):
                if self._ends.wait(0.02):
                    return
                with suppress(ColossusError):
                    answer = client.submit("stop", run_id, action_id=str(uuid.uuid4()))
                    self.answers.append(answer)

    def wait(self, state: ActionState, count: int) -> None:
        """Wait for so many more answers of a state, other than that a run is over."""
        seen = self._count(state)
        until(lambda: self._count(state) >= seen + count, 15, message=f"{count} {state}")

    def _count(self, state: ActionState) -> int:
        return sum(
            one.state is state and one.reason_code in (None, ReasonCode.UNREACHABLE)
            for one in self.answers
        )

    def end(self) -> None:
        """Act no more."""
        self._ends.set()
        self._thread.join(20)


@pytest.fixture
def kinds(product: Product) -> Callable[[], list[str]]:
    """Return a function that tells what happened to the database since, oldest first."""
    (*_, newest) = (0, *(event.event_id for event in product.ask(lambda c: c.events(limit=1))))

    def kinds() -> list[str]:
        events = product.ask(lambda client: client.events(limit=2_000, after_event_id=newest))
        return [one.kind for one in reversed(events) if one.kind.startswith("database.")]

    return kinds


def test_a_crash_of_the_database_under_load(
    product: Product, cluster: Cluster, shared: str, kinds: Callable[[], list[str]]
) -> None:
    with AnsweringAgent(product.address, "node-a", RUNS) as agent:
        until(lambda: product.run_of("r0"), message="the runs")
        operator = Operator(product.address)
        try:
            operator.wait(ActionState.ACCEPTED, 10)
            cluster.stop()
            operator.wait(ActionState.REFUSED, 10)
            assert product.run_of("r0")["state"]
            until(lambda: kinds() == ["database.away"], message="the event")
            cluster.start()
            operator.wait(ActionState.ACCEPTED, 10)
        finally:
            operator.end()
        assert kinds() == ["database.away", "database.back"]
        product.kill("hub")
        accepted = {one.action_id for one in operator.answers if one.state is ActionState.ACCEPTED}
        journaled = set(cluster.query("select action_id from colossus.actions", shared))
        product.start_hub("--store", shared, "--hub-name", "hub-a")
        unfinished = "select action_id from colossus.actions where ended = 0"
        until(lambda: not cluster.query(unfinished, shared), 20, message="the ends")

    assert accepted <= journaled
    assert {directive_id[:36] for directive_id in agent.obeyed} <= accepted
    actions = product.ask(lambda client: client.actions(limit=500))
    taken = {one.action_id: one.state for one in actions if one.action_id in accepted}
    assert set(taken.values()) == {ActionState.OBSERVED}


def test_a_database_that_hangs_counts_as_away(
    product: Product, cluster: Cluster, kinds: Callable[[], list[str]]
) -> None:
    with AnsweringAgent(product.address, "node-h", ["h0"]):
        until(lambda: product.run_of("h0"), message="the run")
        cluster.signal(signal.SIGSTOP)
        try:
            until(lambda: kinds() == ["database.away"], 20, message="the event")
            answer = product.ask(lambda client: client.submit("stop", "h0"))
            assert answer.reason_code is ReasonCode.UNREACHABLE
            assert "nothing is done that is not journaled" in answer.detail
            nodes = {node.node_name: node for node in product.ask(Client.nodes)}
            assert nodes["node-h"].freshness == "live"
        finally:
            cluster.signal(signal.SIGCONT)
        until(lambda: kinds()[-1] == "database.back", 20, message="the event")
        action = product.ask(lambda client: client.act("stop", "h0", wait=True, timeout=20))
        assert action.state is ActionState.OBSERVED, action.detail


def test_a_hub_without_its_database_does_not_start(tmp_path: Path) -> None:
    result = subprocess.run(
        [
            *(sys.executable, "-m", "colossus_tui.hub", "--listen", f"unix:{tmp_path}/hub.sock"),
            *("--store", f"postgresql://ada:s3cr3t@/db?host={tmp_path}"),
        ],
        env=os.environ | {"COLOSSUS_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("colossus hub: the database postgresql://ada@")
    assert "s3cr3t" not in result.stderr
    assert "Traceback" not in result.stderr
