"""Waiting for actions to end, and what is said meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from colossus_tui.cli.cards import goes_on, standing
from colossus_tui.cli.output import note
from colossus_tui.model import Action
from colossus_tui.text import safe

if TYPE_CHECKING:
    from colossus_tui.client import Client

PARTS_SECONDS = 1.0


def follow(
    client: Client,
    actions: Sequence[Action],
    *,
    quiet: bool,
    approval_timeout: float | None,
    named: bool = False,
) -> list[Action]:
    """Return the actions once all have ended, or as they were when they could not be followed.

    Args:
        quiet: Say nothing on the way.
        approval_timeout: Wait no longer for other operators; None waits as long as the hub does.
        named: Say which run each line is about, also at its end.
    """
    from colossus_tui.client import ColossusError

    latest = {action.action_id: action for action in actions}
    waited = [action.action_id for action in actions if not action.state.is_end]
    try:
        for newer in client.follow_all(waited, approval_timeout=approval_timeout):
            latest[newer.action_id] = newer
            if not quiet and (named or not newer.state.is_end):
                note(f"  {_line(newer) if named else standing(newer)}")
    except ColossusError as error:
        note(f"colossus: {safe(str(error))}")
    except KeyboardInterrupt:
        note("\n" + _left([one for one in latest.values() if not one.state.is_end]))
        raise
    return list(latest.values())


def _line(action: Action) -> str:
    return f"{safe(action.subject, 63)}: {standing(action)}"


def _left(going_on: Sequence[Action]) -> str:
    """Return what an operator who leaves must know of what goes on without him."""
    if len(going_on) == 1:
        return f"not waited for: {goes_on(going_on[0])}"
    lines = [
        f"not waited for: {len(going_on)} actions go on: colossus actions --open shows them, "
        "colossus cancel ACTION takes one back",
        *(f"  {one.action_id}  {one.verb} {safe(one.subject, 63)}" for one in going_on),
    ]
    return "\n".join(lines)


class Parts:
    """Says each change of an action's parts while it is followed; use it as a context manager."""

    def __init__(self, client: Client, action_id: str) -> None:
        self._client = client
        self._action_id = action_id
        self._said: dict[str, str] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="parts", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        from colossus_tui.client import ColossusError

        while True:
            last = self._ended.wait(PARTS_SECONDS)
            try:
                parts = self._client.actions(parent_action_id=self._action_id, limit=500)
            except ColossusError:
                parts = ()  # the hub is away; the action itself is followed all the same
            for part in reversed(parts):
                line = f"  {part.verb} {_line(part)}"
                if self._said.get(part.action_id) != line:
                    self._said[part.action_id] = line
                    note(line)
            if last:
                return
