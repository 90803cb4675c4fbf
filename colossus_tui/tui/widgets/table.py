"""A table on Textual's line interface: a cursor bound to its row, changed cells repainted alone."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from colossus_tui.text import fit
from colossus_tui.tui.views import GAP, LEFT, Span
from colossus_tui.tui.widgets.drawn import Drawn

MARK = "*"


@dataclass(frozen=True, slots=True)
class TableColumn:
    """One column as it is drawn."""

    name: str
    head: str
    cells: int
    right: bool = False


class Table(Drawn, can_focus=True):
    """Rows of cells; line 0 is the head and stays.

    Args:
        empty: What is shown without rows.
        shared: Whether it shares the screen with other tables: then its cursor is shown only while
            it has the keys.
    """

    DEFAULT_CSS = """
    Table { scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "move(-10)", show=False),
        Binding("pagedown", "move(10)", show=False),
        Binding("home", "move(-1000000)", show=False),
        Binding("end", "move(1000000)", show=False),
    ]

    class Opened(Message):
        """A row was opened with the mouse."""

    class Moved(Message):
        """The cursor was moved to another row."""

    class HeadPressed(Message):
        """A column's head was pressed."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, *, id: str | None = None, empty: str = "", shared: bool = False) -> None:
        super().__init__(id=id)
        self._shared = shared
        self._columns: tuple[TableColumn, ...] = ()
        self._keys: list[str] = []
        self._rows: list[tuple[Span, ...]] = []
        self._cursor = 0
        self._empty = empty
        self._ordered = ("", "")
        self._marks: frozenset[str] = frozenset()

    @property
    def cursor_key(self) -> str | None:
        """Key of the row under the cursor; None in an empty table."""
        return self._keys[self._cursor] if self._keys else None

    def set_empty(self, text: str) -> None:
        """Change what is shown without rows."""
        if text != self._empty:
            self._empty = text
            self.refresh()

    def set_rows(
        self,
        columns: Sequence[TableColumn],
        rows: Sequence[tuple[str, tuple[Span, ...]]],
        ordered: tuple[str, str] = ("", ""),
        marks: Set[str] = frozenset(),
    ) -> None:
        """Show these rows; the cursor stays on its row, and only changed cells are drawn again.

        Args:
            rows: Key and cells.
            ordered: Column by which the rows are ordered, and the sign beside its head.
            marks: Keys of the rows that are marked.
        """
        key, before = self.cursor_key, self._rows
        same = tuple(columns) == self._columns and len(rows) == len(before)
        same = same and ordered == self._ordered and marks == self._marks
        self._columns, self._ordered = tuple(columns), ordered
        self._marks = frozenset(marks)
        self._keys = [name for name, _ in rows]
        self._rows = [cells for _, cells in rows]
        cursor = self._keys.index(key) if key in self._keys else min(self._cursor, len(rows) - 1)
        cursor = max(cursor, 0)
        if not same or cursor != self._cursor:
            self._cursor = cursor
            self.virtual_size = Size(self.size.width, len(rows) + 1)
            self.refresh()
            return
        regions = self._changed(before)
        if regions:
            self.refresh(*regions)

    def text_lines(self) -> list[str]:
        """Return head and all rows as plain text, in columns."""
        rows = [[column.head for column in self._columns]]
        rows += [[text for text, _ in row] for row in self._rows]
        return [
            (" " * GAP)
            .join(
                fit(text, column.cells, right=column.right)
                for column, text in zip(self._columns, row, strict=True)
            )
            .rstrip()
            for row in rows
        ]

    def _changed(self, before: Sequence[tuple[Span, ...]]) -> list[Region]:
        top, height = self.scroll_offset.y, self.size.height
        regions = []
        for index, (old, new) in enumerate(zip(before, self._rows, strict=True)):
            y = index + 1 - top
            if old == new or not 1 <= y < height:
                continue
            x = LEFT
            for column, old_cell, new_cell in zip(self._columns, old, new, strict=True):
                if old_cell != new_cell:
                    regions.append(Region(x, y, column.cells, 1))
                x += column.cells + GAP
        return regions

    def render_line(self, y: int) -> Strip:
        """Return one line as Textual draws it."""
        cells, theme = self.size.width, self.theme_now
        styles = theme.styles
        if y == 0:
            return self._head(cells)
        index = y - 1 + self.scroll_offset.y
        if index >= len(self._rows):
            text = self._empty if index == 0 and not self._rows else ""
            blank = Strip([Segment(f" {text}", styles["dim"])])
            return blank.adjust_cell_length(cells).apply_style(self.rich_style)
        mark = MARK if self._keys[index] in self._marks else " "
        segments = [Segment(" "), Segment(mark, styles["accent"])]
        for column, (text, style) in zip(self._columns, self._rows[index], strict=True):
            segments.append(Segment(fit(text, column.cells, right=column.right), styles[style]))
            segments.append(Segment(" " * GAP))
        strip = Strip(segments).adjust_cell_length(cells).apply_style(self.rich_style)
        if index == self._cursor and (self.has_focus or not self._shared):
            # Under the cells' own colours, and told without colour by the mark at the left.
            cursor = Strip([Segment(">", styles["accent"])])
            strip = Strip.join([cursor, strip.crop(1, cells)])
            strip = Strip(
                [Segment(s.text, (s.style or theme.cursor) + theme.cursor) for s in strip], cells
            )
        return strip

    def _head(self, cells: int) -> Strip:
        styles = self.theme_now.styles
        segments = [Segment(" " * LEFT)]
        for column in self._columns:
            name, sign = self._ordered
            style, after = styles["head"], ""
            if column.name == name:
                style, after = styles["accent"], sign
            segments.append(Segment(fit(column.head, column.cells, right=column.right), style))
            segments.append(Segment(after.ljust(GAP), style))
        return Strip(segments).adjust_cell_length(cells).apply_style(self.rich_style)

    def action_move(self, lines: int) -> None:
        """Move the cursor."""
        before = self._cursor
        self._cursor = max(0, min(self._cursor + lines, len(self._rows) - 1))
        if before == self._cursor:
            return
        self.post_message(self.Moved())
        top = self.scroll_offset.y
        room = max(self.size.height - 1, 1)
        if not top <= self._cursor < top + room:
            target = self._cursor if self._cursor < top else self._cursor - room + 1
            self.scroll_to(y=target, animate=False)
            self.refresh()
            return
        wide = self.size.width
        self.refresh(*(Region(0, row + 1 - top, wide, 1) for row in (before, self._cursor)))

    def on_focus(self) -> None:
        """Show the cursor."""
        self._draw_cursor()

    def on_blur(self) -> None:
        """Hide the cursor where another table has one."""
        self._draw_cursor()

    def _draw_cursor(self) -> None:
        if self._shared:
            top = self.scroll_offset.y
            self.refresh(Region(0, self._cursor + 1 - top, self.size.width, 1))

    def on_click(self, event: events.Click) -> None:
        """Choose a row, open it with a second click, or order by a head."""
        if event.y == 0:
            x = LEFT
            for column in self._columns:
                if x <= event.x < x + column.cells + GAP:
                    self.post_message(self.HeadPressed(column.name))
                x += column.cells + GAP
            return
        row = event.y - 1 + self.scroll_offset.y
        if row < len(self._rows):
            self.action_move(row - self._cursor)
            if event.chain >= 2:
                self.post_message(self.Opened())
