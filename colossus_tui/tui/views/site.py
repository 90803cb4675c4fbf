"""The site header, the strip of what happens, and the footer's keys."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from colossus_tui.model import Action, Event, RunState, Site, View
from colossus_tui.text import clock, duration, money, ratio, safe, watts, width
from colossus_tui.tui.theme import SEVERITY_STYLES, STATE_STYLES, Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.incidents import header_spans

FRESH_SECONDS = 5.0
RECENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Link:
    """How the console stands with its hub."""

    linked: bool = False
    detail: str = "connecting"
    since: float = 0.0  # monotonic


def header(
    view: View | None,
    link: Link,
    title: str,
    glyphs: Glyphs,
    cells: int,
    held: str = "",
    pace: str = "",
) -> list[Line]:
    """Return the two lines at the top of every screen.

    Args:
        cells: Of a line; figures for which it has no room are left out, not cut.
        held: Says that it stands still.
        pace: Says that the terminal's link is slow.
    """
    if view is None or view.site is None:
        detail = safe(link.detail, 120)
        return [((" colossus ", "title"), (f" {title}", "dim")), ((f" {detail}", "warn"),)]
    site = view.site
    counts: list[tuple[str, str]] = []
    for state in RunState:
        count = site.run_counts.get(state.value, 0)
        if count:
            style = STATE_STYLES[state]
            counts.append((f"  {glyphs.states[state]} {count} {state}", style))
    name = safe(site.site_name, 40)
    top: Line = ((f" {name}", "title"), (f"  {title}", "dim"), *counts)
    standing: Line = ((f" {held}  ", "warn"),) if held else ()
    spans = (*standing, *_standing(view, link, glyphs, pace))
    return [top, (*spans, *_figures(site, cells - sum(width(text) for text, _ in spans)))]


def _figures(site: Site, cells: int) -> Line:
    """Return the figures for which there is room, one whose words are too long in short."""
    power: tuple[str, ...] = (f"   power {watts(site.power_watts)}",)
    if site.power_watts is not None:
        cover = f"{site.power_node_count}/{site.node_count} nodes)"
        # How many nodes report is in the line already: where it is the same, once is enough.
        bare = power if site.power_node_count == site.reporting_node_count else ()
        power = (f"{power[0]} ({site.power_basis}, {cover}", f"{power[0]} ({cover}", *bare)
    figures: list[tuple[str, ...]] = [
        (f"   GPUs {site.reporting_gpu_count}/{site.gpu_count}",),
        power,
        (f"   CPU {ratio(site.cpu_utilisation_ratio)}",),
    ]
    if site.money.currency:
        figures.append((f"   {money(site.money.per_hour, site.money.currency, 3)}/h",))
    found: list[Span] = []
    for texts in figures:
        fitting = next((text for text in texts if width(text) <= cells), None)
        if fitting is not None:
            found.append((fitting, "plain"))
            cells -= width(fitting)
    return tuple(found)


def _standing(view: View, link: Link, glyphs: Glyphs, pace: str) -> Line:
    """Return whether all is heard and well; what is wrong is never left out for want of room."""
    site = view.site
    assert site is not None
    covered = site.reporting_node_count == site.node_count
    nodes = f" nodes {site.reporting_node_count}/{site.node_count}"
    spans = [(nodes, "plain" if covered else "warn")]
    if not link.linked:
        away = duration(round(time.monotonic() - link.since))
        spans.insert(0, (f" hub lost {away} ago: figures are old  ", "bad"))
    elif site.age_seconds >= FRESH_SECONDS:
        spans.append((f"  age {duration(site.age_seconds)}", "warn"))
    if pace:
        spans.append((f"  {pace}", "warn"))
    spans += header_spans(site, glyphs)
    if view.header.role == "viewer":
        spans.append(("  viewer: read-only", "warn"))
    return tuple(spans)


def strip(
    events: Sequence[Event], actions: Sequence[Action], lines: int, glyphs: Glyphs
) -> list[Line]:
    """Return open actions first, then the latest events."""
    found: list[Line] = [
        (
            (f" {glyphs.states[RunState.PAUSING]} ", "accent"),
            (f"{action.verb} {safe(action.subject, 63)}", "strong"),
            (f"  {action.state}: {safe(action.detail, 120)}", "accent"),
        )
        for action in actions
        if not action.state.is_end
    ]
    for event in events:
        if len(found) >= lines:
            break
        style = SEVERITY_STYLES[event.severity]
        where = safe(event.where, 63)
        found.append(
            (
                (f" {clock(event.time_unix_ns)} ", "faint"),
                (f"{glyphs.severities[event.severity]} ", style),
                (f"{where}  ", "plain"),
                (safe(event.message, 160), style),
            )
        )
    return found[:lines]


def keys(bindings: Sequence[tuple[str, str]]) -> Line:
    """Return the footer: each key with what it does."""
    spans: list[tuple[str, str]] = []
    for key, label in bindings:
        spans += [(f" {key}", "key"), (f" {label} ", "dim")]
    return tuple(spans)
