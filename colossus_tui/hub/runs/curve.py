"""How a run learned over its whole life: loss against tokens, in few points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.model import Curve

POINT_LIMIT = 256
FINEST = float(1 << 20)  # points to a doubling of tokens, as long as they are few
INT64_MAX = (1 << 63) - 1


@dataclass(slots=True)
class _Part:
    """Steps in a row; `weight` of them have a loss."""

    first_step: int
    first_tokens: int  # before its first step
    step: int
    tokens: int
    time_unix_ns: int
    loss: float  # mean
    weight: float

    def take(self, later: _Part) -> None:
        """Take in the steps that follow."""
        whole = self.weight + later.weight
        self.loss += (later.loss - self.loss) * later.weight / whole
        self.step, self.tokens, self.weight = later.step, later.tokens, whole
        self.time_unix_ns = later.time_unix_ns

    def cut(self, step: int) -> None:
        """Keep the steps up to one of its own, as if all of them had been alike."""
        share = (step - self.first_step + 1) / (self.step - self.first_step + 1)
        self.tokens = self.first_tokens + round((self.tokens - self.first_tokens) * share)
        self.step, self.weight = step, self.weight * share


class LossCurve:
    """At most POINT_LIMIT points, evenly spaced in the logarithm of tokens.

    Points begin as fine as steps are; each time there are too many, two neighbours become one.
    Steps that are done again take the place of what they redo.

    Attributes:
        revision: Grows with each change.
        is_kept: Whether it is on disk as it is.
    """

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._per_doubling = FINEST
        self._step, self._tokens = -1, 0  # where the run is
        self.revision = 0
        self.is_kept = True

    def add(self, point: StepPoint, total_tokens: int | None) -> None:
        """Take a finished step in.

        Args:
            total_tokens: Tokens so far; None for a step that is done again.
        """
        if point.step <= self._step:
            self._rewind(point.step - 1)
        before = self._tokens
        total = before + point.tokens if total_tokens is None else total_tokens
        self._step, self._tokens = point.step, min(max(total, before), INT64_MAX)
        if not math.isfinite(point.loss) or self._tokens <= before:
            return
        part = _Part(
            point.step, before, point.step, self._tokens, point.time_unix_ns, point.loss, 1.0
        )
        if self._parts and self._place(self._parts[-1]) == self._place(part):
            self._parts[-1].take(part)
        else:
            self._parts.append(part)
        while len(self._parts) > POINT_LIMIT:
            self._coarsen()
        self._changed()

    def _changed(self) -> None:
        self.revision += 1
        self.is_kept = False

    def _place(self, part: _Part) -> int:
        return math.floor(math.log2(part.tokens) * self._per_doubling)

    def _coarsen(self) -> None:
        self._per_doubling /= 2
        kept = self._parts[:1]
        for part in self._parts[1:]:
            if self._place(kept[-1]) == self._place(part):
                kept[-1].take(part)
            else:
                kept.append(part)
        self._parts = kept

    def _rewind(self, step: int) -> None:
        """Go back to a step; what came after it is about to be done again."""
        while self._parts and self._parts[-1].first_step > step:
            self._tokens = self._parts.pop().first_tokens
        if self._parts and self._parts[-1].step > step:
            last = self._parts[-1]
            last.cut(step)
            self._tokens = last.tokens
            if last.tokens <= last.first_tokens:  # of many steps and few tokens none is left
                self._parts.pop()
        self._step = step

    def take_earlier(self, stated: Any) -> int:
        """Take up the curve of what a run did before it came here; return its tokens.

        Args:
            stated: What its loop states, lists as in the contract's Curve; without effect when
                they are not right, or when there is a curve already.
        """
        parts = _stated_parts(stated) if not self._parts else []
        if not parts:
            return 0
        self._parts = parts
        self._step, self._tokens = parts[-1].step, parts[-1].tokens
        self._changed()
        return self._tokens

    def shown(self, run_id: str, point_limit: int = POINT_LIMIT) -> Curve:
        """Return it as consoles get it, of many points each second, fourth, ... and the last."""
        stride = -(-len(self._parts) // point_limit)
        parts = self._parts[::-1][:: max(stride, 1)][::-1]
        return Curve(
            run_id,
            tuple(part.tokens for part in parts),
            tuple(part.loss for part in parts),
            tuple(part.step for part in parts),
            tuple(part.time_unix_ns for part in parts),
        )

    # --- what survives the hub -------------------------------------------------------------

    def state_json(self) -> str:
        """Return what must survive the hub, and take it as kept."""
        self.is_kept = True
        rows = [astuple(part) for part in self._parts]
        return json.dumps(
            {
                "per_doubling": self._per_doubling,
                "step": self._step,
                "tokens": self._tokens,
                "parts": [
                    [*row[:-2], float(f"{row[-2]:.7g}"), float(f"{row[-1]:.7g}")] for row in rows
                ],
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> LossCurve:
        """Take up what `state_json` returned.

        Raises:
            ValueError, KeyError, TypeError: It is damaged.
        """
        state: dict[str, Any] = json.loads(text)
        curve = cls()
        curve._per_doubling = float(state["per_doubling"])
        curve._step, curve._tokens = int(state["step"]), int(state["tokens"])
        parts = [_Part(*map(int, row[:5]), *map(float, row[5:])) for row in state["parts"]]
        curve._parts = [part for part in parts if part.tokens > part.first_tokens]
        curve.revision = 1
        return curve


def _stated_parts(stated: Any) -> list[_Part]:
    """Return stated points; none when they are not of one length, finite and growing."""
    if not isinstance(stated, Mapping):
        return []
    columns = [stated.get(name) for name in ("tokens", "losses", "steps", "times_unix_ns")]
    lengths = {len(one) if isinstance(one, list) else -1 for one in columns}
    if len(lengths) != 1 or not 0 < max(lengths) <= POINT_LIMIT:
        return []
    parts: list[_Part] = []
    last_step, last_tokens = -1, 0
    for row in zip(*(one for one in columns if isinstance(one, list)), strict=True):
        if not all(type(value) in (int, float) and abs(value) <= INT64_MAX for value in row):
            return []
        tokens, loss, step, time_unix_ns = int(row[0]), float(row[1]), int(row[2]), int(row[3])
        if tokens <= last_tokens or step <= last_step or time_unix_ns < 0:
            return []
        parts.append(_Part(last_step + 1, last_tokens, step, tokens, time_unix_ns, loss, 1.0))
        last_step, last_tokens = step, tokens
    return parts
