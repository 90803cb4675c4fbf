"""The overview: every run a row."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import Run, View
from colossus_tui.model.match import Match, MatchError, parse
from colossus_tui.text import safe
from colossus_tui.tui.actions import offered
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.order import StandingOrder
from colossus_tui.tui.views.runs import (
    COLUMNS,
    PLAIN_COLUMNS,
    Column,
    chosen,
    columns_for,
    marked_text,
)
from colossus_tui.tui.views.words import wrapped
from colossus_tui.tui.widgets.table import Table, TableColumn

EMPTY = "no runs yet - start one: colossus run --name my-run -- python train.py"
FILTER_LIMIT = 200


class OverviewScreen(ColossusScreen):
    """All runs; a filter typed after a slash; ordered by any column."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")
    scope = "overview"
    heading = "runs"

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._match = Match()  # of the filter, less a last term that is not right yet
        self._wrong = ""
        self._typing = False
        self._marks: set[str] = set()
        self._order = ""
        self._backwards = False
        self._standing = StandingOrder()

    def body(self) -> Iterable[Widget]:
        """The table."""
        yield Table(id="runs", empty="connecting to the hub ...")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#runs", Table).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """The marks, and the filter while there is one."""
        parts = []
        if self._typing:
            hint = "not right yet" if self._wrong else "enter keeps it, escape drops it"
            parts.append(f"filter: {safe(self._filter[-60:])}_   ({hint})")
        elif self._filter:
            parts.append(f"runs matching {safe(self._filter, 60)!r}")
        else:
            parts.append(self.heading)
        if marked := self._marked():
            parts.insert(0, marked_text(len(marked), len(self._hidden())))
        return "   ".join(parts)

    def below(self, view: View, count: int) -> list[Line]:
        """Return what is wrong with the filter as it is typed, else what happens."""
        if self._wrong:
            return wrapped(self._wrong, "dim", self.size.width - 2, 1)[:count]
        return super().below(view, count)

    def show_body(self) -> None:
        """Fill the table."""
        view, glyphs = self.console.view, self.console.glyphs
        if view is None:
            return
        table = self.query_one("#runs", Table)
        columns = columns_for(self.size.width, view.runs, self.columns())
        if not self._wrong:
            table.set_empty(f"no run matches {self._filter!r}" if self._filter else EMPTY)
        shown = self._shown()
        table.set_rows(
            [TableColumn(c.name, c.head, cells, c.right) for c, cells in columns],
            [
                (run.run_id, tuple(column.cell(run, cells, glyphs) for column, cells in columns))
                for run in shown
            ],
            (self._order, self._standing.sign(glyphs, self._backwards)),
            self._marks,
        )

    def columns(self) -> Sequence[Column]:
        """Return all columns; those that fit are shown."""
        return PLAIN_COLUMNS if self.console.drain.is_slow else COLUMNS

    def _runs(self) -> tuple[Run, ...]:
        return self.console.view.runs if self.console.view is not None else ()

    def _shown(self) -> list[Run]:
        order = (self._match, self._order, self._backwards)
        rows = chosen(self._runs(), *order, self.columns())
        return self._standing.kept(rows, lambda run: run.run_id, order)

    def _marked(self) -> list[str]:
        """Return the marked runs that the hub still has, in the order of the whole list."""
        return [run.run_id for run in self._runs() if run.run_id in self._marks]

    def _hidden(self) -> set[str]:
        """Return the marked runs that the filter keeps out of sight."""
        return set(self._marked()) - {run.run_id for run in self._shown()}

    def saved_state(self) -> dict[str, str]:
        """Filter and order."""
        backwards = "yes" if self._backwards else ""
        return {"filter": self._filter, "order": self._order, "backwards": backwards}

    def restore(self, state: Mapping[str, str]) -> str:
        """Take filter and order."""
        self._order, self._backwards = state.get("order", ""), bool(state.get("backwards"))
        self._filter, self._typing = state.get("filter", "")[:FILTER_LIMIT], False
        self._parse()
        wrong, self._wrong = self._wrong, ""
        if wrong:
            self._filter = ""
            self._parse()
        return wrong

    def exported(self) -> Exported:
        """The runs that are shown."""
        about = {"filter": self._filter, "order": self._order}
        return Exported("runs", self._shown(), about=about)

    def run_id(self) -> str | None:
        """The run under the cursor."""
        return self.query_one("#runs", Table).cursor_key

    def action_act(self, verb: str) -> None:
        """Open one card for all marked runs; without marks, for the one under the cursor."""
        if marked := self._marked():
            self.console.open_bulk(verb, marked, self._hidden())
        else:
            super().action_act(verb)

    def action_mark(self) -> None:
        """Mark the run under the cursor, or take its mark away, and go to the next."""
        if (run_id := self.run_id()) is not None:
            self._marks ^= {run_id}
            self.show()
            self.query_one("#runs", Table).action_move(1)

    def action_mark_all(self) -> None:
        """Mark all runs that are shown; when all are, take their marks away."""
        shown = {run.run_id for run in self._shown()}
        self._marks = self._marks - shown if shown <= self._marks else self._marks | shown
        self.show()

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
        columns = columns_for(self.size.width, self._runs(), self.columns())
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

    def action_filter(self) -> None:
        """Begin to type a filter."""
        self._typing = True
        self.show()

    def on_key(self, event: events.Key) -> None:
        """While a filter is typed every key belongs to it."""
        if not self._typing:
            if event.key == "escape":
                self._drop()
            elif event.key == "slash":
                # Here and not by its binding, which the app looks up when the keys after it have
                # passed already: a slow link delivers many at once.
                event.stop()
                self.action_filter()
            return
        match event.key:
            case "enter" if not self._wrong:
                self._typing = False
            case "enter":
                self.console.bell()
            case "escape":
                self._typing, self._filter = False, ""
            case "backspace":
                self._filter = self._filter[:-1]
            case _ if event.is_printable and event.character and len(self._filter) < FILTER_LIMIT:
                self._filter += event.character
            case _:
                return
        event.stop()
        event.prevent_default()
        self._parse()
        self.show()

    def _drop(self) -> None:
        """Drop the filter, so that hidden marks are seen; without one, drop the marks."""
        if self._filter:
            self._filter = ""
            self._parse()
        else:
            self._marks.clear()
        self.show()

    def _parse(self) -> None:
        """Take the filter as it is typed; a term that is wrong yet chooses nothing."""
        try:
            self._match, self._wrong = parse(self._filter), ""
        except MatchError as error:
            self._wrong = str(error)
            with contextlib.suppress(MatchError):
                self._match = parse(self._filter.rpartition(" ")[0])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep letters from acting while they are typed."""
        del parameters
        own = {command.name.partition("(")[0] for command in offered(self.scope)} | {"move"}
        return not (self._typing and action in own)
