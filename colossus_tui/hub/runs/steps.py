"""Steps that ranks finished, as columns: of one rank's batch, or of thousands of ranks at once."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import relay_link_pb2, run_pb2
from colossus_tui.hub.store import FrameError, vector

RANK_LIMIT = 1 << 20
STEP_LIMIT = 1 << 53
TOKEN_LIMIT = 1 << 40  # of a rank in a step: the sum over all ranks fits 64 bits

Integers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class StepRows:
    """One row a rank and step, a rank's steps in order; NaN, and -1 tokens, are not given."""

    run_id: str
    attempt: int
    ranks: npt.NDArray[np.int32]
    steps: Integers
    times_unix_ns: Integers
    losses: Reals
    grad_norms: Reals
    tokens: Integers
    step_seconds: Reals
    whole_run: bool = False

    @classmethod
    def of_table(cls, table: relay_link_pb2.StepTable) -> StepRows:
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
            vector("losses", table.losses, np.float64, size),
            vector("grad_norms", table.grad_norms, np.float64, size),
            np.clip(vector("tokens", table.tokens, np.int64, size), -1, TOKEN_LIMIT),
            vector("step_seconds", table.step_seconds, np.float64, size),
        )

    @classmethod
    def of_batch(cls, batch: run_pb2.StepBatch) -> StepRows:
        """Take up what one rank's agent says.

        Raises:
            FrameError: A column has another length than the others, or a number is out of range.
        """
        size = len(batch.steps)
        columns: dict[str, Sized] = {
            "times_unix_ns": batch.times_unix_ns,
            "losses": batch.losses,
            "grad_norms": batch.grad_norms,
            "tokens": batch.tokens,
            "step_seconds": batch.step_seconds,
        }
        for name, column in columns.items():
            if len(column) != size:
                raise FrameError(f"{name}: {len(column)} values, but {size} steps")
        return cls(
            batch.run_id,
            batch.attempt,
            np.full(size, checked_rank(batch.rank), dtype=np.int32),
            checked_steps(np.array(batch.steps, dtype=np.int64)),
            np.array(batch.times_unix_ns, dtype=np.int64),
            np.array(batch.losses, dtype=np.float64),
            np.array(batch.grad_norms, dtype=np.float64),
            np.clip(np.array(batch.tokens, dtype=np.int64), -1, TOKEN_LIMIT),
            np.array(batch.step_seconds, dtype=np.float64),
            batch.whole_run,
        )


def checked_rank(rank: int) -> int:
    """Return a rank.

    Raises:
        FrameError: It is out of range.
    """
    if not 0 <= rank < RANK_LIMIT:
        raise FrameError(f"rank {rank}: 0 to {RANK_LIMIT - 1}")
    return rank


def checked_steps(steps: Integers) -> Integers:
    """Return a column of steps.

    Raises:
        FrameError: One is out of range.
    """
    if steps.size and not 0 <= steps.min() <= steps.max() < STEP_LIMIT:
        raise FrameError(f"steps: 0 to {STEP_LIMIT - 1}")
    return steps


def checked_ranks(data: bytes) -> npt.NDArray[np.int32]:
    """Return a column of ranks.

    Raises:
        FrameError: One is out of range.
    """
    ranks = vector("ranks", data, np.int32)
    if ranks.size and not 0 <= ranks.min() <= ranks.max() < RANK_LIMIT:
        raise FrameError(f"ranks: 0 to {RANK_LIMIT - 1}")
    return ranks
