"""The hub as ever, but for this: it dies of SIGKILL at chosen points of its journal.

`python -m tests.actions.crashing_hub FILE ARGUMENTS...`: FILE says at which of its entries each
action stays, as JSON of ids to numbers. An action that has come there is on disk and goes no
further; once all have, or have ended before, the process dies.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from colossus_tui.hub.command import main
from colossus_tui.hub.journal import Journal
from colossus_tui.model import Action


def point(action: Action) -> int:
    """Return how many entries of an action are in the journal: its request alone is none."""
    return len(action.stages) - 1


def points(file: Path) -> dict[str, int]:
    """Return what the file says now; nothing where there is none."""
    try:
        found: dict[str, int] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return found


def die_at(file: Path) -> None:
    """Let every journal of this process end it at the points that the file names."""
    write = Journal.write
    reached: set[str] = set()

    async def write_and_stay(self: Journal, action: Action) -> None:
        await write(self, action)
        armed = points(file)
        if point(action) < armed.get(action.action_id, 1_000) and not action.state.is_end:
            return
        if action.action_id in armed:
            reached.add(action.action_id)
            if reached == set(armed):
                os.kill(os.getpid(), signal.SIGKILL)
            await asyncio.Event().wait()

    Journal.write = write_and_stay  # type: ignore[method-assign]  # the same process, a real death


if __name__ == "__main__":
    die_at(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
