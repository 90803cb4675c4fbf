"""The bets and the card of a move as text, at three widths."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from colossus_tui.model import Curve, Money, PriorityClass, Run, RunState, bet_of, what_if
from colossus_tui.model.match import Match
from colossus_tui.text import width
from colossus_tui.tui.theme import ASCII, UNICODE, Glyphs
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.axis import WHOLE, Window
from colossus_tui.tui.views.bets import (
    Against,
    bet_columns,
    curves_plot,
    eta_text,
    keys_of,
    plan_text,
    points_of,
)
from colossus_tui.tui.views.runs import chosen, columns_for
from colossus_tui.tui.views.what_if import choices, field_lines, what_if_lines

WIDTHS = [80, 120, 200]
HOSTILE = "\x1b[2J[bold red]boo[/]\r\n\u202e"
DAY = 86_400 * 10**9


def text(lines: list[Line]) -> str:
    return "\n".join("".join(part for part, _ in line).rstrip() for line in lines)


def a_run(name: str, nodes: int = 10, **changes: object) -> Run:
    now = time.time_ns()
    one = Run(
        name,
        state=RunState.RUNNING,
        priority_class=PriorityClass.P2,
        node_count=nodes,
        gpu_count=4 * nodes,
        loss=2.5,
        tokens=10**12,
        tokens_per_second=1e6,
        parameters_count=10**12,
        joules_per_token=0.5,
        power_watts=4_000.0 * nodes,
        money=Money("$", per_hour=100.0, per_billion_tokens=30.0),
        eta_unix_ns=now + 12 * DAY,
        eta_early_unix_ns=now + 10 * DAY,
        eta_late_unix_ns=now + 15 * DAY,
        planned_end_unix_ns=now + 9 * DAY,
        step=50,
        target_steps=100,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def a_curve(name: str, scale: float = 1.0) -> Curve:
    tokens = tuple(int(scale * 2**n) for n in range(4, 40))
    losses = tuple(1.6 + 8 * token**-0.1 for token in tokens)
    return Curve(name, tokens, losses, tuple(range(36)), tuple(n * 10**12 for n in range(36)))


RUNS = [a_run("10t"), a_run("1t-a"), a_run("odd", parameters_count=None)]
CURVES = {run.run_id: a_curve(run.run_id, at + 1.0) for at, run in enumerate(RUNS)}


@pytest.mark.parametrize("cells", WIDTHS)
@pytest.mark.parametrize("against", list(Against))
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("window", [WHOLE, Window(0.5, 0.75)])
def test_the_plot_fits_and_names_what_it_leaves_out(
    cells: int, against: Against, glyphs: Glyphs, window: Window
) -> None:
    lines = curves_plot(RUNS, CURVES, keys_of(RUNS), against, window, cells, 12, glyphs)
    shown = text(lines)

    assert len(lines) == 12
    assert max(width(row) for row in shown.splitlines()) <= cells
    assert f"LOSS AGAINST {against.upper()}" in shown
    assert ("2/3 runs: the others" in shown) is (against is Against.FLOP)
    assert (" to " in shown.splitlines()[0]) is (window is not WHOLE)
    if glyphs is ASCII:
        assert shown.replace("…", "").isascii()


def test_a_narrow_plot_draws_the_first_runs_of_the_order() -> None:
    runs = [a_run(f"r{at:02}") for at in range(20)]
    curves = {run.run_id: a_curve(run.run_id, at + 1.0) for at, run in enumerate(runs)}
    narrow = text(curves_plot(runs, curves, keys_of(runs), Against.TOKENS, WHOLE, 80, 12, UNICODE))
    wide = text(curves_plot(runs, curves, keys_of(runs), Against.TOKENS, WHOLE, 160, 12, UNICODE))

    assert "7/20 runs: the first of this order" in narrow
    assert "14/20 runs" in wide


def test_keys_stay_when_order_and_filter_change_and_end_after_the_letters() -> None:
    many = [a_run(f"r{at:03}") for at in range(100)]
    keys = keys_of(many)

    assert keys["r000"] == ("a", "curve0")
    assert keys["r026"][0] == "A"
    assert len({letter for letter, _ in keys.values()}) == len(keys) == 52
    assert keys_of(many) == keys


def test_flop_is_six_a_parameter_and_token() -> None:
    points = points_of(RUNS[0], CURVES["10t"], Against.FLOP)

    assert points[0][0] == pytest.approx(6e12 * 16)
    assert points_of(RUNS[2], CURVES["odd"], Against.FLOP) == []
    assert points_of(RUNS[0], Curve("10t"), Against.TIME) == []


@pytest.mark.parametrize("cells", WIDTHS)
def test_a_row_has_its_figures_and_never_a_zero_for_nothing(cells: int) -> None:
    runs = [*RUNS, Run("blank")]
    columns = columns_for(cells, runs, bet_columns(runs, keys_of(runs)))
    names = {column.name for column, _ in columns}
    row = {c.name: c.cell(runs[0], wide, UNICODE)[0] for c, wide in columns}
    blank = {c.name: c.cell(runs[3], wide, UNICODE)[0] for c, wide in columns}

    assert {"key", "run", "loss", "money", "energy", "gpu", "progress", "eta"} <= names
    assert (row["key"], row["money"], row["energy"], row["gpu"], row["progress"]) == (
        "a",
        "33.3M",
        "7.20G",
        "90.0M",
        "50.0 %",
    )
    assert row["eta"] == "12 d, 10-15 d"
    if cells > 80:
        assert row["plan"] == "late 3.0 d"
        assert {"plan", "ettr", "risk"} <= names
    assert {blank[name] for name in names - {"key", "run", "state"}} == {"n/a"}


def test_runs_are_ordered_by_what_they_bring() -> None:
    poor = a_run("poor", money=Money("$", per_billion_tokens=300.0))
    runs = [poor, *RUNS, Run("blank")]
    columns = bet_columns(runs, keys_of(runs))

    ordered = chosen(runs, Match(), "money", False, columns)

    assert [run.run_id for run in ordered][-2:] == ["poor", "blank"]


def test_an_end_without_a_band_and_a_plan_without_an_end() -> None:
    bare = bet_of(replace(RUNS[0], eta_early_unix_ns=0, eta_late_unix_ns=0))
    unplanned = bet_of(replace(RUNS[0], planned_end_unix_ns=0))
    early = bet_of(replace(RUNS[0], planned_end_unix_ns=RUNS[0].eta_unix_ns + DAY // 2))

    assert eta_text(bare) == "12 d"
    assert plan_text(unplanned) == "n/a"
    assert plan_text(early) == "early 12 h"
    assert eta_text(bet_of(Run("x"))) == "n/a"


@pytest.mark.parametrize("cells", [75, 100, 150])
def test_the_card_of_a_move_fits_and_says_that_it_is_a_model(cells: int) -> None:
    runs = [a_run("a-rather-long-name-of-a-run"), a_run("b", 1_000), a_run("c", 0)]
    found = what_if(runs, "b", "a-rather-long-name-of-a-run", 400)
    shown = text(what_if_lines(found, cells))

    assert max(width(row) for row in shown.splitlines()) <= cells
    assert "1,000>600" in shown
    assert "10>410" in shown
    assert "modelled" in shown
    assert "colossus pause" in shown
    assert "$2.40k>$98.4k" in shown


def test_of_a_whole_site_no_figure_of_a_move_is_cut() -> None:
    runs = [a_run("10t", 45_000), a_run("imagine-v2", 30_000)]

    shown = text(what_if_lines(what_if(runs, "10t", "imagine-v2", 12_500), 75))

    first = next(row for row in shown.splitlines() if row.startswith("10t"))
    assert "45,000>32,500" in first
    assert first.endswith("W")
    assert max(width(row) for row in shown.splitlines()) <= 75


def test_an_emptied_run_stops() -> None:
    shown = text(what_if_lines(what_if(RUNS, "1t-a", "10t"), 75))

    assert ">stops" in shown
    assert "10>0" in shown


def test_who_can_move_is_offered_and_foreign_text_stays_harmless() -> None:
    runs = [*RUNS, a_run("rests", 0, state=RunState.PAUSED), a_run("p", priority_class="P4")]

    assert choices(runs) == ["10t", "1t-a", "odd", "p", "P2"]
    hostile = [a_run(HOSTILE, backend="slurm"), a_run("b")]
    columns = bet_columns(hostile, keys_of(hostile))
    lines = [
        *field_lines([HOSTILE, HOSTILE, "3"], 2),
        *what_if_lines(what_if(hostile, HOSTILE, "b", 3), 75),
        tuple(column.cell(hostile[0], 20, ASCII) for column in columns),
    ]
    assert "boo" in text(lines)
    assert text(lines).replace("\n", "").isprintable()
