"""`colossus incidents`, `ack`, `silence` and `timeline`: what is wrong, and what happened when."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import as_json, show, table
from colossus_tui.model import Action, Event, Incident, IncidentState, NextStep, Timeline
from colossus_tui.text import (
    age,
    clock,
    counted,
    duration,
    measured,
    named,
    now_ns,
    number,
    safe,
    verdict,
)

if TYPE_CHECKING:
    from colossus_tui.client import Client

Parts = tuple[dict[str, Any], str]
TITLE_CELLS = 120


def incidents(client: Client, arguments: argparse.Namespace) -> Parts:
    """All incidents, or one in full."""
    if arguments.incident is not None:
        found = client.incident(arguments.incident)
        return {"incident": found}, incident_text(found)
    listed = client.incidents(closed=arguments.all)
    return {"incidents": listed}, incidents_table(listed) if listed else "no incident is open"


def timeline(client: Client, arguments: argparse.Namespace) -> Parts:
    """What happened in the last minutes, on one clock."""
    until = time.time_ns()
    found = client.timeline(
        arguments.run or "",
        since_unix_ns=until - int(arguments.last * 1e9),
        until_unix_ns=until,
    )
    return {"timeline": found}, timeline_text(found)


def acknowledge(client: Client, arguments: argparse.Namespace) -> int:
    """Say that this operator looks after an incident."""
    return _said(client.acknowledge(arguments.incident), arguments)


def silence(client: Client, arguments: argparse.Namespace) -> int:
    """Let an incident not count for a time."""
    return _said(client.silence(arguments.incident, arguments.seconds), arguments)


def _said(incident: Incident, arguments: argparse.Namespace) -> int:
    if arguments.json:
        show(as_json(incident=incident))
    else:
        show(f"incident {incident.incident_id}: {state_text(incident)}: {safe(incident.title)}")
    return exit_codes.OBSERVED


def incidents_table(found: Sequence[Incident]) -> str:
    """Return incidents, a row each, those that count the most first."""
    heads = ("ID", "SEVERITY", "STATE", "SINCE", "LAST SEEN", "RUNS", "WHAT", "NEXT")
    rows = [
        (
            str(one.incident_id),
            one.severity.value,
            state_text(one),
            age(one.first_seen_unix_ns),
            "now" if one.state is IncidentState.OPEN else age(one.last_seen_unix_ns),
            named([safe(run.run_id, 63) for run in one.runs], 2) or "-",
            safe(one.title, TITLE_CELLS),
            "" if one.is_closed else next_command(one.next_step),
        )
        for one in found
    ]
    return table(heads, rows, "rllrrlll")


def state_text(incident: Incident) -> str:
    """Return how far it is, and what operators said of it."""
    words = [incident.state.value]
    if incident.merged_into:
        words.append(f"part of {incident.merged_into}")
    if incident.acknowledged_by:
        words.append(f"acknowledged by {safe(incident.acknowledged_by, 64)}")
    if not incident.is_closed and incident.is_silenced(now_ns()):
        left = (incident.silenced_until_unix_ns - now_ns()) / 1e9
        words.append(f"silenced by {safe(incident.silenced_by, 64)} for {duration(left)}")
    if incident.flap_count:
        words.append(f"came back {incident.flap_count}x")
    return ", ".join(words)


def next_command(step: NextStep | None) -> str:
    """Return the suggested next step as a command; "" where it is a screen of the console."""
    if step is None:
        return ""
    subject = _word(step.subject)
    if step.verb is not None:
        return f"colossus {step.verb} {subject}"
    if step.screen == "timeline":
        return f"colossus timeline --run {subject}" if subject else "colossus timeline"
    if step.screen == "power":
        return f"colossus power --hall {subject}" if subject else "colossus power"
    hall, _, rack = step.subject.partition("/")
    what = f"racks --hall {_word(hall)}" if hall else "racks"
    return f"colossus places {what}" + (f" --name {_word(rack)}" if rack else "")


def _word(name: str) -> str:
    """Return a foreign name as one word of a shell; it may be pasted there."""
    return shlex.quote(safe(name, 63)) if name else ""


def incident_text(incident: Incident) -> str:
    """Return one incident in full."""
    pairs = [
        ("reason", safe(incident.reason)),
        ("state", state_text(incident)),
        ("since", f"{clock(incident.first_seen_unix_ns)}, {age(incident.first_seen_unix_ns)} ago"),
        ("last seen", f"{age(incident.last_seen_unix_ns)} ago"),
        ("members", _members(incident)),
        ("next step", "" if incident.is_closed else next_command(incident.next_step)),
    ]
    lines = [f"incident {incident.incident_id}, {incident.severity}: {safe(incident.title)}"]
    lines += [f"  {name:<10} {text}" for name, text in pairs if text]
    for run in incident.runs:
        ranks = f": {safe(run.ranks, 200)}" if run.ranks else ""
        count = counted(run.rank_count, "rank") if run.rank_count else "ranks not known"
        lines.append(f"  {'run':<10} {safe(run.run_id, 63)}, {count}{ranks}")
    for effect in incident.effects:
        lines.append(f"  {'so':<10} {safe(effect.run_id, 63)}: {safe(effect.message)}")
    for note in incident.notes:
        who = f"{safe(note.operator, 64)}: " if note.operator else ""
        lines.append(f"  {clock(note.time_unix_ns):<10} {who}{safe(note.text)}")
    return "\n".join(lines)


def _members(incident: Incident) -> str:
    if not incident.members:
        return ""
    names = named([safe(name, 63) for name in incident.members], 8)
    now, most = number(incident.member_count), number(incident.peak_member_count)
    return f"{now} now, {most} at most: {names}"


def timeline_text(found: Timeline) -> str:
    """Return a timeline as rows, the oldest first."""
    rows: list[tuple[int, str, str, str]] = [_event(event) for event in found.events]
    rows += [_action(action) for action in found.actions]
    rows += [
        (one.first_seen_unix_ns, f"incident {one.incident_id}", one.severity.value, one.title)
        for one in found.incidents
    ]
    rows += [
        (one.closed_time_unix_ns, f"incident {one.incident_id}", "closed", one.title)
        for one in found.incidents
        if found.since_unix_ns <= one.closed_time_unix_ns <= found.until_unix_ns
    ]
    shown = [
        (clock(when), safe(where, 80) or "-", word, safe(text, TITLE_CELLS))
        for when, where, word, text in sorted(rows)
    ]
    lines = [table(("TIME", "ON", "HOW", "WHAT"), shown) if shown else "nothing happened"]
    if found.left_out_event_count:
        lines.insert(0, f"{number(found.left_out_event_count)} older events are left out")
    series = found.series
    if series is not None and series.values:
        low, high = min(series.values), max(series.values)
        ends = f"{measured(low, series.unit)} to {measured(high, series.unit)}"
        last = measured(series.values[-1], series.unit)
        lines.append(f"{safe(series.name, 40)}: {ends}, {last} at the end")
    return "\n".join(lines)


def _event(event: Event) -> tuple[int, str, str, str]:
    return event.time_unix_ns, event.where, event.severity.value, event.message


def _action(action: Action) -> tuple[int, str, str, str]:
    code = action.reason_code.value if action.reason_code else None
    text = f"by {action.operator}: {verdict(action.state.value, code, action.detail)}"
    return action.requested_time_unix_ns, action.subject, action.verb.value, text
