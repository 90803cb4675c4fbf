"""What everything that draws by lines shares: the theme that it is drawn with."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.scroll_view import ScrollView

if TYPE_CHECKING:
    from colossus_tui.tui.app import ColossusApp
    from colossus_tui.tui.theme import Theme


class Drawn(ScrollView):
    """Base of the widgets; a subclass asks for styles by their names whenever it draws."""

    def text_lines(self) -> list[str]:
        """Return all of it as plain text, also what is out of sight."""
        return []

    @property
    def theme_now(self) -> Theme:
        """The theme that is chosen now."""
        return cast("ColossusApp", self.app).theme_now
