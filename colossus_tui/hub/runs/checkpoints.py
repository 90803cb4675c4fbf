"""The checkpoints of one attempt: which ranks' parts are safe, and where."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import relay_link_pb2, run_pb2
from colossus_tui.hub.runs.ranks import GROWTH, RankTable, path_of, pattern_of
from colossus_tui.hub.runs.steps import Integers, Reals, checked_rank, checked_ranks, checked_steps
from colossus_tui.hub.store import vector
from colossus_tui.model import Checkpoint, ResumePoint

KEPT = 64
SIZE_LIMIT = 1 << 43  # of a part, bytes: the sum over all ranks fits 64 bits
KEPT_PARTS = 1 << 22  # over all kept checkpoints: a giant run keeps fewer


@dataclass(frozen=True, slots=True, eq=False)
class CheckpointRows:
    """One row a rank and step; sizes of -1 and NaN seconds are not given."""

    run_id: str
    attempt: int
    ranks: npt.NDArray[np.int32]
    steps: Integers
    times_unix_ns: Integers
    sizes_bytes: Integers
    on_disk: npt.NDArray[np.bool_]
    save_seconds: Reals
    path_pattern: str

    @classmethod
    def of_table(cls, table: relay_link_pb2.CheckpointTable) -> CheckpointRows:
        """Take up what a relay brings.

        Raises:
            FrameError: A column has another length than the others, or a rank is out of range.
        """
        ranks = checked_ranks(table.ranks)
        size = ranks.size
        return cls(
            table.run_id,
            table.attempt,
            ranks,
            checked_steps(vector("steps", table.steps, np.int64, size)),
            vector("times_unix_ns", table.times_unix_ns, np.int64, size),
            np.clip(vector("sizes_bytes", table.sizes_bytes, np.int64, size), -1, SIZE_LIMIT),
            vector("on_disk", table.on_disk, np.int8, size) != 0,
            vector("save_seconds", table.save_seconds, np.float64, size),
            table.path_pattern,
        )

    @classmethod
    def of_report(cls, report: run_pb2.CheckpointReport) -> CheckpointRows:
        """Take up what one rank's agent says.

        Raises:
            FrameError: The rank or the step is out of range.
        """
        return cls(
            report.run_id,
            report.attempt,
            np.array([checked_rank(report.rank)], dtype=np.int32),
            checked_steps(np.array([report.step], dtype=np.int64)),
            np.array([report.time_unix_ns], dtype=np.int64),
            np.clip(np.array([report.size_bytes], dtype=np.int64), -1, SIZE_LIMIT),
            np.array([report.on_disk], dtype=np.bool_),
            np.array([report.save_seconds], dtype=np.float64),
            pattern_of(report.path, report.rank),
        )


class SavedPaths:
    """Where the parts of one checkpoint are: a pattern for each group of ranks."""

    def __init__(self, step: int, groups: tuple[tuple[str, npt.NDArray[np.int32]], ...]) -> None:
        self.step = step
        self._groups = groups
        self._points: tuple[ResumePoint, ...] | None = None

    def points(self) -> tuple[ResumePoint, ...]:
        """Return each rank's own, by rank."""
        if self._points is None:
            found = [
                ResumePoint(rank, self.step, path_of(pattern, rank))
                for pattern, ranks in self._groups
                for rank in ranks.tolist()
            ]
            self._points = tuple(sorted(found, key=lambda point: point.rank))
        return self._points

    def state(self) -> list[list[Any]]:
        """Return what `restore` takes: the step, then patterns with first and last ranks."""
        found: list[list[Any]] = [[self.step]]
        for pattern, ranks in self._groups:
            breaks = np.flatnonzero(np.diff(ranks) != 1)
            firsts, lasts = np.append(0, breaks + 1), np.append(breaks, ranks.size - 1)
            spans = np.stack((ranks[firsts], ranks[lasts]), axis=1)
            found.append([pattern, spans.tolist()])
        return found

    @classmethod
    def restore(cls, state: list[list[Any]] | None, points: Iterable[list[Any]]) -> SavedPaths:
        """Take up what `state` returned, or what an older hub wrote: rank, step, path of each."""
        if state is not None:
            ((step,), *rest) = state
            spread = [(pattern, [np.arange(a, b + 1) for a, b in spans]) for pattern, spans in rest]
            groups = [
                (str(pattern), np.concatenate(parts).astype(np.int32)) for pattern, parts in spread
            ]
            return cls(int(step), tuple(groups))
        olds = [ResumePoint(*point) for point in points]
        each = [(pattern_of(p.path, p.rank), np.array([p.rank], dtype=np.int32)) for p in olds]
        return cls(olds[0].step if olds else 0, tuple(each))


