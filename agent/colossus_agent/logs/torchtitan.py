"""torchtitan's lines: "step: 10  loss: 7.8  ...  tps: 8,123  ...", most often in colours.

Loss is the mean over all ranks. Its tps (in its first releases wps) are tokens a second *of one
device*: tokens of a data-parallel rank over the devices that share them. A run's rate is therefore
taken from the batch and the sequence length where it prints them, else from tps times the devices
of the mesh that it prints; without either it is not available.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import NamedTuple

from colossus_agent.logs.printed import Printed, number, tokens

_COLOUR = re.compile(r"\x1b\[[\d;]{0,16}m")
_STEP = re.compile(r"(?<!validate )\bstep: {1,18}(\d{1,18})\b")
_FIELD = re.compile(r"\b(loss|grad_norm|memory|tps|wps): {0,18}(\S{1,32})")
_STAMP = re.compile(r"\b(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) - ")
_BATCH = re.compile(
    r"\bglobal batch size (\d{1,12}), .{0,60}sequence length (\d{1,9}), total steps (\d{1,18})\b"
)
_MESH = re.compile(r"\bBuilding \d{1,2}-D device mesh with \[[^\]]{0,200}\], \[([\d, ]{0,100})\]")
_DEGREES = re.compile(r"\bBuilding device mesh with parallelism: (.{1,200})")
_DEGREE = re.compile(r"\b(?:pp|dp_replicate|dp_shard|cp|tp)=(\d{1,9})\b")


class _Point(NamedTuple):
    step: int
    time: float  # seconds; NaN for a line without a stamp


class Torchtitan:
    """Reads them."""

    name = "torchtitan"
    marks: tuple[bytes, ...] = (b"step:", b"global batch size ", b"device mesh with ")

    def __init__(self) -> None:
        self.target_steps = 0
        self._tokens_per_step = math.nan
        self._devices = math.nan
        self._before: _Point | None = None

    def learn(self, line: str) -> None:
        """Take up batch, sequence length, steps to make and devices."""
        line = _COLOUR.sub("", line)
        if match := _BATCH.search(line):
            self._tokens_per_step = float(match[1]) * float(match[2])
            self.target_steps = int(match[3])
        elif match := _MESH.search(line):
            self._devices = math.prod(float(size) for size in re.findall(r"\d+", match[1]))
        elif match := _DEGREES.search(line):
            self._devices = math.prod(float(size) for size in _DEGREE.findall(match[1]))

    def take(self, line: str) -> Printed | None:
        """Return the progress that the line states, if it is a new step's."""
        line = _COLOUR.sub("", line)
        match = _STEP.search(line)
        fields: dict[str, str] = dict(_FIELD.findall(line, match.end())) if match else {}
        if match is None or not {"loss", "memory"} <= fields.keys():
            return None
        before, now = self._before, _Point(int(match[1]), _stamp(line))
        if before is not None and now.step <= before.step:
            return None  # another rank's word of it, or a step done again
        self._before = now
        steps = now.step - before.step if before else 1
        seconds = now.time - before.time if before and now.time > before.time else math.nan
        rate = number(fields.get("tps", fields.get("wps", "")).replace(",", ""))
        printed = self._tokens_per_step * steps
        by_rate = rate * self._devices * seconds
        return Printed(
            now.step,
            tokens(by_rate if math.isnan(printed) else printed) if before else -1,
            number(fields["loss"]),
            number(fields.get("grad_norm", "")),
            seconds / steps,
        )


def _stamp(line: str) -> float:
    """Return the line's time; only differences mean anything, since no zone is stated."""
    match = _STAMP.search(line)
    if match is None:
        return math.nan
    try:
        time = dt.datetime.fromisoformat(match[1]).replace(tzinfo=dt.UTC)
    except ValueError:
        return math.nan
    return time.timestamp() + int(match[2]) / 1000
