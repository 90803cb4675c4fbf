"""Money: what each run costs, and the GPUs that cost and do no work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import IdleGroup
from colossus_tui.model.match import Match
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views.money import (
    MONEY_COLUMNS,
    idle_cells,
    idle_columns,
    idle_empty,
    idle_head,
    idle_key,
    site_lines,
)
from colossus_tui.tui.views.order import StandingOrder
from colossus_tui.tui.views.runs import chosen, columns_for
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn

LOW_LINES = 18  # under it the tables take turns
ALL = Match()


class MoneyScreen(ColossusScreen):
    """Two tables, runs above idle GPUs; Tab goes from one to the other."""

    DEFAULT_CSS = """
    MoneyScreen > #costs { height: 2; margin: 0 0 0 1; }
    MoneyScreen > #idle-head { height: 1; margin: 0 0 0 1; }
    MoneyScreen > #runs { height: 2fr; }
    MoneyScreen > #idle { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings("money")
    scope = "money"
    heading = "money"

    def __init__(self) -> None:
        super().__init__()
        self._order = ""
        self._backwards = False
        self._standing = StandingOrder()

    def body(self) -> Iterable[Widget]:
        """The site's lines and the two tables."""
        yield Lines(id="costs")
        yield Table(id="runs", empty="no runs", shared=True)
        yield Lines(id="idle-head")
        yield Table(id="idle", empty="...", shared=True)

    def on_mount(self) -> None:
        """Give the first table the keys."""
        self._runs_table.focus()
        super().on_mount()

    @property
    def _runs_table(self) -> Table:
        return self.query_one("#runs", Table)

    @property
    def _idle_table(self) -> Table:
        return self.query_one("#idle", Table)

    def wanted(self) -> Wanted:
        """Idle GPUs, beside all runs."""
        return Wanted(idle=True)

    def show_body(self) -> None:
        """Fill lines and tables."""
        view = self.console.view
        if view is None or view.site is None:
            return
        is_low = self.size.height < LOW_LINES
        on_idle = self._idle_table.has_focus
        self._runs_table.display = not (is_low and on_idle)
        self._idle_table.display = not is_low or on_idle
        costs, head = self.query_one("#costs", Lines), self.query_one("#idle-head", Lines)
        costs.styles.height = 1 if is_low else 2
        costs.set_lines(site_lines(view.site.money))
        head.display = not is_low
        head.set_lines([idle_head(view.idle)])
        self._show_runs()
        self._show_idle()

    def _show_runs(self) -> None:
        view, glyphs = self.console.view, self.console.glyphs
        assert view is not None
        columns = columns_for(self.size.width, view.runs, MONEY_COLUMNS)
        rows = chosen(view.runs, ALL, self._order, self._backwards, MONEY_COLUMNS)
        runs = self._standing.kept(rows, lambda run: run.run_id, (self._order, self._backwards))
        self._runs_table.set_rows(
            [TableColumn(c.name, c.head, cells, c.right) for c, cells in columns],
            [
                (run.run_id, tuple(column.cell(run, cells, glyphs) for column, cells in columns))
                for run in runs
            ],
            (self._order, self._standing.sign(glyphs, self._backwards)),
        )

    def _show_idle(self) -> None:
        view, glyphs = self.console.view, self.console.glyphs
        assert view is not None
        assert view.site is not None
        self._idle_table.set_empty(idle_empty(view.idle))
        columns = idle_columns(self.size.width)
        rows = [
            (idle_key(group), idle_cells(group, view.site.money.currency, glyphs))
            for group in self._groups()
        ]
        self._idle_table.set_rows(
            [TableColumn(head.lower(), head, cells, right) for head, cells, right in columns],
            [(key, tuple(cells[head] for head, _, _ in columns)) for key, cells in rows],
        )

    def _groups(self) -> tuple[IdleGroup, ...]:
        view = self.console.view
        return view.idle.groups if view is not None and view.idle is not None else ()

    def _group(self) -> IdleGroup | None:
        """Return the idle GPUs under the cursor."""
        key = self._idle_table.cursor_key
        return next((group for group in self._groups() if idle_key(group) == key), None)

    def saved_state(self) -> dict[str, str]:
        """The order of the runs."""
        return {"order": self._order, "backwards": "yes" if self._backwards else ""}

    def restore(self, state: Mapping[str, str]) -> str:
        """Take the order."""
        self._order, self._backwards = state.get("order", ""), bool(state.get("backwards"))
        return ""

    def exported(self) -> Exported | None:
        """The runs with what they cost, and the idle GPUs."""
        view = self.console.view
        return Exported("runs", view.runs, view.idle) if view is not None else None

    def run_id(self) -> str | None:
        """The run under the cursor, or the one whose GPUs are idle there."""
        if not self._idle_table.has_focus:
            return self._runs_table.cursor_key
        group = self._group()
        return group.run_id or None if group is not None else None

    def action_other_table(self) -> None:
        """Go to the other table."""
        other = self._runs_table if self._idle_table.has_focus else self._idle_table
        other.display = True
        other.focus()
        self.call_after_refresh(self.show)

    def action_open(self) -> None:
        """Open the run under the cursor; of free GPUs the node that is idle the longest."""
        from colossus_tui.tui.screens.nodes import NodeScreen
        from colossus_tui.tui.screens.run import RunScreen

        if (run_id := self.run_id()) is not None:
            self.app.push_screen(RunScreen(run_id))
        elif self._idle_table.has_focus and (group := self._group()) is not None:
            self.app.push_screen(NodeScreen(group.node_names[0]))

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()

    def on_table_head_pressed(self, message: Table.HeadPressed) -> None:
        """A click on a head of the runs orders by it; the second turns it around."""
        if not any(column.name == message.name for column in MONEY_COLUMNS):
            return
        self._backwards = not self._backwards if message.name == self._order else False
        self._order = message.name
        self.show()

    def action_order(self) -> None:
        """Order the runs by the next column, after the last by class and name again."""
        view = self.console.view
        runs = view.runs if view is not None else ()
        columns = columns_for(self.size.width, runs, MONEY_COLUMNS)
        names = ["", *(column.name for column, _ in columns)]
        index = names.index(self._order) if self._order in names else 0
        self._order = names[(index + 1) % len(names)]
        self.show()

    def action_order_again(self) -> None:
        """Order by the values of now."""
        self._standing.again()
        self.show()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._backwards = not self._backwards
        self.show()
