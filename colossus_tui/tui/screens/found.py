"""GPUs that were found, to choose one of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import Found, FoundGpu
from colossus_tui.text import number, safe
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views import GAP, LEFT
from colossus_tui.tui.views.find import FOUND_COLUMNS, found_cells
from colossus_tui.tui.widgets.table import Table, TableColumn


class FoundScreen(ColossusScreen):
    """A short list; the chosen GPU is shown on its map.

    Args:
        choose: Takes the GPU that was chosen, when this screen is gone.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("found")
    scope = "found"

    def __init__(self, text: str, found: Found, choose: Callable[[FoundGpu], None]) -> None:
        super().__init__()
        self._text = text
        self._found = found
        self._choose = choose

    def body(self) -> Iterable[Widget]:
        """The table."""
        yield Table(id="found", empty="nothing")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#found", Table).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """What was looked for, and how much of it is listed."""
        count, total = len(self._found.gpus), self._found.total_count
        some = f"the first {count} of " if total > count else ""
        return f"{some}{number(total)} GPUs found for {safe(self._text, 60)!r}"

    def show_body(self) -> None:
        """Fill the table with as many columns as fit."""
        columns, used = [], LEFT
        for head, cells, right in FOUND_COLUMNS:
            used += cells + GAP
            if used > self.size.width:
                break
            columns.append(TableColumn(head.lower(), head, cells, right))
        self.query_one("#found", Table).set_rows(
            columns,
            [
                (str(index), tuple(found_cells(gpu)[column.head] for column in columns))
                for index, gpu in enumerate(self._found.gpus)
            ],
        )

    def exported(self) -> Exported:
        """The GPUs that were found."""
        return Exported("gpus", self._found.gpus, about={"text": self._text})

    def thing(self) -> str | None:
        """The GPU's UUID, or its node."""
        if (key := self.query_one("#found", Table).cursor_key) is None:
            return None
        gpu = self._found.gpus[int(key)]
        return gpu.gpu_uuid or gpu.node_name

    def action_open(self) -> None:
        """Go to the GPU under the cursor."""
        if (key := self.query_one("#found", Table).cursor_key) is not None:
            self.app.pop_screen()
            self._choose(self._found.gpus[int(key)])

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()
