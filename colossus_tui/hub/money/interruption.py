"""What it costs to interrupt a run: work that is done again, and GPUs that are held meanwhile."""

from __future__ import annotations

from colossus_tui.hub.money.ledger import HOUR_SECONDS
from colossus_tui.model import NO_PRICES, Figure, Run, Verb
from colossus_tui.text import duration, money

NAME = "interruption_cost"
_SAVES = frozenset({Verb.CHECKPOINT, Verb.PAUSE})


def interruption(verb: Verb, run: Run, fuse: float) -> list[Figure]:
    """Return what the action costs beyond what it saves; nothing for a verb that interrupts none.

    Args:
        fuse: How long a freeze would last at most, seconds.
    """
    if verb not in (*_SAVES, Verb.FREEZE, Verb.STOP) or not run.gpu_count:
        return []
    if not run.money.currency:
        return [_figure(run, None, NO_PRICES)]
    if verb is Verb.STOP:
        return [_figure(run, run.money.at_risk, _redone(run))]
    seconds = run.checkpoint_seconds if verb in _SAVES else fuse
    if seconds is None:
        return [_figure(run, None, "no checkpoint of this run was timed yet")]
    rate = run.money.per_hour
    cost = None if rate is None else rate * seconds / HOUR_SECONDS
    why = "while it saves" if verb in _SAVES else "until the fuse at most"
    per_hour = f"{money(rate, run.money.currency)}/h"
    return [_figure(run, cost, f"its GPUs held for {duration(seconds)} {why}, at {per_hour}")]


def _redone(run: Run) -> str:
    if run.money.at_risk is None:
        return "what work is at risk is not known"
    since = f"since step {run.durable_step}" if run.durable_step is not None else "since the start"
    return f"the work {since} at the present {money(run.money.per_hour, run.money.currency)}/h"


def _figure(run: Run, value: float | None, basis: str) -> Figure:
    return Figure(NAME, "interruption", value, run.money.currency, basis)
