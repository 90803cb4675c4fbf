"""Incidents: every one a row, and one in full with its part of the timeline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widget import Widget

from colossus_tui.model import Incident, Timeline, amounts
from colossus_tui.text import now_ns, safe
from colossus_tui.tui.actions import key_of
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import TimelineWanted, Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.screens.card import Card
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.incidents import (
    beside_lines,
    incident_cells,
    incident_columns,
    incident_lines,
    note_lines,
    summary,
)
from colossus_tui.tui.views.timeline import lane_lines
from colossus_tui.tui.views.words import wrapped
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn

BESIDE_LINES, LOW_BESIDE_LINES = 6, 4  # the fewer on a terminal of up to LOW_LINES
LOW_LINES = 30
AROUND_SECONDS = 120.0  # of an incident, that its part of the timeline shows
LANE_LINES = 12
DEFAULT_SILENCE = "1h"


class IncidentScreenBase(ColossusScreen):
    """What screens about incidents share: one chosen incident, and what is said of it."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: tuple[int, str] = (0, "")

    def chosen(self) -> Incident | None:
        """Return the incident that a key is about."""
        raise NotImplementedError

    def answer_to(self, incident: Incident | None) -> str:
        """Return what the hub last said about this incident."""
        incident_id, text = self._answer
        return text if incident is not None and incident.incident_id == incident_id else ""

    def answered(self, incident_id: int, text: str) -> None:
        """Show what the hub said."""
        self._answer = (incident_id, text)
        self.show()

    def run_id(self) -> str | None:
        """The run of the suggested step, else the one that suffers the most."""
        incident = self.chosen()
        if incident is None:
            return None
        step = incident.next_step
        if step is not None and step.verb is not None and not step.verb.is_on_node:
            return step.subject
        return incident.run_id or next((run.run_id for run in incident.runs), None)

    def node_name(self) -> str | None:
        """The node of the suggested step, else the only one it is of."""
        incident = self.chosen()
        if incident is None:
            return None
        step = incident.next_step
        if step is not None and step.verb is not None and step.verb.is_on_node:
            return step.subject
        return incident.node_name or None

    def thing(self) -> str | None:
        """The number of the incident."""
        incident = self.chosen()
        return str(incident.incident_id) if incident is not None else None

    def action_acknowledge(self) -> None:
        """Say that this operator looks after it."""
        incident = self.chosen()
        if incident is None or incident.is_closed:
            self.console.bell()
            return
        self.console.feed.acknowledge(incident.incident_id)

    def action_silence(self) -> None:
        """Ask for how long it is not to count."""
        incident = self.chosen()
        if incident is None or incident.is_closed:
            self.console.bell()
            return
        self.app.push_screen(SilenceCard(incident))

    def action_map(self) -> None:
        """Open the map where the incident is; of a run's, with the run drawn over it."""
        from colossus_tui.model.match import Text
        from colossus_tui.tui.screens.map import MapScreen

        incident = self.chosen()
        if incident is None:
            self.console.bell()
            return
        where = str(Text("run", "=", (incident.run_id,))) if incident.run_id else ""
        self.app.push_screen(MapScreen(where, incident.hall, incident.rack))

    def action_power(self) -> None:
        """Open the site's power, with the racks of the incident's hall."""
        from colossus_tui.tui.screens.power import PowerScreen

        incident = self.chosen()
        self.app.push_screen(PowerScreen(incident.hall if incident is not None else ""))

    def action_timeline(self) -> None:
        """Open the timeline: of the incident's run, else of the site."""
        from colossus_tui.tui.screens.timeline import TimelineScreen

        incident = self.chosen()
        run_id = incident.run_id if incident is not None else ""
        self.app.push_screen(TimelineScreen(run_id))


class IncidentsScreen(IncidentScreenBase):
    """All incidents, those that wait for somebody first; what closed in the last hour last."""

    DEFAULT_CSS = "IncidentsScreen > #beside { margin: 0 0 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = bindings("incidents")
    scope = "incidents"

    def body(self) -> Iterable[Widget]:
        """The table, and below it the one under the cursor."""
        yield Table(id="incidents", empty="...")
        yield Lines(id="beside")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#incidents", Table).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """How many there are."""
        return f"incidents   {summary(self._incidents())}"

    def wanted(self) -> Wanted:
        """All incidents."""
        return Wanted(incidents=True)

    def _incidents(self) -> tuple[Incident, ...]:
        return self.console.view.incidents if self.console.view is not None else ()

    def show_body(self) -> None:
        """Fill the table."""
        table, beside = self.query_one("#incidents", Table), self.query_one("#beside", Lines)
        glyphs, cells = self.console.glyphs, self.size.width
        if self.console.view is not None:
            table.set_empty("no incident is open, and none closed in the last hour")
        columns = incident_columns(cells)
        heads = [head for head, _, _ in columns]
        rows = [
            (str(incident.incident_id), tuple(found[head] for head in heads))
            for incident in self._incidents()
            for found in [incident_cells(incident, glyphs)]
        ]
        table.set_rows([TableColumn(h.lower(), h, wide, right) for h, wide, right in columns], rows)
        count = BESIDE_LINES if self.size.height > LOW_LINES else LOW_BESIDE_LINES
        beside.styles.height = count
        chosen = self.chosen()
        beside.set_lines(beside_lines(chosen, self.answer_to(chosen), count, cells - 2))

    def exported(self) -> Exported:
        """All incidents of the list."""
        return Exported("incidents", self._incidents())

    def chosen(self) -> Incident | None:
        """The one under the cursor."""
        key = self.query_one("#incidents", Table).cursor_key
        return next((one for one in self._incidents() if str(one.incident_id) == key), None)

    def on_table_moved(self) -> None:
        """Show the one under the cursor."""
        self.show_body()

    def action_open(self) -> None:
        """Open the incident under the cursor."""
        if (incident := self.chosen()) is not None:
            self.app.push_screen(IncidentScreen(incident))

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()


