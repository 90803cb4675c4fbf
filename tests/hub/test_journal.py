"""The journal across a hub's end."""

from __future__ import annotations

from pathlib import Path

from colossus_tui.hub.database import Database
from colossus_tui.hub.journal import KEPT_IN_MEMORY, Journal
from colossus_tui.model import Action, ActionState, Verb


async def test_an_open_action_is_found_again_behind_any_number_of_newer_ones(
    tmp_path: Path,
) -> None:
    database = Database(tmp_path / "hub.sqlite3")
    database.fetch_now("pragma synchronous = off")
    journal = Journal(database)
    for number in range(KEPT_IN_MEMORY + 50):  # one verb on very many runs, and the hub ends
        state = ActionState.DISPATCHED if number in (0, 40) else ActionState.OBSERVED
        name = f"action-{number:04d}"
        await journal.write(
            Action(name, Verb.PAUSE, f"r{number}", state, requested_time_unix_ns=number + 1)
        )
    database.close()

    database = Database(tmp_path / "hub.sqlite3")
    found = Journal(database).recent(10_000, open_only=True)
    database.close()

    assert [action.action_id for action in found] == ["action-0040", "action-0000"]


async def test_an_action_that_goes_on_for_long_keeps_no_other_in_memory(tmp_path: Path) -> None:
    database = Database(tmp_path / "hub.sqlite3")
    database.fetch_now("pragma synchronous = off")
    journal = Journal(database)
    await journal.write(Action("restore", Verb.RESTORE, "", ActionState.DISPATCHED))
    for number in range(KEPT_IN_MEMORY + 50):
        name = f"action-{number:04d}"
        await journal.write(
            Action(name, Verb.PAUSE, "r", ActionState.OBSERVED, requested_time_unix_ns=number + 1)
        )

    found = journal.recent(10_000)
    old = journal.get("action-0000")
    database.close()

    assert [found[0].action_id, found[-2].action_id] == ["action-0549", "action-0050"]
    assert found[-1].action_id == "restore"
    assert old is not None
