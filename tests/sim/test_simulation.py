"""A site as its agents tell it: determinism, losses, restarts, checkpoints on their plan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colossus_protos.v1 import run_pb2
from colossus_tui.sim.outages import Outages
from colossus_tui.sim.physics import GPU_COLUMNS, HOST_COLUMNS
from colossus_tui.sim.plan import plan_site
from colossus_tui.sim.reports import Checkpoints, Steps
from colossus_tui.sim.simulation import Simulation
from tests.sim.sites import after, column, site, ticks

ALL_FAULTS = """
[[fault]]
kind = "straggler"
at = 10
gpu = 77
[[fault]]
kind = "cooling"
at = 5
duration = 60
rack = "A-r001"
[[fault]]
kind = "node_loss"
at = 20
duration = 15
node = "a-r001-n02"
[[fault]]
kind = "xid_storm"
at = 12
run = "10t"
"""


def test_the_same_seed_and_ticks_give_the_same_site() -> None:
    one = site(60, ALL_FAULTS, seed=3, failures=True)
    two = site(60, ALL_FAULTS, seed=3, failures=True)
    for first, second in zip(ticks(one, 1, 60), ticks(two, 1, 60), strict=True):
        assert np.array_equal(first.values, second.values)
        assert np.array_equal(first.host_values, second.host_values)
        assert np.array_equal(first.down, second.down)
        assert np.array_equal(first.changed, second.changed)
        assert first.events == second.events
        assert len(first.steps) == len(second.steps)
        for mine, other in zip(first.steps, second.steps, strict=True):
            assert np.array_equal(mine.losses, other.losses)
            assert np.array_equal(mine.times_unix_ns, other.times_unix_ns)
            assert np.array_equal(mine.step_seconds, other.step_seconds)


def test_another_seed_gives_another_site() -> None:
    one, two = after(site(seed=1), 1, 3), after(site(seed=2), 1, 3)

    assert not np.array_equal(column(one, "power"), column(two, "power"))


def test_losses_by_chance_come_once_in_50_000_gpu_hours() -> None:
    outages = Outages(plan_site(5000), 7, by_chance=True)
    lost, back = 0, 0
    for minute in range(100 * 60):
        went, came = outages.advance(minute * 60.0)
        lost, back = lost + len(went), back + len(came)

    assert 20 <= lost <= 65  # 20,000 GPUs over 100 h: 40 are expected
    assert back == lost - int(outages.down.sum())


def test_a_site_of_any_size_runs_and_steps() -> None:
    for node_count in (1, 2, 7, 55):
        simulation = site(node_count, failures=True)
        steps = [step.run_id for tick in ticks(simulation, 1, 30) for step in tick.steps]

        assert set(steps) == {run.run_id for run in simulation.plan.runs}


def test_the_whole_site_is_within_its_limits() -> None:
    simulation = site(137_500)
    tick = after(simulation, 1, 3)
    limits = simulation.plan.limits

    assert tick.values.shape == (550_000, 12)
    assert tick.host_values.shape == (137_500, 4)
    assert all(
        0.7 < tick.hall_watts[list(limit.halls)].sum() / limit.watts < 0.9 for limit in limits
    )


def test_steps_are_whole_and_come_in_order() -> None:
    seen: dict[str, Steps] = {}
    simulation = site(20)
    for tick in ticks(simulation, 1, 40):
        for steps in tick.steps:
            gang = next(gang for gang in simulation.gangs if gang.run.run_id == steps.run_id)
            assert steps.ranks.tolist() == list(range(gang.run.rank_count))
            assert {len(steps.ranks)} == {
                len(part)
                for part in (
                    steps.steps,
                    steps.times_unix_ns,
                    steps.losses,
                    steps.grad_norms,
                    steps.tokens,
                    steps.step_seconds,
                )
            }
            assert steps.times_unix_ns.max() <= tick.now_unix_ns
            assert int(steps.tokens.sum()) == gang.run.tokens_per_step
            before = seen.get(steps.run_id)
            if before is not None:
                assert steps.steps[0] == before.steps[0] + 1
                assert steps.times_unix_ns.min() > before.times_unix_ns.max()
            seen[steps.run_id] = steps


def test_a_loss_curve_falls() -> None:
    losses = []
    for done_ratio in (0.0, 0.01, 0.1, 0.3, 0.9):
        simulation = site(1)
        gang = simulation.gangs[0]
        gang.step = int(done_ratio * gang.run.target_steps)
        steps = next(step for tick in ticks(simulation, 1, 10) for step in tick.steps)
        losses.append(float(steps.losses.mean()))

    assert losses == sorted(losses, reverse=True)
    assert 1.5 < losses[-1] < losses[0] < 12


def test_checkpoints_come_on_their_plan_and_become_durable() -> None:
    simulation = site(7)
    found: dict[str, list[Checkpoints]] = {}
    for tick in ticks(simulation, 1, 420):
        for saved in tick.checkpoints:
            found.setdefault(saved.run_id, []).append(saved)
            assert saved.times_unix_ns.max() <= tick.now_unix_ns
    ten = found["10t"]
    gang = simulation.gangs[-1]
    between = (ten[1].times_unix_ns.max() - ten[0].times_unix_ns.max()) / 1e9

    assert len(found) == 7
    assert between == pytest.approx(gang.run.checkpoint_plan_seconds, rel=0.15)
    assert gang.durable_step == ten[-1].step
    assert ten[-1].path_template.format(rank=3) == f"/scratch/10t/step-{ten[-1].step}/rank-3"
    assert ten[-1].save_seconds.max() == pytest.approx(gang.run.save_seconds, rel=0.02)


def loss_of(node: str, seconds: int) -> str:
    return f'[[fault]]\nkind = "node_loss"\nat = 5\nduration = {seconds}\nnode = "{node}"'


def test_a_lost_node_is_silent_and_its_run_begins_again_from_its_durable_step() -> None:
    simulation = site(20, loss_of("a-r001-n15", 20))
    gang, node = simulation.gangs[-1], 14
    list(ticks(simulation, 1, 5))
    tick = after(simulation, 6, 24)
    durable = gang.durable_step

    assert tick.down.tolist() == [index == node for index in range(20)]
    assert column(tick, "power")[node * 4 : node * 4 + 4].max() == 0
    assert not any(step.run_id == "10t" for step in tick.steps)
    assert column(tick, "tensor_active")[13 * 4] < 0.02

    tick = after(simulation, 25, 25)
    report = simulation.run_report(node).run_report.runs[0]

    assert tick.returned == [node]
    assert tick.changed.tolist() == list(range(13, 20))
    assert not tick.down.any()
    assert report.attempt == gang.attempt == 2
    assert report.state == run_pb2.LOCAL_RUN_STATE_RUNNING
    assert {rank.step for rank in report.ranks} == {durable}
    steps = [s for t in ticks(simulation, 26, 50) for s in t.steps if s.run_id == "10t"]
    assert (steps[0].attempt, int(steps[0].steps[0])) == (2, durable + 1)


def test_a_returned_node_has_booted_again_without_xids() -> None:
    storm = '[[fault]]\nkind = "xid_storm"\nat = 1\nduration = 2\nsize = 4\nnode = "a-r001-n03"\n'
    simulation = site(7, storm + loss_of("a-r001-n03", 10))
    tick = after(simulation, 1, 4)
    before = simulation.hello(2, "x").host.boot_id
    assert column(tick, "xid")[8:12].max() > 0

    tick = after(simulation, 5, 20)

    assert simulation.hello(2, "y").host.boot_id != before
    assert column(tick, "xid").max() == 0


def test_a_crash_ends_every_rank_with_an_error() -> None:
    simulation = site(20, '[[fault]]\nkind = "crash"\nat = 5\nrun = "6t"')
    tick = after(simulation, 1, 5)
    first = simulation.gangs[-2].run.first_node
    run = simulation.run_report(first).run_report.runs[0]

    assert len(tick.changed) == simulation.gangs[-2].run.node_count
    assert run.state == run_pb2.LOCAL_RUN_STATE_ENDED
    assert [(rank.exit.known, rank.exit.exit_code) for rank in run.ranks] == [(True, 1)] * 4
    assert run.output_tail
    assert not simulation.process_report(first).process_report.processes
    assert column(tick, "memory_used")[first * 4] < 512 << 20


def test_an_agent_greets_with_all_its_columns_and_gpus() -> None:
    simulation = site(20)
    hello = simulation.hello(19, "first")

    assert [c.name for c in hello.gpu_columns] == [name for _, name, _ in GPU_COLUMNS]
    assert [c.name for c in hello.host_columns] == [name for _, name, _ in HOST_COLUMNS]
    assert (hello.node_name, hello.rack, hello.hall) == ("a-r002-n02", "A-r002", "hall-A")
    assert [gpu.gpu_uuid for gpu in hello.gpus] == simulation.plan.gpu_uuids(19)
    assert [gpu.gpu_index for gpu in hello.gpus] == [0, 1, 2, 3]
    assert (hello.instance_id, hello.sample_period_seconds) == ("first", 1.0)


def test_a_run_is_reported_with_its_facts_ranks_and_processes() -> None:
    simulation = site(20)
    after(simulation, 1, 2)
    run = simulation.run_report(14).run_report.runs[0]
    processes = simulation.process_report(14).process_report.processes

    assert (run.run_id, run.attempt, run.rank_count, run.label) == ("10t", 1, 28, "modelled")
    assert [rank.rank for rank in run.ranks] == [4, 5, 6, 7]
    assert [(p.rank, p.pid) for p in processes] == [(r.rank, r.pid) for r in run.ranks]
    assert [list(p.gpu_indices) for p in processes] == [[0], [1], [2], [3]]
    assert '"checkpoint_plan_seconds"' in run.facts_json
    saved = simulation.checkpoint_reports(14)
    assert [m.checkpoint_report.rank for m in saved] == [4, 5, 6, 7]
    assert len(simulation.sensor_report(14).sensor_report.collectors) == 3


def test_a_spare_node_has_no_run() -> None:
    simulation = site(60)
    spare = int(np.flatnonzero(simulation.plan.run_of_node < 0)[0])

    assert not simulation.run_report(spare).run_report.runs
    assert simulation.run_report(spare).HasField("run_report")
    assert simulation.process_report(spare).HasField("process_report")
    assert simulation.checkpoint_reports(spare) == []


def test_a_tick_of_no_time_changes_nothing() -> None:
    simulation: Simulation = site(7)
    before = column(after(simulation, 1, 5), "energy")
    tick = after(simulation, 5, 5)

    assert np.array_equal(column(tick, "energy"), before)
    assert tick.steps == []


def test_the_simulation_opens_no_socket_and_starts_no_server() -> None:
    folder = Path(__file__).parents[2] / "colossus_tui" / "sim"
    texts = [path.read_text() for path in folder.glob("*.py")]

    assert not any("import grpc" in text or "import socket" in text for text in texts)
