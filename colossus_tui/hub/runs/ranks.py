"""The ranks of one attempt as columns: each of hundreds of thousands speaks each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

WINDOW = 20  # steps over which times and rates are taken
STRAGGLER_RATIO = 0.7
STRAGGLER_REPORTS = 3
CHANGED_SHARE = 1 / 16  # of the ranks must have a new pace before the median is taken anew
GROWTH = 1.125  # of a table that is full: much room is never used, and a site's ranks are many
FEW = 512  # for so many the median is always that of now

Ranks = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RankProgress:
    """One rank of the attempt."""

    step: int | None = None
    loss: float | None = None
    step_seconds_p50: float | None = None  # of its last WINDOW steps
    checkpoint_step: int | None = None
    checkpoint_path: str = ""


class RankTable:
    """One row a rank; -1 and NaN are none yet.

    Attributes:
        count: Ranks that have spoken.
        step: Last finished step.
        checkpoint_step: Last step whose part is safe and was found on disk.
    """

    def __init__(self) -> None:
        self.count = 0
        self.known = np.zeros(8, dtype=np.bool_)
        self.step = np.full(8, -1, dtype=np.int64)
        self.checkpoint_step = np.full(8, -1, dtype=np.int64)
        self._loss = np.full(8, np.nan)
        self._window = np.full((8, WINDOW), np.nan, dtype=np.float32)
        self._written = np.zeros(8, dtype=np.int32)  # step times ever put into the window
        self._pace = np.full(8, np.nan, dtype=np.float32)
        self._slow = np.zeros(8, dtype=np.int16)  # reports in a row, to STRAGGLER_REPORTS
        self._pattern = np.full(8, -1, dtype=np.int32)
        self._patterns: dict[str, int] = {}
        self._median: float | None = None
        self._changed = 0  # paces since the median was taken

    def meet(self, ranks: Ranks) -> None:
        """Make room for ranks and note that they have spoken."""
        if not ranks.size:
            return
        needed = int(ranks.max()) + 1
        if needed > self.known.size:
            self._grow(max(needed, int(self.known.size * GROWTH) + 8))
        if not self.known[ranks].all():
            self.known[ranks] = True
            self.count = int(np.count_nonzero(self.known))

    def _grow(self, size: int) -> None:
        before = self.known.size
        for name, fill in (
            ("known", False),
            ("step", -1),
            ("checkpoint_step", -1),
            ("_loss", np.nan),
            ("_window", np.nan),
            ("_written", 0),
            ("_pace", np.nan),
            ("_slow", 0),
            ("_pattern", -1),
        ):
            array = getattr(self, name)
            grown = np.full((size, *array.shape[1:]), fill, dtype=array.dtype)
            grown[:before] = array
            setattr(self, name, grown)

    def finish(self, ranks: Ranks, step: int, losses: Reals, seconds: Reals) -> None:
        """Note a step that ranks have finished, and for how long each took."""
        self.step[ranks] = step
        self._loss[ranks] = losses
        timed = np.isfinite(seconds)
        if not timed.all():
            ranks, seconds = ranks[timed], seconds[timed]
        if not ranks.size:
            return
        self._window[ranks, self._written[ranks] % WINDOW] = seconds
        self._written[ranks] += 1
        self._changed += ranks.size
        self._pace[ranks] = self._medians(ranks)

    def _medians(self, ranks: Ranks) -> npt.NDArray[np.float32]:
        counts = np.minimum(self._written[ranks], WINDOW)
        ordered = np.sort(self._window[ranks], axis=1)  # NaN last
        row = np.arange(ranks.size)
        middles: npt.NDArray[np.float32] = ordered[row, (counts - 1) // 2]
        middles = (middles + ordered[row, counts // 2]) / np.float32(2)
        middles[middles <= 0] = np.nan  # too short to be told from nothing
        return middles

    def mark_stragglers(self, ranks: Ranks) -> None:
        """Look whether ranks that have just reported are slower than STRAGGLER_RATIO allows."""
        median = self.median_seconds()
        if median is None or self.count < 2:
            return
        slow = median / self._pace[ranks] < STRAGGLER_RATIO  # false for NaN
        self._slow[ranks] = np.where(slow, np.minimum(self._slow[ranks] + 1, STRAGGLER_REPORTS), 0)

    def median_seconds(self) -> float | None:
        """Return the median rank's step time, seconds."""
        if self._changed > (0 if self.count <= FEW else self.count * CHANGED_SHARE):
            paces = self._pace[np.isfinite(self._pace)]
            self._median = float(np.median(paces)) if paces.size else None
            self._changed = 0
        return self._median

    def pace_spread(
        self,
    ) -> tuple[tuple[float, int], float, tuple[float, int], int] | None:
        """Return the quickest rank's step time, the median, the slowest's, and how many."""
        known = np.flatnonzero(np.isfinite(self._pace))
        median = self.median_seconds()
        if not known.size or median is None:
            return None
        paces = self._pace[known]
        first, last = int(paces.argmin()), int(paces.argmax())
        return (
            (float(paces[first]), int(known[first])),
            median,
            (float(paces[last]), int(known[last])),
            int(known.size),
        )

    def stragglers(self) -> list[int]:
        """Return ranks under STRAGGLER_RATIO of the median for STRAGGLER_REPORTS reports."""
        found: list[int] = np.flatnonzero(self._slow >= STRAGGLER_REPORTS).tolist()
        return found

    def slowest_step(self) -> int:
        """Return the last step that every rank that has spoken has finished; -1 for none."""
        return int(self.step[self.known].min()) if self.count else -1

    # --- checkpoints -----------------------------------------------------------------------

    def save(self, ranks: Ranks, step: int, pattern: str) -> None:
        """Note that the ranks' parts of a checkpoint are safe, where it is their newest."""
        newer = ranks[self.checkpoint_step[ranks] < step]
        self.checkpoint_step[newer] = step
        self._pattern[newer] = self._patterns.setdefault(pattern, len(self._patterns))
        if len(self._patterns) > 2 * self.count + 64:
            self._forget_patterns()

    def _forget_patterns(self) -> None:
        """Drop the patterns of checkpoints that no rank has as its newest any more."""
        used, codes = np.unique(self._pattern, return_inverse=True)
        names = list(self._patterns)
        first = int(used.size > 0 and used[0] < 0)
        self._pattern = (codes - first).astype(np.int32)
        self._patterns = {names[code]: index for index, code in enumerate(used[first:].tolist())}

    def common_checkpoint(self) -> int:
        """Return the newest checkpoint's step when it is the same for all; else -1."""
        steps = self.checkpoint_step[self.known]
        common = steps[steps >= 0]
        if not common.size or common.min() != common.max():
            return -1
        return int(common[0])

    def saved_count(self) -> int:
        """Return how many ranks have a checkpoint."""
        return int(np.count_nonzero(self.checkpoint_step >= 0))

    def paths(self) -> Iterator[tuple[str, Ranks]]:
        """Yield each pattern with the ranks whose newest checkpoint has it."""
        for pattern, code in self._patterns.items():
            ranks = np.flatnonzero(self._pattern == code).astype(np.int32)
            if ranks.size:
                yield pattern, ranks

    def get(self, rank: int) -> RankProgress | None:
        """Return one rank; None before its first word."""
        if not 0 <= rank < self.known.size or not self.known[rank]:
            return None
        step, saved = int(self.step[rank]), int(self.checkpoint_step[rank])
        loss, pace, code = self._loss[rank], self._pace[rank], int(self._pattern[rank])
        return RankProgress(
            step if step >= 0 else None,
            float(loss) if np.isfinite(loss) else None,
            float(pace) if np.isfinite(pace) else None,
            saved if saved >= 0 else None,
            path_of(list(self._patterns)[code], rank) if code >= 0 else "",
        )


PLACE = "{rank}"


def pattern_of(path: str, rank: int) -> str:
    """Return the path with its last mention of the rank's number left open."""
    before, number, after = path.rpartition(str(rank))
    pattern = f"{before}{PLACE}{after}" if number else path
    return pattern if path_of(pattern, rank) == path else path


def path_of(pattern: str, rank: int) -> str:
    """Return the rank's path; the last mention of PLACE is the open one."""
    before, place, after = pattern.rpartition(PLACE)
    return f"{before}{rank}{after}" if place else pattern
