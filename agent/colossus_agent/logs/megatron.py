"""Megatron-LM's lines, and those of its kin such as Megatron-DeepSpeed.

A line of progress is a row of "name: value |" after "iteration N/ M |", printed by the last rank
every --log-interval iterations, so loss and time are of all iterations since the line before. The
first releases put no colon after a name. Rank 0 prints all arguments, one a line, at the start.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from colossus_agent.logs.printed import Printed, number, tokens

_ITERATION = re.compile(r"\biteration {1,8}(\d{1,18})/ {0,8}(\d{1,18}|infinity) \|")
_SEQUENCE = re.compile(r"(?:^|[\s:])seq_length \.{1,80} (\d{1,9})\s*$")
_FIELD_LIMIT = 64


@dataclass(frozen=True, slots=True)
class _Total:
    """Where the run stood at a line; NaN is not stated."""

    step: int
    samples: float
    tokens: float


class Megatron:
    """Reads them."""

    name = "Megatron-LM"
    marks: tuple[bytes, ...] = (b"iteration ", b"seq_length ")

    def __init__(self) -> None:
        self.target_steps = 0
        self._sequence = math.nan  # tokens of a sample
        self._before: _Total | None = None

    def learn(self, line: str) -> None:
        """Take up the sequence length."""
        if match := _SEQUENCE.search(line):
            self._sequence = float(match[1])

    def take(self, line: str) -> Printed | None:
        """Return the progress that the line states, if it is a new step's."""
        match = _ITERATION.search(line)
        if match is None:
            return None
        fields = _fields(line[match.end() :])
        if "elapsed time per iteration (ms)" not in fields:
            return None
        if match[2].isdecimal():
            self.target_steps = int(match[2])
        now = _Total(int(match[1]), _of(fields, "consumed samples"), _of(fields, "consumed tokens"))
        before = self._before
        if before is not None and now.step <= before.step:
            return None  # another rank's word of it, or a step done again
        self._before = now
        return Printed(
            now.step,
            tokens(self._tokens(before, now, _of(fields, "global batch size"))) if before else -1,
            _loss(fields),
            _of(fields, "grad norm"),
            _of(fields, "elapsed time per iteration (ms)") / 1000,
        )

    def _tokens(self, before: _Total, now: _Total, batch: float) -> float:
        """Return the tokens between two lines: as counted there, else samples times their length.

        The batch counts where samples are not stated, though it may have grown in between.
        """
        counted = now.tokens - before.tokens
        samples = now.samples - before.samples
        if not math.isnan(counted):
            return counted
        if math.isnan(samples):
            samples = batch * (now.step - before.step)
        return samples * self._sequence


def _fields(text: str) -> dict[str, str]:
    """Return the row's values by name."""
    found = {}
    for part in text.split("|", _FIELD_LIMIT)[:_FIELD_LIMIT]:
        name, _, value = part.strip().rpartition(" ")
        found[name.rstrip(": ")] = value
    return found


def _of(fields: Mapping[str, str], name: str) -> float:
    return number(fields.get(name, ""))


def _loss(fields: Mapping[str, str]) -> float:
    """Return the loss of the language model, else the first of another name."""
    if "lm loss" in fields:
        return _of(fields, "lm loss")
    return _of(fields, next((name for name in fields if re.search(r"\bloss$", name)), ""))
