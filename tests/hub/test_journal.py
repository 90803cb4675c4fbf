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
