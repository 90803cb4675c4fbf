"""Commands that act: preflight, confirmation, submission, and what was observed."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.cli.tables import preflight_text
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
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
    """Carry out one verb on one run."""
    verb = Verb(arguments.command)
    parameters = ActionParameters(
        priority_class=PriorityClass(arguments.priority_class)
        if verb is Verb.REPRIORITIZE
        else None,
        fuse_seconds=getattr(arguments, "fuse", None) or 0.0,
        force=getattr(arguments, "force", False),
        release_gpus=getattr(arguments, "release_gpus", False),
        grace_seconds=getattr(arguments, "grace", None) or 0.0,
    )
    return perform(client, verb, arguments.run, parameters, arguments)


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
    if arguments.timeout is not None:
        parameters = replace(parameters, timeout_seconds=arguments.timeout)
    action = client.submit(
        verb,
        run_id,
        parameters,
        reason=arguments.reason,
        expected_generation=preflight.generation if verb is not Verb.START else 0,
    )
    if arguments.wait and not action.state.is_end:
        action = _followed(client, action, quiet=arguments.json)
    return _show_action(action, arguments)


def _followed(client: Client, action: Action, *, quiet: bool) -> Action:
    try:
        for newer in client.follow(action.action_id):
            action = newer
            if not quiet and not action.state.is_end:
                note(f"  {action.state}: {safe(action.detail, 200)}")
    except KeyboardInterrupt:
        note(f"\nnot waited for: action {action.action_id} goes on; see colossus actions")
        raise
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
    if not sys.stdin.isatty():
        note("colossus: nobody is here to confirm it; add --yes if you mean it")
        return False
    try:
        if preflight.confirmation is Confirmation.TYPE_NAME:
            sys.stderr.write(f"type the run's name to {preflight.verb} it: ")
            sys.stderr.flush()
            return input() == preflight.run_id or _declined()
        sys.stderr.write(f"{preflight.verb} {safe(preflight.run_id, 63)}? [y/N] ")
        sys.stderr.flush()
        return input().strip().lower() in ("y", "yes") or _declined()
    except EOFError:
        return _declined()


def _declined() -> bool:
    note("not done")
    return False


def _show_action(action: Action, arguments: argparse.Namespace) -> int:
    if arguments.json:
        show(as_json(action=action))
    else:
        line = f"{action.verb} {safe(action.run_id, 63)}: {action.state}"
        if not action.state.is_end:
            line += f" (action {action.action_id}; not waited for)"
        show(f"{line}: {safe(action.detail, 300)}" if action.detail else line)
    if not arguments.wait and action.state is not ActionState.REFUSED:
        return (
            exit_codes.OBSERVED
            if action.state is ActionState.OBSERVED
            else (exit_codes.NOT_CONFIRMED)
        )
    return exit_codes.of_action(action)
