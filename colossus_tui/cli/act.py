"""Commands that act: preflight, confirmation, submission, and what was observed."""

from __future__ import annotations

import argparse
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

from colossus_tui.cli import bulk, confirm, exit_codes
from colossus_tui.cli.cards import actions_table, goes_on, preflight_text, standing
from colossus_tui.cli.following import Parts, follow
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.model import (
    Action,
    ActionParameters,
    Confirmation,
    Preflight,
    PriorityClass,
    RunSpec,
    Verb,
)
from colossus_tui.text import safe

if TYPE_CHECKING:
    from colossus_tui.client import Client


def act(client: Client, arguments: argparse.Namespace) -> int:
    """Carry out one verb on one run, or on several together."""
    verb = Verb(arguments.command)
    parameters = ActionParameters(
        priority_class=PriorityClass(arguments.priority_class)
        if verb is Verb.REPRIORITIZE
        else None,
        fuse_seconds=getattr(arguments, "fuse", None) or 0.0,
        force=getattr(arguments, "force", False),
        release_gpus=getattr(arguments, "release_gpus", False),
        grace_seconds=getattr(arguments, "grace", None) or 0.0,
        cap_watts=getattr(arguments, "watts", None) or 0.0,
    )
    if arguments.match is None and len(arguments.runs) == 1:
        return perform(client, verb, arguments.runs[0], parameters, arguments)
    return bulk.act(client, verb, parameters, arguments)


def on_node(client: Client, arguments: argparse.Namespace) -> int:
    """Take a node out of use, or give it back."""
    parameters = ActionParameters(node_name=arguments.node)
    return perform(client, Verb(arguments.command), "", parameters, arguments)


def start(client: Client, arguments: argparse.Namespace) -> int:
    """Start a run."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("COLOSSUS_") and "\0" not in value
    }
    for assignment in arguments.env:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            note(f"colossus run: --env {safe(assignment, 80)!r}: give NAME=VALUE")
            return exit_codes.USAGE
        environment[name] = value
    spec = RunSpec(
        run_id=arguments.name,
        argv=tuple(arguments.argv),
        working_directory=os.getcwd(),
        environment={name: _utf8(value) for name, value in environment.items()},
        priority_class=PriorityClass(arguments.priority_class),
        rank_count=arguments.ranks,
        label=arguments.label,
        watchdog_seconds=arguments.watchdog,
    )
    spec = replace(spec, argv=tuple(_utf8(text) for text in spec.argv))
    parameters = ActionParameters(spec=spec, node_name=arguments.node or "")
    return perform(client, Verb.START, arguments.name, parameters, arguments)


def _utf8(text: str) -> str:
    """Protobuf carries no lone surrogates, which stand for bytes that are no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def perform(
    client: Client,
    verb: Verb,
    run_id: str,
    parameters: ActionParameters,
    arguments: argparse.Namespace,
) -> int:
    """Preview, confirm, submit, wait; return the exit code."""
    preflight = client.preview(verb, run_id, parameters)
    if arguments.dry_run or not preflight.allowed:
        return _show_preflight(preflight, arguments)
    if not arguments.yes and not _confirmed(preflight):
        return exit_codes.USAGE
    if parameters.shed is not None and preflight.plan is not None:
        parameters = replace(parameters, shed=parameters.shed.approved(preflight.plan))
    if arguments.timeout is not None:
        parameters = replace(parameters, timeout_seconds=arguments.timeout)
    action = client.submit(
        verb,
        run_id,
        parameters,
        reason=arguments.reason,
        expected_generation=preflight.generation if verb is not Verb.START else 0,
    )
    return exit_codes.of_action(concluded(client, action, arguments))


def concluded(client: Client, action: Action, arguments: argparse.Namespace) -> Action:
    """Wait for an action's end if that is wanted, show how it stands and return it."""
    quiet = arguments.json
    if arguments.wait and not action.state.is_end:
        has_parts = action.verb.has_parts and not quiet
        with Parts(client, action.action_id) if has_parts else contextlib.nullcontext():
            timeout = arguments.timeout
            (action,) = follow(client, [action], quiet=quiet, approval_timeout=timeout)
    _show_action(client, action, arguments)
    return action


def _show_preflight(preflight: Preflight, arguments: argparse.Namespace) -> int:
    code = exit_codes.of_preflight(preflight)
    if arguments.json:
        show(as_json(preflight=preflight))
    elif code:
        note(f"colossus: {preflight_text(preflight)}")
    else:
        show(preflight_text(preflight))
    return code


def _confirmed(preflight: Preflight) -> bool:
    if preflight.confirmation is Confirmation.NONE:
        return True
    note(preflight_text(preflight))
    if preflight.confirmation is Confirmation.TYPE_NAME:
        on_site, on_node = preflight.verb.is_on_site, preflight.verb.is_on_node
        kind = "site" if on_site else "node" if on_node else "run"
        return confirm.typed(f"type the {kind}'s name to {preflight.verb} it", preflight.subject)
    return confirm.yes(f"{preflight.verb} {safe(preflight.subject, 253)}?")


def _show_action(client: Client, action: Action, arguments: argparse.Namespace) -> None:
    parts: tuple[Action, ...] = ()
    if action.verb.has_parts:
        parts = client.actions(parent_action_id=action.action_id, limit=500)
    if arguments.json:
        show(as_json(action=action, **({"parts": parts} if action.verb.has_parts else {})))
    else:
        show(f"{action.verb} {safe(action.subject, 253)}: {standing(action)}")
        if parts:
            show(actions_table(parts))
        if not action.state.is_end:
            show(goes_on(action))
