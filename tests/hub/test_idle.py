"""Idle GPUs: who holds them, since when, why, and what is not called idle."""

from __future__ import annotations

import math
import struct
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from colossus_protos.v1 import frame_pb2, run_pb2
from colossus_tui.client import Client
from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.money import idle as watch
from colossus_tui.hub.money.allocated import without_process
from colossus_tui.hub.money.prices import Prices
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.scheduled import Scheduled
from colossus_tui.model import IdleGroup, IdleKind, Job, RunState
from tests.e2e.product import Product
from tests.fakes.fake_agent import HOST_COLUMNS, FakeAgent, hello, local_run
from tests.hub.money_site import NOW, PricedSite
from tests.support import until

PRICES = Prices(gpu_hours={"default": 2.0}, idle_seconds=300.0)
GIB = float(1 << 30)


def small(prices: Prices | None = PRICES) -> PricedSite:
    """Return a site of one node: run "a" works on two GPUs, two are free."""
    site = PricedSite(prices)
    site.admit("n1", 4, hall="A")
    site.hold("n1", "a", "a", "", "", user="ada")
    site.tell("n1", gpu_utilisation=[0.9, 0.9, 0.0, 0.0], power=[700.0, 700.0, 80.0, 80.0])
    site.tick()
    return site


def groups(site: PricedSite) -> dict[str, IdleGroup]:
    return {f"{group.run_id or 'nobody'}: {group.why}": group for group in site.idle.view().groups}


def ago(site: PricedSite, seconds: float) -> int:
    return int(site.wall - seconds) * 10**9


def test_a_gpu_without_a_run_is_free_at_once_and_says_since_when() -> None:
    site = small()
    site.tick(60.0)

    (free,) = site.idle.view().groups

    assert (free.kind, free.run_id, free.why, free.gpu_count) == (IdleKind.FREE, "", "no run", 2)
    assert free.oldest_since_unix_ns == free.median_since_unix_ns == ago(site, 60.0)
    assert free.at_least  # it was free when the hub began to watch
    assert (free.hall, free.node_names, free.per_hour) == ("A", ("n1",), 4.0)


def test_a_held_gpu_is_idle_after_so_long_without_work() -> None:
    site = small()
    site.tick(60.0)  # still at work
    site.tell("n1", gpu_utilisation=[0.04, 0.9, 0.0, 0.0])

    site.tick(299.0)
    assert "a: no work" not in groups(site)
    site.tick(1.0)

    held = groups(site)["a: no work"]
    assert (held.kind, held.run_id, held.gpu_count) == (IdleKind.HELD, "a", 1)
    assert held.oldest_since_unix_ns == ago(site, 300.0)
    assert (held.user, held.per_hour, held.at_least) == ("ada", 2.0, False)


def test_one_second_of_work_begins_it_anew() -> None:
    site = small()
    site.tell("n1", gpu_utilisation=[0.0, 0.9, 0.0, 0.0])
    site.tick(299.0)
    site.tell("n1", gpu_utilisation=[0.05, 0.9, 0.0, 0.0])
    site.tick(1.0)
    site.tell("n1", gpu_utilisation=[0.0, 0.9, 0.0, 0.0])
    site.tick(299.0)

    assert "a: no work" not in groups(site)


@pytest.mark.parametrize("activity", [0.05, 0.5])
def test_sm_activity_is_work_where_utilisation_says_none(activity: float) -> None:
    site = small()
    site.tell("n1", gpu_utilisation=[0.0, 0.0, 0.0, 0.0], sm_active=[activity, 0.01, 0.0, 0.0])
    site.tick(400.0)

    assert groups(site)["a: no work"].gpu_count == 1


def test_what_is_not_measured_is_not_called_idle() -> None:
    site = small()
    site.tell("n1", gpu_utilisation=[math.nan, 0.9, math.nan, 0.0])
    site.tick(400.0)

    view = site.idle.view()

    assert [group.gpu_count for group in view.groups] == [1]
    assert (view.gpu_count, view.judged_gpu_count) == (4, 2)


