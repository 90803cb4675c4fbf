"""One run, down to its ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.text import safe
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import bindings
from colossus_tui.tui.screens.zoom import ZoomScreen
from colossus_tui.tui.views.axis import WHOLE
from colossus_tui.tui.views.detail import run_lines
from colossus_tui.tui.views.past import REACHES, SERIES
from colossus_tui.tui.widgets.lines import Lines

MAX_POINTS = 400
WHOLE_LIFE_SECONDS = 10 * 365.25 * 86_400.0


class RunScreen(ZoomScreen):
    """Facts, plots, ranks, checkpoints, actions and events of one run."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("run")
    scope = "run"

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id
        self._reach = 0  # of REACHES

    def body(self) -> Iterable[Widget]:
        """One scrolled text."""
        yield Lines(id="run", focusable=True)

    def on_mount(self) -> None:
        """Give the text the keys."""
        self.query_one("#run", Lines).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """The run's name."""
        return f"run {safe(self._run_id, 63)}"

    def wanted(self) -> Wanted:
        """The run with its series."""
        return Wanted(
            run_id=self._run_id,
            series=SERIES,
            max_points=MAX_POINTS,
            span_seconds=REACHES[self._reach].seconds or WHOLE_LIFE_SECONDS,
        )

    def action_zoom(self, way: int) -> None:
        """Look closer, or at more: beyond the whole the hub is asked for what was before."""
        further = self._reach + (1 if way < 0 else -1)
        if self.window.is_whole and 0 <= further < len(REACHES):
            self._reach = further
            self.console.feed.show(self.wanted())
            self.show()
        else:
            super().action_zoom(way)

    def action_whole(self) -> None:
        """Look at all of it."""
        if self._reach != len(REACHES) - 1:
            self._reach, self.window = len(REACHES) - 1, WHOLE
            self.console.feed.show(self.wanted())
            self.show()
        else:
            super().action_whole()

    def run_id(self) -> str | None:
        """This run."""
        return self._run_id

    def saved_state(self) -> dict[str, str]:
        """Which run."""
        return {"run": self._run_id}

    def exported(self) -> Exported | None:
        """Its ranks, and all of it."""
        detail = self.console.view.run if self.console.view is not None else None
        if detail is None or detail.run.run_id != self._run_id:
            return None
        return Exported("ranks", detail.ranks, detail)

    def show_body(self) -> None:
        """Fill the text."""
        app = self.console
        detail = app.view.run if app.view is not None else None
        lines = self.query_one("#run", Lines)
        if detail is None or detail.run.run_id != self._run_id:
            gone = app.view is not None and not any(
                run.run_id == self._run_id for run in app.view.runs
            )
            lines.set_lines([(("there is no such run any more" if gone else "...", "dim"),)])
            return
        assert app.view is not None
        reach, series = REACHES[self._reach], app.view.series
        cells = self.size.width - 3
        lines.set_lines(run_lines(detail, series, cells, app.glyphs, reach, self.window))
