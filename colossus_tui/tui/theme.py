"""One visual language: quiet until something is wrong; state by word, glyph and colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from colossus_tui.model import RunState, Severity

# Okabe and Ito's palette tells apart for the colour-blind; on 16 colours it falls to near ones.
STYLES: Mapping[str, Style] = {
    "plain": Style(color="#c9d1d9"),
    "dim": Style(color="#7d8590"),
    "faint": Style(color="#484f58"),
    "strong": Style(color="#f0f6fc", bold=True),
    "title": Style(color="#56b4e9", bold=True),
    "accent": Style(color="#56b4e9"),
    "good": Style(color="#3fb99b"),
    "warn": Style(color="#e69f00", bold=True),
    "bad": Style(color="#ff7b57", bold=True),
    "key": Style(color="#56b4e9", bold=True),
    "head": Style(color="#7d8590", bold=True),
    "old": Style(color="#7d8590", italic=True),
}
BACKGROUND = "#0d1117"
CURSOR = Style(bgcolor="#1f2d3d")
CARD = "#161b22"

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
)
