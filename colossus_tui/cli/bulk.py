"""One verb on several runs: one preflight, one question, one action for each, one end."""

from __future__ import annotations

import argparse
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from colossus_tui.cli import confirm, exit_codes
from colossus_tui.cli.cards import bulk_text, refusal, standing
from colossus_tui.cli.following import follow
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    BulkPreflight,
    Confirmation,
    Preflight,
    ReasonCode,
    Verb,
)
from colossus_tui.text import safe

if TYPE_CHECKING:
    from colossus_tui.client import Client

AT_ONCE = 32  # requests under way


def act(
    client: Client, verb: Verb, parameters: ActionParameters, arguments: argparse.Namespace
) -> int:
    """Preview all, confirm once, submit each on its own, wait for all; return the exit code."""
    run_ids = arguments.runs or _matching(client, arguments)
    if not run_ids:
        return exit_codes.OTHER
    preflight = client.preview_bulk(verb, run_ids, parameters)
    if arguments.dry_run or not preflight.allowed_count:
        return _show_preflight(preflight, arguments)
    refused = [one for one in preflight.preflights if not one.allowed]
    if why := _forbids(refused, arguments):
        if arguments.json:
            show(as_json(bulk_preflight=preflight))
        note(f"{bulk_text(preflight)}\ncolossus: nothing was done: {why}")
        return exit_codes.of_all([exit_codes.of_preflight(one) for one in refused])
    if not arguments.yes and not _confirmed(preflight):
        return exit_codes.USAGE
    if arguments.timeout is not None:
        parameters = replace(parameters, timeout_seconds=arguments.timeout)
    allowed = [one for one in preflight.preflights if one.allowed]
    actions = _submitted(client, allowed, parameters, arguments.reason)
    if arguments.wait:
        timeout = arguments.timeout
        quiet = arguments.json
        actions = follow(client, actions, quiet=quiet, approval_timeout=timeout, named=True)
    return _show_actions(actions, refused, arguments)


def _matching(client: Client, arguments: argparse.Namespace) -> list[str]:
    """Return the runs that the expression chooses; those that are over only where it says so."""
    runs = [run for run in client.runs() if arguments.match(run)]
    if not arguments.match.names("state"):
        over = sum(run.state.is_over for run in runs)
        runs = [run for run in runs if not run.state.is_over]
        if over:
            note(
                f"not meant: {over} that are over; a term on state, as in state=failed, means them"
            )
    if not runs:
        note("colossus: --match: no run matches; colossus runs lists them")
    return [run.run_id for run in runs]


def _forbids(refused: Sequence[Preflight], arguments: argparse.Namespace) -> str:
    """Return why nothing may be done while some refuse it; "" when the rest may."""
    unknown = [one for one in refused if one.refusal is ReasonCode.NOT_FOUND]
    if unknown:  # a name is wrong: the others may be wrong ones, too
        return "; ".join(safe(one.refusal_detail) for one in unknown[:5])
    if refused and arguments.yes and not arguments.skip_refused:
        return f"{len(refused)} of the runs refuse it; --skip-refused acts on the others"
    return ""


def _show_preflight(preflight: BulkPreflight, arguments: argparse.Namespace) -> int:
    code = exit_codes.of_all([exit_codes.of_preflight(one) for one in preflight.preflights])
    if arguments.json:
        show(as_json(bulk_preflight=preflight))
    elif preflight.allowed_count:
        show(bulk_text(preflight))
    else:
        note(f"colossus: {bulk_text(preflight)}")
    return code


def _confirmed(preflight: BulkPreflight) -> bool:
    note(bulk_text(preflight))
    count, left_out = preflight.allowed_count, len(preflight.preflights) - preflight.allowed_count
    what = f"{preflight.verb} {count} runs"
    if left_out:
        what += f" and leave out the {left_out} that refuse it"
    if preflight.confirmation is Confirmation.TYPE_NAME:
        return confirm.typed(f"type the number of runs to {what}", str(count))
    return confirm.yes(f"{what}?")


def _submitted(
    client: Client, allowed: Sequence[Preflight], parameters: ActionParameters, reason: str
) -> list[Action]:
    """Ask for every action at once, each with its own id and the generation that was shown."""
    from colossus_tui.client import ColossusError

    def submit(one: Preflight) -> Action:
        action_id = str(uuid.uuid4())
        try:
            return client.submit(
                one.verb,
                one.run_id,
                parameters,
                reason=reason,
                expected_generation=one.generation,
                action_id=action_id,
            )
        except ColossusError as error:  # the hub may have taken it: who knows
            detail = f"{error}; colossus show {action_id} tells whether it was taken"
            state = ActionState.UNCONFIRMED
            return Action(action_id, one.verb, one.run_id, state, ReasonCode.UNREACHABLE, detail)

    with ThreadPoolExecutor(AT_ONCE, "submit") as threads:
        return list(threads.map(submit, allowed))


def _show_actions(
    actions: Sequence[Action], refused: Sequence[Preflight], arguments: argparse.Namespace
) -> int:
    if arguments.json:
        show(as_json(actions=actions, left_out=refused))
    else:
        counts = Counter(action.state.value for action in actions)
        if refused:
            counts["left out"] = len(refused)
        said = ", ".join(f"{count} {state}" for state, count in counts.items())
        show(f"{arguments.command} {len(actions) + len(refused)} runs: {said}")
        for action in actions:
            if action.state is not ActionState.OBSERVED:
                show(f"  {safe(action.subject, 63)}: {standing(action)}  ({action.action_id})")
        for one in refused:
            show(f"  {safe(one.run_id, 63)}: left out, {refusal(one)}")
    return exit_codes.of_all([exit_codes.of_action(action) for action in actions])
