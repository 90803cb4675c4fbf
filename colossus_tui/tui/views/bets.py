"""The bets: every run's curve in one plot, and a row of what decides between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from colossus_tui.model import Bet, Curve, Run, bet_of, training_flop
from colossus_tui.text import (
    NOT_AVAILABLE,
    band,
    compact,
    from_now,
    hours,
    ratio,
    safe,
    significant,
    span,
)
from colossus_tui.tui.theme import STATE_STYLES, Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.axis import Axis, Scale, Window, spanning
from colossus_tui.tui.views.plot import CURVE_STYLES, LETTERS, Trace, plot
from colossus_tui.tui.views.runs import Column

MOST_CURVES, FEW_CURVES = 14, 7  # of them on a wide terminal, on a narrow one
WIDE_CELLS = 120


class Against(StrEnum):
    """What the loss is plotted against."""

    FLOP = "training FLOP"
    TOKENS = "tokens"
    TIME = "wall time"


def keys_of(runs: Sequence[Run]) -> dict[str, Span]:
    """Return each run's letter and style, the same whatever the order and the filter are."""
    return {
        run.run_id: (LETTERS[place], f"curve{place % CURVE_STYLES}")
        for place, run in enumerate(runs[: len(LETTERS)])
    }


def curves_plot(
    runs: Sequence[Run],
    curves: Mapping[str, Curve],
    keys: Mapping[str, Span],
    against: Against,
    window: Window,
    cells: int,
    lines: int,
    glyphs: Glyphs,
) -> list[Line]:
    """Return the curves of the first runs that have one.

    Args:
        runs: In the order of the rows.
        keys: Of `keys_of`.
    """
    points = {
        run.run_id: points_of(run, curves[run.run_id], against)
        for run in runs
        if run.run_id in curves and run.run_id in keys
    }
    most = MOST_CURVES if cells >= WIDE_CELLS else FEW_CURVES
    known = {run_id: found for run_id, found in points.items() if found}
    shown = dict(list(known.items())[:most])
    scale = Scale.LINEAR if against is Against.TIME else Scale.LOG
    whole = spanning((x for found in shown.values() for x, _ in found), scale)
    part = whole.part(window) if whole else None
    show_x = _shown_x(against, part) if part else str
    title = f"LOSS AGAINST {against.upper()}"
    if part and not window.is_whole:
        title += f"   {show_x(part.low)} to {show_x(part.high)}"
    if left := len(runs) - len(shown):
        title += f"   {len(shown)}/{len(runs)} runs: {_why(runs, known, against, left)}"
    traces = [Trace(found, keys[run_id][1], keys[run_id][0]) for run_id, found in shown.items()]
    return plot(
        title,
        traces[::-1],  # the first is drawn over the others
        part,
        cells,
        lines,
        glyphs,
        lambda loss: significant(loss, 3),
        show_x,
        Scale.LOG,
    )


def _why(runs: Sequence[Run], known: Mapping[str, object], against: Against, left: int) -> str:
    """Return why some runs have no curve in the plot."""
    if len(runs) - len(known) < left:
        return "the first of this order"
    if against is Against.FLOP and any(not run.parameters_count for run in runs):
        return "the others state no parameters"
    return "the others tell no loss or no tokens"


def _shown_x(against: Against, axis: Axis) -> Callable[[float], str]:
    match against:
        case Against.FLOP:
            return lambda x: f"{x:.2g} FLOP"
        case Against.TOKENS:
            return lambda x: f"{compact(x)} tok"
        case _:
            return lambda x: "0" if x < axis.high / 1e6 else span(x)


def points_of(run: Run, curve: Curve, against: Against) -> list[tuple[float, float]]:
    """Return a curve's points in what it is plotted against: FLOP, tokens or seconds."""
    if against is Against.TOKENS:
        return list(zip(map(float, curve.tokens), curve.losses, strict=True))
    if against is Against.TIME:
        first = curve.times_unix_ns[0] if curve.times_unix_ns else 0
        seconds = [(time - first) / 1e9 for time in curve.times_unix_ns]
        return list(zip(seconds, curve.losses, strict=True))
    flops = [training_flop(run.parameters_count, tokens) for tokens in curve.tokens]
    return [(x, y) for x, y in zip(flops, curve.losses, strict=True) if x is not None]


