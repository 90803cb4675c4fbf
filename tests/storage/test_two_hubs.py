"""Two hubs on one database: one console sees and acts on both, and says so when one is gone."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.client import AsyncClient, Client, RefusedError
from colossus_tui.model import ActionParameters, ActionState, ReasonCode, Run, RunSpec, SiteMoney
from tests.e2e.product import Product
from tests.storage.answering import AnsweringAgent
from tests.storage.cluster import Cluster
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("two-hubs")]
PRICES = {"a": 2.0, "b": 3.0}
RUNS = {"a": ["only-a", "both"], "b": ["only-b", "both", "second-b", "third-b", "fourth-b"]}


class Hubs:
    """Hub A and hub B, each with an agent; questions go to A unless B is named."""

    def __init__(self, folder: Path, shared: str) -> None:
        self.shared = shared
        self.products = {name: Product(folder / name) for name in "ab"}
        self.agents: dict[str, AnsweringAgent] = {}
        for product in self.products.values():
            product.folder.mkdir()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.start, self.products))

    def start(self, name: str) -> None:
        """Start a hub."""
        settings = self.products[name].folder / "hub.toml"
        settings.write_text(f"[prices]\ngpu_hour = {PRICES[name]}\n")
        tcp = ("--listen", "127.0.0.1:0", "--port-file", str(self.products[name].folder / "port"))
        self.products[name].start_hub(
            *("--store", self.shared, "--hub-name", f"hub-{name}"),
            *("--advertise", self.products[name].address, *tcp),
            *("--config", str(settings)),
        )

    def ask(self, question: Any, name: str = "a") -> Any:
        """Ask a hub as a console does."""
        return self.products[name].ask(question)

    def run(self, run_id: str, name: str = "a") -> Run | None:
        """Return a run as a hub lists it."""
        return next((run for run in self.ask(Client.runs, name) if run.run_id == run_id), None)

    def is_live(self, run_id: str, name: str = "a") -> bool:
        """Return whether a hub has heard of a run from the other one, not from the database."""
        run = self.run(run_id, name)
        return run is not None and ", as of " not in run.label

    def act(self, verb: str, run_id: str) -> Any:
        """Ask A for an action and return it as it ended."""
        action = self.ask(lambda client: client.submit(verb, run_id))
        assert action.state is ActionState.ACCEPTED, action.detail
        return self.ask(lambda client: client.wait(action.action_id, 30))

    def close(self) -> None:
        """End both."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(Product.close, self.products.values()))


@pytest.fixture(scope="module")
def hubs(cluster: Cluster) -> Iterator[Hubs]:
    """Both hubs, each of which knows the other's runs."""
    shared = cluster.make_database("two_hubs")
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder, ExitStack() as stack:
        hubs = Hubs(Path(folder), shared)
        stack.callback(hubs.close)
        for name, product in hubs.products.items():
            agent = AnsweringAgent(product.address, f"node-{name}", RUNS[name])
            hubs.agents[name] = stack.enter_context(agent)
        until(lambda: hubs.run("third-b") and hubs.run("only-a", "b"), 20, message="the runs")
        until(lambda: hubs.run("both@hub-b"), 20, message="the run of one name")
        until(lambda: hubs.is_live("third-b"), 20, message="hub B's own word")
        until(lambda: hubs.is_live("only-a", "b"), 20, message="hub A's own word")
        count = sum(map(len, RUNS.values()))
        written = f"select count(*) from colossus.runs having count(*) = {count}"
        until(lambda: cluster.query(written, shared), 20, message="all runs in the database")
        yield hubs


def test_one_console_for_both(hubs: Hubs, cluster: Cluster) -> None:
    names = {run.run_id: run for run in hubs.ask(Client.runs)}
    assert set(names) == {"both@hub-b", *RUNS["a"], *RUNS["b"]}
    assert names["only-b"].label == "of node-b @hub-b"
    until(lambda: hubs.ask(Client.site).reporting_gpu_count == 4, message="the GPUs of both")
    site = hubs.ask(Client.site)
    assert (site.node_count, site.power_watts, site.power_node_count) == (2, 1200.0, 2)
    detail = hubs.ask(lambda client: client.run("only-b"))
    assert (detail.run.run_id, len(detail.ranks)) == ("only-b", 1)
    assert hubs.ask(lambda client: client.history("only-b", ["loss"]))
    until(
        lambda: any(event.kind == "run.twice" for event in hubs.ask(Client.events)),
        message="the event",
    )

    action = hubs.act("stop", "only-b")

    assert action.state is ActionState.OBSERVED, action.detail
    until(lambda: hubs.run("only-b").state == "stopped", message="the end")  # type: ignore[union-attr]
    for name in "ab":
        listed = hubs.ask(lambda client: client.actions(run_id="only-b"), name)
        assert [one.action_id for one in listed] == [action.action_id]
    assert hubs.act("stop", "both@hub-b").run_id == "both@hub-b"
    assert hubs.run("both", "b").state == "stopped"  # type: ignore[union-attr]
    assert hubs.run("both").state != "stopped"  # type: ignore[union-attr]
    rows = cluster.query("select distinct hub, run_id from colossus.actions", hubs.shared)
    assert {"hub-b|only-b", "hub-b|both"} <= set(rows)
    assert "hub-a|both" not in rows
    until(
        lambda: (
            "action.observed"
            in [event.kind for event in hubs.ask(lambda client: client.events(run_id="only-b"))]
        ),
        message="the other hub's event",
    )


