"""A simulated site at a real hub: what goes wrong is told by name, and the verbs work on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colossus_tui.client import Client
from colossus_tui.model import Alert, IdleGroup, Severity
from colossus_tui.sim.plan import SitePlan
from tests.sim.live import PLAN, LiveSite, live_site
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


@pytest.fixture
def live() -> Iterator[LiveSite]:
    with live_site() as site:
        yield site


def place_of(plan: SitePlan, run_id: str, rank: int) -> tuple[str, int]:
    """Return node and GPU of a rank."""
    run = next(run for run in plan.runs if run.run_id == run_id)
    node, gpu = divmod(rank, plan.gpus_per_node)
    return plan.node_names[run.first_node + node], gpu


def test_a_straggler_is_told_with_node_gpu_and_rank(live: LiveSite) -> None:
    node_name, gpu = place_of(PLAN, "6t", 37)
    live.start('[[fault]]\nkind = "straggler"\nat = 2\nrun = "6t"\nrank = 37')
    until(lambda: live.gpu(node_name, gpu).values["sm_clock"] < 1200, 20, message="the slow GPU")

    alert = until(lambda: live.alerts("6t", "run.straggler"), 10, message="the alert")[0]

    assert f"{node_name} GPU {gpu} (rank 37) at 1,0" in alert.message
    assert alert.severity is Severity.WARNING
    assert not any(
        live.alerts(run.run_id, "run.straggler") for run in PLAN.runs if run.run_id != "6t"
    )


@pytest.mark.waits
def test_a_collective_that_hangs_is_told_and_full_utilisation_alone_is_not(live: LiveSite) -> None:
    fault = '[[fault]]\nkind = "hang"\nat = 8\nduration = 200\nrun = "1t-a"'
    live.start(fault, run_id="1t-a")
    step = live.run("1t-a").run.step

    alert = until(lambda: live.alerts("1t-a", "run.collective_hang"), 90, message="the alert")[0]

    assert "a collective hangs" in alert.message
    assert alert.severity is Severity.CRITICAL
    assert (live.run("1t-a").run.step or 0) - (step or 0) < 20
    others = [run for run in live.product.ask(Client.runs) if run.run_id != "1t-a"]
    assert not [a for run in others for a in run.alerts if a.kind == "run.collective_hang"]
    for run in others:
        place = live.run(run.run_id).place
        busy = place.roll_up("gpu_utilisation") if place is not None else None
        assert busy is not None
        assert busy.max > 0.95


def test_a_hall_that_draws_more_than_its_contract_is_told_by_the_limits_name(
    live: LiveSite,
) -> None:
    live.start('[[fault]]\nkind = "feed_limit"\nat = 2\nduration = 30\nsize = 1.6\nhall = "hall-A"')

    def critical() -> list[Alert]:
        alerts = live.product.ask(Client.site).alerts
        return [a for a in alerts if a.kind == "power.limit" and a.severity is Severity.CRITICAL]

    alert = until(critical, 30, message="the alert")[0]

    assert alert.message.startswith(f"{PLAN.limits[0].name}: ")
    assert "1600/1600 GPUs reporting" in alert.message
    limit = live.product.ask(Client.site).limits[0]
    assert (limit.name, limit.hall, limit.gpu_count) == (PLAN.limits[0].name, "hall-A", 1_600)


@pytest.mark.waits
def test_nodes_that_a_run_leaves_idle_are_told_with_their_cost(live: LiveSite) -> None:
    rack = live_rack("6t")
    live.start(f'[[fault]]\nkind = "idle"\nat = 2\nrack = "{rack}"', prices="idle_seconds = 5")

    def held() -> list[IdleGroup]:
        groups = live.product.ask(Client.idle).groups
        return [group for group in groups if group.run_id == "6t"]

    group = until(held, 30, message="the idle rack")[0]
    costs = live.product.ask(Client.site).money

    assert (group.why, group.gpu_count, group.user) == ("no work", 18 * 4, "train")
    assert all(rack.lower() in name for name in group.node_names)
    assert group.per_hour == pytest.approx(18 * 4 * 2.9, rel=0.05)
    assert (costs.currency, costs.source) == ("$", "modelled")
    assert costs.held_idle_per_hour == pytest.approx(group.per_hour, rel=0.05)


def live_rack(run_id: str) -> str:
    """Return the name of a rack that a run has for itself."""
    run = next(run for run in PLAN.runs if run.run_id == run_id)
    nodes = range(run.first_node, run.first_node + run.node_count)
    racks = [index for index in range(len(PLAN.rack_names)) if _within(index, nodes)]
    return PLAN.rack_names[racks[0]]


def _within(rack: int, nodes: range) -> bool:
    own = PLAN.nodes_of_rack(rack)
    return own.start in nodes and own.stop - 1 in nodes


@pytest.mark.waits
def test_the_verbs_on_a_run_of_dozens_of_nodes_end_as_seen(live: LiveSite) -> None:
    run_id = "imagine-v2"
    live.start(run_id=run_id)

    def act(verb: str, *arguments: str) -> None:
        ended = live.product.cli(verb, run_id, "--yes", *arguments)
        assert ended.returncode == 0, f"{verb}: {ended.stdout}{ended.stderr}"

    act("checkpoint")
    saved = live.run(run_id).run
    assert (saved.state, saved.attempt) == ("running", 1)
    act("pause")
    paused = live.run(run_id).run
    assert paused.state == "paused"
    assert (paused.durable_step or 0) > (saved.durable_step or 0)
    act("resume")
    resumed = live.run(run_id).run
    assert (resumed.state, resumed.attempt) == ("running", 2)
    act("freeze", "--fuse", "3")
    assert live.run(run_id).run.state == "frozen"
    live.product.wait_state(run_id, "running", 15)  # its fuse has blown
    act("stop")
    assert live.run(run_id).run.state == "stopped"


def test_runs_have_the_curves_of_their_earlier_lives_and_planned_ends(live: LiveSite) -> None:
    live.start(run_id="imagine-v2")

    curves = {curve.run_id: curve for curve in live.product.ask(Client.curves)}
    runs = {run.run_id: run for run in live.product.ask(Client.runs)}

    assert set(curves) == set(runs) == {run.run_id for run in PLAN.runs}
    for plan in PLAN.runs:
        curve, run = curves[plan.run_id], runs[plan.run_id]
        assert len(curve.tokens) > 60
        assert curve.losses[0] > 2 * curve.losses[-1]
        assert curve.tokens[-1] >= plan.first_step * plan.tokens_per_step
        assert run.tokens is not None
        assert run.tokens >= plan.first_step * plan.tokens_per_step
        assert run.planned_end_unix_ns > run.started_time_unix_ns
