"""Power, heat, clocks and activity hang together, with and without faults."""

from __future__ import annotations

import numpy as np
import pytest

from colossus_tui.sim.physics import Mode, Physics
from colossus_tui.sim.plan import plan_site
from tests.sim.sites import COLUMN, after, column, rows, site, ticks


def test_a_busy_gpu_draws_what_its_activity_asks_for() -> None:
    tick = after(site(100), 1, 3)
    spare = np.repeat(site(100).plan.run_of_node < 0, 4)

    assert 850 < column(tick, "power")[~spare].min() < column(tick, "power").max() < 1200
    assert column(tick, "power")[spare].max() == pytest.approx(140, abs=5)
    assert (column(tick, "gpu_utilisation")[~spare] > 0.9).all()
    assert column(tick, "sm_clock")[~spare].min() == 1980
    assert (column(tick, "clock_event_reasons")[spare] == 1).all()
    assert tick.values.flags.c_contiguous
    assert np.isfinite(tick.values).all()
    assert np.isfinite(tick.host_values).all()


@pytest.mark.parametrize("is_busy", [True, False])
def test_temperature_follows_power(is_busy: bool) -> None:
    plan = plan_site(7)
    physics = Physics(plan, 7)
    down, paces = np.zeros(7, np.bool_), np.ones(7, np.float32)
    first, then = (Mode.IDLE, Mode.BUSY) if is_busy else (Mode.BUSY, Mode.IDLE)
    for second in range(200):
        physics.advance(second, np.full(7, first, np.uint8), paces, down)
    before = physics.values.copy()
    for second in range(200, 230):
        physics.advance(second, np.full(7, then, np.uint8), paces, down)
    rise = (physics.values - before)[:, [COLUMN["power"], COLUMN["gpu_temperature"]]]

    assert is_busy == bool((rise > 10).all())
    assert is_busy != bool((rise < -10).all())


def test_energy_is_power_over_time() -> None:
    simulation = site(7)
    before = column(after(simulation, 1, 1), "energy")
    tick = after(simulation, 2, 11)
    watts = (column(tick, "energy") - before) / 10

    assert watts == pytest.approx(column(tick, "power"), rel=0.15)


def test_a_hung_collective_is_busy_without_computing() -> None:
    simulation = site(20, '[[fault]]\nkind = "hang"\nat = 5\nduration = 60\nrun = "6t"')
    before, hung = after(simulation, 1, 3), rows(simulation, "6t")
    power_before = column(before, "power")
    tick = after(simulation, 4, 20)
    share = column(tick, "power") / power_before
    others = np.ones(len(share), np.bool_)
    others[hung] = False

    assert (column(tick, "gpu_utilisation")[hung] == 1).all()
    assert column(tick, "tensor_active")[hung].max() < 0.02
    assert 0.33 < share[hung].min() < share[hung].max() < 0.47
    assert share[others].min() > 0.8
    assert [
        step for t in ticks(simulation, 21, 60) for step in t.steps if step.run_id == "6t"
    ] == []
    assert "6t" in {step.run_id for t in ticks(simulation, 61, 80) for step in t.steps}


def test_a_straggler_stretches_the_step_and_the_others_wait() -> None:
    fault = '[[fault]]\nkind = "straggler"\nat = 30\nrun = "10t"\nrank = 5\nsize = 0.5'
    simulation, usual = site(20, fault), site(20)
    gpus = rows(simulation, "10t")
    slow = [s for t in ticks(simulation, 1, 120) for s in t.steps if s.run_id == "10t"]
    fast = [s for t in ticks(usual, 1, 120) for s in t.steps if s.run_id == "10t"]
    clock = column(after(simulation, 121, 121), "sm_clock")[gpus]
    power = column(after(simulation, 122, 122), "power")[gpus]
    step = slow[-1]

    assert len(slow) < 0.75 * len(fast)
    assert clock[5] == 990
    assert np.delete(clock, 5).min() == 1980
    assert int(step.step_seconds.argmax()) == 5
    assert np.median(step.step_seconds) / step.step_seconds[5] < 0.7
    assert power[5] < power.mean() < column(after(usual, 121, 121), "power")[gpus].mean()


