"""What runs cost, and idle GPUs: the site's lines, and the rows of two tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from colossus_tui.model import NO_PRICES, IdleGroup, IdleKind, IdleView, Run, Severity, SiteMoney
from colossus_tui.text import age, duration, measured, money, number, ratio, safe
from colossus_tui.tui.theme import SEVERITY_STYLES, Glyphs
from colossus_tui.tui.views import GAP, LEFT, Line, Span
from colossus_tui.tui.views.runs import COLUMNS, Column

RATE_DIGITS = 3  # of what costs so much an hour: power sways, and digits that do so say nothing
_KINDS = {IdleKind.HELD: Severity.WARNING, IdleKind.FREE: Severity.INFO}
# (head, cells, right aligned) of the table of idle GPUs, in the order in which room is given.
IDLE_COLUMNS = (
    ("IDLE", 6, False),
    ("RUN", 12, False),
    ("WHY", 11, False),
    ("GPUS", 7, True),
    ("LONGEST", 9, True),
    ("COST/H", 8, True),
    ("HALL", 9, False),
    ("USER", 10, False),
    ("MEDIAN", 8, True),
    ("SOME OF ITS NODES", 60, False),
)


def rate(value: float | None, currency: str) -> str:
    """Return what something costs an hour, without the hour."""
    return money(value, currency, RATE_DIGITS)


def _amount(
    of: Callable[[Run], float | None], text: Callable[[float | None, str], str]
) -> Callable[[Run, int, Glyphs], Span]:
    def cell(run: Run, cells: int, glyphs: Glyphs) -> Span:
        del cells, glyphs
        value = of(run)
        return text(value, run.money.currency), "faint" if value is None else "plain"

    return cell


def _column(
    name: str,
    head: str,
    cells: int,
    rank: int,
    of: Callable[[Run], float | None],
    text: Callable[[float | None, str], str],
) -> Column:
    def key(run: Run) -> tuple[bool, float | str]:
        value = of(run)
        return (value is None, value if value is not None else math.inf)

    return Column(name, head, cells, rank, _amount(of, text), key)


_SHARED = {column.name: column for column in COLUMNS}
MONEY_COLUMNS = (
    _SHARED["state"],
    replace(_SHARED["class"], rank=12),
    _SHARED["run"],
    _column("gpus", "GPUS", 7, 8, lambda r: r.gpu_count, lambda v, _: number(v)),
    _column("cost", "COST/H", 7, 1, lambda r: r.money.per_hour, rate),
    _column("so_far", "SO FAR", 8, 2, lambda r: r.money.so_far, money),
    _column("covered", "COVERS", 6, 9, lambda r: r.money.covered_ratio, lambda v, _: ratio(v)),
    _column("finish", "TO FINISH", 9, 3, lambda r: r.money.to_finish, rate),
    _column("tokens", "/1E9 TOK", 8, 4, lambda r: r.money.per_billion_tokens, rate),
    _column("risk", "AT RISK", 8, 5, lambda r: r.money.at_risk, rate),
    _column(
        "gpu_hours",
        "GPU-HOURS",
        10,
        10,
        lambda r: r.gpu_hours,
        lambda v, _: number(v, 0 if (v or 0.0) >= 100 else 1),
    ),
    _column(
        "energy",
        "ENERGY",
        10,
        11,
        lambda r: None if r.energy_joules is None else r.energy_joules / 3_600,
        lambda v, _: measured(v, "Wh"),
    ),
)


def site_lines(site: SiteMoney) -> list[Line]:
    """Return two lines: what the site costs and what of it does no work, and by which prices."""
    sign = site.currency
    if not sign:
        return [((NO_PRICES, "warn"),), ()]
    spans: list[Span] = [
        (_hourly(site.per_hour, sign), "strong"),
        (f" for {number(site.gpu_count)} GPUs", "plain"),
        (f" by {safe(site.source, 40)} prices" if site.source else "", "dim"),
        (f"  held idle {_hourly(site.held_idle_per_hour, sign)}", _idle_style(site)),
        (f"  free {_hourly(site.free_per_hour, sign)}", "plain"),
    ]
    gpus = "GPUs not priced; " if site.gpus_per_hour is None else ""
    energy = "energy not priced"
    if site.per_megawatt_hour is not None:
        energy = (
            f"energy {_hourly(site.energy_per_hour, sign)}, "
            f"{number(site.metered_gpu_count)}/{number(site.gpu_count)} metered, "
            f"{money(site.per_megawatt_hour, sign)}/MWh x {site.overhead_ratio or 1.0:.2f}"
        )
    return [tuple(spans), ((f"TO FINISH is modelled; {gpus}{energy}", "dim"),)]


def _hourly(value: float | None, currency: str) -> str:
    return rate(value, currency) + ("/h" if value is not None else "")


def _idle_style(site: SiteMoney) -> str:
    return "warn" if site.held_idle_per_hour else "plain"


def idle_head(idle: IdleView | None) -> Line:
    """Return the line over the idle GPUs: how many, and how many could be judged."""
    if idle is None:
        return (("IDLE ...", "head"),)
    count = sum(group.gpu_count for group in idle.groups)
    covered = idle.judged_gpu_count == idle.gpu_count
    return (
        (f"IDLE {number(count)} of {number(idle.gpu_count)} GPUs", "head"),
        (f"   {number(idle.judged_gpu_count)} judged", "dim" if covered else "warn"),
        (f"   held: no work for {duration(idle.idle_seconds)}", "dim"),
    )


def idle_empty(idle: IdleView | None) -> str:
    """Return what stands there while no GPU is idle."""
    if idle is None:
        return "..."
    if not idle.gpu_count:
        return "there is no GPU"
    return "no GPU is idle" if idle.judged_gpu_count else "no GPU tells whether it works"


def idle_columns(cells: int) -> list[tuple[str, int, bool]]:
    """Return the columns of idle GPUs that fit."""
    found, used = [], LEFT
    for head, wide, right in IDLE_COLUMNS:
        used += wide + GAP
        if used > cells:
            break
        found.append((head, wide, right))
    return found


def idle_cells(group: IdleGroup, currency: str, glyphs: Glyphs) -> dict[str, Span]:
    """Return one row's cells by the heads of IDLE_COLUMNS."""
    severity = _KINDS[group.kind]
    style = SEVERITY_STYLES[severity]
    longest = age(group.oldest_since_unix_ns)
    return {
        "IDLE": (f"{glyphs.severities[severity]} {group.kind}", style),
        "RUN": (safe(group.run_id, 63) or "-", "strong" if group.run_id else "faint"),
        "WHY": (safe(group.why, 40), style),
        "GPUS": (number(group.gpu_count), "plain"),
        "LONGEST": (f">={longest}" if group.at_least else longest, "plain"),
        "COST/H": (rate(group.per_hour, currency), "plain"),
        "HALL": (safe(group.hall, 63) or "-", "dim"),
        "USER": (safe(group.user, 32) or "-", "dim"),
        "MEDIAN": (age(group.median_since_unix_ns), "plain"),
        "SOME OF ITS NODES": (", ".join(safe(name, 63) for name in group.node_names), "dim"),
    }


def idle_key(group: IdleGroup) -> str:
    """Return what tells a group from the others."""
    return f"{group.kind} {group.why} {group.run_id} {group.hall}"
