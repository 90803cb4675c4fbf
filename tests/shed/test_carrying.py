"""A plan on its way, on a site of a test's own: what is begun when, what is spared, how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import cast

import pytest

from colossus_tui.hub.backends.base import ActionFailedError, Order, Stage
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.shed import shedding
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.shed.loads import Loads
from colossus_tui.hub.shed.shedding import Shedding
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionStage,
    ActionState,
    PlaceKind,
    PowerPlace,
    ReasonCode,
    Shed,
    ShedPlan,
    ShedStep,
    Verb,
)

STEPS = (
    ShedStep(Verb.CAP, "a", flex_tier=3, cap_watts=900, saved_watts=10.0, seconds=1),
    ShedStep(Verb.CAP, "b", flex_tier=3, cap_watts=900, saved_watts=10.0, seconds=1),
    ShedStep(Verb.PAUSE, "c", flex_tier=3, saved_watts=30.0, seconds=1),
    ShedStep(Verb.PAUSE, "d", flex_tier=2, saved_watts=30.0, seconds=1, is_reserve=True),
    ShedStep(Verb.PAUSE, "e", flex_tier=2, saved_watts=30.0, seconds=1, is_reserve=True),
)
PLAN = ShedPlan(site_watts=100, power_basis="GPUs", target_watts=60, planned_watts=50, steps=STEPS)


class NoJournal:
    """A journal in which nothing is."""

    def get(self, action_id: str) -> Action | None:
        del action_id
        return None


class World:
    """A site whose power falls when a step ends.

    Attributes:
        failing: Runs whose steps fail.
        outside: What else the site has stopped drawing.
        step_seconds: How long a step takes.
        begun: Steps in the order in which they were begun, those at once together.
    """

    def __init__(self, *failing: str, restore: ActionState = ActionState.ACCEPTED) -> None:
        self.failing = failing
        self.outside = 0.0
        self.step_seconds = 0.03
        self.begun: list[str] = []
        self.told: list[str] = []
        self._drawn = 100.0
        self._restore = restore

    def site(self) -> PowerPlace:
        return PowerPlace(PlaceKind.SITE, "", drawn_watts=self._drawn - self.outside, basis="GPUs")

    async def part(
        self, verb: Verb, run_id: str, parameters: ActionParameters | None = None
    ) -> AsyncGenerator[Action, None]:
        """Carry a step out."""
        del parameters
        action = Action("part", verb, run_id, ActionState.ACCEPTED)
        if verb is Verb.RESTORE:
            self.begun.append("restore later")
            yield replace(action, state=self._restore, detail="a rule forbids it")
            return
        self.begun.append(run_id)
        yield action
        await asyncio.sleep(self.step_seconds)
        if run_id in self.failing:
            yield replace(action, state=ActionState.FAILED, detail="it did not")
            return
        self._drawn -= next(step.saved_watts for step in STEPS if step.run_id == run_id)
        yield replace(action, state=ActionState.OBSERVED)

    async def report(self, stage: Stage) -> None:
        self.told.append(stage.detail)

    async def carry(self, shed: Shed) -> str:
        """Carry a shed out; return what was observed."""
        shed = replace(shed, plan=shed.plan or PLAN)
        accepted = ActionStage(time.time_ns(), ActionState.ACCEPTED)
        action = Action(
            "whole", Verb.SHED, "", stages=(accepted,), parameters=ActionParameters(shed=shed)
        )
        journal = cast("Journal", NoJournal())
        loads = cast("Loads", None)  # only plans are made of them
        carrier = Shedding("north", loads, ShedConfig(), journal, self.site)
        return await carrier.execute(Order(action, self.report, part=self.part))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a look take a moment and a site show its power at once."""
    monkeypatch.setattr(shedding, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(shedding, "SETTLE_SECONDS", 0.3)


async def test_waves_follow_one_another_and_no_reserve_is_touched() -> None:
    world = World()

    text = await world.carry(Shed(within_seconds=60))

    assert world.begun == ["a", "b", "c"]
    assert text.startswith("3/3 steps; 5")
    assert text.endswith("target 60 W; planned 50 W; GPUs, 0/0 GPUs reporting")
    assert any("0/3 steps, 2 going on" in told for told in world.told)


async def test_what_is_not_needed_any_more_is_spared() -> None:
    world = World()
    world.outside = 45.0  # another run has ended meanwhile
    world.step_seconds = 0.4  # long enough to be sure of it before the next wave

    text = await world.carry(Shed(within_seconds=60))

    assert world.begun == ["a", "b"]
    assert "1 more was not needed" in text


async def test_a_step_that_fails_is_made_up_for_by_the_reserve_alone() -> None:
    world = World("c")

    text = await world.carry(Shed(within_seconds=60))

    assert world.begun == ["a", "b", "c", "d"]  # and not e: d was enough
    assert "c: pause failed: it did not" in text


async def test_it_is_partial_where_even_the_reserve_is_not_enough() -> None:
    world = World("c", "d", "e")

    with pytest.raises(ActionFailedError, match="above the target: 2/3 steps") as failed:
        await world.carry(Shed(within_seconds=60))

    assert failed.value.state is ActionState.PARTIAL
    assert world.begun == ["a", "b", "c", "d", "e"]


async def test_it_has_failed_where_no_step_was_done() -> None:
    world = World("a", "b", "c", "d", "e")

    with pytest.raises(ActionFailedError) as failed:
        await world.carry(Shed(within_seconds=60))

    assert failed.value.state is ActionState.FAILED


async def test_the_next_wave_begins_in_time_even_when_the_one_before_goes_on() -> None:
    world = World()
    world.step_seconds = 0.5
    slow = tuple(replace(step, seconds=4.98) for step in STEPS)

    text = await world.carry(Shed(within_seconds=5.0, plan=replace(PLAN, steps=slow)))

    assert world.begun[:3] == ["a", "b", "c"]
    assert any("0/3 steps, 3 going on" in told for told in world.told), text


async def test_its_undoing_is_asked_for_before_anything_is_done() -> None:
    world = World()

    text = await world.carry(Shed(within_seconds=60, duration_seconds=3_600, auto_restore=True))

    assert world.begun == ["restore later", "a", "b", "c"]
    assert "the hub undoes it at " in text


async def test_nothing_is_shed_that_the_hub_could_not_undo() -> None:
    world = World(restore=ActionState.REFUSED)

    with pytest.raises(ActionFailedError, match="a rule forbids it; nothing was done") as failed:
        await world.carry(Shed(within_seconds=60, duration_seconds=3_600, auto_restore=True))

    assert failed.value.code is ReasonCode.POLICY
    assert world.begun == ["restore later"]
