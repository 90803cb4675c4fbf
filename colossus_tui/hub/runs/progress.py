"""What the ranks of one attempt report, joined to steps that every rank has finished."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from colossus_tui.hub.runs.checkpoints import Checkpoints
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.ranks import WINDOW, RankTable
from colossus_tui.hub.runs.steps import Reals, StepRows

PENDING_LIMIT = 2_048


@dataclass(slots=True)
class _Part:
    """A step that some ranks have finished."""

    count: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    grad_norm: float = math.nan
    step_seconds: float = math.nan
    tokens: int = 0
    time_unix_ns: int = 0


class Progress:
    """Joins ranks' steps; reports that come twice change nothing."""

    def __init__(self) -> None:
        self.ranks = RankTable()
        self.checkpoints = Checkpoints(self.ranks)
        self.newest_step: int | None = None  # the last step that any rank finished
        self._pending: dict[int, _Part] = {}
        self._recent: deque[StepPoint] = deque(maxlen=WINDOW)

    def add_steps(self, rows: StepRows, rank_count: int) -> list[StepPoint]:
        """Take ranks' steps; return the steps that are whole now."""
        self.ranks.meet(rows.ranks)
        several = rows.steps.size > 1
        for step in np.unique(rows.steps).tolist() if several else rows.steps.tolist():
            self._add(rows, step)
        self.ranks.mark_stragglers(np.unique(rows.ranks) if several else rows.ranks)
        return list(self._whole(1 if rows.whole_run else rank_count))

    def _add(self, rows: StepRows, step: int) -> None:
        chosen = np.flatnonzero(rows.steps == step)
        chosen = chosen[self.ranks.step[rows.ranks[chosen]] < step]  # else a page was read again
        if not chosen.size:
            return
        losses, seconds = rows.losses[chosen], rows.step_seconds[chosen]
        self.ranks.finish(rows.ranks[chosen], step, losses, seconds)
        self.newest_step = step if self.newest_step is None else max(self.newest_step, step)
        if self._recent and step <= self._recent[-1].step:
            return  # it was counted whole before these ranks were known
        part = self._pending.setdefault(step, _Part())
        known = losses[np.isfinite(losses)]
        part.count += chosen.size
        part.loss_sum += float(known.sum())
        part.loss_count += known.size
        part.grad_norm = _first(part.grad_norm, rows.grad_norms[chosen])
        part.step_seconds = float(np.fmax.reduce(seconds, initial=part.step_seconds))
        part.tokens += int(np.maximum(rows.tokens[chosen], 0).sum())
        part.time_unix_ns = max(part.time_unix_ns, int(rows.times_unix_ns[chosen].max()))

    def _whole(self, rank_count: int) -> Iterator[StepPoint]:
        everywhere = self.ranks.count >= rank_count
        passed = None
        for step in sorted(self._pending):
            part = self._pending[step]
            whole = part.count >= rank_count
            if not whole and everywhere:
                passed = self.ranks.slowest_step() if passed is None else passed
                if step <= passed:
                    del self._pending[step]  # a rank's word of it was lost, and will not come
                    continue
            if not whole and len(self._pending) <= PENDING_LIMIT:
                return
            del self._pending[step]
            point = StepPoint(
                step,
                part.time_unix_ns,
                part.loss_sum / part.loss_count if part.loss_count else math.nan,
                part.grad_norm,
                part.step_seconds,
                part.tokens,
            )
            self._recent.append(point)
            yield point

    def median_step_seconds(self) -> float | None:
        """Return the median rank's step time, seconds."""
        return self.ranks.median_seconds()

    @property
    def last(self) -> StepPoint | None:
        """The last step that every rank finished."""
        return self._recent[-1] if self._recent else None

    def step_seconds(self, quantile: float) -> float | None:
        """Return a quantile of the last whole steps' times, seconds; None before the first."""
        times = sorted(
            point.step_seconds for point in self._recent if math.isfinite(point.step_seconds)
        )
        return times[min(len(times) - 1, int(quantile * len(times)))] if times else None

    def report_seconds(self) -> float | None:
        """Return how long it is from one report of a step to the next; None before the second.

        A hook reports each step, a framework's log one of ten or a hundred.
        """
        steps = [point.step for point in self._recent]
        median = self.median_step_seconds()
        if len(steps) < 2 or median is None:
            return None
        return median * max(after - before for before, after in pairwise(steps))

    def tokens_per_second(self) -> float | None:
        """Return the rate over the last whole steps; None where no tokens are given."""
        points = list(self._recent)
        if len(points) < 2 or not any(point.tokens for point in points):
            return None
        seconds = (points[-1].time_unix_ns - points[0].time_unix_ns) / 1e9
        return sum(point.tokens for point in points[1:]) / seconds if seconds > 0 else None


def _first(known: float, values: Reals) -> float:
    if math.isfinite(known):
        return known
    found = values[np.isfinite(values)]
    return float(found[0]) if found.size else math.nan
