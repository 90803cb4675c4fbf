"""The overview: all runs as rows, the columns chosen by the width there is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colossus_tui.model import Run
from colossus_tui.model.match import Match
from colossus_tui.text import (
    age,
    compact,
    duration,
    hours,
    money,
    number,
    ratio,
    safe,
    significant,
    watts,
    width,
)
from colossus_tui.tui.theme import SEVERITY_STYLES, STATE_STYLES, Glyphs
from colossus_tui.tui.views import GAP, LEFT, Span
from colossus_tui.tui.views.plot import sparkline


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        rank: Order in which columns are given room; the smallest first.
        cell: Text and style of a run's cell.
        key: What rows are sorted by: whether there is no value, then the value.
        seldom: Whether it has no room where no run has a value.
    """

    name: str
    head: str
    cells: int
    rank: int
    cell: Callable[[Run, int, Glyphs], Span]
    key: Callable[[Run], tuple[bool, float | str]]
    right: bool = True
    seldom: bool = False


MOST_NAME_CELLS = 18  # of a run on 80 cells
OLD, OLD_SECONDS = "~", 5.0  # beside the state of a run whose figures are old
STEP_CELLS = 8
MANY_GPUS = 1_000  # from here on their numbers need the room
ALERT_TEXT_CELLS = 14  # under this an alert is a glyph and a count


def _some(value: float | None) -> tuple[bool, float | str]:
    return (value is None, value if value is not None else math.inf)


def _state(run: Run, cells: int, glyphs: Glyphs) -> Span:
    del cells
    old = OLD if run.age_seconds >= OLD_SECONDS and not run.state.is_over else ""
    return f"{glyphs.states[run.state]} {run.state}{old}", STATE_STYLES[run.state]


