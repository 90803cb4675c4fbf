"""What the ranks of one attempt report, joined to steps that every rank has finished."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from colossus_protos.v1 import run_pb2
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.model import Checkpoint

WINDOW = 20  # steps over which times and rates are taken
PENDING_LIMIT = 2_048
STRAGGLER_RATIO = 0.7
STRAGGLER_REPORTS = 3


@dataclass(slots=True)
class RankProgress:
    """One rank of the attempt."""

    step: int | None = None
    loss: float | None = None
    step_seconds: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW))
    received: float = 0.0  # hub's monotonic clock
    checkpoint_step: int | None = None
    checkpoint_path: str = ""
    slow_reports: int = 0
    step_seconds_p50: float | None = None  # of `step_seconds`


@dataclass(slots=True)
class _Part:
    """A step that some ranks have finished."""

    ranks: set[int] = field(default_factory=set)
    losses: list[float] = field(default_factory=list)
    grad_norm: float = math.nan
    step_seconds: float = math.nan
    tokens: int = 0
    time_unix_ns: int = 0


@dataclass(slots=True)
class _Saved:
    """A checkpoint that some ranks have reported."""

    parts: dict[int, tuple[int, bool]] = field(default_factory=dict)  # rank: (bytes, on disk)
    path: str = ""
    path_rank: int = -1  # the lowest that has reported
    time_unix_ns: int = 0
    seconds: float = math.nan


class Progress:
    """Joins ranks' batches; reports that come twice change nothing.

    What is asked of all ranks is kept up to date rank by rank: each of thousands speaks each step.
    """

    def __init__(self) -> None:
        self.ranks: dict[int, RankProgress] = {}
        self.newest_step: int | None = None  # the last step that any rank finished
        self._at_step: Counter[int] = Counter()  # ranks by their last step
        self._at_checkpoint: Counter[int] = Counter()  # ranks by their last checkpoint's step
        self._paces: list[float] = []  # every rank's median step time, sorted
        self._pending: dict[int, _Part] = {}
        self._recent: deque[StepPoint] = deque(maxlen=WINDOW)
        self._saved: dict[int, _Saved] = {}

    def add_steps(self, batch: run_pb2.StepBatch, rank_count: int, now: float) -> list[StepPoint]:
        """Take a rank's steps; return the steps that are whole now."""
        rank = self._rank(batch.rank)
        rank.received = now
        before = rank.step
        for step, time_ns, loss, grad_norm, tokens, seconds in zip(
            batch.steps,
            batch.times_unix_ns,
            batch.losses,
            batch.grad_norms,
            batch.tokens,
            batch.step_seconds,
            strict=True,
        ):
            if rank.step is not None and step <= rank.step:
                continue  # the agent read the page from its start again
            rank.step = step
            rank.loss = loss if math.isfinite(loss) else None
            if math.isfinite(seconds):
                rank.step_seconds.append(seconds)
            if self._recent and step <= self._recent[-1].step:
                continue  # it was counted whole before this rank was known
            part = self._pending.setdefault(step, _Part())
            part.ranks.add(batch.rank)
            part.losses.append(loss)
            if not math.isfinite(part.grad_norm):
                part.grad_norm = grad_norm
            part.step_seconds = max(part.step_seconds, seconds) if part.losses[1:] else seconds
            part.tokens += max(tokens, 0)
            part.time_unix_ns = max(part.time_unix_ns, time_ns)
        if rank.step != before:
            self._moved(rank, before or 0)
        self._mark_straggler(rank)
        return list(self._whole(1 if batch.whole_run else rank_count))

    def _rank(self, number: int) -> RankProgress:
        rank = self.ranks.get(number)
        if rank is None:
            rank = self.ranks[number] = RankProgress()
            self._at_step[0] += 1
        return rank

    def _moved(self, rank: RankProgress, before: int) -> None:
        step = rank.step or 0
        _move(self._at_step, before, step)
        self.newest_step = step if self.newest_step is None else max(self.newest_step, step)
        if rank.step_seconds_p50:
            del self._paces[bisect_left(self._paces, rank.step_seconds_p50)]
        rank.step_seconds_p50 = statistics.median(rank.step_seconds) if rank.step_seconds else None
        if rank.step_seconds_p50:
            insort(self._paces, rank.step_seconds_p50)

    def _whole(self, rank_count: int) -> Iterator[StepPoint]:
        everywhere = len(self.ranks) >= rank_count
        passed = min(self._at_step, default=0)
        for step in sorted(self._pending):
            part = self._pending[step]
            whole = len(part.ranks) >= rank_count
            if not whole and everywhere and step <= passed:
                del self._pending[step]  # a rank's word of it was lost, and will not come
                continue
            if not whole and len(self._pending) <= PENDING_LIMIT:
                return
            del self._pending[step]
            known = [loss for loss in part.losses if math.isfinite(loss)]
            point = StepPoint(
                step,
                part.time_unix_ns,
                sum(known) / len(known) if known else math.nan,
                part.grad_norm,
                part.step_seconds,
                part.tokens,
            )
            self._recent.append(point)
            yield point

    def _mark_straggler(self, rank: RankProgress) -> None:
        median, own = self.median_step_seconds(), rank.step_seconds_p50
        if median and own and len(self.ranks) > 1 and median / own < STRAGGLER_RATIO:
            rank.slow_reports += 1
        else:
            rank.slow_reports = 0

    def median_step_seconds(self) -> float | None:
        """Return the median rank's step time, seconds."""
        paces, middle = self._paces, len(self._paces) // 2
        if not paces:
            return None
        return paces[middle] if len(paces) % 2 else (paces[middle - 1] + paces[middle]) / 2

    def stragglers(self) -> list[int]:
        """Return ranks under STRAGGLER_RATIO of the median for STRAGGLER_REPORTS reports."""
        return [
            rank
            for rank, progress in sorted(self.ranks.items())
            if progress.slow_reports >= STRAGGLER_REPORTS
        ]

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

    def add_checkpoint(self, report: run_pb2.CheckpointReport) -> None:
        """Take one rank's word that its part is safe."""
        rank = self._rank(report.rank)
        if report.on_disk and (rank.checkpoint_step is None or report.step > rank.checkpoint_step):
            _move(self._at_checkpoint, rank.checkpoint_step, report.step)
            rank.checkpoint_step, rank.checkpoint_path = report.step, report.path
        saved = self._saved.setdefault(report.step, _Saved())
        saved.parts[report.rank] = (report.size_bytes, report.on_disk)
        saved.time_unix_ns = max(saved.time_unix_ns, report.time_unix_ns)
        if saved.path_rank < 0 or report.rank <= saved.path_rank:
            saved.path_rank, saved.path = report.rank, report.path
        if math.isfinite(report.save_seconds):
            known = saved.seconds if math.isfinite(saved.seconds) else 0.0
            saved.seconds = max(known, report.save_seconds)
        while len(self._saved) > 64:
            del self._saved[min(self._saved)]

    def knows(self, report: run_pb2.CheckpointReport) -> bool:
        """Return whether a rank has said just this before: agents tell each new link."""
        saved = self._saved.get(report.step)
        part = (report.size_bytes, report.on_disk)
        return saved is not None and saved.parts.get(report.rank) == part

    def common_checkpoint_step(self, rank_count: int) -> int | None:
        """Return the step of the last checkpoint when it is the same for all ranks."""
        if len(self._at_checkpoint) != 1:
            return None
        ((step, count),) = self._at_checkpoint.items()
        return step if count >= rank_count and step in self._saved else None

    def checkpoints(self, rank_count: int, limit: int) -> list[Checkpoint]:
        """Return the newest checkpoints of this attempt, newest first."""
        steps = sorted(self._saved, reverse=True)[:limit]
        return [self.checkpoint(step, rank_count) for step in steps]

    def checkpoint(self, step: int, rank_count: int) -> Checkpoint:
        """Return one checkpoint that was reported."""
        saved = self._saved[step]
        sizes = [size for size, _ in saved.parts.values() if size >= 0]
        return Checkpoint(
            step,
            saved.time_unix_ns,
            len(saved.parts),
            rank_count,
            sum(sizes) if sizes else None,
            saved.path,
            all(on_disk for _, on_disk in saved.parts.values()),
        )

    def save_seconds(self, step: int) -> float | None:
        """Return how long the slowest rank took to save this checkpoint, where it is known."""
        saved = self._saved.get(step)
        return saved.seconds if saved and math.isfinite(saved.seconds) else None


def _move(counts: Counter[int], before: int | None, after: int) -> None:
    """Count one that was `before` as `after`; what nobody is any more has no count."""
    if before is not None:
        counts[before] -= 1
        if not counts[before]:
            del counts[before]
    counts[after] += 1