def test_a_node_that_says_nothing_any_more_is_not_called_idle() -> None:
    site = small()
    site.monotonic += 20.0  # no frame for as long

    site.tick()

    assert site.idle.view().groups == ()
    assert site.idle.view().judged_gpu_count == 0


def test_gpus_of_a_frozen_run_are_idle_though_they_look_busy() -> None:
    site = small()
    run = site.runs["a"]
    run.state, run.state_since_unix_ns = RunState.FROZEN, int(NOW - 30) * 10**9

    site.tick()

    frozen = groups(site)["a: frozen"]
    assert (frozen.kind, frozen.gpu_count) == (IdleKind.HELD, 2)
    assert frozen.oldest_since_unix_ns == run.state_since_unix_ns


def test_gpus_of_a_hung_run_are_idle_though_they_look_busy() -> None:
    site = small()
    run = site.runs["a"]
    run.step_seen = site.monotonic
    run.step_time_unix_ns = int(site.wall) * 10**9
    run.nodes.put("n1", local_run("a"), site.monotonic, None)

    site.tick(119.0)
    assert "a: hung" not in groups(site)
    site.tick(2.0)

    assert groups(site)["a: hung"].oldest_since_unix_ns == run.step_time_unix_ns


@pytest.mark.parametrize("stated", [(1 << 63) - 1, -(1 << 63), 1 << 62])
@pytest.mark.parametrize("why", ["frozen", "hung"])
def test_whatever_time_a_job_states_a_gpu_stands_since_then_or_now(why: str, stated: int) -> None:
    site = small()
    run = site.runs["a"]
    run.step_time_unix_ns = run.state_since_unix_ns = stated
    if why == "frozen":
        run.state = RunState.FROZEN
    else:
        run.step_seen = site.monotonic
        run.nodes.put("n1", local_run("a"), site.monotonic, None)
    site.tick(500.0)

    since = groups(site)[f"a: {why}"].oldest_since_unix_ns

    assert since == (10**9 if stated < 0 else ago(site, 0.0))


def test_memory_that_a_gone_run_left_is_its_own() -> None:
    site = small()
    site.hold("n1", "", "", "", "")
    site.tell(
        "n1", gpu_utilisation=[0.0] * 4, memory_used=[40 * GIB, 0.1 * GIB, 0.1 * GIB, 40 * GIB]
    )
    site.tick()

    found = groups(site)

    assert found["a: memory left"].gpu_count == 1
    assert found["a: memory left"].kind is IdleKind.HELD
    assert found["nobody: no run"].gpu_count == 3  # who left the fourth's memory is not known


def test_a_gpu_that_works_for_no_run_is_not_free() -> None:
    site = small()
    site.tell("n1", gpu_utilisation=[0.9, 0.9, 0.7, 0.0])
    site.tick()

    assert groups(site)["nobody: no run"].gpu_count == 1


def test_a_gpu_is_free_since_its_run_let_go() -> None:
    site = small()
    site.tick(100.0)
    site.hold("n1", "", "", "", "")
    site.tell("n1", gpu_utilisation=[0.0] * 4)
    site.tick(50.0)

    free = groups(site)["nobody: no run"]

    assert free.gpu_count == 4
    assert free.oldest_since_unix_ns == ago(site, 150.0)
    assert free.median_since_unix_ns == ago(site, 50.0)
    assert free.at_least


def test_groups_are_by_owner_and_hall_the_dearest_first() -> None:
    site = small(Prices(gpu_hours={"default": 1.0, "gb300": 10.0}))
    site.admit("n2", 1, "NVIDIA GB300", hall="B")
    site.admit("n3", 2, hall="B")
    for name, count in (("n2", 1), ("n3", 2)):
        site.tell(name, gpu_utilisation=[0.0] * count)
    site.tick()

    found = [(group.hall, group.gpu_count, group.per_hour) for group in site.idle.view().groups]

    assert found == [("B", 3, 12.0), ("A", 2, 2.0)]
    assert site.site.now().free_per_hour == 14.0


