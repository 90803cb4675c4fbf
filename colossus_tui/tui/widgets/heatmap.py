"""A map on Textual's line interface: the cursor keeps its cell, changed cells are redrawn alone."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip

from colossus_tui.model import MapLayout
from colossus_tui.text import fit, safe, width
from colossus_tui.tui.theme import DARK, UNICODE
from colossus_tui.tui.views.grid import Grid, Part, plan
from colossus_tui.tui.views.heat import Picture
from colossus_tui.tui.views.map import cursor_after
from colossus_tui.tui.widgets.drawn import Drawn
from colossus_tui.tui.widgets.ink import NOTHING, Ink

MANY = 1_500  # changed cells, from which drawing all of them is less work


class HeatMap(Drawn, can_focus=True):
    """Groups of cells, each a number as a colour and a digit."""

    DEFAULT_CSS = """
    HeatMap {
        scrollbar-size-vertical: 1; scrollbar-size-horizontal: 0; scrollbar-gutter: stable;
        overflow-x: hidden;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(0, 1)", show=False),
        Binding("down,j", "move(0, -1)", show=False),
        Binding("left,h", "move(-1, 0)", show=False),
        Binding("right,l", "move(1, 0)", show=False),
        Binding("pageup", "page(1)", show=False),
        Binding("pagedown", "page(-1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(-1)", show=False),
    ]

    class Moved(Message):
        """The cursor is on another cell."""

    class Opened(Message):
        """A cell was opened with the mouse."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._ink = Ink(UNICODE, DARK)
        self._picture: Picture | None = None
        self._layout = MapLayout()
        self._grid: Grid | None = None
        self._cursor = 0
        self._strips: dict[int, tuple[object, Strip]] = {}
        self._fitted = (0, 0)

    @property
    def cursor(self) -> int | None:
        """The cell under the cursor; None on an empty map."""
        return self._cursor if self._layout.cell_names else None

    @property
    def grid(self) -> Grid | None:
        """Where the cells are."""
        return self._grid

    def set_picture(self, picture: Picture, ink: Ink) -> None:
        """Show this; the cursor stays on its cell, and only changed cells are drawn again."""
        before, self._picture = self._picture, picture
        layout = picture.site_map.layout or MapLayout()
        room = (self.size.width, self.size.height)
        if ink is self._ink and layout == self._layout and room == self._fitted:
            if before is not None and before is not picture:
                self._redraw(before, picture)
            return
        self._cursor = cursor_after(self._layout, layout, self._cursor)
        self._layout, self._ink = layout, ink
        self._fit()

    def on_resize(self) -> None:
        """Fit the new size."""
        if self._picture is not None:
            self._fit()

    def _fit(self) -> None:
        assert self._picture is not None
        self._fitted = (self.size.width, self.size.height)
        few = bool(self._picture.texts)
        self._grid = plan(self._layout, *self._fitted, few=few, halves=self._ink.halves)
        self._strips.clear()
        self.virtual_size = Size(self.size.width, len(self._grid.lines))
        self.refresh()
        self._keep_in_sight()

    def _redraw(self, before: Picture, after: Picture) -> None:
        """Draw the cells again that differ."""
        assert self._grid is not None
        pairs = zip(before.codes, after.codes, strict=True)
        changed = [index for index, (old, new) in enumerate(pairs) if old != new]
        if before.texts != after.texts:
            texts = zip(before.texts, after.texts, strict=False)
            changed += [index for index, (old, new) in enumerate(texts) if old != new]
        if len(changed) > MANY:
            self.refresh()
        elif regions := self._regions(changed):
            self.refresh(*regions)

    def _regions(self, cells: list[int]) -> list[Region]:
        assert self._grid is not None
        top, height, wide = self.scroll_offset.y, self.size.height, self._grid.cell
        places = {self._grid.place(index)[:2] for index in cells}
        return [Region(x, line - top, wide, 1) for x, line in places if 0 <= line - top < height]

    def render_line(self, y: int) -> Strip:
        """Return one line as Textual draws it; one that is as before is not made again."""
        index, cells, ground = y + self.scroll_offset.y, self.size.width, self._ink.ground
        if self._grid is None or self._picture is None or index >= len(self._grid.lines):
            return Strip.blank(cells, ground)
        parts = self._grid.lines[index]
        key = (cells, *(self._content(part) for part in parts))
        known = self._strips.get(index)
        if known is not None and known[0] == key:
            return known[1]
        segments: list[Segment] = []
        used = 0
        for part in parts:
            segments.append(Segment(" " * (part.block.x - used), ground))
            drawn = self._named(part) if part.row < 0 else self._cells(part)
            segments += drawn
            used = part.block.x + sum(
                len(s.text) if s.text.isascii() else s.cell_length for s in drawn
            )
        strip = Strip(segments).adjust_cell_length(cells, ground).simplify()
        self._strips[index] = (key, strip)
        return strip

    def _content(self, part: Part) -> object:
        """Return all that a part of a line is drawn from."""
        assert self._grid is not None
        assert self._picture is not None
        block = part.block
        here = self._cursor - block.first
        at = here if 0 <= here < block.size else -1
        if part.row < 0:
            return at
        start = block.first + part.row * self._grid.per_row
        end = min(start + self._grid.per_row * self._grid.stack, block.first + block.size)
        cursor = self._cursor if start <= self._cursor < end else -1
        return self._picture.codes[start:end], self._picture.texts[start:end], cursor

    def _named(self, part: Part) -> list[Segment]:
        """Return a block's name; with the cursor in it, also the cell's."""
        assert self._grid is not None
        block, room, ink = part.block, self._grid.block_cells, self._ink
        if not block.first <= self._cursor < block.first + block.size:
            return [Segment(fit(_tail(safe(block.name), room), room), ink.style("head"))]
        cell = safe(self._layout.cell_names[self._cursor])
        text = safe(block.name)
        if width(text) + width(cell) + 3 <= room:
            text = f"{text} > {cell}"
        return [Segment(fit(_tail(text, room), room), ink.style("strong"))]

    def _cells(self, part: Part) -> list[Segment]:
        assert self._grid is not None
        assert self._picture is not None
        grid, codes, texts = self._grid, self._picture.codes, self._picture.texts
        upper = grid.row(part, 0)
        if grid.stack == 1:
            return [
                Segment(
                    *self._ink.cell(
                        codes[index],
                        grid.cell,
                        texts[index] if texts else "",
                        index == self._cursor,
                    )
                )
                for index in upper
            ]
        lower = grid.row(part, 1)
        cursor = -1
        if self._cursor in upper or self._cursor in lower:
            cursor = self._cursor
        segments = []
        for column, index in enumerate(upper):
            below = lower[column] if column < len(lower) else -1
            half = -1 if cursor < 0 else 0 if index == cursor else 1 if below == cursor else -1
            code = codes[below] if below >= 0 else NOTHING
            segments.append(Segment(*self._ink.pair(codes[index], code, half)))
        return segments

    # --- the cursor --------------------------------------------------------------------------

    def go(self, index: int) -> None:
        """Put the cursor on a cell."""
        if not 0 <= index < len(self._layout.cell_names) or index == self._cursor:
            return
        before, self._cursor = self._cursor, index
        if self._grid is not None and not self._keep_in_sight():
            regions = self._regions([before, index])
            top = self.scroll_offset.y
            for cell in (before, index):
                block = self._grid.block_of(cell)
                if 0 <= block.line - top < self.size.height:
                    regions.append(Region(block.x, block.line - top, self._grid.block_cells, 1))
            self.refresh(*regions)
        self.post_message(self.Moved())

    def _keep_in_sight(self) -> bool:
        """Scroll to the cursor's cell, with its block's name if it is near; return whether so."""
        if self._grid is None or not self._layout.cell_names:
            return False
        _, line, _ = self._grid.place(self._cursor)
        name = self._grid.block_of(self._cursor).line
        top, height = self.scroll_offset.y, max(self.size.height, 1)
        first = name if line - name < height else line
        if top <= first and line < top + height:
            return False
        target = first if first < top else line - height + 1
        self.scroll_to(y=target, animate=False)
        self.refresh()
        return True

    def action_move(self, across: int, up: int) -> None:
        """Move the cursor to the cell beside it, above or below."""
        if self._grid is not None and self.cursor is not None:
            cursor = self._cursor
            self.go(self._grid.beside(cursor, across) if across else self._grid.above(cursor, up))

    def action_page(self, up: int) -> None:
        """Move the cursor by what is in sight."""
        if self._grid is not None and self.cursor is not None:
            rows = max(self.size.height - 2, 1) * self._grid.stack
            self.go(self._grid.above(self._cursor, up * rows))

    def action_edge(self, index: int) -> None:
        """Move the cursor to the first or the last cell."""
        self.go(index % max(len(self._layout.cell_names), 1))

    def on_click(self, event: events.Click) -> None:
        """Choose a cell; the second click opens it."""
        if self._grid is None:
            return
        line = event.y + self.scroll_offset.y
        found = [self._grid.at(event.x, line, half) for half in range(self._grid.stack)]
        if self._cursor in found:
            if event.chain >= 2:
                self.post_message(self.Opened())
        elif found[0] is not None:
            self.go(found[0])


def _tail(text: str, cells: int) -> str:
    """Return the end of a name that is too long, since names begin alike."""
    if width(text) <= cells or cells < 2:
        return text
    while width(text) > cells - 1:
        text = text[1:]
    return f"…{text}"
