"""The scrubber of a replay: where it stands, what went wrong when, and what is not there."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import Mark, MarkKind, Playback, RunState
from colossus_tui.text import clock, duration, safe
from colossus_tui.tui.theme import Glyphs
from colossus_tui.tui.views import Line, Span

MIN_BAR_CELLS = 8


def scrubber(playback: Playback, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return the line of a replay, and one each for what is missing and for the alert it is at."""
    start, end = playback.start_time_unix_ns, playback.end_time_unix_ns
    at = min(max(playback.position_time_unix_ns, start), end)
    stands = (
        f"{glyphs.states[RunState.PAUSED]} paused "
        if playback.paused
        else f"{glyphs.states[RunState.RUNNING]} playing"
    )
    speed = f" x{playback.speed:g} "
    passed = f" {_span(at - start)} of {_span(end - start)} "
    room = cells - len(f" REPLAY {stands} {clock(at)}{speed}") - len(passed)
    lines: list[Line] = [
        (
            (" REPLAY ", "title"),
            (f"{stands} ", "warn" if playback.paused else "good"),
            (clock(at), "strong"),
            (speed, "plain"),
            *(_bar(playback, at, room, glyphs) if room >= MIN_BAR_CELLS else ()),
            (passed, "dim"),
        )
    ]
    room = max(cells - 4, 1)
    if wrong := playback.missing or playback.damage:
        lines.append(((f" {safe(wrong, room)}", "warn"),))
    if playback.mark is not None:
        alert = glyphs.scrub[2]
        lines.append(((f" {alert} ", "bad"), (safe(playback.mark.detail, room), "warn")))
    return lines


def _span(nanoseconds: int) -> str:
    return duration(round(nanoseconds / 1e9)) if nanoseconds >= 10**9 else "0 s"


def _bar(playback: Playback, at: int, cells: int, glyphs: Glyphs) -> Sequence[Span]:
    """Return the bar: what has passed, where it stands, and marks over either."""
    start, end = playback.start_time_unix_ns, playback.end_time_unix_ns

    def place(time_unix_ns: int) -> int:
        share = (time_unix_ns - start) / max(end - start, 1)
        return min(max(int(share * cells), 0), cells - 1)

    done, cursor, alert, action = glyphs.scrub
    here = place(at)
    row: list[Span] = [
        (done, "accent") if n < here else (glyphs.rule, "faint") for n in range(cells)
    ]
    for mark in sorted(playback.marks, key=_gravity):
        row[place(mark.time_unix_ns)] = (
            (alert, "bad") if mark.kind is MarkKind.ALERT else (action, "plain")
        )
    row[here] = (cursor, "strong")
    return _joined(row)


def _gravity(mark: Mark) -> bool:
    return mark.kind is MarkKind.ALERT


def _joined(row: Sequence[Span]) -> list[Span]:
    """Return neighbours of one style as one."""
    joined: list[Span] = []
    for text, style in row:
        if joined and joined[-1][1] == style:
            joined[-1] = (joined[-1][0] + text, style)
        else:
            joined.append((text, style))
    return joined
