"""The timeline: lanes of events, actions and incidents, and a plot, on one clock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from colossus_tui.model import Action, ActionState, Event, Incident, RunState, Severity, Timeline
from colossus_tui.text import clock, duration, fit, measured, safe, verdict
from colossus_tui.tui.theme import SEVERITY_STYLES, Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.axis import Axis
from colossus_tui.tui.views.detail import action_style
from colossus_tui.tui.views.plot import LABEL_CELLS, Trace, plot
from colossus_tui.tui.views.words import wrapped

LANE_CELLS = LABEL_CELLS + 1  # before the lanes, as before the plot
SPAN_SECONDS = 900.0  # what is shown at first
LEAST_SECONDS, MOST_SECONDS = 10.0, 14 * 86_400.0
ZOOM, PAN = 2.0, 0.25
HIGH_PLOT, LOW_PLOT, HIGH_LINES = 6, 3, 16  # lines with its title; the more from HIGH_LINES on
SPAN_LANES = 4  # of actions, and of incidents, each a line; more share the last
LANES = ("xids", "throttle", "runs", "nodes", "hub")


class EntryKind(StrEnum):
    """What an entry of the timeline is."""

    EVENT = "event"
    ACTION = "action"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class Window:
    """The part of time that is shown.

    Attributes:
        end_ns: Its end, Unix nanoseconds; 0 goes on with the clock.
    """

    seconds: float = SPAN_SECONDS
    end_ns: int = 0

    def bounds(self, now_ns: int) -> tuple[int, int]:
        """Return its beginning and its end."""
        end = self.end_ns or now_ns
        return end - int(self.seconds * 1e9), end

    def zoomed(self, factor: float, around_ns: int | None, now_ns: int) -> Window:
        """Return it narrower (a factor below 1) or wider, with one instant where it was."""
        since, until = self.bounds(now_ns)
        seconds = min(max(self.seconds * factor, LEAST_SECONDS), MOST_SECONDS)
        if around_ns is None or not since <= around_ns <= until:
            return replace(self, seconds=seconds)
        share = (until - around_ns) / max(until - since, 1)
        return Window(seconds, self._end(around_ns + int(seconds * 1e9 * share), now_ns))

    def panned(self, share: float, now_ns: int) -> Window:
        """Return it moved by a share of its length; it does not go beyond now."""
        _, until = self.bounds(now_ns)
        return replace(self, end_ns=self._end(until + int(self.seconds * 1e9 * share), now_ns))

    def _end(self, end_ns: int, now_ns: int) -> int:
        return 0 if end_ns >= now_ns else end_ns


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on the timeline; `end_ns` is 0 for what goes on."""

    key: str
    kind: EntryKind
    lane: str
    begin_ns: int
    end_ns: int
    style: str
    glyph: str
    text: str
    where: str = ""


def entries(timeline: Timeline, glyphs: Glyphs) -> list[Entry]:
    """Return everything on it, the newest first."""
    found = [_of_event(event, glyphs) for event in timeline.events]
    found += [_of_action(action, glyphs) for action in timeline.actions]
    found += [_of_incident(incident, glyphs) for incident in timeline.incidents]
    return sorted(found, key=lambda one: (-one.begin_ns, one.key))


def _of_event(event: Event, glyphs: Glyphs) -> Entry:
    return Entry(
        f"event {event.event_id}",
        EntryKind.EVENT,
        lane_of(event),
        event.time_unix_ns,
        event.time_unix_ns,
        SEVERITY_STYLES[event.severity],
        glyphs.severities[event.severity],
        safe(event.message),
        safe(event.where, 63),
    )


def _of_action(action: Action, glyphs: Glyphs) -> Entry:
    code = action.reason_code.value if action.reason_code else None
    return Entry(
        f"action {action.action_id}",
        EntryKind.ACTION,
        f"{action.verb} {safe(action.subject, 63)}",
        action.requested_time_unix_ns,
        action.updated_time_unix_ns if action.state.is_end else 0,
        action_style(action.state),
        _glyph_of(action, glyphs),
        f"{action.verb} by {safe(action.operator, 64)}: "
        f"{verdict(action.state.value, code, action.detail)}",
        safe(action.subject, 63),
    )


