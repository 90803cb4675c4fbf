"""All nodes, and one node down to a GPU and its processes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import NodeDetail
from colossus_tui.model.match import NODES
from colossus_tui.text import safe
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.screens.filtered import FilteredScreen
from colossus_tui.tui.views import GAP, LEFT
from colossus_tui.tui.views.nodes import node_cells, node_columns, node_lines
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn

NONE = "no node has linked yet"


class NodesScreen(FilteredScreen):
    """Every node a row."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("nodes")
    scope = "nodes"
    heading = "nodes"
    language = NODES

    def body(self) -> Iterable[Widget]:
        """The table."""
        yield Table(id="nodes", empty=NONE)

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#nodes", Table).add_class("body").focus()
        super().on_mount()

    def wanted(self) -> Wanted:
        """All nodes."""
        return Wanted(nodes=True)

    def show_body(self) -> None:
        """Fill the table with as many columns as fit."""
        view = self.console.view
        if view is None or (not view.nodes and view.site and view.site.node_count):
            return  # the hub has not heard yet that nodes are wanted
        columns, used = [], LEFT
        for head, cells, right in node_columns(view.nodes):
            used += cells + GAP
            if used > self.size.width:
                break
            columns.append(TableColumn(head.lower(), head, cells, right))
        rows = [(node.node_name, node_cells(node)) for node in self.matching(view.nodes)]
        self.query_one("#nodes", Table).set_empty(self.nothing("node", NONE))
        self.query_one("#nodes", Table).set_rows(
            columns,
            [(name, tuple(cells[column.head] for column in columns)) for name, cells in rows],
        )

    def exported(self) -> Exported:
        """The nodes that are shown."""
        nodes = self.console.view.nodes if self.console.view is not None else ()
        return Exported("nodes", self.matching(nodes), about={"filter": self._filter})

    def node_name(self) -> str | None:
        """The node under the cursor."""
        return self.query_one("#nodes", Table).cursor_key

    def action_open(self) -> None:
        """Open the node under the cursor."""
        if (name := self.query_one("#nodes", Table).cursor_key) is not None:
            self.app.push_screen(NodeScreen(name))

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()


class NodeScreen(ColossusScreen):
    """One node.

    Args:
        gpu_index: The GPU that is shown in full first.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("node")
    scope = "node"

    def __init__(self, node_name: str, gpu_index: int = 0) -> None:
        super().__init__()
        self._node_name = node_name
        self._gpu_index = gpu_index

    def body(self) -> Iterable[Widget]:
        """One scrolled text."""
        yield Lines(id="node", focusable=True)

    def on_mount(self) -> None:
        """Give the text the keys."""
        self.query_one("#node", Lines).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """The node's name."""
        return f"node {safe(self._node_name, 63)}"

    def node_name(self) -> str | None:
        """This node."""
        return self._node_name

    def exported(self) -> Exported | None:
        """Its GPUs, and all of it."""
        detail = self._detail()
        return Exported("gpus", detail.gpus, detail) if detail is not None else None

    def _detail(self) -> NodeDetail | None:
        detail = self.console.view.node if self.console.view is not None else None
        mine = detail is not None and detail.node.node_name == self._node_name
        return detail if mine else None

    def wanted(self) -> Wanted:
        """This node."""
        return Wanted(node_name=self._node_name)

    def show_body(self) -> None:
        """Fill the text."""
        app, detail = self.console, self._detail()
        if detail is None:
            self.query_one("#node", Lines).set_lines([(("...", "dim"),)])
            return
        lines = node_lines(detail, self._gpu_index, self.size.width - 3, app.glyphs)
        self.query_one("#node", Lines).set_lines(lines)

    def action_next_gpu(self) -> None:
        """Show the next GPU in full."""
        detail = self.console.view.node if self.console.view is not None else None
        if detail is not None and detail.gpus:
            self._gpu_index = (self._gpu_index + 1) % len(detail.gpus)
            self.show()
