"""One visual language: quiet until something is wrong; state by word, glyph and colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.style import Style

from colossus_tui.model import RunState, Severity

# From quiet to loud, each step lighter than the one before: it also reads without colours.
HEAT = (
    "#152238",
    "#1a3352",
    "#1f476d",
    "#265d83",
    "#37758f",
    "#558d93",
    "#7da38c",
    "#a8b87c",
    "#d3c869",
    "#f5dc5f",
)
# The same where a filter meets nothing: grey, and never as light as a cell that it meets.
HEAT_DIM = (
    "#12161c",
    "#14181f",
    "#161b22",
    "#181e26",
    "#1b2129",
    "#1e242c",
    "#21272f",
    "#242b33",
    "#282f37",
    "#2c333b",
)
HEAT_INK = (
    ("#4d6f96", "#5c86b0", "#6d9dc4", "#7fb0d0", "#123242")
    + ("#1d3538",) * 2
    + (
        "#3a4326",
        "#4d4718",
        "#5c4d10",
    )
)
LIGHT_LEVEL = 5  # from here on what is written on a level must be dark

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
    **{f"heat{i}": Style(color=HEAT_INK[i], bgcolor=HEAT[i]) for i in range(len(HEAT))},
    "heat_dim": Style(color="#6e7681", bgcolor=HEAT_DIM[5]),
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
    missing: str  # in a map
    marks: tuple[str, str, str, str]  # on a map's cell: nothing, failing, stale, lost
    unmatched: str  # in a map, where colours are few


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
)
