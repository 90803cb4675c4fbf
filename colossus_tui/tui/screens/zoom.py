"""Keys over plots that share an axis: closer, wider, along it, all of it."""

from __future__ import annotations

from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.views.axis import WHOLE, Window

CLOSER, WIDER = 0.5, 2.0
PAN_SHARE = 0.25


class ZoomScreen(ColossusScreen):
    """A screen whose plots show one window of their axis."""

    def __init__(self) -> None:
        super().__init__()
        self.window = WHOLE

    def action_zoom(self, way: int) -> None:
        """Look closer, or at more."""
        self._look(self.window.zoomed(CLOSER if way > 0 else WIDER))

    def action_pan(self, way: int) -> None:
        """Go along the axis."""
        self._look(self.window.panned(PAN_SHARE * way))

    def action_whole(self) -> None:
        """Look at all of it."""
        self._look(WHOLE)

    def _look(self, window: Window) -> None:
        """Show this window; ring where there is no more to see."""
        if window == self.window:
            self.console.bell()
            return
        self.window = window
        self.show()