def test_without_prices_idle_gpus_are_told_and_cost_nothing_known() -> None:
    site = small(None)
    site.tick(60.0)

    (free,) = site.idle.view().groups

    assert (free.gpu_count, free.per_hour) == (2, None)
    assert site.idle.view().idle_seconds == 300.0


def test_a_large_site_is_looked_at_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LARGE_GPUS", 4)
    site = small()
    before = site.idle.view()
    site.tell("n1", gpu_utilisation=[0.9, 0.9, 0.9, 0.9])

    for _ in range(watch.LARGE_TICKS - 1):
        site.tick()
        assert site.idle.view() is before
    site.tick()

    assert site.idle.view().groups == ()


def test_a_clock_that_is_set_back_makes_nothing_idle() -> None:
    site = small()
    site.tell("n1", gpu_utilisation=[0.0, 0.9, 0.0, 0.0])
    site.tick(10.0)

    site.wall -= 3_600.0
    site.tick(1.0)

    assert set(groups(site)) == {"nobody: no run"}


def given(site: PricedSite, run_id: str, gpu_count: int, *nodes: str) -> None:
    """Let a scheduler say that a run has so many GPUs on these nodes, from now on."""
    run = site.runs.setdefault(run_id, LiveRun(run_id, state=RunState.RUNNING, backend="slurm"))
    job = Job("7", user="eve", node_names=nodes, gpu_count=gpu_count)
    sighting = Sighting(run_id, job, RunState.RUNNING, "", 1, None, 0, "")
    run.scheduled = Scheduled(sighting, site.monotonic, site.monotonic)


def test_gpus_that_a_job_has_and_does_not_use_are_its_own_from_then_on() -> None:
    site = small()
    site.tick(1_000.0)  # free for long
    given(site, "b", 1, "n1")
    site.tick(299.0)

    assert {name: group.gpu_count for name, group in groups(site).items()} == {"nobody: no run": 1}
    site.tick(1.0)

    found = groups(site)
    held = found["b: no process"]
    assert (held.kind, held.user, held.gpu_count) == (IdleKind.HELD, "eve", 1)
    assert held.oldest_since_unix_ns == ago(site, 300.0)
    assert found["nobody: no run"].gpu_count == 1


def test_of_a_jobs_gpus_only_those_without_a_process_are_unused() -> None:
    site = small()
    site.admit("n0", 4, hall="A")
    site.tell("n0", gpu_utilisation=[0.0] * 4)
    site.admit("n2", 4, hall="A")
    site.tell("n2", gpu_utilisation=[0.0] * 4)
    site.tick()
    given(site, "a", 8, "n2", "n1", "gone", "n3")  # two on each node; "a" works on both of n1
    site.tick(300.0)

    unused = groups(site)["a: no process"]

    assert (unused.gpu_count, unused.node_names) == (2, ("n2",))
    assert groups(site)["nobody: no run"].gpu_count == 2 + 4 + 2


def test_a_nodes_gpus_are_its_own_wherever_their_rows_are() -> None:
    site = small()
    site.admit("n0", 2, hall="A")
    site.admit("n1", 6, hall="A")  # GPUs have come: their rows are behind those of n0
    site.tell("n0", gpu_utilisation=[0.0] * 2)
    site.tell("n1", gpu_utilisation=[0.9, 0.9, 0.0, 0.0, 0.0, 0.0])
    site.hold("n1", "a", "a", "", "", "", "")
    site.tick()
    given(site, "a", 6, "n1", "n0", "n1")  # two on each it names
    given(site, "b", 3, "n1")
    site.tick(300.0)

    found = groups(site)

    assert (found["a: no process"].gpu_count, found["a: no process"].node_names) == (2, ("n0",))
    assert (found["b: no process"].gpu_count, found["b: no process"].node_names) == (3, ("n1",))


