"""One site a backend for the whole matrix: a fault must leave nothing for the next to trip over."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.actions.kubernetes_stand import JobSetStand, KubernetesStand
from tests.actions.local_stand import LocalStand
from tests.actions.slurm_stand import SlurmStand
from tests.actions.stand import Stand
from tests.kubernetes.cluster import Cluster
from tests.slurm.cluster import SlurmCluster


@pytest.fixture(scope="package")
def local() -> Iterator[Stand]:
    """Hub and agent of this machine."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        stand = LocalStand(Path(folder))
        try:
            yield stand
        finally:
            stand.close()
            stand.product.close()


@pytest.fixture(scope="package")
def slurm() -> Iterator[Stand]:
    """Hub, agents and a real Slurm of three nodes."""
    with (
        tempfile.TemporaryDirectory(prefix="colossus-slurm-") as cluster_folder,
        tempfile.TemporaryDirectory(prefix="colossus-") as folder,
    ):
        cluster = SlurmCluster(Path(cluster_folder), cpu_count=8)  # every case's run at once
        try:
            cluster.start()
            stand = SlurmStand(Path(folder), cluster)
            try:
                yield stand
            finally:
                stand.close()
                stand.product.close()
        finally:
            cluster.close()


@contextmanager
def recorded(make: Callable[[Path, Cluster], Stand]) -> Iterator[Stand]:
    """Hub, agents and a recorded Kubernetes of three nodes."""
    with (
        tempfile.TemporaryDirectory(prefix="colossus-kubernetes-") as cluster_folder,
        tempfile.TemporaryDirectory(prefix="colossus-") as folder,
    ):
        cluster = Cluster(Path(cluster_folder), gpus=64, quota=1_000)  # every case's run at once
        try:
            stand = make(Path(folder), cluster)
            try:
                yield stand
            finally:
                stand.close()
                stand.product.close()
        finally:
            cluster.close()


@pytest.fixture(scope="package")
def kubernetes() -> Iterator[Stand]:
    """Jobs."""
    with recorded(KubernetesStand) as stand:
        yield stand


@pytest.fixture(scope="package")
def jobset() -> Iterator[Stand]:
    """JobSets in a queue of Kueue's."""
    with recorded(JobSetStand) as stand:
        yield stand


@pytest.fixture(params=["local", "slurm", "kubernetes", "jobset"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Every backend in turn; JobSets, which differ little from Jobs, where all is asked for."""
    if request.param == "jobset" and not request.config.getoption("--thorough"):
        pytest.skip("JobSets are taken with --thorough only: they differ from Jobs little")
    stand: Stand = request.getfixturevalue(request.param)
    return stand
