"""Shedding power and undoing it: what is asked for, then as with any other action."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from colossus_tui.cli.act import perform
from colossus_tui.cli.action import resolve
from colossus_tui.model import ActionParameters, Shed, Verb

if TYPE_CHECKING:
    from colossus_tui.client import Client


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
    named = resolve(client, arguments.action).action_id if arguments.action else ""
    asked = Shed(shed_action_id=named)
    return perform(client, Verb.RESTORE, "", ActionParameters(shed=asked), arguments)
