"""The overview: every run a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.text import safe
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views.runs import chosen, columns_for
from colossus_tui.tui.widgets.table import Table, TableColumn

EMPTY = "no runs yet - start one: colossus run --name my-run -- python train.py"


class OverviewScreen(ColossusScreen):
    """All runs; a filter typed after a slash; ordered by any column."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")
    scope = "overview"
    heading = "runs"

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._typing = False
        self._order = ""
        self._backwards = False

    def body(self) -> Iterable[Widget]:
        """The table."""
        yield Table(id="runs", empty="connecting to the hub ...")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#runs", Table).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """The filter, while there is one."""
        if self._typing:
            return f"filter: {safe(self._filter, 60)}_   (enter keeps it, escape drops it)"
        return f"runs matching {safe(self._filter, 60)!r}" if self._filter else self.heading

    def show_body(self) -> None:
        """Fill the table."""
        view, glyphs = self.console.view, self.console.glyphs
        if view is None:
            return
        table = self.query_one("#runs", Table)
        runs = chosen(view.runs, self._filter, self._order, self._backwards)
        columns = columns_for(self.size.width)
        table.set_empty(f"no run matches {self._filter!r}" if self._filter else EMPTY)
        table.set_rows(
            [TableColumn(c.name, c.head, cells, c.right) for c, cells in columns],
            [
                (run.run_id, tuple(column.cell(run, cells, glyphs) for column, cells in columns))
                for run in runs
            ],
            (self._order, glyphs.order[self._backwards]),
        )

    def run_id(self) -> str | None:
        """The run under the cursor."""
        return self.query_one("#runs", Table).cursor_key

    def action_open(self) -> None:
        """Open the run under the cursor."""
        from colossus_tui.tui.screens.run import RunScreen

        if (run_id := self.run_id()) is not None:
            self.app.push_screen(RunScreen(run_id))

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()

    def on_table_head_pressed(self, message: Table.HeadPressed) -> None:
        """A click on a head orders by it; the second turns it around."""
        self._backwards = not self._backwards if message.name == self._order else False
        self._order = message.name
        self.show()

    def action_order(self) -> None:
        """Order by the next column, after the last by class and name again."""
        names = ["", *(column.name for column, _ in columns_for(self.size.width))]
        index = names.index(self._order) if self._order in names else 0
        self._order = names[(index + 1) % len(names)]
        self.show()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._backwards = not self._backwards
        self.show()

    def action_filter(self) -> None:
        """Begin to type a filter."""
        self._typing = True
        self.show()

    def on_key(self, event: events.Key) -> None:
        """While a filter is typed every key belongs to it."""
        if not self._typing:
            if event.key == "escape" and self._filter:
                self._filter = ""
                self.show()
            elif event.key == "slash":
                # Here and not by its binding, which the app looks up when the keys after it have
                # passed already: a slow link delivers many at once.
                event.stop()
                self.action_filter()
            return
        match event.key:
            case "enter":
                self._typing = False
            case "escape":
                self._typing, self._filter = False, ""
            case "backspace":
                self._filter = self._filter[:-1]
            case _ if event.is_printable and event.character and len(self._filter) < 60:
                self._filter += event.character
            case _:
                return
        event.stop()
        event.prevent_default()
        self.show()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep letters from acting while they are typed."""
        del parameters
        own = {"act", "order", "reverse", "filter", "nodes", "open", "move"}
        return not (self._typing and action in own)
