"""What a framework's line says of a run, and what every reader of such lines offers."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

LINE_LIMIT = 4096  # characters; what is longer is cut
TOKENS_LIMIT = 2**53


class Printed(NamedTuple):
    """One line of progress; NaN and -1 are values that it does not give."""

    step: int
    tokens: int = -1  # since the line before
    loss: float = math.nan
    grad_norm: float = math.nan
    step_seconds: float = math.nan


class Reader(Protocol):
    """Reads one framework's lines; knows what they have said so far.

    Attributes:
        name: The framework, as it calls itself.
        marks: One of these is in every line that the reader wants.
        target_steps: Steps that the run is to make; 0 where it has not said so.
    """

    name: str
    marks: tuple[bytes, ...]
    target_steps: int

    def learn(self, line: str) -> None:
        """Take up a setting that the line states, if any."""

    def take(self, line: str) -> Printed | None:
        """Return the progress that the line states, if it is a new step's."""


def number(text: str) -> float:
    """Return the number; NaN for what is none, or not finite."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def tokens(value: float) -> int:
    """Return a count of tokens; -1 for one that cannot be."""
    return round(value) if 0 <= value < TOKENS_LIMIT else -1
