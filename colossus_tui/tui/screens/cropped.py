"""What lies under every screen and card: only what has changed is drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from colossus_tui.tui.compositor import CroppingCompositor

if TYPE_CHECKING:
    from colossus_tui.tui.app import ColossusApp


class CroppedScreen(Screen[None]):
    """A screen that writes only changed cells, also while it is seen behind another."""

    def __init__(self) -> None:
        super().__init__()
        self._compositor = CroppingCompositor(lambda: self.console.glass)

    @property
    def console(self) -> ColossusApp:
        """The app, with its own type."""
        return cast("ColossusApp", self.app)

    def _compositor_refresh(self) -> None:
        """Draw; from behind another screen let that one draw the same regions.

        Textual 8 also marks a screen behind as changed itself: the regions of its next change are
        then these and its own, so that after one whole repaint every change is one.
        """
        regions, top = self._compositor._dirty_regions, self.app.screen
        if self is top or self not in self.app._background_screens:
            super()._compositor_refresh()
        elif regions:
            # Not `refresh`: it would have the screen drawn in place of what changed on it as well.
            top._set_dirty(*regions)
            top._dirty_widgets.add(top)
            top.check_idle()
            regions.clear()
            self._dirty_widgets.clear()
