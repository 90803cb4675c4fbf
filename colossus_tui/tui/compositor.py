"""Textual's partial updates, cut at both ends.

Textual 8 writes each changed region from the left edge of its widget, since it only crops at the
right. A table whose numbers change each second would so send every row whole; over a slow link that
is most of what is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.control import Control
from textual._compositor import ChopsUpdate, Compositor

if TYPE_CHECKING:
    from rich.console import Console


class CroppedUpdate(ChopsUpdate):
    """Writes only the changed cells of a line."""

    def render_segments(self, console: Console) -> str:
        """Return what is to be written to the terminal."""
        parts: list[str] = []
        for y, x1, x2 in self.spans:
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=False):
                if strip is None or x >= x2 or end <= x1:
                    continue
                first, last = max(x, x1), min(end, x2)
                parts.append(Control.move_to(first, y).segment.text)
                parts.append(strip.crop(first - x, last - x).render(console))
        return "".join(parts)


class CroppingCompositor(Compositor):
    """Makes cropped updates."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """Return what has changed since the last update."""
        update = super().render_partial_update()
        if update is None:
            return None
        return CroppedUpdate(update.chops, update.spans, update.chop_ends)
