"""What a run did over time: plots that share one time axis."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colossus_tui.model import Series
from colossus_tui.text import compact, duration, now_ns, significant, watts, width
from colossus_tui.tui.theme import Glyphs
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.axis import DAY_SECONDS, Axis, Scale, Window, spanning
from colossus_tui.tui.views.plot import Trace, plot

SERIES = ("loss", "step_seconds", "tokens_per_second", "power_watts")
PLOT_LINES, LOW_PLOT_LINES = 7, 6  # of one; the fewer where they stand below each other
SIDE_CELLS = 100  # from so many on they stand side by side
_SHOWN: dict[str, tuple[str, Callable[[float], str]]] = {
    "loss": ("LOSS", significant),
    "step_seconds": ("STEP TIME", duration),
    "tokens_per_second": ("TOKENS/S", compact),
    "power_watts": ("GPU POWER", watts),
}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back is looked, seconds; 0 is all that there is."""

    name: str
    seconds: float


REACHES = (
    Reach("15 minutes", 900.0),
    Reach("6 hours", 21_600.0),
    Reach("7 days", 604_800.0),
    Reach("all", 0.0),
)


def past_plots(
    series: Sequence[Series], reach: Reach, window: Window, cells: int, glyphs: Glyphs
) -> list[Line]:
    """Return a plot for each series, all over the same time."""
    by_name = {one.name: one for one in series}
    since = now_ns() / 1e9 - reach.seconds if reach.seconds else 0.0
    times = [time_ns / 1e9 for one in by_name.values() for time_ns in one.times_unix_ns]
    whole = spanning((at for at in times if at >= since), Scale.TIME)
    axis = whole.part(window) if whole else None
    side = cells >= SIDE_CELLS
    room, lines = (cells // 2 - 1, PLOT_LINES) if side else (cells, LOW_PLOT_LINES)
    plots = [_plot(by_name.get(name), *_SHOWN[name], axis, room, lines, glyphs) for name in SERIES]
    title = f"THE LAST {reach.name.upper()}" if reach.seconds else "ALL OF ITS TIME"
    part = "" if window.is_whole else f", {window.end - window.start:.1%} of it"
    head: Line = ((title + part, "head"), ("   + - closer, wider   < > along   0 all of it", "dim"))
    if not side:
        return [head, *(line for one in plots for line in one)]
    rows = [
        (*_padded(left, room), ("  ", "plain"), *right)
        for first, second in (plots[:2], plots[2:])
        for left, right in zip(first, second, strict=True)
    ]
    return [head, *rows]


def _plot(
    one: Series | None,
    title: str,
    show: Callable[[float], str],
    axis: Axis | None,
    cells: int,
    lines: int,
    glyphs: Glyphs,
) -> list[Line]:
    points = (
        [(t / 1e9, value) for t, value in zip(one.times_unix_ns, one.values, strict=True)]
        if one
        else []
    )
    form = _time_form(axis)
    return plot(
        title,
        [Trace(points)],
        axis,
        cells,
        lines,
        glyphs,
        show,
        lambda x: time.strftime(form, time.localtime(x)),
    )


def _time_form(axis: Axis | None) -> str:
    """Return how times are written on an axis of this length."""
    seconds = axis.high - axis.low if axis else 0.0
    if seconds > 3 * DAY_SECONDS:
        return "%d %b"
    return "%d %b %H:%M" if seconds > DAY_SECONDS else "%H:%M" if seconds > 600 else "%H:%M:%S"


def _padded(line: Line, cells: int) -> Line:
    used = sum(width(text) for text, _ in line)
    return (*line, (" " * max(cells - used, 0), "plain"))