def test_the_sites_cost_is_that_of_both(hubs: Hubs) -> None:
    def cost() -> SiteMoney:
        money: SiteMoney = hubs.ask(Client.site).money
        return money

    until(lambda: cost().gpu_count == 4, 20, message="the other hub's GPUs")
    assert cost().per_hour == 2 * 2.0 + 2 * 3.0
    assert cost().currency == "$"


def test_no_role_is_raised(hubs: Hubs) -> None:
    port = (hubs.products["a"].folder / "port").read_text().strip()
    with Client(f"127.0.0.1:{port}") as viewer:
        assert len(viewer.runs()) == 7
        assert viewer.run("only-b").run.run_id == "only-b"
        assert viewer.preview("stop", "third-b").refusal is ReasonCode.POLICY
        answer = viewer.submit("stop", "third-b")
    assert (answer.state, answer.reason_code) == (ActionState.REFUSED, ReasonCode.POLICY)
    assert hubs.ask(lambda client: client.actions(run_id="third-b"), "b") == ()


def test_a_start_under_another_hubs_name_is_refused(hubs: Hubs) -> None:
    spec = RunSpec("third-b", ("true",))
    parameters = ActionParameters(spec=spec)

    answer = hubs.ask(lambda client: client.submit("start", "third-b", parameters))

    assert answer.reason_code is ReasonCode.CONFLICT
    assert "hub hub-b has a run of this name" in answer.detail


def test_one_verb_on_runs_of_both(hubs: Hubs) -> None:
    names = ("third-b", "only-a", "nobody")

    bulk = hubs.ask(lambda client: client.preview_bulk("stop", names))

    assert [one.run_id for one in bulk.preflights] == list(names)
    assert [one.allowed for one in bulk.preflights] == [True, True, False]
    assert bulk.allowed_count == 2


async def test_a_view_of_another_hubs_run(hubs: Hubs) -> None:
    async with AsyncClient(hubs.products["a"].address) as client:
        view = await anext(client.watch(runs=True, run_id="both@hub-b", series=("loss",)))

    assert view.run is not None
    assert view.run.run.run_id == "both@hub-b"
    assert [rank.node_name for rank in view.run.ranks] == ["node-b"]
    assert len(view.runs) == 7


async def test_the_curves_of_both_hubs_runs(hubs: Hubs) -> None:
    for name, run_id in (("a", "both"), ("b", "both"), ("b", "fourth-b")):
        hubs.agents[name].steps(run_id, [1, 2, 3])
    until(lambda: len(hubs.ask(Client.curves, "a")) == 3, message="what the agents said, from both")

    async with AsyncClient(hubs.products["a"].address) as client:
        view = await anext(client.watch(curves=True))
        one = await client.curves(["both@hub-b"])

    assert {curve.run_id for curve in view.curves} == {"both", "both@hub-b", "fourth-b"}
    assert [(curve.run_id, curve.steps) for curve in one] == [("both@hub-b", (1, 2, 3))]


def test_a_hub_that_is_killed_and_comes_back(hubs: Hubs) -> None:
    hubs.agents["b"].is_deaf = True
    begun = hubs.ask(lambda client: client.submit("stop", "fourth-b"))
    assert begun.state is ActionState.ACCEPTED, begun.detail
    until(lambda: any(begun.action_id in one for one in hubs.agents["b"].obeyed), message="it")
    hubs.products["b"].kill("hub")
    hubs.agents["b"].is_deaf = False
    until(lambda: ", as of " in hubs.run("second-b").label, message="its age")  # type: ignore[union-attr]
    first = hubs.run("second-b")
    answer = hubs.ask(lambda client: client.submit("stop", "second-b"))
    assert (answer.state, answer.reason_code) == (ActionState.REFUSED, ReasonCode.UNREACHABLE)
    assert "hub hub-b does not answer" in answer.detail
    preflight = hubs.ask(lambda client: client.preview("stop", "second-b"))
    assert preflight.refusal is ReasonCode.UNREACHABLE
    assert first is not None
    until(
        lambda: hubs.run("second-b").age_seconds > first.age_seconds,  # type: ignore[union-attr]
        message="it to grow older",
    )
    assert hubs.ask(lambda client: client.run("second-b")).run.run_id == "second-b"
    assert any(alert.kind == "hub.away" for alert in hubs.ask(Client.site).alerts)
    hubs.products["a"].kill("hub")
    hubs.start("a")  # it knows of hub B from the database alone
    until(lambda: hubs.run("second-b"), message="its runs")
    with pytest.raises(RefusedError, match="does not answer"):
        hubs.ask(lambda client: client.stop("second-b"))

    with ThreadPoolExecutor(1) as pool, Client(hubs.products["a"].address) as follower:
        end = pool.submit(follower.wait, begun.action_id, 30)
        hubs.start("b")
        assert end.result().state is ActionState.OBSERVED

    def stopped() -> bool:
        action = hubs.ask(lambda client: client.submit("stop", "second-b"))
        return bool(action.state is ActionState.ACCEPTED)

    until(stopped, 20, message="the action")
    until(lambda: hubs.run("second-b").state == "stopped", 20, message="the end")  # type: ignore[union-attr]
