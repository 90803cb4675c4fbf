"""The product on this machine and on a Slurm, and one training that nobody interrupts."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import product
from tests.frameworks.training import Uninterrupted
from tests.slurm.conftest import site, slurm

__all__ = ["product", "site", "slurm", "uninterrupted"]


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """The training that the others are held against."""
    return Uninterrupted(tmp_path_factory.mktemp("uninterrupted"))
