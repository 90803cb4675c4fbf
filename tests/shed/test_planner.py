"""The planner by itself: what holds for every site and target, and what it says of single cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.backends.cap import CAP_SECONDS
from colossus_tui.hub.shed import planner
from colossus_tui.hub.shed.config import ShedConfig, default_tier
from colossus_tui.hub.shed.planner import Load, Terms
from colossus_tui.model import PriorityClass, ShedPlan, ShedStep, Verb

IDLE = 140.0
CLASSES = st.sampled_from(list(PriorityClass))
REFUSALS = st.dictionaries(
    st.sampled_from([Verb.CAP, Verb.PAUSE]), st.just("it cannot"), max_size=2
)


@st.composite
def loads(draw: st.DrawFn) -> list[Load]:
    """Runs of any kind, also ones of which little is known."""
    found = []
    for number in range(draw(st.integers(0, 8))):
        gpus = draw(st.integers(0, 5_000))
        reporting = draw(st.integers(0, gpus))
        each = draw(st.floats(50, 1_300))
        found.append(
            Load(
                f"run-{number}",
                draw(CLASSES),
                draw(st.integers(0, 3)),
                gpus,
                reporting,
                draw(st.sampled_from([None, each * reporting, each * reporting])),
                draw(st.sampled_from([None, 1_200.0, 1_000.0])),
                draw(st.sampled_from([0.0, 200.0, 900.0])),
                draw(st.sampled_from([0.0, 0.0, 900.0])),
                draw(st.none() | st.floats(0, 1e6)),
                is_going=draw(st.booleans() | st.just(True)),
                pause_seconds=draw(st.floats(1, 600)),
                refusals=draw(REFUSALS),
            )
        )
    return found


floors = st.dictionaries(CLASSES, st.floats(0, 1), max_size=5)
terms = st.builds(
    Terms,
    st.builds(ShedConfig, floors, st.just((0.9, 0.8, 0.7)), st.sampled_from([0.0, 850.0])),
    st.just(IDLE),
    st.floats(1, 600),
    st.sampled_from([0.0, 10_800.0]),
)


def site_of(runs: Sequence[Load], target: float = 0.0) -> ShedPlan:
    """Return a site that draws what its runs draw, and a little more."""
    return ShedPlan(site_watts=sum(run.watts or 0.0 for run in runs) + 5e4, target_watts=target)


def single_steps(runs: Sequence[Load], how: Terms, plan: ShedPlan) -> list[ShedStep]:
    """Return the steps of the one order that a plan is made of, before they are merged."""
    whole = planner.order(runs, how).steps
    saved, count = plan.site_watts - plan.planned_watts, 0
    while saved > 1e-6 * max(plan.site_watts, 1.0) and count < len(whole):
        saved -= whole[count].saved_watts
        count += 1
    return list(whole[:count])


def depths(plan: ShedPlan) -> dict[str, float]:
    """Return how far each run is brought down: a cap by its watts, a pause to nothing."""
    return {step.run_id: step.cap_watts if step.verb is Verb.CAP else 0.0 for step in plan.planned}


def going(runs: Sequence[Load], steps: Sequence[ShedStep], kind: PriorityClass) -> float:
    """Return how much of a class's computing goes on after steps, in GPUs at full speed.

    The model of docs/shed.md, written down once more.
    """
    furthest = {step.run_id: step for step in steps}
    total = 0.0
    for run in runs:
        if run.priority_class is not kind:
            continue
        step, share = furthest.get(run.run_id), run.speed(IDLE)
        if step is not None and step.verb is Verb.PAUSE:
            share = 0.0
        elif step is not None:
            assert run.watts is not None
            above = run.watts / run.reporting_count - IDLE
            share *= min(1.0, ((step.cap_watts - IDLE) / above) ** 0.5)
        total += share * run.gpu_count
    return total


@given(loads(), terms, st.floats(0, 1))
def test_no_class_comes_below_its_floor(runs: list[Load], how: Terms, share: float) -> None:
    site = site_of(runs)
    plan = planner.plan(runs, how, replace(site, target_watts=share * site.site_watts))

    for kind in PriorityClass:
        whole = sum(run.gpu_count for run in runs if run.priority_class is kind)
        floor = how.config.floors.get(kind, 0.0) * whole
        before, after = going(runs, (), kind), going(runs, plan.steps, kind)
        assert after >= min(floor, before) - 1e-6


@given(loads(), terms, st.floats(0, 1))
def test_no_plan_sheds_more_than_was_asked_for_and_its_largest_step(
    runs: list[Load], how: Terms, share: float
) -> None:
    site = site_of(runs)
    site = replace(site, target_watts=share * site.site_watts)
    plan = planner.plan(runs, how, site)

    shed = sum(step.saved_watts for step in plan.planned)
    largest = max((one.saved_watts for one in single_steps(runs, how, plan)), default=0.0)
    asked = site.site_watts - site.target_watts
    assert shed == pytest.approx(site.site_watts - plan.planned_watts, abs=1e-3)
    assert shed <= asked + largest + 1e-3


@given(loads(), terms, st.floats(0, 1), st.floats(0, 1))
def test_a_lower_target_only_adds(runs: list[Load], how: Terms, share: float, other: float) -> None:
    high, low = max(share, other), min(share, other)
    site = site_of(runs)
    mild = planner.plan(runs, how, replace(site, target_watts=high * site.site_watts))
    hard = planner.plan(runs, how, replace(site, target_watts=low * site.site_watts))

    assert hard.planned_watts <= mild.planned_watts
    assert depths(mild).keys() <= depths(hard).keys()
    assert all(depths(hard)[run] <= watts for run, watts in depths(mild).items())


@given(loads(), terms, st.floats(0, 1))
def test_nothing_is_touched_that_must_not_be(runs: list[Load], how: Terms, share: float) -> None:
    site = site_of(runs)
    plan = planner.plan(runs, how, replace(site, target_watts=share * site.site_watts))

    by_name = {run.run_id: run for run in runs}
    for step in plan.steps:
        run = by_name[step.run_id]
        assert run.flex_tier > 0
        assert run.is_going
        assert step.verb not in run.refusals
        assert step.seconds <= how.within_seconds
        assert step.saved_watts > 0
        lowest = max(how.config.cap_floor_watts, run.lowest_watts)
        assert step.verb is Verb.PAUSE or step.cap_watts >= lowest
    assert len({step.run_id for step in plan.planned}) == len(plan.planned)
    tiers = [step.flex_tier for step in planner.order(runs, how).steps]
    assert tiers == sorted(tiers, reverse=True)


@given(loads(), terms, st.floats(0, 1))
def test_every_run_that_goes_on_is_accounted_for(
    runs: list[Load], how: Terms, share: float
) -> None:
    site = site_of(runs)
    plan = planner.plan(runs, how, replace(site, target_watts=share * site.site_watts))

    named = {left.run_id for left in plan.left} | {step.run_id for step in plan.planned}
    assert named == {run.run_id for run in runs if run.is_going}
    assert all(left.why for left in plan.left)


# --- single cases ----------------------------------------------------------------------------

HOW = Terms(ShedConfig(), IDLE, 300.0, 3 * 3_600.0)


def run(name: str, kind: str, gpus: int, *, each: float = 1_000.0, **more: object) -> Load:
    """Return a run that draws so much on each of its GPUs."""
    made = PriorityClass(kind)
    load = Load(name, made, default_tier(made), gpus, gpus, each * gpus, 1_200.0)
    return replace(load, **more)  # type: ignore[arg-type]  # the test's own names


RUNS = (
    run("10t", "P0", 3_600, work_at_risk_hours=100.0),
    run("6t", "P1", 2_400, work_at_risk_hours=900.0),
    run("1.5t", "P1", 900, work_at_risk_hours=10.0),
    run("1t-a", "P2", 600, work_at_risk_hours=50.0),
    run("1t-b", "P3", 600, work_at_risk_hours=80.0),
    run("scrap", "P4", 100, work_at_risk_hours=None),
)


def planned(megawatts: float, runs: Sequence[Load] = RUNS, how: Terms = HOW) -> ShedPlan:
    return planner.plan(runs, how, replace(site_of(runs), target_watts=megawatts * 1e6))


def words(plan: ShedPlan) -> list[str]:
    """Return the planned steps in short."""
    return [
        f"{step.verb} {step.run_id}" + (f" {step.cap_watts:.0f}" if step.cap_watts else "")
        for step in plan.planned
    ]


def test_caps_come_before_pauses_and_a_tier_gives_all_before_the_next() -> None:
    assert words(planned(8.24)) == ["cap 1t-b 960"]
    assert words(planned(8.2)) == ["cap scrap 960", "cap 1t-b 840"]
    assert words(planned(7.75)) == ["cap scrap 840", "pause 1t-b"]
    assert words(planned(7.66)) == ["pause 1t-b", "pause scrap"]
    assert words(planned(7.2)) == ["pause 1t-b", "pause scrap", "pause 1t-a"]


def test_a_pause_with_less_work_at_risk_for_its_watts_comes_first_and_an_unknown_one_last() -> None:
    runs = [
        run("a", "P3", 100, work_at_risk_hours=30.0, refusals={Verb.CAP: "no"}),
        run("b", "P3", 200, work_at_risk_hours=40.0, refusals={Verb.CAP: "no"}),
        run("c", "P3", 900, work_at_risk_hours=None, refusals={Verb.CAP: "no"}),
    ]

    assert words(planned(0.0, runs)) == ["pause b", "pause a", "pause c"]


def test_what_a_step_saves_and_costs_is_what_the_figures_make_of_it() -> None:
    (cap,) = planned(8.24).planned
    pause = planned(7.75).planned[-1]

    assert cap.saved_watts == pytest.approx(600 * 40)
    assert cap.work_at_risk_hours == 0
    assert cap.work_forgone_hours == pytest.approx((1 - (820 / 860) ** 0.5) * 600 * 3)
    assert cap.seconds == CAP_SECONDS
    assert pause.saved_watts == pytest.approx(600 * (1_000 - IDLE))
    assert pause.work_at_risk_hours == 80
    assert pause.work_forgone_hours == 600 * 3


def test_the_steps_after_the_plan_are_its_reserve() -> None:
    plan = planned(8.24)

    assert [step.is_reserve for step in plan.steps] == [False, True, True, True]
    assert plan.planned_watts == pytest.approx(plan.site_watts - 24_000)


def test_what_forbids_the_rest_is_said_where_the_target_is_out_of_reach() -> None:
    plan = planned(1.0)

    assert not plan.reaches
    why = {left.run_id: left.why for left in plan.left}
    assert why["10t"] == "flex tier 0 is never touched"
    assert "the floor of P1 is 50%" in why["6t"]

    plan = planned(0.0, [run("r", "P2", 10, refusals={Verb.PAUSE: "it is protected"})])
    assert words(plan) == ["cap r 840"]
    assert [(left.run_id, left.why) for left in plan.left] == [("r", "it is protected")]


def test_a_pause_that_takes_too_long_is_left_out_and_said() -> None:
    runs = [run("slow", "P3", 1_000, pause_seconds=400.0)]

    assert words(planned(0.1, runs)) == ["cap slow 840"]
    (left,) = planned(0.1, runs).left
    assert left.why == "its pause takes too long: 400 s of 300"


def test_a_class_of_which_much_is_paused_already_gives_no_more() -> None:
    runs = [run("going", "P1", 500), run("paused", "P1", 500, is_going=False, watts=None)]

    plan = planned(0.0, runs)

    assert plan.planned == ()
    assert "50% goes on" in plan.left[0].why


def test_waves_hold_what_may_go_on_at_once() -> None:
    plan = planned(7.0)

    for wave in planner.waves(plan.steps):
        assert len({(step.flex_tier, step.verb) for step in wave}) == 1
        assert len(wave) == 1 or not wave[0].is_reserve
    assert plan.seconds == sum(
        max(step.seconds for step in wave) for wave in planner.waves(plan.planned)
    )


def test_two_thousand_runs_are_planned_all_the_same() -> None:
    kinds = list(PriorityClass)
    runs = [
        run(f"r{n}", kinds[n % 5], 50 + n % 300, work_at_risk_hours=float(n % 97))
        for n in range(2_000)
    ]
    plan = planned(site_of(runs).site_watts * 0.7e-6, runs)

    assert plan.reaches
    assert len(plan.left) <= planner.LEFT_LIMIT
