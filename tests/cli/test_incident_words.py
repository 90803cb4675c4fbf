"""The suggested next step as a command: it may be pasted, whatever a node is called."""

from __future__ import annotations

import shlex

import pytest

from colossus_tui.cli.incidents import next_command
from colossus_tui.model import NextStep, Verb

EVIL = "n; rm -rf ~ $(x) `y` \x1b[2J"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (NextStep(Verb.DRAIN, subject="n17"), ["drain", "n17"]),
        (NextStep(Verb.RESUME, subject="10t"), ["resume", "10t"]),
        (NextStep(screen="timeline"), ["timeline"]),
        (NextStep(screen="timeline", subject="10t"), ["timeline", "--run", "10t"]),
        (NextStep(screen="power", subject="hall-c"), ["power", "--hall", "hall-c"]),
        (NextStep(screen="map"), ["places", "racks"]),
        (NextStep(screen="map", subject="h/r"), ["places", "racks", "--hall", "h", "--name", "r"]),
    ],
)
def test_a_step_is_a_command(step: NextStep, words: list[str]) -> None:
    assert next_command(step).split() == ["colossus", *words]


@pytest.mark.parametrize(
    "step",
    [
        NextStep(Verb.DRAIN, subject=EVIL),
        NextStep(screen="timeline", subject=EVIL),
        NextStep(screen="map", subject=f"h/{EVIL}"),
    ],
)
def test_an_evil_name_is_one_word_of_it(step: NextStep) -> None:
    command = next_command(step)

    assert "\x1b" not in command
    assert shlex.split(command)[-1] == EVIL.replace("\x1b", "\N{REPLACEMENT CHARACTER}")


def test_without_a_step_there_is_no_command() -> None:
    assert next_command(None) == ""
