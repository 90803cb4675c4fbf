"""Textual's updates, cut to what has changed, and to what the terminal's link can take.

Textual 8 writes each changed region from the left edge of its widget, since it only crops at the
right, and says each piece's colours though the piece before has the same. A table whose numbers
change each second would so send every row whole. Here both ends are cut, and each style is said
once. On a slow link only cells that differ from what the terminal was sent last
are written, piece by piece: what is not sent yet is compared again when there is room, so nothing
old is ever sent, and nothing queues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.cells import cell_len
from rich.color import ColorSystem
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, CompositorUpdate, LayoutUpdate
from textual._context import visible_screen_stack
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment
    from textual.screen import Screen

    from colossus_tui.tui.drain import Drain

RESET = "\x1b[0m"
Cells: TypeAlias = list[tuple[str, Style | None]]
GAP_CELLS = 8  # equal cells between two that differ are sent with them: a move costs as much
PIECE_CELLS = 40  # a longer run is sent in pieces
KEPT_REGIONS = 200  # regions that wait for room; more are one


class Glass:
    """What a terminal on a slow link shows, cell by cell, as far as that is known.

    Args:
        drain: The link.
        queued: Returns the writes that the driver has not made yet.
    """

    def __init__(self, drain: Drain, queued: Callable[[], int]) -> None:
        self.drain = drain
        self._queued = queued
        self._rows: list[Cells | None] = []
        self._waiting: set[int] = set()  # rows with something that was not sent yet
        self.is_known = False

    def room(self, cells: int) -> int | None:
        """Return how many bytes may be written now; None for any number, of whole frames.

        Args:
            cells: Of the screen.
        """
        return self.drain.room(self._queued(), cells)

    @property
    def is_whole(self) -> bool:
        """Whether the terminal shows all that it was meant to when it was last written to."""
        return not self._waiting

    def forget(self) -> None:
        """Take that the terminal may show anything."""
        self.is_known, self._rows, self._waiting = False, [], set()

    def assume(self, strips: list[Strip], unsure: Callable[[int], bool]) -> None:
        """Take that the terminal shows this, but for some rows."""
        self._rows = [None if unsure(y) else cells_of(strip) for y, strip in enumerate(strips)]
        self.is_known = True

    def write(self, strips: list[Strip], console: Console, room: int) -> str:
        """Return what brings the screen nearer to these strips, in about so many bytes."""
        if len(self._rows) != len(strips):
            self._rows = [None] * len(strips)
        rows = [cells_of(strip) for strip in strips]
        changes = [(y, run) for y in range(len(rows)) for run in self._runs(y, rows[y])]
        # What has just changed, as by a key, goes before what waits.
        changes.sort(key=lambda change: change[0] in self._waiting)
        pen = _Pen(console)
        parts: list[str] = []
        self._waiting = set()
        for y, (first, last) in changes:
            if room <= 0:
                self._waiting.add(y)
                continue
            text = Control.move_to(first, y).segment.text + pen.draw(rows[y][first:last])
            parts.append(text)
            room -= len(text)
            known = self._rows[y]
            if known is None:
                known = self._rows[y] = [("", None)] * len(rows[y])
            known[first:last] = rows[y][first:last]
        self.is_known = True
        if self._waiting:
            self.drain.has_rest = True
        else:
            self.drain.settled()
        return "".join([*parts, pen.lift()])

    def _runs(self, y: int, cells: Cells) -> Iterator[tuple[int, int]]:
        """Yield where a row differs from what is shown, in pieces."""
        known = self._rows[y]
        if known is None or len(known) != len(cells):
            self._rows[y] = None
            known = [("", None)] * len(cells)
        differing = [x for x, (old, new) in enumerate(zip(known, cells, strict=True)) if old != new]
        at = 0
        while at < len(differing):
            first = last = differing[at]
            while at < len(differing) and differing[at] - last <= GAP_CELLS:
                if differing[at] - first >= PIECE_CELLS:
                    break
                last = differing[at]
                at += 1
            while first and not cells[first][0]:  # the second half of a wide character
                first -= 1
            yield first, last + 1


class _Pen:
    """Draws cells with few bytes: what sets a style is written when it changes, not each time."""

    def __init__(self, console: Console) -> None:
        self._system = console._color_system or ColorSystem.TRUECOLOR
        self._style: Style | None = None

    def draw(self, cells: Cells) -> str:
        """Return what draws these cells where the cursor is."""
        parts = []
        for character, style in cells:
            if style != self._style and not (character == " " and self._is_blank(style)):
                parts.append(self._set(style))
            parts.append(character)
        return "".join(parts)

    def lift(self) -> str:
        """Return what sets the terminal's own style again."""
        return self._set(None) if self._style is not None else ""

    def _is_blank(self, style: Style | None) -> bool:
        """Return whether a space looks the same in the style that is set."""
        now = self._style
        return (
            now is not None
            and style is not None
            and now.bgcolor == style.bgcolor
            and not (_is_lined(now) or _is_lined(style))
        )

    def _set(self, style: Style | None) -> str:
        self._style = style
        codes = _codes(style, self._system) if style is not None else ""
        return f"\x1b[0;{codes}m" if codes else RESET