def _glyph_of(action: Action, glyphs: Glyphs) -> str:
    if not action.state.is_end:
        return glyphs.states[RunState.PAUSING]
    good = action.state is ActionState.OBSERVED
    return glyphs.states[RunState.COMPLETED if good else RunState.FAILED]


def _of_incident(incident: Incident, glyphs: Glyphs) -> Entry:
    return Entry(
        f"incident {incident.incident_id}",
        EntryKind.INCIDENT,
        safe(incident.title, 200),
        incident.first_seen_unix_ns,
        incident.closed_time_unix_ns,
        SEVERITY_STYLES[incident.severity],
        glyphs.severities[incident.severity],
        safe(f"{incident.title}; {incident.reason}"),
        f"incident {incident.incident_id}",
    )


def lane_of(event: Event) -> str:
    """Return the lane of an event."""
    if event.kind.startswith("gpu."):
        return "throttle" if event.kind == "gpu.throttle" else "xids"
    if event.run_id:
        return "runs"
    return "nodes" if event.node_name else "hub"


# --- lanes ---------------------------------------------------------------------------------


def lane_lines(
    timeline: Timeline,
    cells: int,
    glyphs: Glyphs,
    cursor_ns: int | None = None,
    most: int = 100,
) -> list[Line]:
    """Return the lanes over their clock.

    Args:
        cursor_ns: Instant to mark; None for none.
        most: Lines at most; lanes of single actions and incidents give way first.
    """
    scale = _Scale(timeline.since_unix_ns, timeline.until_unix_ns, max(cells - LANE_CELLS, 8))
    shown = entries(timeline, glyphs)
    points = [
        line
        for lane in LANES
        if (line := _points(lane, [one for one in shown if one.lane == lane], scale))
    ]
    actions = [one for one in shown if one.kind is EntryKind.ACTION]
    incidents = [one for one in shown if one.kind is EntryKind.INCIDENT]
    chart = _plot(timeline, cells, HIGH_PLOT if most >= HIGH_LINES else LOW_PLOT, glyphs)
    room = max(most - len(chart) - len(points) - 1, 2)
    spans = _spans(incidents, min(SPAN_LANES, max(room - min(len(actions), 2), 1)), scale)
    spans += _spans(actions, min(SPAN_LANES, max(room - len(spans), 1)), scale)
    body = [*chart, *points, *spans] or [((" " * LANE_CELLS + "nothing happened", "dim"),)]
    return [*body[: most - 1], _clock_line(scale, cursor_ns)][:most]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From instants to columns."""

    since: int
    until: int
    columns: int

    def column(self, time_ns: int) -> int:
        share = (time_ns - self.since) / max(self.until - self.since, 1)
        return min(max(int(share * self.columns), 0), self.columns - 1)

    def shows(self, time_ns: int) -> bool:
        return self.since <= time_ns <= self.until


def _points(lane: str, of_lane: Sequence[Entry], scale: _Scale) -> Line:
    """Return one lane of events: the worst of each column; () without any."""
    worst: dict[int, Entry] = {}
    for one in of_lane:
        if scale.shows(one.begin_ns):
            column = scale.column(one.begin_ns)
            before = worst.get(column)
            if before is None or _grave(one) > _grave(before):
                worst[column] = one
    if not worst:
        return ()
    marks = {column: (one.glyph, one.style) for column, one in worst.items()}
    return (_label(lane), *_runs_of(marks, scale.columns))


def _grave(entry: Entry) -> int:
    order = [SEVERITY_STYLES[one] for one in (Severity.INFO, Severity.WARNING, Severity.CRITICAL)]
    return order.index(entry.style) if entry.style in order else 0


def _spans(of_kind: Sequence[Entry], lanes: int, scale: _Scale) -> list[Line]:
    """Return each entry as a bar on a lane of its own, the newest first; the last shares."""
    lines: list[Line] = []
    for index, one in enumerate(of_kind[:lanes]):
        rest = of_kind[index:] if index == lanes - 1 else [one]
        marks: dict[int, Span] = {}
        for entry in reversed(rest):
            first = scale.column(entry.begin_ns)
            last = scale.column(entry.end_ns or scale.until)
            for column in range(first, last + 1):
                marks[column] = ("-", entry.style)
            if not scale.shows(entry.begin_ns) and last > first:
                marks[first] = ("<", entry.style)  # it began before
                first += 1
            marks[first] = (entry.glyph, entry.style)
        label = one.lane if len(rest) == 1 else f"{len(rest)} more"
        is_one = one.kind is EntryKind.INCIDENT and len(rest) == 1
        name = one.where.replace("incident", "no.") if is_one else label
        lines.append((_label(name), *_runs_of(marks, scale.columns)))
    return lines


def _plot(timeline: Timeline, cells: int, lines: int, glyphs: Glyphs) -> list[Line]:
    """Return the series on the same clock; its own axis gives way to the lanes' one."""
    series = timeline.series
    if series is None:
        return []
    name = "STEP TIME" if series.name == "step_seconds" else "POWER"
    since = timeline.since_unix_ns
    times = [(when - since) / 1e9 for when in series.times_unix_ns]
    trace = Trace(list(zip(times, series.values, strict=True)))
    axis = Axis(0.0, (timeline.until_unix_ns - since) / 1e9)
    *shown, _ = plot(
        f"{name}, {series.unit}" if series.unit else name,
        [trace],
        axis,
        cells,
        lines + 1,
        glyphs,
        lambda value: measured(value, series.unit),
        str,
    )
    return shown