def _name(run: Run, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    return safe(run.run_id, 63), "strong"


def _alerts(run: Run, cells: int, glyphs: Glyphs) -> Span:
    if not run.alerts:
        return "-", "faint"
    worst = run.alerts[0]
    style = SEVERITY_STYLES[worst.severity]
    if cells < ALERT_TEXT_CELLS:
        return f"{glyphs.severities[worst.severity]} {len(run.alerts)}", style
    return f"{glyphs.severities[worst.severity]} {safe(worst.message, max(cells, 8))}", style


def _moving(run: Run) -> str:
    return "plain" if run.state == "running" and run.age_seconds < OLD_SECONDS else "old"


def _plain(text: Callable[[Run], str]) -> Callable[[Run, int, Glyphs], Span]:
    def cell(run: Run, cells: int, glyphs: Glyphs) -> Span:
        del cells, glyphs
        shown = text(run)
        return shown, "faint" if shown == "n/a" else _moving(run)

    return cell


def _devices(run: Run) -> str:
    if run.gpu_count:
        text = f"{run.reporting_gpu_count}/{run.gpu_count}"
        return text if run.gpu_count >= MANY_GPUS else f"{text} GPU"
    return f"{run.alive_rank_count}/{run.rank_count} rank{'' if run.rank_count == 1 else 's'}"


def _step(run: Run) -> str:
    text = number(run.step)
    return text if len(text) <= STEP_CELLS else text.replace(",", "")


def _risk(run: Run, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    text = hours(run.work_at_risk_hours, run.work_unit)
    return text, "faint" if text == "n/a" else "plain"


COLUMNS = (
    Column("state", "STATE", 11, 1, _state, lambda r: (False, r.state.value), right=False),
    Column(
        "class",
        "CL",
        2,
        2,
        lambda r, c, g: (r.priority_class.value, "plain"),
        lambda r: (False, r.priority_class.value),
        right=False,
    ),
    Column("run", "RUN", 12, 0, _name, lambda r: (False, r.run_id), right=False),
    Column(
        "label",
        "LABEL",
        5,
        13,
        lambda r, c, g: (safe(r.label, 8), "dim"),
        lambda r: (False, r.label),
        right=False,
    ),
    Column("devices", "DEVICES", 13, 9, _plain(_devices), lambda r: _some(r.gpu_count)),
    Column("step", "STEP", STEP_CELLS, 3, _plain(_step), lambda r: _some(r.step)),
    Column(
        "step_time",
        "STEP TIME",
        9,
        7,
        _plain(lambda r: duration(r.step_seconds_p50)),
        lambda r: _some(r.step_seconds_p50),
    ),
    Column("loss", "LOSS", 6, 4, _plain(lambda r: significant(r.loss)), lambda r: _some(r.loss)),
    Column(
        "spark",
        "LOSS SO FAR",
        20,
        11,
        lambda r, c, g: (sparkline(r.recent_losses, c, g), "accent"),
        lambda r: _some(r.loss),
        right=False,
    ),
    Column(
        "tokens",
        "TOK/S",
        7,
        8,
        _plain(lambda r: compact(r.tokens_per_second)),
        lambda r: _some(r.tokens_per_second),
    ),
    Column(
        "mfu", "MFU", 6, 12, _plain(lambda r: ratio(r.mfu_ratio, 1)), lambda r: _some(r.mfu_ratio)
    ),
    Column(
        "ettr",
        "ETTR",
        7,
        10,
        _plain(lambda r: ratio(r.ettr_ratio, 1)),
        lambda r: _some(r.ettr_ratio),
    ),
    Column(
        "checkpoint",
        "CKPT AGE",
        8,
        5,
        _plain(lambda r: age(r.durable_time_unix_ns)),
        lambda r: _some(-r.durable_time_unix_ns if r.durable_time_unix_ns else None),
    ),
    Column("risk", "AT RISK", 13, 6, _risk, lambda r: _some(r.work_at_risk_hours)),
    Column(
        "power",
        "POWER",
        8,
        14,
        _plain(lambda r: watts(r.power_watts)),
        lambda r: _some(r.power_watts),
    ),
    Column(
        "cost",
        "COST/H",
        7,
        15,
        _plain(lambda r: money(r.money.per_hour, r.money.currency, 3)),
        lambda r: _some(r.money.per_hour),
        seldom=True,
    ),
    Column(
        "cap",
        "GPU CAP",
        7,
        16,
        lambda r, c, g: (watts(r.power_cap_watts), "warn") if r.power_cap_watts else ("-", "faint"),
        lambda r: _some(r.power_cap_watts),
        seldom=True,
    ),
    Column(
        "alerts",
        "ALERTS",
        6,
        5,
        _alerts,
        lambda r: (not r.alerts, float(-len(r.alerts))),
        right=False,
    ),
)


PLAIN_COLUMNS = tuple(column for column in COLUMNS if column.name != "spark")  # on a slow link


def columns_for(
    cells: int, runs: Sequence[Run] = (), columns: Sequence[Column] = COLUMNS
) -> list[tuple[Column, int]]:
    """Return the columns that fit, in order, with their widths.

    Names get what the longest of them needs, as far as that leaves room for the rest; alerts take
    what is left.
    """
    longest = max((width(safe(run.run_id, 63)) for run in runs), default=0)
    name_cells = min(longest, MOST_NAME_CELLS + max(cells - 80, 0) // 10)
    used = LEFT
    found: dict[str, int] = {}
    for column in sorted(columns, key=lambda column: column.rank):
        if column.seldom and all(column.key(run)[0] for run in runs):
            continue
        wide = max(column.cells, name_cells) if column.name == "run" else column.cells
        if used + wide + GAP <= cells:
            found[column.name] = wide
            used += wide + GAP
    if "alerts" in found:
        found["alerts"] += max(cells - used, 0)
    return [(column, found[column.name]) for column in columns if column.name in found]


def chosen(
    runs: Sequence[Run],
    match: Match,
    order: str,
    backwards: bool,
    columns: Sequence[Column] = COLUMNS,
) -> list[Run]:
    """Return the runs that fit the filter, in order; class and name decide between equals.

    Numbers begin with the largest; runs without a value always come last.
    """
    found = [run for run in runs if match(run)]
    found.sort(key=lambda run: (run.priority_class, run.run_id))
    column = next((column for column in columns if column.name == order), None)
    if column is None:
        return found[::-1] if backwards else found
    known = [run for run in found if not column.key(run)[0]]
    known.sort(key=column.key, reverse=backwards != column.right)
    return known + [run for run in found if column.key(run)[0]]


def marked_text(marked: int, hidden: int) -> str:
    """Return how many runs are marked, and how many of them are out of sight."""
    if not marked:
        return ""
    return f"{marked} marked, {hidden} hidden" if hidden else f"{marked} marked"
