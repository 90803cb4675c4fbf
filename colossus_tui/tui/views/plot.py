"""Line plots and sparklines from characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from colossus_tui.text import fit
from colossus_tui.tui.theme import Glyphs
from colossus_tui.tui.views import Line

LABEL_CELLS = 9
LEAST_SPAN = 0.1  # of the middle value
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode braille, row by column


def sparkline(values: Sequence[float], cells: int, glyphs: Glyphs) -> str:
    """Return the newest values as one line of so many cells; blank without values."""
    known = [value for value in values if math.isfinite(value)][-cells:]
    if len(known) < 2:
        return " " * cells
    low, high = min(known), max(known)
    span = (high - low) or 1.0
    top = len(glyphs.spark) - 1
    text = "".join(glyphs.spark[round((value - low) / span * top)] for value in known)
    return text.rjust(cells)


def plot(
    title: str,
    points: Sequence[tuple[float, float]],
    cells: int,
    lines: int,
    glyphs: Glyphs,
    show: Callable[[float], str],
    show_x: Callable[[float], str],
) -> list[Line]:
    """Return a plot with its axes' ends named.

    Args:
        points: (x, y), x growing.
        cells: Width with labels.
        lines: Height with title and x axis; at least 4.
        show: y as text with unit.
        show_x: x as text.
    """
    inside, height = max(cells - LABEL_CELLS - 1, 4), max(lines - 2, 2)
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    if len(finite) < 2:
        blank: Line = ((" " * cells, "plain"),)
        note: Line = ((fit(f"{' ' * (LABEL_CELLS + 1)}no points yet", cells), "dim"),)
        return [((fit(title, cells), "head"),), *([note] + [blank] * (lines - 2))]
    (first, last) = finite[0][0], finite[-1][0]
    low, high = min(y for _, y in finite), max(y for _, y in finite)
    middle = (low + high) / 2
    least = abs(middle) * LEAST_SPAN or 1.0  # noise must not look like a mountain
    if high - low < least:
        low, high = middle - least / 2, middle + least / 2
    rows = _draw(finite, (first, last), (low, high), inside, height, glyphs)
    labels = {0: show(high), height - 1: show(low), (height - 1) // 2: show((high + low) / 2)}
    body: list[Line] = [
        (
            (fit(labels.get(index, ""), LABEL_CELLS, right=True) + " ", "dim"),
            (row, "accent"),
        )
        for index, row in enumerate(rows)
    ]
    left, right = show_x(first), show_x(last)
    axis = " " * (LABEL_CELLS + 1) + left + right.rjust(max(inside - len(left), 0))
    return [((fit(title, cells), "head"),), *body, ((fit(axis, cells), "dim"),)]


def _draw(
    points: Sequence[tuple[float, float]],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    cells: int,
    lines: int,
    glyphs: Glyphs,
) -> list[str]:
    across, down = (2, 4) if glyphs.braille else (1, 1)
    wide, high = cells * across, lines * down
    x_span = (x_range[1] - x_range[0]) or 1.0
    y_span = (y_range[1] - y_range[0]) or 1.0
    grid = [[0] * cells for _ in range(lines)]
    before: tuple[int, int] | None = None
    for x, y in points:
        column = min(int((x - x_range[0]) / x_span * (wide - 1)), wide - 1)
        row = min(int((y_range[1] - y) / y_span * (high - 1)), high - 1)
        for c, r in _between(before, (column, row)):
            mark = _DOTS[r % 4][c % 2] if glyphs.braille else 1
            grid[r // down][c // across] |= mark
        before = (column, row)
    if glyphs.braille:
        return ["".join(chr(0x2800 + mark) for mark in row) for row in grid]
    return ["".join("*" if mark else " " for mark in row) for row in grid]


def _between(before: tuple[int, int] | None, after: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the cells of a straight line, its end included."""
    if before is None:
        return [after]
    count = max(abs(after[0] - before[0]), abs(after[1] - before[1]), 1)
    return [
        (
            round(before[0] + (after[0] - before[0]) * index / count),
            round(before[1] + (after[1] - before[1]) * index / count),
        )
        for index in range(1, count + 1)
    ]
