"""Incidents: a row each, one in full, and what of them the header says."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import Incident, IncidentState, NextStep, Severity, Site
from colossus_tui.text import age, clock, counted, duration, named, now_ns, number, safe
from colossus_tui.tui.actions import COMMANDS
from colossus_tui.tui.theme import SEVERITY_STYLES, Glyphs
from colossus_tui.tui.views import GAP, LEFT, Line, Span
from colossus_tui.tui.views.words import in_columns, labelled, wrapped

# (head, cells, width of the screen from which it is shown); WHAT takes what is left.
COLUMNS = (
    ("SEVERITY", 10, 0),
    ("WHAT", 20, 0),
    ("SINCE", 7, 60),
    ("LAST", 7, 160),
    ("RUNS", 16, 140),
    ("STATE", 15, 50),
    ("NEXT", 24, 110),
)
RIGHT = ("SINCE", "LAST")
NAMED_RUNS = 2


def header_spans(site: Site, glyphs: Glyphs) -> list[Span]:
    """Return how many incidents wait for somebody, and how many of them are critical."""
    count, critical = site.open_incident_count, site.critical_incident_count
    if not count:
        return []
    severity = Severity.CRITICAL if critical else Severity.WARNING
    text = f"  {glyphs.severities[severity]} {count} incident{'s' if count > 1 else ''}"
    grave = f", {critical} critical" if critical else ""
    return [(text + grave, SEVERITY_STYLES[severity])]


def incident_columns(cells: int) -> list[tuple[str, int, bool]]:
    """Return the columns that fit, with their cells and whether they are right aligned."""
    shown = [(head, wide) for head, wide, least in COLUMNS if cells >= least]
    used = LEFT + sum(wide + GAP for head, wide in shown if head != "WHAT") + GAP
    return [
        (head, max(cells - used, wide) if head == "WHAT" else wide, head in RIGHT)
        for head, wide in shown
    ]


def incident_cells(incident: Incident, glyphs: Glyphs) -> dict[str, Span]:
    """Return an incident's cells by the heads of COLUMNS."""
    waits = incident.counts(now_ns())
    style = SEVERITY_STYLES[incident.severity]
    state, state_style = state_span(incident)
    runs = [safe(run.run_id, 63) for run in incident.runs]
    more = incident.run_count - NAMED_RUNS
    text = ", ".join(runs[:NAMED_RUNS]) + (f" +{more}" if more > 0 else "")
    step = step_text(incident.next_step)
    return {
        "SEVERITY": (f"{glyphs.severities[incident.severity]} {incident.severity}", style),
        "WHAT": (safe(incident.title, 200), "strong" if waits else "plain"),
        "SINCE": (age(incident.first_seen_unix_ns), "plain"),
        "LAST": (last_seen(incident), "dim"),
        "RUNS": (text or "-", "plain"),
        "STATE": (state, state_style),
        "NEXT": (step if not incident.is_closed else "", "key" if waits else "dim"),
    }


def state_span(incident: Incident) -> Span:
    """Return how far it is and what operators said of it."""
    if incident.is_closed:
        into = incident.merged_into
        return (f"part of {into}" if into else "closed"), "dim"
    if incident.is_silenced(now_ns()):
        left = (incident.silenced_until_unix_ns - now_ns()) / 1e9
        return f"silenced {_minutes(left)}", "dim"
    if incident.acknowledged_by:
        return f"ack by {safe(incident.acknowledged_by, 40)}", "accent"
    word = incident.state.value
    if incident.flap_count:
        word += f", {incident.flap_count}x back"
    return word, "warn" if incident.state is IncidentState.OPEN else "plain"


def last_seen(incident: Incident) -> str:
    """Return how long ago it was last so; "now" while it is."""
    if incident.state is IncidentState.OPEN:
        return "now"
    return age(incident.last_seen_unix_ns)


def _minutes(seconds: float) -> str:
    """Return a time that is left, to the minute: what changes each second is drawn each second."""
    return duration(max(round(seconds / 60), 1) * 60).removesuffix("00s")


def step_text(step: NextStep | None) -> str:
    """Return the suggested next step as a key and what it does: "D drain n17"."""
    command = next(
        (
            one
            for one in COMMANDS
            if step is not None
            and (one.verb is step.verb if step.verb else one.name == step.screen)
        ),
        None,
    )
    if step is None or command is None:
        return ""
    where = f" {safe(step.subject, 63)}" if step.subject else ""
    return f"{command.shown} {step.verb or command.label}{where}"


def beside_lines(incident: Incident | None, answer: str, count: int, cells: int) -> list[Line]:
    """Return what is said below the table of the incident under the cursor.

    Args:
        answer: What the hub last said to an operator's word.
        count: Lines at most.
    """
    if incident is None:
        return wrapped(answer, "warn", cells)[:count] if answer else []
    lines: list[Line] = []
    if answer:
        lines += wrapped(answer, "warn", cells)[:1]
    title = safe(incident.title, 200)
    lines.append(((f"{incident.incident_id}  ", "dim"), (title, "strong")))
    if (step := step_text(incident.next_step)) and not incident.is_closed:
        key, _, rest = step.partition(" ")
        lines.append((("next: ", "dim"), (f"{key} ", "key"), (rest, "plain")))
    if said := said_text(incident):
        lines.append(((said, "accent"),))
    for effect in incident.effects[:1]:
        more = len(incident.effects) - 1
        text = f"so: {effect.run_id}: {effect.message}" + (f" and {more} more" if more else "")
        lines += wrapped(text, "warn", cells)[:1]
    lines += wrapped(incident.reason, "plain", cells)
    return lines[:count]