def test_a_cooling_fault_heats_its_rack_only_until_it_throttles() -> None:
    fault = '[[fault]]\nkind = "cooling"\nat = 5\nduration = 600\nsize = 40\nrack = "A-r002"'
    simulation = site(60, fault)
    before = column(after(simulation, 1, 4), "gpu_temperature")
    tick = after(simulation, 5, 400)
    rack = simulation.physics.rows(simulation.plan.nodes_of_rack(1))
    elsewhere = np.ones(len(before), np.bool_)
    elsewhere[rack] = False
    rise = column(tick, "gpu_temperature") - before
    reasons = column(tick, "clock_event_reasons").astype(int)

    assert rise[rack].min() > 15
    assert rise[elsewhere].max() < 6
    assert ((reasons[rack] & 0x60) > 0).mean() > 0.9
    assert not (reasons[elsewhere] & 0x60).any()
    assert column(tick, "sm_clock")[rack].mean() < 1950
    assert column(tick, "gpu_temperature")[rack].max() < 105


def test_a_cooling_fault_ends() -> None:
    fault = '[[fault]]\nkind = "cooling"\nat = 1\nduration = 90\nrack = "A-r001"'
    simulation = site(7, fault)
    before = column(after(simulation, 1, 1), "gpu_temperature")
    hot = column(after(simulation, 2, 90), "gpu_temperature")
    tick = after(simulation, 91, 300)

    assert (hot - before).min() > 10
    assert abs(column(tick, "gpu_temperature") - before).max() < 6
    assert not (column(tick, "clock_event_reasons").astype(int) & 0x60).any()


def test_a_hall_goes_over_its_limit_and_the_power_cap_holds_its_gpus() -> None:
    fault = '[[fault]]\nkind = "feed_limit"\nat = 5\nduration = 300\nhall = "hall-A"\nsize = 1.3'
    simulation = site(20, fault)
    limit = simulation.plan.limits[0].watts
    before = after(simulation, 1, 4).hall_watts[0]
    most = max(tick.hall_watts[0] for tick in ticks(simulation, 5, 60))
    tick = after(simulation, 61, 62)
    capped = column(tick, "clock_event_reasons").astype(int) & 0x4

    assert before < 0.9 * limit
    assert most > limit
    assert capped.any()
    assert column(tick, "power").max() <= 1200.5
    assert after(simulation, 63, 340).hall_watts[0] < 0.9 * limit


def test_xids_come_one_after_the_other_and_stay_in_their_column() -> None:
    fault = (
        '[[fault]]\nkind = "xid_storm"\nat = 5\nduration = 20\nsize = 12\nxid = 79\nrack = "A-r001"'
    )
    simulation = site(40, fault)
    events = [event for tick in ticks(simulation, 1, 40) for event in tick.events]
    tick = after(simulation, 41, 41)
    marked = {int(row) // 4 for row in np.flatnonzero(column(tick, "xid") == 79)}

    assert len(events) == 12
    assert {"gpu.xid"} == {event.kind for _, event in events}
    assert {node for node, _ in events} == marked
    assert marked <= set(simulation.plan.nodes_of_rack(0))
    assert events[0][1].message == "XID 79: GPU has fallen off the bus"
    assert len({event.time_unix_ns for _, event in events}) > 6


def test_saving_lets_a_runs_power_dip() -> None:
    simulation = site(20, '[[fault]]\nkind = "checkpoint"\nat = 5\nrun = "10t"')
    gpus = rows(simulation, "10t")
    usual = column(after(simulation, 1, 4), "power")[gpus].mean()
    dip = min(column(tick, "power")[gpus].mean() for tick in ticks(simulation, 5, 16))

    assert dip < 0.5 * usual


def test_idle_nodes_hold_their_memory_and_do_no_work_until_the_end() -> None:
    fault = '[[fault]]\nkind = "idle"\nat = 5\nduration = 60\nrack = "A-r002"'
    simulation = site(60, fault)
    rack = simulation.physics.rows(simulation.plan.nodes_of_rack(1))
    before = after(simulation, 1, 4)
    memory = column(before, "memory_used")[rack]
    assert column(before, "gpu_utilisation")[rack].min() > 0.5

    during = after(simulation, 5, 30)
    elsewhere = np.delete(column(during, "gpu_utilisation"), np.r_[rack])
    busy = np.delete(column(before, "gpu_utilisation"), np.r_[rack])

    assert column(during, "gpu_utilisation")[rack].max() == 0
    assert column(during, "sm_active")[rack].max() < 0.05
    assert np.allclose(column(during, "memory_used")[rack], memory, rtol=0.01)
    assert (elsewhere > 0.5).sum() == (busy > 0.5).sum()
    assert column(after(simulation, 31, 90), "gpu_utilisation")[rack].min() > 0.5