def _clock_line(scale: _Scale, cursor_ns: int | None) -> Line:
    """Return the ends of the clock, and the cursor's instant where it is."""
    text = [" "] * scale.columns
    since, until = clock(scale.since), clock(scale.until)
    text[: len(since)] = since
    text[-len(until) :] = until
    if cursor_ns is None or not scale.shows(cursor_ns):
        return _label("clock"), ("".join(text)[: scale.columns], "dim")
    column, when = scale.column(cursor_ns), clock(cursor_ns)
    word = f"^ {when}" if scale.columns > 2 * len(when) else "^"
    if column + len(word) > scale.columns:
        word = f"{when} ^"
        column -= len(word) - 1
    end = column + len(word)
    if column <= len(since):
        text[: len(since)] = " " * len(since)
    if end >= scale.columns - len(until):
        text[-len(until) :] = " " * len(until)
    before, after = "".join(text[:column]), "".join(text[end:])
    return _label("clock"), (before, "dim"), (word, "strong"), (after, "dim")


def _label(name: str) -> Span:
    return fit(name, LANE_CELLS - 1) + " ", "head"


def _runs_of(marks: dict[int, Span], columns: int) -> Iterable[Span]:
    """Yield the columns as spans, neighbours of one style together."""
    text, style = "", "faint"
    for column in range(columns):
        mark, of = marks.get(column, (" ", "faint"))
        if of != style and text:
            yield text, style
            text = ""
        text, style = text + mark, of
    yield text, style


# --- the list below ------------------------------------------------------------------------


def entry_cells(entry: Entry) -> dict[str, Span]:
    """Return an entry's cells: TIME, KIND, ON and WHAT."""
    took = duration((entry.end_ns - entry.begin_ns) / 1e9) if entry.end_ns else "goes on"
    lasts = f" ({took})" if entry.kind is not EntryKind.EVENT else ""
    return {
        "TIME": (clock(entry.begin_ns), "dim"),
        "KIND": (f"{entry.glyph} {entry.kind}", entry.style),
        "ON": (entry.where or "-", "plain"),
        "WHAT": (f"{entry.text}{lasts}", entry.style),
    }


def entry_lines(entry: Entry | None, cells: int, most: int) -> list[Line]:
    """Return the entry under the cursor in full."""
    if entry is None:
        return []
    head = f"{date(entry.begin_ns)}  {entry.where}"
    return [((head, "strong"),), *wrapped(entry.text, entry.style, cells)][:most]


def date(unix_ns: int) -> str:
    """Return a local date and time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_ns / 1e9))
