"""What the journal does with each step of an action while its database is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub import database as database_module
from colossus_tui.hub import journal as journal_module
from colossus_tui.hub.database import Database
from colossus_tui.hub.journal import Journal, UnjournaledError
from colossus_tui.hub.storage.base import DatabaseAwayError, Row
from colossus_tui.hub.storage.sqlite import SqliteStorage
from colossus_tui.model import Action, ActionState, Event, ReasonCode, Verb

ACTION = Action("action-1", Verb.PAUSE, "r", ActionState.ACCEPTED, can_cancel=True)


class FickleStorage(SqliteStorage):
    """A file that is away when it is told to; what is written then may be taken all the same."""

    patience_seconds: float | None = 5.0
    is_away = False
    takes_it = False

    def open(self) -> None:
        """Open the file, unless it is away."""
        self._check()
        super().open()

    def fetch(self, statement: str, parameters: Row) -> list[tuple[Any, ...]]:
        """Return rows, unless it is away."""
        self._check()
        return super().fetch(statement, parameters)

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Write rows, and say that it is away when it is."""
        if self.takes_it:
            super().write(statement, rows)
        self._check()
        super().write(statement, rows)

    def _check(self) -> None:
        if self.is_away:
            raise DatabaseAwayError("the database is away")


async def seen(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"still waiting for {condition}")


class World:
    """A database that goes and comes, the journal on it, and what was told."""

    def __init__(self, path: Path) -> None:
        self.storage = FickleStorage(path)
        self.database = Database(self.storage)
        self.journal = Journal(self.database)
        self.told: list[Event] = []

    async def come_back(self) -> None:
        """Let the database be there again, and write what waited for it."""
        self.storage.is_away = self.storage.takes_it = False
        await seen(lambda: not self.database.is_behind)
        await self.journal.flush()

    def on_disk(self) -> list[ActionState]:
        """Return the states of all actions on disk."""
        rows = self.database.fetch_now("select body from actions")
        return [journal_module.decode(body).state for (body,) in rows]


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A journal whose database is looked after."""
    monkeypatch.setattr(database_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.01)
    world = World(tmp_path / "hub.sqlite3")
    task = asyncio.create_task(world.database.run(world.told.append))
    yield world
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    world.database.close()


@pytest.mark.parametrize("takes_it", [False, True])
async def test_a_new_action_is_refused_and_stays_so(world: World, takes_it: bool) -> None:
    world.storage.is_away, world.storage.takes_it = True, takes_it
    with pytest.raises(UnjournaledError, match="nothing is done that is not journaled"):
        await world.journal.write(ACTION)

    known = world.journal.get("action-1")
    assert known is not None
    assert (known.state, known.reason_code) == (ActionState.REFUSED, ReasonCode.UNREACHABLE)
    await world.come_back()
    assert world.on_disk() == [ActionState.REFUSED]


async def test_an_accepted_action_does_not_begin(world: World) -> None:
    await world.journal.write(ACTION)
    world.storage.is_away = True
    beginning = asyncio.create_task(
        world.journal.write(replace(ACTION, state=ActionState.DISPATCHED))
    )
    await asyncio.sleep(0.1)
    assert not beginning.done()

    await world.come_back()

    await asyncio.wait_for(beginning, 5)
    assert world.on_disk() == [ActionState.DISPATCHED]


async def test_what_is_past_return_goes_on(world: World) -> None:
    begun = replace(ACTION, state=ActionState.DISPATCHED)
    past = replace(begun, can_cancel=False)
    for step in (ACTION, begun, past):
        await world.journal.write(step)
    world.storage.is_away = True

    await world.journal.write(replace(past, detail="half way"))
    await world.journal.write(replace(past, state=ActionState.OBSERVED))

    known = world.journal.get("action-1")
    assert known is not None
    assert known.state is ActionState.OBSERVED
    await world.come_back()
    assert world.on_disk() == [ActionState.OBSERVED]


async def test_an_approval_that_cannot_be_journaled_does_not_count(world: World) -> None:
    waiting = replace(ACTION, state=ActionState.REQUESTED)
    await world.journal.write(waiting)
    world.storage.is_away = world.storage.takes_it = True

    with pytest.raises(UnjournaledError):
        await world.journal.write(ACTION)

    assert world.journal.get("action-1") == waiting
    await world.come_back()
    assert world.on_disk() == [ActionState.REQUESTED]


async def test_what_waits_is_bounded_and_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "WAITING_ROWS", 10)
    insert = "insert into runs (run_id, body, hub) values (?, '', '')"
    world.storage.is_away = True
    for number in range(15):
        await world.database.keep(insert, [(f"r{number:02d}",)])
    await seen(lambda: len(world.told) == 1)

    await world.come_back()

    await seen(lambda: len(world.told) == 2)
    rows = world.database.fetch_now("select run_id from runs order by run_id")
    assert [run_id for (run_id,) in rows] == [f"r{number:02d}" for number in range(5, 15)]
    assert [event.kind for event in world.told] == ["database.away", "database.back"]
    assert "5 rows" in world.told[1].message
