"""What moving nodes would change: nothing by itself, no node lost, more nodes are faster."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.model import (
    Job,
    Money,
    MoveError,
    PriorityClass,
    Run,
    RunState,
    WhatIf,
    bet_of,
    training_flop,
    what_if,
)
from colossus_tui.model.match import parse

NOW = 1_800_000_000 * 10**9
DAY = 86_400 * 10**9


def run(run_id: str, nodes: int, priority_class: str = "P2", **changes: object) -> Run:
    one = Run(
        run_id,
        state=RunState.RUNNING,
        priority_class=PriorityClass(priority_class),
        node_count=nodes,
        gpu_count=4 * nodes,
        tokens_per_second=1_000.0 * nodes,
        power_watts=4_000.0 * nodes,
        eta_unix_ns=NOW + 10 * DAY,
        eta_early_unix_ns=NOW + 9 * DAY,
        eta_late_unix_ns=NOW + 12 * DAY,
        money=Money("$", per_hour=8.0 * nodes),
    )
    return replace(one, **changes)  # type: ignore[arg-type]


SITE = [run("a", 100), run("b", 50), run("c", 30, "P4"), run("d", 7, "P4")]
NAMES = st.sampled_from(["a", "b", "c", "d", "P2", "P4"])


def of(found: WhatIf, run_id: str) -> tuple[float, float]:
    shift = next(shift for shift in found.shifts if shift.run_id == run_id)
    assert shift.before.tokens_per_second is not None
    assert shift.after.tokens_per_second is not None
    return shift.before.tokens_per_second, shift.after.tokens_per_second


@given(NAMES, NAMES)
def test_nothing_moved_changes_nothing(source: str, target: str) -> None:
    try:
        found = what_if(SITE, source, target, 0, now_unix_ns=NOW)
    except MoveError:
        assert source == target
        return

    assert all(shift.before == shift.after for shift in found.shifts)
    assert found.steps == ()
    assert found.modelled


@given(NAMES, NAMES, st.none() | st.integers(0, 200), st.floats(0.5, 1.0))
def test_no_node_is_lost_and_none_is_below_zero(
    source: str, target: str, nodes: int | None, efficiency: float
) -> None:
    try:
        found = what_if(SITE, source, target, nodes, efficiency=efficiency, now_unix_ns=NOW)
    except MoveError:
        return

    before = sum(shift.before.node_count for shift in found.shifts)
    after = sum(shift.after.node_count for shift in found.shifts)
    gained = sum(max(s.after.node_count - s.before.node_count, 0) for s in found.shifts)
    assert before == after
    assert gained == found.node_count
    assert all(shift.after.node_count >= 0 for shift in found.shifts)
    # Cost and power belong to nodes, and all have the same here.
    assert sum(s.after.power_watts or 0 for s in found.shifts) == pytest.approx(4_000.0 * before)
    assert sum(s.after.money_per_day or 0 for s in found.shifts) == pytest.approx(192.0 * before)


@given(st.integers(1, 98), st.floats(0.51, 1.0))
def test_more_nodes_are_faster_and_earlier(nodes: int, efficiency: float) -> None:
    fewer = what_if(SITE, "a", "b", nodes, efficiency=efficiency, now_unix_ns=NOW)
    more = what_if(SITE, "a", "b", nodes + 1, efficiency=efficiency, now_unix_ns=NOW)

    assert of(fewer, "b")[0] < of(fewer, "b")[1] < of(more, "b")[1]
    assert of(fewer, "a")[0] > of(fewer, "a")[1] > of(more, "a")[1]
    ends = {shift.run_id: shift for shift in more.shifts}
    assert ends["b"].after.eta_unix_ns < ends["b"].before.eta_unix_ns
    assert ends["a"].after.eta_unix_ns > ends["a"].before.eta_unix_ns
    after = ends["b"].after
    assert after.eta_early_unix_ns < after.eta_unix_ns < after.eta_late_unix_ns
    assert ends["c"].before == ends["c"].after


def test_a_doubling_brings_twice_the_efficiency() -> None:
    found = what_if([run("a", 100), run("b", 100)], "a", "b", now_unix_ns=NOW)
    before, after = of(found, "b")

    assert after == pytest.approx(1.8 * before)
    (a, b) = found.shifts
    assert b.after.eta_unix_ns == pytest.approx(NOW + 10 * DAY / 1.8, abs=10**9)
    assert (a.after.node_count, a.after.tokens_per_second, a.after.eta_unix_ns) == (0, 0.0, 0)
    assert found.steps[0] == "colossus pause a b"
    assert found.steps[-1] == "colossus resume b"


def test_a_class_gives_in_proportion_and_not_to_itself() -> None:
    found = what_if(SITE, "P4", "a", 10, now_unix_ns=NOW)
    inward = what_if(SITE, "P2", "a", now_unix_ns=NOW)

    nodes = {shift.run_id: shift.after.node_count for shift in found.shifts}
    assert nodes == {"a": 110, "b": 50, "c": 22, "d": 5}
    assert {s.run_id: s.after.node_count for s in inward.shifts}["a"] == 150


@pytest.mark.parametrize(
    ("source", "target", "nodes", "named"),
    [
        ("x", "a", None, "from: there is no run and no class 'x'"),
        ("a", "x", None, "to: there is no run"),
        ("a", "a", None, "name another"),
        ("P2", "P2", None, "name another"),
        ("P0", "a", None, "no run of class P0"),
        ("a", "b", 101, "not within 0 and the 100"),
        ("a", "b", -1, "nodes: -1"),
        ("a", "rests", None, "rests is paused"),
    ],
)
def test_what_cannot_move_is_named(source: str, target: str, nodes: int | None, named: str) -> None:
    runs = [*SITE, run("rests", 0, state=RunState.PAUSED)]
    with pytest.raises(MoveError, match=named):
        what_if(runs, source, target, nodes)


@pytest.mark.parametrize("efficiency", [0.49, 1.01, float("nan")])
def test_an_efficiency_that_cannot_be_is_named(efficiency: float) -> None:
    with pytest.raises(MoveError, match="efficiency"):
        what_if(SITE, "a", "b", 1, efficiency=efficiency)


def test_what_is_not_known_stays_unknown_and_over_is_left_out() -> None:
    silent = Run("s", state=RunState.RUNNING, node_count=4)
    over = Run("o", state=RunState.COMPLETED, node_count=4)
    found = what_if([*SITE, silent, over], "s", "a", 2, now_unix_ns=NOW)

    after = next(shift.after for shift in found.shifts if shift.run_id == "s")
    assert (after.node_count, after.tokens_per_second, after.money_per_day) == (2, None, None)
    assert (after.eta_unix_ns, after.power_watts) == (0, None)
    assert "o" not in {shift.run_id for shift in found.shifts}


@pytest.mark.parametrize(
    ("backend", "word"), [("slurm", "JobId=77 NumNodes=90"), ("kubernetes", "parallelism")]
)
def test_the_way_to_it_is_in_the_backends_words(backend: str, word: str) -> None:
    runs = [run("a", 100, backend=backend, job=Job(job_id="77")), run("b", 50)]

    assert any(word in step for step in what_if(runs, "a", "b", 10).steps)


def test_a_bet_has_figures_only_where_they_are_known() -> None:
    full = run(
        "a",
        10,
        tokens=1_000,
        parameters_count=1_000_000,
        step=25,
        target_steps=100,
        joules_per_token=0.5,
        planned_end_unix_ns=NOW + 8 * DAY,
        money=Money("$", per_billion_tokens=100.0),
    )
    bet, blank = bet_of(full), bet_of(Run("b"))

    assert bet.training_flop == 6e9
    assert bet.tokens_per_money == 1e7
    assert bet.tokens_per_megawatt_hour == 7.2e9
    assert bet.tokens_per_gpu_hour == 900_000
    assert bet.progress_ratio == 0.25
    assert bet.late_seconds == 2 * 86_400
    assert (blank.training_flop, blank.tokens_per_money, blank.progress_ratio) == (None, None, None)
    assert (blank.late_seconds, blank.tokens_per_gpu_hour) == (None, None)
    for text, found in (("done>=25%", 1), ("done>0.5", 0), ("late>1d", 1), ("late>3d", 0)):
        assert sum(map(parse(text), [full, Run("b")])) == found
    assert training_flop(None, 10) is None
