"""How a map's cells are drawn: colour and digit, or two colours in one character."""

from __future__ import annotations

from rich.style import Style

from colossus_tui.tui.theme import Glyphs, Theme
from colossus_tui.tui.views.grid import VALUED
from colossus_tui.tui.views.heat import LEVEL_BITS, MARK_SHIFT, MISSING, STALE, UNMATCHED

UPPER, LOWER = "▀", "▄"
NOTHING = 0x80  # no cell there
_MARK_STYLES = ("plain", "warn", "plain", "bad")  # nothing, failing, stale, lost


class Ink:
    """Text and style of cells, remembered by their code.

    Args:
        digits: Never two cells in one character.

    Attributes:
        colours: Whether levels have colours; digits say them always.
        halves: Whether two cells may stand in one character, told by colour alone.
        ground: Behind everything.
    """

    def __init__(self, glyphs: Glyphs, theme: Theme, *, digits: bool = False) -> None:
        self.glyphs = glyphs
        self.theme = theme
        self.colours = bool(theme.heat)
        self.digits = digits
        self.halves = theme.halves and glyphs.braille and not digits
        self.ground = Style(bgcolor=theme.background)
        self._cells: dict[tuple[int, int, str, bool], tuple[str, Style]] = {}
        self._pairs: dict[tuple[int, int, int], tuple[str, Style]] = {}

    def style(self, name: str) -> Style:
        """Return a style by its name, on the ground."""
        return self.theme.styles[name] + self.ground

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
            return self.style(name) + Style(reverse=is_cursor or None)
        if is_cursor:
            return Style(color=self.theme.background, bgcolor=self.theme.here, bold=True)
        if mark >= STALE:  # what it last said counts for little
            return self._on(self.theme.background, _MARK_STYLES[mark], bold=True)
        ground = self._ground(code)
        if mark:
            return self._on(ground, _MARK_STYLES[mark], bold=True)
        if level == MISSING:
            return self._on(ground, "faint" if dim else "dim")
        if cells == VALUED:
            return self._on(ground, "faint" if dim else "plain")
        return self.theme.styles[f"heat{level}"] + Style(bgcolor=ground)

    def _on(self, ground: str, name: str, *, bold: bool = False) -> Style:
        """Return a style's colour so that it is read on this ground."""
        return Style(color=self.theme.on(ground, name), bgcolor=ground, bold=bold or None)

    def _ground(self, code: int) -> str:
        level = code & LEVEL_BITS
        if code == NOTHING or level == MISSING:
            return self.theme.background
        return self.theme.heat_dim[level] if code & UNMATCHED else self.theme.heat[level]

    def pair(self, upper: int, lower: int, cursor: int) -> tuple[str, Style]:
        """Return two cells, one above the other; the cursor is on 0, 1 or, if -1, on neither."""
        key = (upper, lower, cursor)
        if key not in self._pairs:
            self._pairs[key] = self._pair(upper, lower, cursor)
        return self._pairs[key]

    def _pair(self, upper: int, lower: int, cursor: int) -> tuple[str, Style]:
        above, below = self._ground(upper), self._ground(lower)
        if cursor >= 0:
            behind = above if cursor else below
            return (UPPER, LOWER)[cursor], Style(color=self.theme.here, bgcolor=behind)
        marked = max((upper, lower), key=_weight)
        if _weight(marked):
            return self._marked(marked, lower if marked == upper else upper)
        if above == below:
            return " ", Style(bgcolor=above)
        return UPPER, Style(color=above, bgcolor=below)

    def _marked(self, code: int, other: int) -> tuple[str, Style]:
        """Return a glyph in place of its cell; the cell beside it is what is behind the glyph."""
        mark = code >> MARK_SHIFT & 3
        plain = bool(_weight(other)) or other == NOTHING
        ground = self.theme.background if plain else self._ground(other)
        if not mark:
            return self.glyphs.missing, self._on(ground, "dim")
        return self.glyphs.marks[mark], self._on(ground, _MARK_STYLES[mark], bold=True)


def _weight(code: int) -> int:
    """Return how much a cell needs a glyph of its own: missing, failing, stale, lost."""
    if code == NOTHING:
        return 0
    return (code >> MARK_SHIFT & 3) * 2 + (code & LEVEL_BITS == MISSING)
