"""Undoing a shed that the journal has on disk alone: what is said of it, and what is undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from colossus_tui.hub.actions.ports import RunRegistry
from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.hub.database import Database
from colossus_tui.hub.journal import KEPT_IN_MEMORY, Journal
from colossus_tui.hub.shed.restoring import Restoring
from colossus_tui.hub.shed.shedding import step_id
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    PlaceKind,
    PowerPlace,
    Run,
    RunState,
    Shed,
    ShedPlan,
    ShedStep,
    Verb,
)

STEP = ShedStep(Verb.PAUSE, "a", saved_watts=10.0)
WHOLE = Action(
    "shed",
    Verb.SHED,
    "",
    ActionState.OBSERVED,
    requested_time_unix_ns=1,
    parameters=ActionParameters(shed=Shed(plan=ShedPlan(steps=(STEP,)))),
)
PART = Action(step_id(WHOLE, STEP), Verb.PAUSE, "a", ActionState.OBSERVED, requested_time_unix_ns=2)


class PausedRuns:
    """Runs that are all paused."""

    def get(self, run_id: str) -> Run:
        return Run(run_id, state=RunState.PAUSED)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "hub.sqlite3")
    database.fetch_now("pragma synchronous = off")
    yield database
    database.close()


async def _after(database: Database, *since: Action) -> tuple[Restoring, Journal]:
    """Return what undoes sheds after a shed, these actions, and all that memory holds of others."""
    journal = Journal(database)
    for action in (WHOLE, PART, *since):
        await journal.write(action)
    for number in range(KEPT_IN_MEMORY):
        name, at = f"other-{number:04d}", 100 + number
        other = Action(name, Verb.CHECKPOINT, "b", ActionState.OBSERVED, requested_time_unix_ns=at)
        await journal.write(other)
    assert all(journal.in_memory(one.action_id) is None for one in (WHOLE, PART, *since))
    registry = cast("RunRegistry", PausedRuns())
    place = PowerPlace(PlaceKind.SITE, "")
    return Restoring("north", registry, journal, lambda: place), journal


def _on_run(verb: Verb, second: int, state: ActionState = ActionState.OBSERVED) -> Action:
    name = f"{verb}-{second}"
    return Action(name, verb, "a", state, operator="ada", requested_time_unix_ns=second)


async def test_a_run_that_somebody_has_paused_since_is_left_however_long_ago(
    database: Database,
) -> None:
    resumed, paused = _on_run(Verb.RESUME, 3), _on_run(Verb.PAUSE, 4)
    restoring, _ = await _after(database, resumed, paused)

    undoing = restoring.undoing(WHOLE)

    assert undoing.steps == ()
    assert [left.why for left in undoing.left] == ["ada asked for a pause since"]


async def test_any_number_of_refusals_hides_nothing(database: Database) -> None:
    refused = [_on_run(Verb.STOP, second, ActionState.REFUSED) for second in range(5, 35)]
    restoring, _ = await _after(database, _on_run(Verb.RESUME, 3), _on_run(Verb.PAUSE, 4), *refused)

    assert restoring.undoing(WHOLE).steps == ()


async def test_a_run_that_nobody_has_touched_since_is_resumed(database: Database) -> None:
    before, other = _on_run(Verb.PAUSE, 1), _on_run(Verb.CHECKPOINT, 3)
    restoring, _ = await _after(database, before, other, _on_run(Verb.STOP, 4, ActionState.REFUSED))

    assert restoring.undoing(WHOLE).steps == (STEP,)


async def test_a_shed_that_holds_is_found_on_disk(database: Database) -> None:
    restoring, _ = await _after(database)

    restoring.check(Shed())
    assert restoring.plan(Shed()).shed_action_id == "shed"


async def test_a_shed_that_was_undone_long_ago_holds_no_more(database: Database) -> None:
    undone = Action(
        "restore",
        Verb.RESTORE,
        "",
        ActionState.OBSERVED,
        requested_time_unix_ns=5,
        parameters=ActionParameters(shed=Shed(shed_action_id="shed")),
    )
    restoring, _ = await _after(database, undone)

    with pytest.raises(RefusalError, match="no shed holds now"):
        restoring.check(Shed())


async def test_what_is_in_memory_is_newer_than_what_is_on_disk(database: Database) -> None:
    drained = Action("drain", Verb.DRAIN, "", ActionState.OBSERVED, requested_time_unix_ns=6)
    _, journal = await _after(database, drained)
    again = Action("shed-2", Verb.SHED, "", ActionState.DISPATCHED, requested_time_unix_ns=900)
    await journal.write(again)

    assert [one.action_id for one in journal.on_site()] == ["shed-2", "shed"]
    assert journal.since(again) == []
