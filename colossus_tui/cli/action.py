"""Commands about an action that was asked for: cancel it, approve it, find it by its id."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from colossus_tui.cli import confirm, exit_codes
from colossus_tui.cli.act import concluded
from colossus_tui.cli.cards import action_text
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.model import Action, ReasonCode
from colossus_tui.text import safe

if TYPE_CHECKING:
    from colossus_tui.client import Client, RefusedError

PREFIX_LENGTH = 8
NAMED = 5


def resolve(client: Client, text: str) -> Action:
    """Return the action of this id, or of the only one that begins so.

    Raises:
        InvalidRequestError: It is too short, or several begin so.
        NotFoundError: None begins so.
    """
    from colossus_tui.client import InvalidRequestError, NotFoundError

    if len(text) < PREFIX_LENGTH:
        raise InvalidRequestError(
            f"ACTION {text!r}: give at least {PREFIX_LENGTH} characters of its id, "
            "as colossus actions shows it"
        )
    found = client.actions(action_id_prefix=text, limit=NAMED + 1)
    if not found:
        raise NotFoundError(f"there is no action {text!r}; colossus actions lists them")
    exact = [action for action in found if action.action_id == text]
    if len(found) > 1 and not exact:
        named = "; ".join(f"{one.action_id} ({one.verb} {one.subject})" for one in found[:NAMED])
        more = " and more" if len(found) > NAMED else ""
        raise InvalidRequestError(f"ACTION {text!r}: several begin so: {named}{more}")
    return (exact or found)[0]


def cancel(client: Client, arguments: argparse.Namespace) -> int:
    """Take an action back while nothing of it is final; done when it has ended so."""
    from colossus_tui.client import RefusedError

    known = resolve(client, arguments.action)
    try:
        action = client.cancel(known.action_id)
    except RefusedError as error:
        return _refused(error, arguments)
    action = concluded(client, action, arguments)
    if not action.state.is_end:
        return exit_codes.NOT_CONFIRMED
    taken_back = action.reason_code is ReasonCode.CANCELLED
    return exit_codes.OBSERVED if taken_back else exit_codes.OTHER


def approve(client: Client, arguments: argparse.Namespace) -> int:
    """Approve an action that waits for another operator, and follow it."""
    from colossus_tui.client import RefusedError

    known = resolve(client, arguments.action)
    if not arguments.yes:
        note(action_text(known))
        if not confirm.yes(f"approve {known.verb} {safe(known.subject, 253)}?"):
            return exit_codes.USAGE
    try:
        action = client.approve(known.action_id)
    except RefusedError as error:
        return _refused(error, arguments)
    return exit_codes.of_action(concluded(client, action, arguments))


def _refused(error: RefusedError, arguments: argparse.Namespace) -> int:
    """Say in the hub's words why it would not."""
    if arguments.json:
        show(as_json(action=error.action, refusal_detail=str(error)))
    note(f"colossus: {safe(str(error))}")
    return exit_codes.POLICY


def shown(client: Client, text: str) -> tuple[dict[str, Any], str]:
    """One action in full, for JSON and for people."""
    action = resolve(client, text)
    parts = client.actions(parent_action_id=action.action_id, limit=500)
    return {"kind": "action", "detail": action, "parts": parts}, action_text(action, parts)
