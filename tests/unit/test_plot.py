"""Axes, windows and plots: round, within bounds, still while nothing changes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.text import width
from colossus_tui.tui.theme import ASCII, UNICODE, Glyphs
from colossus_tui.tui.views.axis import CLOSEST, WHOLE, Axis, Scale, Window, spanning
from colossus_tui.tui.views.plot import Trace, plot

FINITE = st.floats(-1e15, 1e15, allow_nan=False)
POSITIVE = st.floats(1e-9, 1e25)
SCALES = st.sampled_from(list(Scale))


def drawn(
    traces: list[Trace], axis: Axis | None, glyphs: Glyphs = ASCII, scale: Scale = Scale.LINEAR
) -> list[str]:
    lines = plot("TITLE", traces, axis, 60, 12, glyphs, "{:.3g}".format, "{:.3g}".format, scale)
    return ["".join(text for text, _ in line) for line in lines]


@given(st.lists(POSITIVE, min_size=1), SCALES)
def test_an_axis_holds_all_values_and_its_ticks_are_on_it(
    values: list[float], scale: Scale
) -> None:
    axis = spanning(values, scale)

    assert axis is not None
    assert axis.low < axis.high
    slack = 1e-6
    assert all(-slack <= axis.share(value) <= 1 + slack for value in values)
    for most in (2, 4, 9):
        ticks = axis.ticks(most)
        assert len(ticks) <= most
        assert all(-0.01 <= axis.share(tick) <= 1.01 for tick in ticks)
        assert all(before < after for before, after in pairwise(ticks))


def test_decades_are_the_ticks_of_a_long_logarithmic_axis() -> None:
    axis = spanning([3e6, 4e12], Scale.LOG)

    assert axis is not None
    assert axis.ticks(9) == pytest.approx([10.0**decade for decade in range(6, 14)])
    assert axis.ticks(4) == pytest.approx([1e6, 1e8, 1e10, 1e12])


def test_without_a_value_there_is_no_axis() -> None:
    assert spanning([]) is None
    assert spanning([math.nan, math.inf]) is None
    assert spanning([0.0, -1.0], Scale.LOG) is None


def test_an_axis_stands_still_while_a_few_values_come() -> None:
    times = [1_800_000_000.0 + second for second in range(900)]
    axes = {spanning(times[: 800 + more], Scale.TIME) for more in range(100)}

    assert len(axes) <= 2


@given(st.lists(st.sampled_from(["in", "out", "left", "right"]), max_size=40))
def test_a_window_stays_within_the_whole(keys: list[str]) -> None:
    window = WHOLE
    for key in keys:
        window = {
            "in": window.zoomed(0.5),
            "out": window.zoomed(2.0),
            "left": window.panned(-0.25),
            "right": window.panned(0.25),
        }[key]
        assert 0 <= window.start < window.end <= 1
        assert window.end - window.start >= CLOSEST * 0.999
    for _ in range(12):
        window = window.zoomed(2.0)
    assert window.is_whole


def test_a_window_at_the_end_keeps_to_the_newest_and_pans_back() -> None:
    close = WHOLE.zoomed(0.5).zoomed(0.5)
    before = close.panned(-1.0)

    assert close == Window(0.75, 1.0)
    assert before == Window(0.5, 0.75)
    assert before.panned(1.0) == close
    assert Axis(100.0, 200.0).part(close) == Axis(175.0, 200.0)
    assert Axis(1.0, 1e4, Scale.LOG).part(close).low == pytest.approx(1e3)


@given(
    st.lists(st.lists(st.tuples(FINITE, FINITE | st.just(math.nan)), max_size=30), max_size=5),
    st.sampled_from([ASCII, UNICODE]),
    st.floats(0, 0.9),
    SCALES,
)
def test_whatever_is_plotted_has_its_size(
    curves: list[list[tuple[float, float]]], glyphs: Glyphs, start: float, scale: Scale
) -> None:
    traces = [Trace(sorted(points), mark="ab"[at % 2]) for at, points in enumerate(curves)]
    whole = spanning((x for points in curves for x, _ in points), scale)
    lines = drawn(traces, whole.part(Window(start, 1.0)) if whole else None, glyphs, scale)

    assert len(lines) == 12
    assert all(width(line) <= 60 for line in lines)
    if glyphs is ASCII:
        assert "".join(lines).isascii()


def test_a_gap_is_not_bridged_and_a_cut_line_reaches_the_edge() -> None:
    gap = [(0.0, 1.0), (4.0, 1.0), (5.0, math.nan), (6.0, 1.0), (10.0, 1.0)]
    rows = drawn([Trace(gap)], Axis(0.0, 10.0))
    (row,) = [row for row in rows if "*" in row]
    between = drawn([Trace([(0.0, 1.0), (10.0, 2.0)])], Axis(4.0, 6.0))

    assert len(row.split("* ")) == 2
    assert " " * 8 in row[10:].strip()
    assert sum("*" in line for line in between) > 5  # though no point of it is on the axis
    assert all(line[10] == " " or "*" in line for line in between[1:-1])
    assert any(line[10] == "*" for line in between)
    assert any(line[59] == "*" for line in between)


def test_curves_are_told_apart_without_colour() -> None:
    traces = [
        Trace([(1.0, 1.0), (9.0, 1.0)], "curve0", "a"),
        Trace([(1.0, 3.0), (9.0, 3.0)], "curve1", "b"),
    ]
    plain = "\n".join(drawn(traces, Axis(0.0, 10.0)))
    dotted = "\n".join(drawn(traces, Axis(0.0, 10.0), UNICODE))

    assert plain.count("a") > 30
    assert plain.count("b") > 30
    assert 1 < dotted.count("a") < 6
    assert 1 < dotted.count("b") < 6


def test_nothing_is_said_to_be_nothing() -> None:
    assert any("no points yet" in line for line in drawn([], None))
    assert any("no points yet" in line for line in drawn([Trace([(1.0, math.nan)])], Axis(0, 2)))
