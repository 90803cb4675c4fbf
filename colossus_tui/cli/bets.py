"""`colossus bets` and `colossus whatif`: what decides between runs, what a move would change."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from colossus_tui.cli.output import table
from colossus_tui.model import Bet, MoveError, Prospect, WhatIf, bet_of, what_if
from colossus_tui.text import (
    NOT_AVAILABLE,
    band,
    compact,
    from_now,
    hours,
    money,
    now_ns,
    number,
    ratio,
    safe,
    significant,
    span,
    watts,
)

if TYPE_CHECKING:
    from colossus_tui.client import Client


def bets(client: Client, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """All runs on what decides between them."""
    del arguments
    found = [bet_of(run) for run in client.runs()]
    curves = client.curves()
    return {"bets": found, "curves": curves}, bets_table(found) if found else "no runs"


def whatif(client: Client, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """What a move of nodes would change.

    Raises:
        InvalidRequestError: There are no such runs or nodes.
    """
    from colossus_tui.client import InvalidRequestError

    try:
        found = what_if(
            client.runs(),
            arguments.source,
            arguments.target,
            arguments.nodes,
            efficiency=arguments.efficiency,
            now_unix_ns=now_ns(),
        )
    except MoveError as error:
        raise InvalidRequestError(str(error)) from None
    return {"what_if": found}, what_if_text(found)


def bets_table(found: Sequence[Bet]) -> str:
    """Return what is compared, a row a run."""
    sign = next((bet.currency for bet in found if bet.currency), "money")
    heads = (
        "RUN", "CLASS", "STATE", "LOSS", "TOKENS", "FLOP", f"TOKENS/{safe(sign, 8)}", "TOKENS/MWH",
        "TOKENS/GPU-H", "PROGRESS", "ETA", "BAND", "PLAN", "ETTR", "MFU", "AT RISK",
    )  # fmt: skip
    rows = [
        (
            safe(bet.run_id, 63),
            bet.priority_class.value,
            bet.state.value,
            significant(bet.loss),
            compact(bet.tokens),
            NOT_AVAILABLE if bet.training_flop is None else f"{bet.training_flop:.2e}",
            compact(bet.tokens_per_money),
            compact(bet.tokens_per_megawatt_hour),
            compact(bet.tokens_per_gpu_hour),
            ratio(bet.progress_ratio, 1),
            span(from_now(bet.eta_unix_ns)),
            band(from_now(bet.eta_early_unix_ns), from_now(bet.eta_late_unix_ns)),
            _plan(bet),
            ratio(bet.ettr_ratio, 1),
            ratio(bet.mfu_ratio, 1),
            hours(bet.work_at_risk_hours, bet.work_unit),
        )
        for bet in found
    ]
    return table(heads, rows, "lllrrrrrrrrrrrrr")


def _plan(bet: Bet) -> str:
    if bet.late_seconds is None:
        return NOT_AVAILABLE if not bet.planned_end_unix_ns else "ETA n/a"
    return f"{'late' if bet.late_seconds > 0 else 'early'} by {span(abs(bet.late_seconds))}"


def what_if_text(found: WhatIf) -> str:
    """Return every run before and after, and what would bring it about."""
    rows = [
        (
            safe(shift.run_id, 63),
            *map(_changed, _figures(shift.before, found), _figures(shift.after, found)),
        )
        for shift in found.shifts
    ]
    heads = ("RUN", "NODES", "ETA", "TOKENS/S", "COST/DAY", "POWER")
    return "\n".join(
        [
            f"{found.node_count:,} nodes from {safe(found.source, 63)} to "
            f"{safe(found.target, 63)}: modelled, nothing is done",
            table(heads, rows, "lrrrrr"),
            f"modelled: the batch stays, each doubling is {found.efficiency_ratio:.0%} efficient, "
            "cost and power are a node's of now; saving and starting again are not counted",
            "what would bring it about:",
            *(f"  {safe(step, 400)}" for step in found.steps),
        ]
    )


def _figures(one: Prospect, found: WhatIf) -> tuple[str, ...]:
    return (
        number(one.node_count),
        span(from_now(one.eta_unix_ns)) if one.node_count else "stops",
        compact(one.tokens_per_second),
        money(one.money_per_day, found.currency),
        watts(one.power_watts),
    )


def _changed(before: str, after: str) -> str:
    return before if before == after else f"{before} > {after}"
