"""The timeline: lanes on one clock, and every entry of them as a row."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import Timeline
from colossus_tui.text import clock, duration, now_ns, number, safe
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import TimelineWanted, Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.views import GAP, LEFT
from colossus_tui.tui.views.timeline import (
    PAN,
    ZOOM,
    Entry,
    EntryKind,
    Window,
    entries,
    entry_cells,
    entry_lines,
    lane_lines,
)
from colossus_tui.tui.views.words import wrapped
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn

COLUMNS = (("TIME", 8), ("KIND", 11), ("ON", 20))
FULL_LINES, LOW_FULL_LINES = 4, 2  # of the entry under the cursor; the fewer up to LOW_LINES
LOW_LINES = 30
LANES_SHARE = 0.45  # of the screen, at most


class TimelineScreen(ColossusScreen):
    """Events, actions, incidents and a plot.

    Args:
        run_id: Only of this run; "" for the site.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("timeline")
    DEFAULT_CSS = """
    TimelineScreen > #lanes, TimelineScreen > #full { margin: 0 0 0 1; }
    """
    scope = "timeline"

    def __init__(self, run_id: str = "") -> None:
        super().__init__()
        self._run_id = run_id
        self._window = Window()
        self._timeline: Timeline | None = None
        self._problem = ""

    def body(self) -> Iterable[Widget]:
        """The lanes, the table and the entry under its cursor."""
        yield Lines(id="lanes")
        yield Table(id="entries", empty="reading the timeline ...")
        yield Lines(id="full")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#entries", Table).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """Whose timeline, and which part of time."""
        whose = f" of {safe(self._run_id, 63)}" if self._run_id else ""
        until = clock(self._window.end_ns) if self._window.end_ns else "now"
        return f"timeline{whose}   {duration(self._window.seconds)} to {until}"

    def wanted(self) -> Wanted:
        """The timeline."""
        window = self._window
        timeline = TimelineWanted(self._run_id, window.seconds, window.end_ns)
        return Wanted(incidents=True, timeline=timeline)

    def run_id(self) -> str | None:
        """The run that it is of."""
        return self._run_id or None

    def timeline_received(self, timeline: Timeline | None, detail: str) -> None:
        """Take a span of time; it may still be one that was asked for before."""
        self._problem = detail
        if timeline is not None and timeline.run_id == self._run_id:
            self._timeline = timeline
        self.show()

    # --- what is shown -----------------------------------------------------------------------

    def show_body(self) -> None:
        """Bring lanes, table and the chosen entry up to date."""
        lanes, table = self.query_one("#lanes", Lines), self.query_one("#entries", Table)
        found, cells = self._timeline, self.size.width
        if found is None:
            lines = wrapped(self._problem, "warn", cells - 2) if self._problem else []
            lanes.styles.height = len(lines)
            lanes.set_lines(lines)
            return
        glyphs = self.console.glyphs
        self._fill(table, entries(found, glyphs), cells)
        chosen = self.chosen()
        most = max(int(self.size.height * LANES_SHARE), 4)
        cursor = chosen.begin_ns if chosen is not None else None
        shown = lane_lines(found, cells - 2, glyphs, cursor, most)
        lanes.styles.height = len(shown)
        lanes.set_lines(shown)
        full = self.query_one("#full", Lines)
        count = FULL_LINES if self.size.height > LOW_LINES else LOW_FULL_LINES
        full.styles.height = count
        said = wrapped(self._problem, "warn", cells - 2) if self._problem else []
        if found.left_out_event_count:
            text = f"{number(found.left_out_event_count)} older events are left out: zoom in"
            said += wrapped(text, "warn", cells - 2)
        full.set_lines([*said, *entry_lines(chosen, cells - 2, count)][:count])

    def _fill(self, table: Table, shown: list[Entry], cells: int) -> None:
        table.set_empty("nothing happened in it")
        used = LEFT + sum(wide + GAP for _, wide in COLUMNS) + GAP
        columns = [TableColumn(head.lower(), head, wide) for head, wide in COLUMNS]
        columns.append(TableColumn("what", "WHAT", max(cells - used, 20)))
        rows = [
            (one.key, tuple(found[column.head] for column in columns))
            for one in shown
            for found in [entry_cells(one)]
        ]
        table.set_rows(columns, rows)

    def exported(self) -> Exported | None:
        """Every entry, with the whole timeline."""
        if self._timeline is None:
            return None
        return Exported("entries", entries(self._timeline, self.console.glyphs), self._timeline)

    def chosen(self) -> Entry | None:
        """The entry under the cursor."""
        if self._timeline is None:
            return None
        key = self.query_one("#entries", Table).cursor_key
        shown = entries(self._timeline, self.console.glyphs)
        return next((one for one in shown if one.key == key), None)

    def on_table_moved(self) -> None:
        """Show the entry under the cursor."""
        self.show_body()

    # --- what the operator says --------------------------------------------------------------

    def action_zoom(self, sign: int) -> None:
        """Show a shorter part of time around the cursor, or a longer one."""
        chosen, now = self.chosen(), now_ns()
        around = chosen.begin_ns if chosen is not None else None
        self._show_window(self._window.zoomed(ZOOM**-sign, around, now))

    def action_pan(self, sign: int) -> None:
        """Go to what was before, or after."""
        self._show_window(self._window.panned(PAN * sign, now_ns()))

    def action_whole(self) -> None:
        """Show the last minutes again."""
        self._show_window(Window())

    def _show_window(self, window: Window) -> None:
        if window == self._window:
            self.console.bell()
            return
        self._window = window
        self.console.feed.show(self.wanted())
        self.show()

    def action_open(self) -> None:
        """Open the action or the incident under the cursor; an event is shown whole already."""
        from colossus_tui.tui.screens.incidents import IncidentScreen

        chosen, found = self.chosen(), self._timeline
        if chosen is None or found is None or chosen.kind is EntryKind.EVENT:
            self.console.bell()
            return
        key = chosen.key.partition(" ")[2]
        if chosen.kind is EntryKind.ACTION:
            self.console.open_action(next(o for o in found.actions if o.action_id == key))
            return
        incident = next(one for one in found.incidents if str(one.incident_id) == key)
        self.app.push_screen(IncidentScreen(incident))

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()