class IncidentScreen(IncidentScreenBase):
    """One incident in full.

    Args:
        incident: As the list has it, until it comes whole.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("incident")
    scope = "incident"

    def __init__(self, incident: Incident) -> None:
        super().__init__()
        self._incident = incident
        self._timeline: Timeline | None = None
        self._problem = ""

    def body(self) -> Iterable[Widget]:
        """One scrolled text."""
        yield Lines(id="incident", focusable=True)

    def on_mount(self) -> None:
        """Give the text the keys."""
        self.query_one("#incident", Lines).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """Which one."""
        return f"incident {self._incident.incident_id}"

    def wanted(self) -> Wanted:
        """The incident in full, and its part of the timeline."""
        incident, now = self._incident, now_ns()
        began = incident.first_seen_unix_ns - int(AROUND_SECONDS * 1e9)
        end = incident.closed_time_unix_ns
        end = end + int(AROUND_SECONDS * 1e9) if end else 0
        end = 0 if end >= now else end
        seconds = ((end or now) - began) / 1e9
        # In steps, so that a watch that goes on is not begun anew each time.
        wanted = TimelineWanted(self.run_id() or "", max(round(seconds / 60), 1) * 60.0, end)
        return Wanted(incidents=True, incident_id=incident.incident_id, timeline=wanted)

    def exported(self) -> Exported:
        """This incident, with what happened at that time."""
        return Exported("incidents", (self._incident,), self._timeline)

    def chosen(self) -> Incident | None:
        """This incident."""
        return self._incident

    def incident_received(self, incident_id: int, incident: Incident | None) -> None:
        """Take it whole."""
        if incident_id != self._incident.incident_id:
            return
        self._problem = "" if incident is not None else "the hub has no such incident any more"
        self._incident = incident or self._incident
        self.show()

    def timeline_received(self, timeline: Timeline | None, detail: str) -> None:
        """Take its part of the timeline."""
        self._timeline, self._problem = timeline or self._timeline, detail
        self.show()

    def show_body(self) -> None:
        """Fill the text."""
        cells, glyphs = self.size.width - 3, self.console.glyphs
        view = self.console.view
        mine = self._incident.incident_id
        newer = next(
            (o for o in view.incidents if o.incident_id == mine) if view is not None else iter(()),
            None,
        )
        if newer is not None:  # lists carry neither members nor log
            kept = self._incident
            self._incident = replace(newer, members=kept.members, notes=kept.notes)
        lines = incident_lines(self._incident, self.answer_to(self._incident), cells, glyphs)
        if self._problem:
            lines += [(), *wrapped(self._problem, "warn", cells)]
        if self._timeline is not None:
            head = f"AT THAT TIME ({key_of('timeline')}: the whole timeline)"
            lanes = lane_lines(self._timeline, cells, glyphs, None, LANE_LINES)
            lines += [(), ((head, "head"),), *lanes]
        self.query_one("#incident", Lines).set_lines([*lines, *note_lines(self._incident, cells)])


class SilenceCard(Card):
    """For how long an incident is not to count."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", show=False)]

    def __init__(self, incident: Incident) -> None:
        super().__init__()
        self._incident = incident
        self._entry = Entry("silence for", DEFAULT_SILENCE)
        self._wrong = ""
        self._fresh = True  # what is typed first takes the place of what is proposed

    def text(self) -> list[Line]:
        """What would be silenced."""
        incident, cells = self._incident, self.cells
        lines: list[Line] = [
            ((f"silence incident {incident.incident_id}", "strong"),),
            (),
            *wrapped(incident.title, "plain", cells),
            (),
            *wrapped(
                "It stays in the list and counts nowhere until then, also when it comes back. "
                "0 ends a silence.",
                "dim",
                cells,
            ),
        ]
        if self._wrong:
            lines += [(), *wrapped(self._wrong, "warn", cells)]
        return lines

    def asked(self) -> list[Line]:
        """The line that is typed."""
        hint = "enter does it, esc leaves it"
        typed = safe(self._entry.text)
        return [(("for: ", "dim"), (f"{typed}_", "strong"), (f"   ({hint})", "dim"))]

    def press(self, event: events.Key) -> bool:
        """Type, or do it."""
        if event.key == "enter":
            self._enter()
            return True
        character = event.character if event.is_printable else None
        if character is not None and self._fresh:
            self._entry.text = ""
        if self._entry.press(event.key, character):
            self._fresh, self._wrong = False, ""
        return True

    def _enter(self) -> None:
        try:
            seconds = amounts.span_or_zero(self._entry.text)
        except amounts.AmountError as error:
            self._wrong = str(error)
            self.console.bell()
            return
        self.console.feed.silence(self._incident.incident_id, seconds)
        self.action_close()
