"""Characters that carry meaning beside a word, and the styles of states and severities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colossus_tui.model import RunState, Severity

STATE_STYLES: Mapping[RunState, str] = {
    RunState.RUNNING: "good",
    RunState.STARTING: "accent",
    RunState.RESUMING: "accent",
    RunState.PAUSING: "accent",
    RunState.PAUSED: "warn",
    RunState.FROZEN: "warn",
    RunState.STOPPING: "accent",
    RunState.STOPPED: "dim",
    RunState.PENDING: "dim",
    RunState.COMPLETED: "dim",
    RunState.FAILED: "bad",
    RunState.LOST: "bad",
}
SEVERITY_STYLES: Mapping[Severity, str] = {
    Severity.INFO: "dim",
    Severity.WARNING: "warn",
    Severity.CRITICAL: "bad",
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Characters that carry meaning beside a word."""

    states: Mapping[RunState, str]
    severities: Mapping[Severity, str]
    spark: str
    bar: str
    rule: str
    order: tuple[str, str]  # beside the head of the column that orders: forward, backward
    braille: bool
    linked: str
    unlinked: str
    missing: str  # in a map
    marks: tuple[str, str, str, str]  # on a map's cell: nothing, failing, stale, lost
    unmatched: str  # in a map, where colours are few
    scrub: tuple[str, str, str, str]  # of a replay: passed, here, an alert, an action


UNICODE = Glyphs(
    states={
        RunState.RUNNING: "●",
        RunState.STARTING: "◌",
        RunState.RESUMING: "◌",
        RunState.PAUSING: "◐",
        RunState.PAUSED: "‖",
        RunState.FROZEN: "◆",
        RunState.STOPPING: "◐",
        RunState.STOPPED: "■",
        RunState.PENDING: "…",
        RunState.COMPLETED: "✓",
        RunState.FAILED: "✗",
        RunState.LOST: "?",
    },
    severities={Severity.INFO: "·", Severity.WARNING: "▲", Severity.CRITICAL: "✗"},
    spark="▁▂▃▄▅▆▇█",
    bar="█",
    rule="─",
    order=("▾", "▴"),
    braille=True,
    linked="●",
    unlinked="○",
    missing="·",
    marks=("", "▲", "○", "✗"),
    unmatched="-",
    scrub=("━", "█", "▲", "◆"),
)
ASCII = Glyphs(
    states={
        RunState.RUNNING: ">",
        RunState.STARTING: "~",
        RunState.RESUMING: "~",
        RunState.PAUSING: "~",
        RunState.PAUSED: "=",
        RunState.FROZEN: "*",
        RunState.STOPPING: "~",
        RunState.STOPPED: "#",
        RunState.PENDING: ".",
        RunState.COMPLETED: "+",
        RunState.FAILED: "x",
        RunState.LOST: "?",
    },
    severities={Severity.INFO: ".", Severity.WARNING: "!", Severity.CRITICAL: "x"},
    spark="_.,-=+*#",
    bar="#",
    rule="-",
    order=("v", "^"),
    braille=False,
    linked="*",
    unlinked="o",
    missing=".",
    marks=("", "!", "o", "x"),
    unmatched="-",
    scrub=("=", "#", "!", "a"),
)
