"""The card of a move of nodes: who gives, who takes, and what it would change. Modelled."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import PriorityClass, Prospect, Run, WhatIf
from colossus_tui.model.outlook import HOLDING
from colossus_tui.text import compact, fit, from_now, money, number, safe, span, watts, width
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.words import wrapped

FIELDS = ("from", "to", "nodes")
HEADS = ("RUN", "NODES", "ETA", "TOK/S", "COST/DAY", "POWER")
TOKENS, LEAST_NAME = HEADS.index("TOK/S"), 10


def choices(runs: Sequence[Run]) -> list[str]:
    """Return who can give or take nodes: runs, then classes with several of them."""
    holding = [run for run in runs if run.state in HOLDING and run.node_count]
    classes = [run.priority_class for run in holding]
    several = [member.value for member in PriorityClass if classes.count(member) > 1]
    return [run.run_id for run in holding] + several


def field_lines(values: Sequence[str], active: int) -> list[Line]:
    """Return the three fields; the one that is typed into is marked."""
    lines: list[Line] = [
        (("what if nodes moved", "head"), ("   modelled: nothing is done", "warn"))
    ]
    for place, (name, value) in enumerate(zip(FIELDS, values, strict=True)):
        here = place == active
        lines.append(
            (
                (f"{'>' if here else ' '} {name:<6}", "key" if here else "dim"),
                (f"{safe(value, 63)}{'_' if here and name == 'nodes' else ''}", "strong"),
            )
        )
    return lines


def what_if_lines(found: WhatIf, cells: int) -> list[Line]:
    """Return every run before and after, the sums, and what would bring it about."""
    rows = [
        (
            safe(shift.run_id, 24),
            *map(_changed, _figures(shift.before, found), _figures(shift.after, found)),
        )
        for shift in found.shifts
    ]
    rows.append(("together", *_sums(found)))
    moved = [shift.before != shift.after for shift in found.shifts]
    lines = [
        *_table(rows, [*("strong" if one else "plain" for one in moved), "dim"], cells),
        (),
        *wrapped(
            f"modelled: the batch stays as it is, each doubling of nodes is "
            f"{found.efficiency_ratio:.0%} efficient, cost and power are those of a node now; "
            "saving and starting again are not counted",
            "dim",
            cells,
        ),
        (),
    ]
    if not found.steps:
        return lines
    lines.append((("what would bring it about", "head"),))
    for step in found.steps:
        lines += wrapped(step, "plain", cells, 2)
    return lines


def _figures(one: Prospect, found: WhatIf) -> tuple[str, ...]:
    return (
        number(one.node_count),
        span(from_now(one.eta_unix_ns)) if one.node_count else "stops",
        compact(one.tokens_per_second),
        money(one.money_per_day, found.currency, 3),
        watts(one.power_watts),
    )


def _sums(found: WhatIf) -> tuple[str, ...]:
    """Return nodes, cost and power of all runs that tell them; tokens of models do not add up."""

    def whole(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    before, after = ([getattr(shift, when) for shift in found.shifts] for when in _WHEN)
    return (
        number(sum(one.node_count for one in before)),
        "",
        "",
        _changed(
            *(
                money(whole([o.money_per_day for o in s]), found.currency, 3)
                for s in (before, after)
            )
        ),
        _changed(*(watts(whole([one.power_watts for one in s])) for s in (before, after))),
    )


_WHEN = ("before", "after")


def _changed(before: str, after: str) -> str:
    """Return both, their unit once where it is the same: "212>201 MW"."""
    if before == after:
        return before
    value, _, unit = before.rpartition(" ")
    return f"{value if value and after.endswith(f' {unit}') else before}>{after}"


def _table(rows: Sequence[tuple[str, ...]], styles: Sequence[str], cells: int) -> list[Line]:
    wide = [max(width(row[at]) for row in (HEADS, *rows)) for at in range(len(HEADS))]
    shown = list(range(len(HEADS)))
    if LEAST_NAME + sum(wide[1:]) + len(wide) - 1 > cells:
        shown.remove(TOKENS)  # a cost or a power that is cut would say something else
    rows = [tuple(row[at] for at in shown) for row in (HEADS, *rows)]
    wide = [wide[at] for at in shown]
    gap = 2 if sum(wide) + 2 * (len(wide) - 1) <= cells else 1
    wide[0] = max(min(wide[0], cells - sum(wide[1:]) - gap * (len(wide) - 1)), 4)

    def line(row: tuple[str, ...], style: str) -> Line:
        texts = [fit(row[0], wide[0])]
        texts += [fit(row[at], wide[at], right=True) for at in range(1, len(wide))]
        whole: Span = ((" " * gap).join(texts), style)
        return (whole,)

    return list(map(line, rows, ["head", *styles]))


def card_keys() -> list[Line]:
    """Return what can be pressed."""
    pairs = (("tab", "next field"), ("left right", "choose"), ("0-9", "nodes"), ("esc", "close"))
    return [tuple(part for key, what in pairs for part in ((key, "key"), (f" {what}   ", "dim")))]