class _Saved:
    """A checkpoint that some ranks have reported."""

    def __init__(self) -> None:
        self.sizes = np.full(8, -2, dtype=np.int64)  # -2: not reported, -1: size not given
        self.count = 0  # of ranks that have reported
        self.was_found = False  # some rank's part on disk, at one time
        self.on_disk = np.zeros(8, dtype=np.bool_)
        self.path = ""
        self.path_rank = -1  # the lowest that has reported
        self.time_unix_ns = 0
        self.seconds = math.nan

    def take(self, rows: CheckpointRows) -> None:
        needed = int(rows.ranks.max()) + 1
        if needed > self.sizes.size:
            size = max(needed, int(self.sizes.size * GROWTH) + 8)
            self.sizes, before = np.full(size, -2, dtype=np.int64), self.sizes
            self.sizes[: before.size] = before
            self.on_disk = np.append(
                self.on_disk, np.zeros(size - self.on_disk.size, dtype=np.bool_)
            )
        self.count += int(np.count_nonzero(self.sizes[np.unique(rows.ranks)] == -2))
        self.sizes[rows.ranks] = np.maximum(rows.sizes_bytes, -1)
        self.on_disk[rows.ranks] = rows.on_disk
        self.was_found |= bool(rows.on_disk.any())
        self.time_unix_ns = max(self.time_unix_ns, int(rows.times_unix_ns.max()))
        lowest = int(rows.ranks.min())
        if self.path_rank < 0 or lowest <= self.path_rank:
            self.path_rank, self.path = lowest, path_of(rows.path_pattern, lowest)
        known = rows.save_seconds[np.isfinite(rows.save_seconds)]
        if known.size:
            self.seconds = float(np.fmax(self.seconds, known.max()))

    def differs(self, rows: CheckpointRows) -> npt.NDArray[np.bool_]:
        """Return which rows say something new."""
        ranks = np.minimum(rows.ranks, self.sizes.size - 1)
        same = (self.sizes[ranks] == np.maximum(rows.sizes_bytes, -1)) & (
            self.on_disk[ranks] == rows.on_disk
        )
        differs: npt.NDArray[np.bool_] = ~(same & (rows.ranks < self.sizes.size))
        return differs


class Checkpoints:
    """What the ranks of one attempt called safe, the newest steps."""

    def __init__(self, ranks: RankTable) -> None:
        self._ranks = ranks
        self._saved: dict[int, _Saved] = {}

    def add(self, rows: CheckpointRows) -> None:
        """Take the ranks' word that their parts are safe."""
        self._ranks.meet(rows.ranks)
        for step in np.unique(rows.steps).tolist():
            part = only(rows, rows.steps == step)
            self._ranks.save(part.ranks[part.on_disk], step, rows.path_pattern)
            self._saved.setdefault(step, _Saved()).take(part)
        kept = max(2, min(KEPT, KEPT_PARTS // max(self._ranks.count, 1)))
        while len(self._saved) > kept:
            del self._saved[min(self._saved)]

    def missing(self, rows: CheckpointRows) -> list[tuple[int, int]]:
        """Return rank and step of parts that no agent found on disk, where that is new."""
        lost = only(rows, ~rows.on_disk)
        found = []
        for index, (rank, step) in enumerate(
            zip(lost.ranks.tolist(), lost.steps.tolist(), strict=True)
        ):
            saved = self._saved.get(step)
            if saved is None or saved.differs(only(lost, slice(index, index + 1)))[0]:
                found.append((rank, step))
        return found

    def common_step(self, rank_count: int) -> int | None:
        """Return the step of the last checkpoint when it is the same for all ranks."""
        newest = max((step for step, saved in self._saved.items() if saved.was_found), default=None)
        if newest is None or self._saved[newest].count < rank_count:
            return None  # not all have said a word of the newest that some rank has
        step = self._ranks.common_checkpoint()
        whole = step in self._saved and self._ranks.saved_count() >= rank_count
        return step if whole else None

    def newest(self, rank_count: int, limit: int) -> list[Checkpoint]:
        """Return the newest checkpoints of this attempt, newest first."""
        steps = sorted(self._saved, reverse=True)[:limit]
        return [self.get(step, rank_count) for step in steps]

    def get(self, step: int, rank_count: int) -> Checkpoint:
        """Return one checkpoint that was reported."""
        saved = self._saved[step]
        reported = saved.sizes > -2
        sizes = saved.sizes[saved.sizes >= 0]
        return Checkpoint(
            step,
            saved.time_unix_ns,
            saved.count,
            rank_count,
            int(sizes.sum()) if sizes.size else None,
            saved.path,
            bool(saved.on_disk[reported].all()),
        )

    def save_seconds(self, step: int) -> float | None:
        """Return how long the slowest rank took to save this checkpoint, where it is known."""
        saved = self._saved.get(step)
        return saved.seconds if saved and math.isfinite(saved.seconds) else None


def only(rows: CheckpointRows, chosen: npt.NDArray[np.bool_] | slice) -> CheckpointRows:
    """Return some of the rows."""
    return CheckpointRows(
        rows.run_id,
        rows.attempt,
        rows.ranks[chosen],
        rows.steps[chosen],
        rows.times_unix_ns[chosen],
        rows.sizes_bytes[chosen],
        rows.on_disk[chosen],
        rows.save_seconds[chosen],
        rows.path_pattern,
    )
