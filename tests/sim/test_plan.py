"""What a simulated site is made of, at every size."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from colossus_tui.sim.plan import NODES_PER_RACK, plan_site

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
UUID = re.compile(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALL_RUNS = ["imagine-v2", "1t-a", "1t-b", "1.5t-a", "1.5t-b", "6t", "10t"]


@pytest.mark.parametrize("node_count", [1, 2, 7, 20, 50, 1000, 137_500])
def test_every_node_has_a_place_and_runs_follow_one_another(node_count: int) -> None:
    plan = plan_site(node_count)

    assert len(plan.node_names) == len(set(plan.node_names)) == node_count
    assert all(NAME.fullmatch(name) for name in (*plan.node_names[:100], *plan.rack_names))
    assert len(plan.rack_names) == len(set(plan.rack_names)) == -(-node_count // NODES_PER_RACK)
    assert np.array_equal(plan.hall_of_node, plan.hall_of_rack[plan.rack_of_node])
    for index, run in enumerate(plan.runs):
        held = np.flatnonzero(plan.run_of_node == index)
        assert held.tolist() == list(range(run.first_node, run.first_node + run.node_count))
        assert run.rank_count == run.node_count * plan.gpus_per_node
        assert run.label == "modelled"
        assert run.tokens_per_step % run.rank_count == 0
        assert 0 < run.first_step < run.target_steps
    assert all(
        before.first_node + before.node_count <= after.first_node
        for before, after in pairwise(plan.runs)
    )


@pytest.mark.parametrize(
    ("node_count", "expected"), [(1, ["10t"]), (2, ["6t", "10t"]), (7, ALL_RUNS), (20, ALL_RUNS)]
)
def test_small_sites_keep_the_largest_runs(node_count: int, expected: list[str]) -> None:
    plan = plan_site(node_count)

    assert expected == [run.run_id for run in plan.runs]
    assert node_count == sum(run.node_count for run in plan.runs)


def test_the_whole_site_has_its_shares_in_whole_racks() -> None:
    plan = plan_site(137_500)
    shares = {run.run_id: run.node_count / plan.node_count for run in plan.runs}

    assert shares["10t"] == pytest.approx(0.36, abs=0.01)
    assert shares["6t"] == pytest.approx(0.24, abs=0.01)
    assert (plan.run_of_node < 0).mean() == pytest.approx(0.02, abs=0.005)
    assert all(run.first_node % NODES_PER_RACK == 0 for run in plan.runs)
    assert all(5 <= run.step_seconds <= 40 for run in plan.runs)
    assert len(plan.hall_names) == 19
    assert 550_000 == plan.gpu_count == len(plan.run_of_gpu)


def test_limits_are_named_with_their_megawatts_and_cover_every_hall() -> None:
    plan = plan_site(137_500)
    halls = plan.limits[: len(plan.hall_names)]
    feeds = plan.limits[len(plan.hall_names) :]

    assert [(hall,) for hall in range(len(plan.hall_names))] == [limit.halls for limit in halls]
    assert list(range(len(plan.hall_names))) == [hall for feed in feeds for hall in feed.halls]
    assert re.fullmatch(r"hall A contract [\d.]+ MW", halls[0].name)
    assert f"{halls[0].megawatts:g}" in halls[0].name


def test_uuids_are_those_of_the_seed() -> None:
    plan = plan_site(20, seed=3)
    uuids = [uuid for node in range(20) for uuid in plan.gpu_uuids(node)]

    assert len(set(uuids)) == len(uuids) == plan.gpu_count
    assert all(UUID.fullmatch(uuid) and len(uuid) == 40 for uuid in uuids)
    assert plan_site(20, seed=3).gpu_uuids(4) == plan.gpu_uuids(4)
    assert plan_site(20, seed=4).gpu_uuids(4) != plan.gpu_uuids(4)


def test_racks_and_halls_know_their_nodes() -> None:
    plan = plan_site(40)

    assert range(18, 36) == plan.nodes_of_rack(1)
    assert range(36, 40) == plan.nodes_of_rack(2)
    assert range(40) == plan.nodes_of_hall(0)


@pytest.mark.parametrize(("nodes", "gpus"), [(0, 4), (3, 0), (-1, 4)])
def test_an_empty_site_is_refused(nodes: int, gpus: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        plan_site(nodes, gpus)
