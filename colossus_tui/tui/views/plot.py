"""Line plots and sparklines from characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from colossus_tui.text import fit, safe, width
from colossus_tui.tui.theme import Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.axis import TINY, Axis, Scale, spanning

LABEL_CELLS = 9
LEAST_SPAN = 0.1  # of the middle value
TICK_LINES, TICK_CELLS = 2, 14  # at least so much from one tick to the next
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
CURVE_STYLES = 7  # "curve0" and on
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


@dataclass(frozen=True, slots=True)
class Trace:
    """One curve.

    Attributes:
        points: (x, y), x growing; a y that is no number is a gap.
        style: Name of its style.
        mark: Letter that names it, also without colour; "" for the only one of a plot.
    """

    points: Sequence[tuple[float, float]]
    style: str = "accent"
    mark: str = ""


def plot(
    title: str,
    traces: Sequence[Trace],
    x_axis: Axis | None,
    cells: int,
    lines: int,
    glyphs: Glyphs,
    show: Callable[[float], str],
    show_x: Callable[[float], str],
    scale: Scale = Scale.LINEAR,
) -> list[Line]:
    """Return curves over one x axis, with round ticks.

    Args:
        traces: The last is drawn over the others.
        x_axis: What of x is shown; None while there is nothing.
        cells: Width with labels.
        lines: Height with title and x axis; at least 4.
        show: y as text with unit.
        show_x: x as text.
        scale: Of y.
    """
    inside, height = max(cells - LABEL_CELLS - 1, 4), max(lines - 2, 2)
    head: Line = ((fit(safe(title), cells), "head"),)
    pieces = [(trace, _pieces(trace, x_axis, scale)) for trace in traces] if x_axis else []
    y_axis = spanning((y for _, parts in pieces for part in parts for _, y in part), scale,
                      LEAST_SPAN)  # fmt: skip
    if x_axis is None or y_axis is None:
        blank: Line = ((" " * cells, "plain"),)
        note: Line = ((fit(f"{' ' * (LABEL_CELLS + 1)}no points yet", cells), "dim"),)
        return [head, note, *([blank] * (lines - 2))]
    canvas = _Canvas(inside, height, glyphs)
    for trace, parts in pieces:
        canvas.draw(trace, [[(x, 1 - y_axis.share(y)) for x, y in part] for part in parts])
    canvas.write_marks()
    labels = {
        round((1 - y_axis.share(tick)) * (height - 1)): show(tick)
        for tick in y_axis.ticks(max((height + 1) // TICK_LINES, 2))
    }
    body: list[Line] = [
        ((fit(labels.get(row, ""), LABEL_CELLS, right=True) + " ", "dim"), *canvas.spans(row))
        for row in range(height)
    ]
    return [head, *body, ((_ticks(x_axis, inside, show_x), "dim"),)]


def _pieces(trace: Trace, x_axis: Axis, scale: Scale) -> list[list[tuple[float, float]]]:
    """Return what of a curve is on the axis as (share, y): cut at its ends and at gaps."""
    found: list[list[tuple[float, float]]] = [[]]
    before: tuple[float, float] | None = None
    for x, y in trace.points:
        if not (math.isfinite(y) and math.isfinite(x)) or (
            (scale is Scale.LOG and y <= TINY) or (x_axis.scale is Scale.LOG and x <= TINY)
        ):
            before = None
            found.append([])
            continue
        point = x_axis.share(x), y
        if before is None:
            found[-1] += [point] if 0 <= point[0] <= 1 else []
        elif before[0] <= 1 and point[0] >= 0:
            start, end = _within(before, point), _within(point, before)
            found[-1] += [end] if found[-1] else [start, end]
        before = point
    return [part for part in found if part]


def _within(point: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point, or where the line from it to the other comes onto the axis."""
    edge = min(max(point[0], 0.0), 1.0)
    if edge == point[0] or other[0] == point[0]:
        return edge, point[1]
    share = (edge - point[0]) / (other[0] - point[0])
    return edge, point[1] + (other[1] - point[1]) * share


def _ticks(x_axis: Axis, inside: int, show_x: Callable[[float], str]) -> str:
    """Return the line below: each tick's text under its place, as far as they do not touch."""
    row = [" "] * inside
    free = 0
    for tick in x_axis.ticks(max(inside // TICK_CELLS, 2)):
        text = show_x(tick)
        at = round(x_axis.share(tick) * (inside - 1)) - width(text) // 2
        at = min(max(at, 0), inside - width(text))
        if at >= free:
            row[at : at + len(text)] = text
            free = at + width(text) + 1
    return " " * (LABEL_CELLS + 1) + "".join(row)


class _Canvas:
    """Cells of a plot: dots of curves, and the letters that name them."""

    def __init__(self, cells: int, lines: int, glyphs: Glyphs) -> None:
        self._cells, self._lines, self._braille = cells, lines, glyphs.braille
        self._across, self._down = (2, 4) if glyphs.braille else (1, 1)
        self._dots = [[0] * cells for _ in range(lines)]
        self._styles = [[""] * cells for _ in range(lines)]
        self._texts = [[" "] * cells for _ in range(lines)]
        self._paths: list[tuple[Trace, list[tuple[int, int]]]] = []

    def draw(self, trace: Trace, parts: Iterable[Sequence[tuple[float, float]]]) -> None:
        """Draw a curve; places are shares from the left and from the top."""
        wide, high = self._cells * self._across, self._lines * self._down
        path: list[tuple[int, int]] = []
        for part in parts:
            places = [(round(x * (wide - 1)), round(y * (high - 1))) for x, y in part]
            dots = places[:1]
            for before, after in pairwise(places):
                dots += _between(before, after)
            for column, row in dots:
                cell = row // self._down, column // self._across
                self._dots[cell[0]][cell[1]] |= _DOTS[row % 4][column % 2]
                self._styles[cell[0]][cell[1]] = trace.style
                self._texts[cell[0]][cell[1]] = trace.mark or "*"
                if not path or path[-1] != cell:
                    path.append(cell)
        self._paths.append((trace, path))

    def write_marks(self) -> None:
        """Write each curve's letter at its end and on its way, where no other letter is."""
        if not self._braille:
            return
        for row, dots in enumerate(self._dots):
            self._texts[row] = [chr(0x2800 + mark) if mark else " " for mark in dots]
        taken: set[tuple[int, int]] = set()
        for trace, path in self._paths:
            every = max(self._cells // 3, 1)
            for start in range(len(path) - 1, -1, -every) if trace.mark else ():
                near = path[max(start - every // 2, 0) : start + 1]
                free = [cell for cell in reversed(near) if cell not in taken]
                for row, column in free[:1]:
                    taken.add((row, column))
                    self._texts[row][column] = trace.mark
                    self._styles[row][column] = trace.style

    def spans(self, row: int) -> list[Span]:
        """Return a line, cells of one style together."""
        found: list[Span] = []
        for text, style in zip(self._texts[row], self._styles[row], strict=True):
            style = style or (found[-1][1] if found else "plain")
            if found and found[-1][1] == style:
                found[-1] = found[-1][0] + text, style
            else:
                found.append((text, style))
        return found


def _between(before: tuple[int, int], after: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the dots of a straight line, its end included."""
    count = max(abs(after[0] - before[0]), abs(after[1] - before[1]), 1)
    return [
        (
            round(before[0] + (after[0] - before[0]) * index / count),
            round(before[1] + (after[1] - before[1]) * index / count),
        )
        for index in range(1, count + 1)
    ]
