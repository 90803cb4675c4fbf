"""What a partial update writes, read by a terminal."""

from __future__ import annotations

import io

import pyte
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from colossus_tui.tui.compositor import CroppedUpdate, WholeUpdate

COLUMNS, ROWS = 20, 4
STYLES = (
    None,
    Style(color="#c9d1d9", bgcolor="#0d1117"),
    Style(color="#f0f6fc", bgcolor="#0d1117", bold=True),
    Style(color="#ff7b57", bgcolor="#0d1117", reverse=True),
    Style(bold=True),
    Style(),
)
LINES = st.lists(
    st.lists(
        st.tuples(st.text("abc█▁·", min_size=1, max_size=6), st.sampled_from(STYLES)),
        min_size=1,
        max_size=4,
    ),
    min_size=ROWS,
    max_size=ROWS,
)
SPANS = st.lists(
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1), st.integers(1, COLUMNS)),
    min_size=1,
    max_size=6,
)


def _console() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, color_system="256", width=COLUMNS)


def _screen(written: str) -> pyte.Screen:
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.Stream(screen).feed(written)
    return screen


def _strips(lines: list[list[tuple[str, Style | None]]]) -> list[Strip]:
    return [
        Strip([Segment(text, style) for text, style in line]).adjust_cell_length(COLUMNS)
        for line in lines
    ]


@given(LINES, SPANS)
def test_a_terminal_shows_each_changed_cell_in_its_own_style(
    lines: list[list[tuple[str, Style | None]]], spans: list[tuple[int, int, int]]
) -> None:
    """Whatever was written before it, and nothing beyond the changed cells."""
    strips = _strips(lines)
    console = _console()
    whole = _screen("\r\n".join(strip.render(console) for strip in strips))
    spans = [(y, x1, x2) for y, x1, x2 in spans if x1 < x2]
    update = CroppedUpdate([{0: strip} for strip in strips], spans, [[COLUMNS]] * ROWS)

    shown = _screen(update.render_segments(console))

    changed = {(y, x) for y, x1, x2 in spans for x in range(x1, x2)}
    blank = pyte.Screen(COLUMNS, ROWS).buffer[0][0]
    for y in range(ROWS):
        for x in range(COLUMNS):
            expected = whole.buffer[y][x] if (y, x) in changed else blank
            assert shown.buffer[y][x] == expected
    assert shown.cursor.attrs.fg == "default"


@given(LINES)
def test_a_whole_screen_is_what_each_of_its_styles_makes_it(
    lines: list[list[tuple[str, Style | None]]],
) -> None:
    strips = _strips(lines)
    console = _console()
    expected = _screen("\r\n".join(strip.render(console) for strip in strips))

    region = Region(0, 0, COLUMNS, ROWS)
    written = WholeUpdate([[strip] for strip in strips], region).render_segments(console)

    shown = _screen(written)
    for y in range(ROWS):
        for x in range(COLUMNS):
            assert shown.buffer[y][x] == expected.buffer[y][x]
    assert shown.cursor.attrs.fg == "default"