def said_text(incident: Incident) -> str:
    """Return what operators said of it, whole."""
    said = []
    if incident.acknowledged_by:
        who, when = safe(incident.acknowledged_by, 64), clock(incident.acknowledged_time_unix_ns)
        said.append(f"acknowledged by {who} at {when}")
    if incident.is_silenced(now_ns()):
        who, until = safe(incident.silenced_by, 64), clock(incident.silenced_until_unix_ns)
        said.append(f"silenced by {who} until {until}")
    return ", ".join(said)


def incident_lines(incident: Incident, answer: str, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return one incident in full, but for its part of the timeline.

    Args:
        answer: What the hub last said to an operator's word.
    """
    style = SEVERITY_STYLES[incident.severity]
    glyph, (state, state_style) = (
        glyphs.severities[incident.severity],
        state_span(incident),
    )
    lines: list[Line] = [
        *wrapped(f"{glyph} {incident.severity}: {incident.title}", style, cells),
        *wrapped(incident.reason, "plain", cells),
    ]
    if answer:
        lines += wrapped(answer, "warn", cells)
    lines += _step_lines(incident, cells)
    lines += [(), *labelled("state", state, cells, state_style)]
    lines += _facts(incident, cells)
    if incident.effects:
        lines += [(), (("WHAT FOLLOWS FROM IT", "head"),)]
        for effect in incident.effects:
            label = f"{glyphs.severities[effect.severity]} {safe(effect.run_id, 63)}"
            lines += labelled(label, effect.message, cells, SEVERITY_STYLES[effect.severity])
    if incident.runs:
        lines += [(), ((f"RUNS AFFECTED ({number(incident.run_count)})", "head"),)]
        for run in incident.runs:
            ranks = counted(run.rank_count, "rank") + (f": {run.ranks}" if run.ranks else "")
            text = ranks if run.rank_count else "ranks not known"
            lines += labelled(safe(run.run_id, 63), text, cells)
    if incident.members:
        shown, most = len(incident.members), incident.peak_member_count
        some = f", the first {shown}" if most > shown else ""
        head = f"MEMBERS ({number(most)} at most, {number(incident.member_count)} now{some})"
        lines += [(), ((head, "head"),), *in_columns(incident.members, cells)]
    return lines


def _step_lines(incident: Incident, cells: int) -> list[Line]:
    step = step_text(incident.next_step)
    if not step or incident.is_closed:
        return []
    key, _, rest = step.partition(" ")
    is_verb = incident.next_step is not None and incident.next_step.verb is not None
    why = "what it costs is shown first, and nothing is done before you say so" if is_verb else ""
    lines: list[Line] = [(), (("next step: ", "dim"), (f" {key} ", "key"), (rest, "strong"))]
    return lines + (wrapped(why, "dim", cells, 2) if why else [])


def _facts(incident: Incident, cells: int) -> list[Line]:
    began, ended = incident.first_seen_unix_ns, incident.closed_time_unix_ns
    members = ""
    if incident.node_count:
        whole = f" of {number(incident.node_count)}"
        members = f"{number(incident.member_count)}{whole} nodes now"
    pairs = [
        ("since", f"{clock(began)}, {age(began)} ago"),
        ("last seen", "now" if incident.state is IncidentState.OPEN else
         f"{clock(incident.last_seen_unix_ns)}, {last_seen(incident)} ago"),
        ("closed", f"{clock(ended)}, {age(ended)} ago" if ended else ""),
        ("came back", f"{incident.flap_count} times" if incident.flap_count else ""),
        ("members", members),
        ("said", said_text(incident)),
        ("part of", f"incident {incident.merged_into}" if incident.merged_into else ""),
        ("incident", f"{incident.incident_id}, {incident.kind}"),
    ]  # fmt: skip
    return [line for name, text in pairs if text for line in labelled(name, text, cells)]


def note_lines(incident: Incident, cells: int) -> list[Line]:
    """Return the incident's own log."""
    if not incident.notes:
        return []
    lines: list[Line] = [(), (("LOG", "head"),)]
    for note in incident.notes:
        who = f"{safe(note.operator, 64)}: " if note.operator else ""
        lines += labelled(clock(note.time_unix_ns), f"{who}{note.text}", cells)
    return lines


def summary(incidents: Sequence[Incident]) -> str:
    """Return in words what a list of incidents holds."""
    waiting = [one for one in incidents if one.counts(now_ns())]
    is_open = [one for one in incidents if not one.is_closed]
    if not is_open:
        return "no incident is open"
    rest = len(is_open) - len(waiting)
    kinds = named([f"{len(waiting)} to look at", *([f"{rest} looked after"] if rest else [])])
    return kinds
