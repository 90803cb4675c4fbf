"""One Slurm for all tests of this folder, and a fresh hub with agents on it for each."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import SlurmCluster
from tests.slurm.site import SlurmSite


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmCluster]:
    """A real Slurm with three nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-slurm-") as folder:
        cluster = SlurmCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def site(slurm: SlurmCluster) -> Iterator[SlurmSite]:
    """A hub on that Slurm, with an agent for each of its nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = SlurmSite(Path(folder), slurm)
        try:
            site.start()
            yield site
        finally:
            site.close()
