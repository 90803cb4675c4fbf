"""What the ranks of a run report, as arrays over the ranks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """One step of a run, as each of its ranks reports it; all arrays are [rank].

    Attributes:
        tokens: Each rank's share.
        step_seconds: What each rank needed itself; the slowest one's is the step's time.
    """

    run_id: str
    attempt: int
    ranks: npt.NDArray[np.int32]
    steps: npt.NDArray[np.int64]
    times_unix_ns: npt.NDArray[np.int64]
    losses: npt.NDArray[np.float64]
    grad_norms: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]
    step_seconds: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoints:
    """One step's checkpoint of a run, as each rank that has saved reports it; arrays are [rank].

    Attributes:
        size_bytes: Of one rank's part.
        path_template: With a place for `rank`.
    """

    run_id: str
    attempt: int
    ranks: npt.NDArray[np.int32]
    step: int
    times_unix_ns: npt.NDArray[np.int64]
    size_bytes: int
    path_template: str
    save_seconds: npt.NDArray[np.float64]


@dataclass(slots=True)
class Progress:
    """What came of a gang's tick; node numbers are within the run."""

    steps: list[Steps] = field(default_factory=list)
    checkpoints: list[Checkpoints] = field(default_factory=list)
    changed: list[npt.NDArray[np.intp]] = field(default_factory=list)
    thawed: list[int] = field(default_factory=list)  # by their fuse