def cells_of(strip: Strip) -> Cells:
    """Return a strip's cells; the second cell of a wide character is empty.

    Of a space only what is seen of its style is kept.
    """
    cells: Cells = []
    for segment in strip:
        style, blank = segment.style, _blank(segment.style)
        for character in segment.text:
            cells.append((character, blank if character == " " else style))
            cells += [("", style)] * (cell_len(character) - 1)
    return cells


@lru_cache(maxsize=1024)
def _blank(style: Style | None) -> Style | None:
    return style if style is None or _is_lined(style) else Style(bgcolor=style.bgcolor)


def _is_lined(style: Style) -> bool:
    """Return whether more is seen of a space than its background."""
    return bool(style.underline or style.reverse or style.strike)


class CroppedUpdate(ChopsUpdate):
    """Writes only the changed cells of a line."""

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        return _written(self._changed(), console)

    def _changed(self) -> Iterator[tuple[int, int, Strip]]:
        """Yield the left edge, the line and the cells of each piece that has changed."""
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                first, last = max(x, x1), min(end, x2)
                yield first, y, strip.crop(first - x, last - x)


class WholeUpdate(LayoutUpdate):
    """Writes a whole screen."""

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        x = self.region.x
        lines = enumerate(self.strips, self.region.y)
        return _written(((x, y, chain.from_iterable(line)) for y, line in lines), console)


class PieceUpdate(CompositorUpdate):
    """Writes as much of a screen as there is room for."""

    def __init__(self, strips: list[Strip], glass: Glass, room: int) -> None:
        self.strips = strips
        self.glass = glass
        self.room = room

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        return self.glass.write(self.strips, console, self.room)


class CroppingCompositor(Compositor):
    """Makes cropped updates; on a slow link pieces, when there is room.

    Args:
        glass: Returns the terminal, once there is one.
    """

    def __init__(self, glass: Callable[[], Glass]) -> None:
        super().__init__()
        self._glass = glass

    def render_update(
        self,
        full: bool = False,
        screen_stack: list[Screen[Any]] | None = None,
        simplify: bool = False,
    ) -> Any:
        """Return what is to be written now, if anything."""
        glass = self._glass()
        room = glass.room(self.size.area)
        if full:
            glass.forget()
            self._dirty_regions.add(self.size.region)
        if room == 0:
            glass.drain.has_rest = True
            if len(self._dirty_regions) > KEPT_REGIONS:
                self._dirty_regions = {Region.from_union(self._dirty_regions)}
            return None
        if room is None:
            glass.drain.has_rest = False
            full |= not glass.is_whole
            glass.forget()
            return super().render_update(full, screen_stack, simplify)
        visible_screen_stack.set([] if screen_stack is None else screen_stack)
        strips = self.render_strips()
        if not glass.is_known and not full:
            rows = {y for y, _, _ in self._regions_to_spans(self._dirty_regions)}
            glass.assume(strips, rows.__contains__)
        self._dirty_regions.clear()
        return PieceUpdate(strips, glass, room)

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        """Return all that is shown."""
        update = super().render_full_update(simplify)
        return WholeUpdate(update.strips, update.region)

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return what has changed since the last update."""
        update = super().render_partial_update()
        if update is None:
            return None
        return CroppedUpdate(update.chops, update.spans, update.chop_ends)


def _written(pieces: Iterable[tuple[int, int, Iterable[Segment]]], console: Console) -> str:
    """Return what draws these cells, each piece from its column and line on."""
    system = console._color_system or ColorSystem.TRUECOLOR
    parts: list[str] = []
    said: str | None = None  # nothing is said of what comes next yet
    for x, y, segments in pieces:
        parts.append(Control.move_to(x, y).segment.text)
        for text, style, _ in segments:
            codes = _codes(style, system) if style is not None else ""
            if codes != said:
                # From 0 on: what a style does not name must not stay from the one before.
                parts.append(f"\x1b[0;{codes}m" if said else f"\x1b[{codes}m")
                said = codes
            parts.append(text)
    if said:
        parts.append(RESET)
    return "".join(parts)


@lru_cache(maxsize=1_024)
def _codes(style: Style, system: ColorSystem) -> str:
    """Return the numbers that a terminal is told for a style, such as "1;34"; "" for none."""
    begin, _, _ = Strip.render_style(style, "\0", system).partition("\0")
    return begin.removeprefix("\x1b[").removesuffix("m")


def lines_of(screen: Screen[object]) -> list[Strip]:
    """Return all lines of a screen as they are shown now, with what is seen behind it."""
    visible_screen_stack.set(list(screen.app._background_screens))
    return [strip.simplify() for strip in screen._compositor.render_strips()]
