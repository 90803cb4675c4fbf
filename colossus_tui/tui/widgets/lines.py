"""Lines of styled spans, scrolled when they do not fit; repaints only lines that changed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual.geometry import Region, Size
from textual.strip import Strip

from colossus_tui.text import width
from colossus_tui.tui.theme import Theme
from colossus_tui.tui.views import Line
from colossus_tui.tui.widgets.drawn import Drawn


class Lines(Drawn, can_focus=True):
    """Shows lines; the arrow and page keys scroll."""

    DEFAULT_CSS = """
    Lines { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; }
    """

    def __init__(self, *, id: str | None = None, focusable: bool = False) -> None:
        super().__init__(id=id)
        self.can_focus = focusable
        self._lines: list[Line] = []

    def set_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines; only those that differ are drawn again."""
        before, self._lines = self._lines, list(lines)
        if len(before) != len(self._lines):
            self.virtual_size = Size(self.size.width, len(self._lines))
            self.refresh()
            return
        top = self.scroll_offset.y
        changed = [
            Region(start, index - top, end - start, 1)
            for index, (old, new) in enumerate(zip(before, self._lines, strict=True))
            if old != new and 0 <= index - top < self.size.height
            for start, end in [_difference(old, new, self.size.width)]
        ]
        if changed:
            self.refresh(*changed)

    def text_lines(self) -> list[str]:
        """Return all lines as plain text."""
        return ["".join(text for text, _ in line).rstrip() for line in self._lines]

    def render_line(self, y: int) -> Strip:
        """Return one line as Textual draws it."""
        index = y + self.scroll_offset.y
        cells = self.size.width
        if index >= len(self._lines):
            return Strip.blank(cells, self.rich_style)
        return draw(self._lines[index], cells, self.theme_now).apply_style(self.rich_style)


def draw(line: Line, cells: int, theme: Theme) -> Strip:
    """Return a line of exactly so many cells."""
    segments = [Segment(text, theme.styles[style]) for text, style in line if text]
    return Strip(segments).simplify().adjust_cell_length(cells)


def _difference(old: Line, new: Line, cells: int) -> tuple[int, int]:
    """Return the first and the last cell in which two lines differ."""
    start = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            break
        start += width(before[0])
    end = cells
    if sum(width(t) for t, _ in old) == sum(width(t) for t, _ in new):
        end = sum(width(text) for text, _ in new)
        for before, after in zip(reversed(old), reversed(new), strict=False):
            if before != after:
                break
            end -= width(before[0])
    return min(start, cells), max(min(end, cells), start)
