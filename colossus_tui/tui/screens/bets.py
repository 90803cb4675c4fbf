"""The bets: all runs compared on what decides between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import bet_of
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import bindings
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.screens.zoom import ZoomScreen
from colossus_tui.tui.views.axis import WHOLE
from colossus_tui.tui.views.bets import Against, bet_columns, curves_plot, keys_of
from colossus_tui.tui.views.runs import Column
from colossus_tui.tui.widgets.lines import Lines

LEAST_ROWS, LEAST_PLOT_LINES = 8, 7
FEWEST_ROWS, FEWEST_PLOT_LINES = 4, 5  # on a terminal too low for the least of both


class BetsScreen(OverviewScreen, ZoomScreen, inherit_bindings=False):
    """Curves over a table; filter and order as in the overview."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("bets")
    DEFAULT_CSS = "BetsScreen > #curves { margin: 0 1; }"
    scope = "bets"
    heading = "bets"

    def __init__(self) -> None:
        super().__init__()
        self._against = Against.FLOP
        self._chose = False  # the operator has: what is not known of some runs is shown as it is

    def body(self) -> Iterable[Widget]:
        """The curves, then the table."""
        yield Lines(id="curves")
        yield from super().body()

    def wanted(self) -> Wanted:
        """The curves, beside all runs."""
        return Wanted(curves=True)

    def columns(self) -> Sequence[Column]:
        """What decides between runs."""
        return bet_columns(self._runs(), keys_of(self._runs()))

    def show_body(self) -> None:
        """Draw the curves, then fill the table."""
        view = self.console.view
        if view is None:
            return
        lines, part = self._plot_lines(len(view.runs)), self.query_one("#curves", Lines)
        part.display, part.styles.height = lines > 0, lines
        part.set_lines(
            curves_plot(
                self._shown(),
                {curve.run_id: curve for curve in view.curves},
                keys_of(view.runs),
                self._axis(),
                self.window,
                self.size.width - 3,
                lines,
                self.console.glyphs,
            )
        )
        super().show_body()

    def _plot_lines(self, run_count: int) -> int:
        """Return the plot's height: half of the body, or what the rows leave; 0 without room."""
        room = self.size.height - self.around()
        lines = max(room // 2, room - max(run_count + 1, LEAST_ROWS), LEAST_PLOT_LINES)
        lines = min(lines, room - FEWEST_ROWS)
        return lines if lines >= FEWEST_PLOT_LINES else 0

    def _axis(self) -> Against:
        """Return what to plot against: FLOP only where some run states its parameters."""
        known = any(run.parameters_count for run in self._runs())
        return self._against if known or self._chose else Against.TOKENS

    def saved_state(self) -> dict[str, str]:
        """Filter, order and axis."""
        return super().saved_state() | {"against": self._axis().value}

    def restore(self, state: Mapping[str, str]) -> str:
        """Take filter, order and axis."""
        if (against := state.get("against", "")) in [member.value for member in Against]:
            self._against, self._chose = Against(against), True
        return super().restore(state)

    def exported(self) -> Exported:
        """What is compared of the runs that are shown, and all curves."""
        about = {"filter": self._filter, "order": self._order}
        view = self.console.view
        curves = view.curves if view is not None else ()
        return Exported("bets", [bet_of(run) for run in self._shown()], curves, about)

    def action_axis(self) -> None:
        """Plot against the next: FLOP, tokens, wall time."""
        members = list(Against)
        self._against = members[(members.index(self._axis()) + 1) % len(members)]
        self._chose, self.window = True, WHOLE
        self.show()

    def action_what_if(self) -> None:
        """Ask what moving nodes away from the run under the cursor would change."""
        from colossus_tui.tui.screens.what_if import WhatIfCard

        self.app.push_screen(WhatIfCard(self.run_id()))

    def on_key(self, event: events.Key) -> None:
        """Drop the filter before the screen is left."""
        if event.key == "escape" and self._filter and not self._typing:
            event.stop()
            event.prevent_default()
        super().on_key(event)
