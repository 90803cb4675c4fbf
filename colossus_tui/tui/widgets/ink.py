"""How a map's cells are drawn: colour and digit, or two colours in one character."""

from __future__ import annotations

from rich.style import Style

from colossus_tui.tui.theme import (
    BACKGROUND,
    HEAT,
    HEAT_DIM,
    HEAT_INK,
    LIGHT_LEVEL,
    STYLES,
    Glyphs,
)
from colossus_tui.tui.views.grid import VALUED
from colossus_tui.tui.views.heat import LEVEL_BITS, MARK_SHIFT, MISSING, STALE, UNMATCHED

UPPER, LOWER = "▀", "▄"
NOTHING = 0x80  # no cell there
_CURSOR = "#ffffff"
_MARK_INK = (
    ("#c9d1d9",) * 2,
    ("#e69f00", "#4a2f00"),
    ("#c9d1d9", "#20262d"),
    ("#ff7b57", "#6b1200"),
)
_VALUE_INK = ("#c9d1d9", "#0d1117")


def few_colours(color_system: str | None) -> bool:
    """Return whether a terminal of this kind has too few colours for the levels."""
    return color_system in (None, "standard", "windows")


class Ink:
    """Text and style of cells, remembered by their code.

    Args:
        colours: Whether levels have colours; digits say them always.
    """

    def __init__(self, glyphs: Glyphs, *, colours: bool) -> None:
        self.colours = colours
        self.glyphs = glyphs
        self._cells: dict[tuple[int, int, str, bool], tuple[str, Style]] = {}
        self._pairs: dict[tuple[int, int, int], tuple[str, Style]] = {}

    def cell(self, code: int, cells: int, text: str, is_cursor: bool) -> tuple[str, Style]:
        """Return one cell of so many characters."""
        key = (code, cells, text, is_cursor)
        if key not in self._cells:
            if len(self._cells) > 4_096:  # numbers are many
                self._cells.clear()
            self._cells[key] = self._text(*key), self._style(code, cells, is_cursor)
        return self._cells[key]

    def _text(self, code: int, cells: int, text: str, is_cursor: bool) -> str:
        level, mark = code & LEVEL_BITS, self.glyphs.marks[code >> MARK_SHIFT & 3]
        digit = self.glyphs.missing if level == MISSING else str(level)
        if code & UNMATCHED and level != MISSING:
            digit = " " if self.colours else self.glyphs.unmatched
        if cells == VALUED:
            text = digit if level == MISSING or not text else text
            return f"{'>' if is_cursor else ' '}{mark}{text[: cells - 3]}".ljust(cells)
        if cells == 1:
            return mark or digit
        return f"{'>' if is_cursor else mark or ' '}{digit}"

    def _style(self, code: int, cells: int, is_cursor: bool) -> Style:
        level, mark, dim = code & LEVEL_BITS, code >> MARK_SHIFT & 3, bool(code & UNMATCHED)
        if not self.colours:
            name = ("plain", "warn", "warn", "bad")[mark]
            name = "faint" if dim or level == MISSING else name
            return STYLES[name] + Style(bgcolor=BACKGROUND, reverse=is_cursor)
        if is_cursor:
            return Style(color=BACKGROUND, bgcolor=_CURSOR, bold=True)
        ground, light = _ground(code), level != MISSING and level >= LIGHT_LEVEL and not dim
        if mark >= STALE:  # what it last said counts for little
            return Style(color=_MARK_INK[mark][0], bgcolor=BACKGROUND, bold=True)
        if mark:
            return Style(color=_MARK_INK[mark][light], bgcolor=ground, bold=True)
        if level == MISSING:
            return Style(color="#484f58" if dim else "#7d8590", bgcolor=ground)
        if cells == VALUED:
            return Style(color="#6e7681" if dim else _VALUE_INK[light], bgcolor=ground)
        return Style(color=HEAT_INK[level], bgcolor=ground)

    def pair(self, upper: int, lower: int, cursor: int) -> tuple[str, Style]:
        """Return two cells, one above the other; the cursor is on 0, 1 or, if -1, on neither."""
        key = (upper, lower, cursor)
        if key not in self._pairs:
            self._pairs[key] = self._pair(upper, lower, cursor)
        return self._pairs[key]

    def _pair(self, upper: int, lower: int, cursor: int) -> tuple[str, Style]:
        above, below = _ground(upper), _ground(lower)
        if cursor >= 0:
            behind = above if cursor else below
            return (UPPER, LOWER)[cursor], Style(color=_CURSOR, bgcolor=behind)
        marked = max((upper, lower), key=_weight)
        if _weight(marked):
            return self._marked(marked, lower if marked == upper else upper)
        if above == below:
            return " ", Style(bgcolor=above)
        return UPPER, Style(color=above, bgcolor=below)

    def _marked(self, code: int, other: int) -> tuple[str, Style]:
        """Return a glyph in place of its cell; the cell beside it is what is behind the glyph."""
        mark, level = code >> MARK_SHIFT & 3, other & LEVEL_BITS
        plain = bool(_weight(other)) or other == NOTHING
        ground = BACKGROUND if plain else _ground(other)
        if not mark:
            return self.glyphs.missing, Style(color="#7d8590", bgcolor=ground)
        light = not plain and level >= LIGHT_LEVEL and not other & UNMATCHED
        return self.glyphs.marks[mark], Style(
            color=_MARK_INK[mark][light], bgcolor=ground, bold=True
        )


def _weight(code: int) -> int:
    """Return how much a cell needs a glyph of its own: missing, failing, stale, lost."""
    if code == NOTHING:
        return 0
    return (code >> MARK_SHIFT & 3) * 2 + (code & LEVEL_BITS == MISSING)


def _ground(code: int) -> str:
    level = code & LEVEL_BITS
    if code == NOTHING or level == MISSING:
        return BACKGROUND
    return HEAT_DIM[level] if code & UNMATCHED else HEAT[level]