def test_of_a_large_site_only_the_jobs_own_nodes_are_looked_at() -> None:
    site = PricedSite(PRICES)
    for node in range(400):
        site.admit(f"n{node}", 64)
    given(site, "b", 8, "n7")
    free = np.ones(site.store.gpus.row_count, dtype=np.bool_)

    tracemalloc.start()
    try:
        rows = without_process(site.store, site.nodes, site.runs["b"], free)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert rows.tolist() == list(range(7 * 64, 7 * 64 + 8))
    assert peak < free.size / 2  # not one byte for each GPU of the site


def test_a_job_that_waits_has_no_gpu() -> None:
    site = small()
    given(site, "b", 2, "n1")
    site.runs["b"].state = RunState.PENDING
    site.tick(400.0)

    assert set(groups(site)) == {"nobody: no run"}


# --- a real hub ----------------------------------------------------------------------------

SETTINGS = "[prices]\ngpu_hour = 2.0\nidle_seconds = 2\n"


@pytest.fixture
def product() -> Iterator[Product]:
    """A hub to which a held GPU is idle after two seconds."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(SETTINGS)
        try:
            product.start_hub("--config", str(product.folder / "hub.toml"))
            yield product
        finally:
            product.close()


def tell(agent: FakeAgent, *utilisation: float) -> None:
    """Send a frame that says how busy each GPU is."""
    flat = [number for use in utilisation for number in (40.0, 300.0, use)]
    agent.send(
        frame=frame_pb2.Frame(
            sample_time_unix_ns=time.time_ns(),
            gpu_values=struct.pack(f"<{len(flat)}f", *flat),
            host_values=struct.pack(f"<{len(HOST_COLUMNS)}f", 0.5, GIB),
        )
    )


def test_idle_gpus_reach_the_client_and_the_command_line(product: Product) -> None:
    columns = [frame_pb2.MetricColumn(name="gpu_utilisation", unit="ratio")]
    with FakeAgent(product.address) as agent:
        agent.greet(hello(gpu_count=3, hall="A", gpu_columns=columns))
        agent.report(local_run())
        agent.send(
            sequence=0,
            process_report=frame_pb2.ProcessReport(
                processes=[
                    frame_pb2.ProcessSample(pid=1, run_id="r", user="ada", gpu_indices=[0, 1])
                ]
            ),
        )

        def held() -> IdleGroup | None:
            tell(agent, 0.9, 0.0, 0.0)
            found = product.ask(Client.idle).groups
            return next((group for group in found if group.kind is IdleKind.HELD), None)

        group = until(held, 20, message="the idle GPU of the run")
        table = product.cli("money").stdout
        answer = product.json("money")
        agent.report(local_run(state=run_pb2.LOCAL_RUN_STATE_FROZEN))

        def frozen() -> bool:
            tell(agent, 0.9, 0.0, 0.0)
            found = product.ask(Client.idle).groups
            return any(group.why == "frozen" and group.gpu_count == 2 for group in found)

        until(frozen, 20, message="the GPUs of the frozen run")

    assert group is not None
    assert (group.run_id, group.user, group.gpu_count, group.why) == ("r", "ada", 1, "no work")
    assert (group.hall, group.per_hour, group.node_names) == ("A", 2.0, ("node-1",))
    assert "2 idle GPUs of 3; 3 tell whether they work; held ones count after 2.0 s" in table
    assert "held but idle $2.00/h, free $2.00/h" in table
    assert {one["kind"] for one in answer["idle"]["groups"]} == {"held", "free"}
    assert answer["money"]["held_idle_per_hour"] == 2.0
    assert answer["runs"][0]["money"]["per_hour"] == 4.0
