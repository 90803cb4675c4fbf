"""Textual's partial updates, cut at both ends, each style said once.

Textual 8 writes each changed region from the left edge of its widget, since it only crops at the
right, and says each piece's colours though the piece before has the same. A table whose numbers
change each second would so send every row whole; over a slow link that is most of what is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import ColorSystem
from rich.control import Control
from rich.style import Style
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual.strip import Strip

if TYPE_CHECKING:
    from rich.console import Console
    from textual.screen import Screen

RESET = "\x1b[0m"


class CroppedUpdate(ChopsUpdate):
    """Writes only the changed cells of a line."""

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        system = console._color_system or ColorSystem.TRUECOLOR
        parts: list[str] = []
        said: str | None = None  # nothing is said of what comes next yet
        for x, y, strip in self._changed():
            parts.append(Control.move_to(x, y).segment.text)
            for text, style, _ in strip:
                codes = _codes(style, system) if style is not None else ""
                if codes != said:
                    # From 0 on: what a style does not name must not stay from the one before.
                    parts.append(f"\x1b[0;{codes}m" if said else f"\x1b[{codes}m")
                    said = codes
                parts.append(text)
        if said:
            parts.append(RESET)
        return "".join(parts)

    def _changed(self) -> Iterator[tuple[int, int, Strip]]:
        """Yield the left edge, the line and the cells of each piece that has changed."""
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                first, last = max(x, x1), min(end, x2)
                yield first, y, strip.crop(first - x, last - x)


class CroppingCompositor(Compositor):
    """Makes cropped updates."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return what has changed since the last update."""
        update = super().render_partial_update()
        if update is None:
            return None
        return CroppedUpdate(update.chops, update.spans, update.chop_ends)


@lru_cache(maxsize=1_024)
def _codes(style: Style, system: ColorSystem) -> str:
    """Return the numbers that a terminal is told for a style, such as "1;34"; "" for none."""
    begin, _, _ = Strip.render_style(style, "\0", system).partition("\0")
    return begin.removeprefix("\x1b[").removesuffix("m")


def lines_of(screen: Screen[object]) -> list[Strip]:
    """Return all lines of a screen as they are shown now, with what is seen behind it."""
    behind = screen.app._background_screens
    update = screen._compositor.render_update(full=True, screen_stack=behind)
    assert isinstance(update, LayoutUpdate)
    return [Strip.join(line).simplify() for line in update.strips]
