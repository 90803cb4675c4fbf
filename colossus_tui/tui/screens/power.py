"""The site's power: what each place draws against its limit, and the cooling loops below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import PlaceKind, PowerPlace, PowerView
from colossus_tui.text import safe
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.power import (
    DETAIL_LINES,
    columns_for,
    detail_lines,
    key_of,
    loop_lines,
    rows_of,
    source_lines,
)
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn

LOOPS_SHARE = 3  # cooling has at most one line in so many of the screen


class PowerScreen(ColossusScreen):
    """A tree of places; the racks of one hall are opened at a time.

    Args:
        hall: Hall that is opened; "" for none.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("power")
    DEFAULT_CSS = """
    PowerScreen > #place { height: 3; }
    PowerScreen > #cooling { height: 1; }
    """
    scope = "power"
    heading = "power"

    def __init__(self, hall: str = "") -> None:
        super().__init__()
        self._hall = hall
        self._shown: PowerView | None = None

    def body(self) -> Iterable[Widget]:
        """The tree, the place under the cursor in full, cooling."""
        yield Table(id="places", empty="asking for the site's power ...")
        yield Lines(id="place")
        yield Lines(id="cooling", focusable=True)

    def on_mount(self) -> None:
        """Give the tree the keys."""
        self.query_one("#places", Table).add_class("body").focus()
        super().on_mount()

    def wanted(self) -> Wanted:
        """The site's power, with the racks of the opened hall."""
        return Wanted(power=True, power_hall=self._hall)

    def title_text(self) -> str:
        """The opened hall, if one is."""
        return f"power: racks of {safe(self._hall, 63)}" if self._hall else self.heading

    def show_body(self) -> None:
        """Fill the tree, then what is below it."""
        view = self.console.view.power if self.console.view is not None else None
        if view is None:
            return
        self._shown = view
        glyphs = self.console.glyphs
        columns = columns_for(self.size.width, view)
        self.query_one("#places", Table).set_rows(
            [TableColumn(c.head.lower(), c.head, cells, c.right) for c, cells in columns],
            rows_of(view, columns, glyphs),
        )
        self._show_place()
        room = self.size.width - 3  # beside the space before and a scrollbar
        lines = _indented([*loop_lines(view, room, glyphs), *source_lines(view, room)])
        cooling = self.query_one("#cooling", Lines)
        cooling.styles.height = min(len(lines), self.size.height // LOOPS_SHARE - 1)
        cooling.set_lines(lines)

    def _show_place(self) -> None:
        part = self.query_one("#place", Lines)
        part.styles.height = DETAIL_LINES
        part.set_lines(_indented(detail_lines(self._place(), self.size.width - 2)))

    def _place(self) -> PowerPlace | None:
        """Return the place under the cursor."""
        key = self.query_one("#places", Table).cursor_key
        places = self._shown.places if self._shown is not None else ()
        return next((place for place in places if key_of(place) == key), None)

    def on_table_moved(self) -> None:
        """Tell of the place that the cursor is on now."""
        self._show_place()

    def action_open(self) -> None:
        """Open a hall's racks, or close them; a rack is opened on the map."""
        place = self._place()
        if place is None or place.kind not in (PlaceKind.HALL, PlaceKind.RACK):
            self.console.bell()
        elif place.kind is PlaceKind.RACK:
            self._open_map(place.parent, place.name)
        else:
            self._hall = "" if self._hall == place.name else place.name
            self.console.feed.show(self.wanted())
            self.show()

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()

    def action_map(self) -> None:
        """Open the map: of a hall or rack under the cursor, else of the site."""
        place = self._place()
        if place is not None and place.kind is PlaceKind.HALL:
            self._open_map(place.name)
        elif place is not None and place.kind is PlaceKind.RACK:
            self._open_map(place.parent, place.name)
        else:
            super().action_map()

    def _open_map(self, hall: str, rack: str = "") -> None:
        from colossus_tui.tui.screens.map import MapScreen

        self.app.push_screen(MapScreen("", hall, rack))

    # --- what is kept and taken away ---------------------------------------------------------

    def saved_state(self) -> dict[str, str]:
        """The opened hall."""
        return {"hall": self._hall}

    def restore(self, state: Mapping[str, str]) -> str:
        """Open the hall."""
        self._hall = state.get("hall", "")
        self.console.feed.show(self.wanted())
        return ""

    def exported(self) -> Exported | None:
        """The places that are shown; whole: cooling loops and sources with them."""
        if self._shown is None:
            return None
        return Exported("places", self._shown.places, self._shown, {"hall": self._hall})

    def thing(self) -> str | None:
        """The name of the place under the cursor."""
        place = self._place()
        return place.name or None if place is not None else None


def _indented(lines: Sequence[Line]) -> list[Line]:
    """Return lines as far from the edge as the table's."""
    return [((" ", "plain"), *line) for line in lines]