def eta_text(bet: Bet) -> str:
    """Return when it ends, and between when and when: "12 d, 10-15 d"."""
    expected = span(from_now(bet.eta_unix_ns))
    spread = band(from_now(bet.eta_early_unix_ns), from_now(bet.eta_late_unix_ns))
    return expected if spread == NOT_AVAILABLE else f"{expected}, {spread}"


def plan_text(bet: Bet) -> str:
    """Return how the expected end stands to the planned one."""
    if bet.late_seconds is None:
        return NOT_AVAILABLE
    return f"{'late' if bet.late_seconds > 0 else 'early'} {span(abs(bet.late_seconds))}"


def bet_columns(runs: Sequence[Run], keys: Mapping[str, Span]) -> tuple[Column, ...]:
    """Return the columns; those that matter less need a wider terminal."""
    bets = {run.run_id: bet_of(run) for run in runs}
    sign = next((bet.currency for bet in bets.values() if bet.currency), "$")

    def key(value: Callable[[Bet], float | None]) -> Callable[[Run], tuple[bool, float | str]]:
        def of(run: Run) -> tuple[bool, float | str]:
            found = value(bets[run.run_id])
            return found is None, 0.0 if found is None else found

        return of

    def figure(
        name: str,
        head: str,
        cells: int,
        rank: int,
        text: Callable[[Bet], str],
        value: Callable[[Bet], float | None],
    ) -> Column:
        def cell(run: Run, cells: int, glyphs: Glyphs) -> Span:
            del cells, glyphs
            shown = text(bets[run.run_id])
            return shown, "faint" if shown == NOT_AVAILABLE else "plain"

        return Column(name, head, cells, rank, cell, key(value))

    def plan(run: Run, cells: int, glyphs: Glyphs) -> Span:
        del cells, glyphs
        late = bets[run.run_id].late_seconds
        style = "faint" if late is None else "warn" if late > 0 else "plain"
        return plan_text(bets[run.run_id]), style

    return (
        Column(
            "key",
            "",
            1,
            1,
            lambda run, cells, glyphs: keys.get(run.run_id, ("", "dim")),
            lambda run: (False, run.run_id),
            right=False,
        ),
        Column(
            "run",
            "RUN",
            10,
            0,
            lambda run, cells, glyphs: (safe(run.run_id, 63), "strong"),
            lambda run: (False, run.run_id),
            right=False,
        ),
        Column(
            "state",
            "STATE",
            11,
            13,
            lambda run, cells, glyphs: (
                f"{glyphs.states[run.state]} {run.state}",
                STATE_STYLES[run.state],
            ),
            lambda run: (False, run.state.value),
            right=False,
        ),
        figure("loss", "LOSS", 5, 4, lambda b: significant(b.loss, 3), lambda b: b.loss),
        figure(
            "money",
            f"TOK/{safe(sign, 3)}",
            7,
            5,
            lambda b: compact(b.tokens_per_money),
            lambda b: b.tokens_per_money,
        ),
        figure(
            "energy",
            "TOK/MWH",
            7,
            6,
            lambda b: compact(b.tokens_per_megawatt_hour),
            lambda b: b.tokens_per_megawatt_hour,
        ),
        figure(
            "gpu",
            "TOK/GPUH",
            8,
            7,
            lambda b: compact(b.tokens_per_gpu_hour),
            lambda b: b.tokens_per_gpu_hour,
        ),
        figure(
            "progress",
            "DONE",
            6,
            8,
            lambda b: ratio(b.progress_ratio, 1),
            lambda b: b.progress_ratio,
        ),
        figure("eta", "ETA", 18, 3, eta_text, lambda b: b.eta_unix_ns or None),
        Column("plan", "PLAN", 11, 9, plan, key(lambda b: b.late_seconds)),
        figure("ettr", "ETTR", 7, 10, lambda b: ratio(b.ettr_ratio, 1), lambda b: b.ettr_ratio),
        figure(
            "risk",
            "AT RISK",
            13,
            11,
            lambda b: hours(b.work_at_risk_hours, b.work_unit),
            lambda b: b.work_at_risk_hours,
        ),
        figure("mfu", "MFU", 6, 12, lambda b: ratio(b.mfu_ratio, 1), lambda b: b.mfu_ratio),
        figure("tokens", "TOKENS", 7, 14, lambda b: compact(b.tokens), lambda b: b.tokens),
        figure(
            "flop",
            "FLOP",
            7,
            15,
            lambda b: NOT_AVAILABLE if b.training_flop is None else f"{b.training_flop:.1e}",
            lambda b: b.training_flop,
        ),
    )
