"""Steps that ranks finished, as columns: of one rank's batch, or of thousands of ranks at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import relay_link_pb2, run_pb2
from colossus_tui.hub.store import FrameError, vector

RANK_LIMIT = 1 << 20

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
            vector("steps", table.steps, np.int64, size),
            vector("times_unix_ns", table.times_unix_ns, np.int64, size),
            vector("losses", table.losses, np.float64, size),
            vector("grad_norms", table.grad_norms, np.float64, size),
            vector("tokens", table.tokens, np.int64, size),
            vector("step_seconds", table.step_seconds, np.float64, size),
        )

    @classmethod
    def of_batch(cls, batch: run_pb2.StepBatch) -> StepRows:
        """Take up what one rank's agent says."""
        return cls(
            batch.run_id,
            batch.attempt,
            np.full(len(batch.steps), batch.rank, dtype=np.int32),
            np.array(batch.steps, dtype=np.int64),
            np.array(batch.times_unix_ns, dtype=np.int64),
            np.array(batch.losses, dtype=np.float64),
            np.array(batch.grad_norms, dtype=np.float64),
            np.array(batch.tokens, dtype=np.int64),
            np.array(batch.step_seconds, dtype=np.float64),
            batch.whole_run,
        )


def checked_ranks(data: bytes) -> npt.NDArray[np.int32]:
    """Return a column of ranks.

    Raises:
        FrameError: One is out of range.
    """
    ranks = vector("ranks", data, np.int32)
    if ranks.size and not 0 <= ranks.min() <= ranks.max() < RANK_LIMIT:
        raise FrameError(f"ranks: 0 to {RANK_LIMIT - 1}")
    return ranks
