"""The product on this machine and on a Slurm, and one training that nobody interrupts."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import product
from tests.frameworks.training import Losses, alone, ddp, printed, torchrun
from tests.slurm.conftest import site, slurm

__all__ = ["product", "site", "slurm", "uninterrupted"]
STEPS = 300


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Losses:
    """What the PyTorch example prints on two ranks that torchrun starts and nobody sees."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    losses = printed(alone(*torchrun(2, *ddp(folder, STEPS))))
    assert sorted(losses) == [(rank, step) for rank in (0, 1) for step in range(1, STEPS + 1)]
    return losses
