"""What goes to a terminal on a slow link: pieces, the newest of all, and everything at last."""

from __future__ import annotations

import random

import pyte
import pytest
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from colossus_tui.tui.compositor import Glass
from colossus_tui.tui.drain import Bandwidth, Drain

COLUMNS, ROWS = 40, 8
STYLES = (
    None,
    Style(color="#c9d1d9", bgcolor="#0d1117"),
    Style(color="#58a6ff", bgcolor="#0d1117", bold=True),
    Style(color="#f85149", bgcolor="#161b22", underline=True),
    Style(bgcolor="#161b22"),
)
CONSOLE = Console(color_system="256", force_terminal=True)


class Shown:
    """A glass, and the terminal behind it."""

    def __init__(self) -> None:
        self.drain = Drain(Bandwidth.LOW)
        self.glass = Glass(self.drain, lambda: 0)
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.Stream(self.screen)
        self.sent = 0

    def write(self, strips: list[Strip], room: int) -> int:
        """Write what there is room for; return how much it was."""
        text = self.glass.write(strips, CONSOLE, room)
        self._stream.feed(text)
        self.sent += len(text)
        return len(text)

    def until_whole(self, strips: list[Strip], room: int = 100) -> int:
        """Write until all is there; return in how many pieces."""
        for count in range(1, 1_000):
            self.write(strips, room)
            if not self.drain.has_rest:
                return count
        raise AssertionError("it never ends")

    def cells(self) -> list[list[tuple[object, ...]]]:
        """Return what can be seen of each cell."""
        return [[_seen(self.screen.buffer[y][x]) for x in range(COLUMNS)] for y in range(ROWS)]


def _seen(cell: pyte.screens.Char) -> tuple[object, ...]:
    marks = (cell.underscore, cell.reverse, cell.strikethrough)
    if cell.data == " " and not any(marks):
        return (" ", cell.bg)
    return (cell.data, cell.fg, cell.bg, cell.bold, *marks)


def drawn_whole(strips: list[Strip]) -> list[list[tuple[object, ...]]]:
    """Return the cells as Rich itself draws the strips."""
    whole = Shown()
    for y, strip in enumerate(strips):
        whole._stream.feed(f"\x1b[{y + 1};1H{strip.render(CONSOLE)}")
    return whole.cells()


def strip(*parts: tuple[str, int]) -> Strip:
    return Strip([Segment(text, STYLES[style]) for text, style in parts]).adjust_cell_length(
        COLUMNS, STYLES[1]
    )


def some(source: random.Random) -> Strip:
    words = ("10t", " running ", "   ", "985 W", "●", "漢字", "n/a", " ", "0123456789")
    return strip(*((source.choice(words), source.randrange(5)) for _ in range(6)))


@pytest.mark.parametrize("seed", range(20))
def test_the_terminal_comes_to_show_what_it_should(seed: int) -> None:
    source = random.Random(seed)
    shown, strips = Shown(), [some(source) for _ in range(ROWS)]
    shown.until_whole(strips, room=source.choice((10, 60, 200, 10_000)))
    assert shown.cells() == drawn_whole(strips)
    for _ in range(5):
        for y in source.sample(range(ROWS), 3):
            strips[y] = some(source)
        shown.until_whole(strips, room=source.choice((10, 60, 200)))
        assert shown.cells() == drawn_whole(strips)


def test_what_is_not_sent_yet_is_sent_as_it_is_by_then() -> None:
    shown = Shown()
    first = [strip((f"row {y} was so", 1)) for y in range(ROWS)]
    shown.write(first, 60)
    assert shown.drain.has_rest
    then = [strip((f"row {y} is now", 1)) for y in range(ROWS)]

    shown.until_whole(then, 60)

    assert shown.cells() == drawn_whole(then)
    assert "was" not in "\n".join(shown.screen.display)


def test_only_cells_that_differ_are_sent() -> None:
    shown = Shown()
    shown.until_whole([strip(("step 1,234,567   loss 2.616", 1)) for _ in range(ROWS)])
    changed = [strip(("step 1,234,568   loss 2.616", 1)) for _ in range(ROWS)]

    assert shown.write(changed, 10_000) < ROWS * 40
    assert shown.write(changed, 10_000) == 0


def test_what_has_just_changed_goes_before_what_waits() -> None:
    shown = Shown()
    shown.until_whole([strip(("old", 1)) for _ in range(ROWS)])
    strips = [strip(("a new state in every row", 1)) for _ in range(ROWS)]
    shown.write(strips, 60)  # the first row
    strips[0] = strip(("> the cursor is here", 2))

    shown.write(strips, 30)

    assert shown.screen.display[0].startswith("> the cursor")
    assert shown.screen.display[ROWS - 1].startswith("old")


def test_a_terminal_that_may_show_anything_is_drawn_anew() -> None:
    shown, strips = Shown(), [strip(("text", 1)) for _ in range(ROWS)]
    shown.until_whole(strips)
    shown.screen.reset()
    shown.glass.forget()

    shown.until_whole(strips)

    assert shown.cells() == drawn_whole(strips)


def test_rows_that_are_known_are_not_sent_again() -> None:
    shown, strips = Shown(), [strip((f"row {y}", 1)) for y in range(ROWS)]
    shown.glass.assume(strips, lambda y: y == 3)

    shown.until_whole(strips)

    assert [y for y in range(ROWS) if shown.screen.display[y].strip()] == [3]
