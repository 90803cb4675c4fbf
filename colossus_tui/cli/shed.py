"""Shedding power and undoing it: what is asked for, then as with any other action."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from colossus_tui.cli.act import perform
from colossus_tui.cli.action import resolve
from colossus_tui.model import ActionParameters, Shed, Verb, sheds_in_force

if TYPE_CHECKING:
    from colossus_tui.client import Client

LOOKED_THROUGH = 500  # newest actions, among which the shed to undo is looked for


def shed(client: Client, arguments: argparse.Namespace) -> int:
    """Bring the site under a power."""
    asked = Shed(
        target_watts=arguments.to or 0.0,
        cut_ratio=arguments.by or 0.0,
        within_seconds=arguments.within,
        duration_seconds=arguments.duration or 0.0,
        auto_restore=arguments.duration is not None and arguments.auto_restore,
    )
    return perform(client, Verb.SHED, "", ActionParameters(shed=asked), arguments)


def restore(client: Client, arguments: argparse.Namespace) -> int:
    """Undo a shed: the one that is named, else the newest that still holds."""
    shed_id = resolve(client, arguments.action).action_id if arguments.action else _newest(client)
    asked = Shed(shed_action_id=shed_id)
    return perform(client, Verb.RESTORE, "", ActionParameters(shed=asked), arguments)


def _newest(client: Client) -> str:
    """Return the newest shed that nobody has undone.

    Raises:
        NotFoundError: There is none.
    """
    from colossus_tui.client import NotFoundError

    held = sheds_in_force(client.actions(limit=LOOKED_THROUGH))
    if not held:
        raise NotFoundError("no shed holds now; colossus actions lists those that were")
    return held[0].action_id
