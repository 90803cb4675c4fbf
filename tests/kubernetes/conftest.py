"""One recorded Kubernetes for all tests of this folder, and the product on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.site import KubernetesSite


@pytest.fixture(scope="session")
def recorded() -> Iterator[Cluster]:
    """A recorded Kubernetes with three nodes of four GPUs each."""
    with tempfile.TemporaryDirectory(prefix="colossus-kubernetes-") as folder:
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def cluster(recorded: Cluster) -> Iterator[Cluster]:
    """The same, with nothing in it before and after."""
    try:
        yield recorded
    finally:
        recorded.clear()


@pytest.fixture(scope="session")
def product(recorded: Cluster) -> Iterator[KubernetesSite]:
    """A hub on that Kubernetes, with an agent for each of its nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = KubernetesSite(Path(folder), recorded)
        try:
            site.start()
            yield site
        finally:
            site.close()


@pytest.fixture
def site(product: KubernetesSite, cluster: Cluster) -> KubernetesSite:
    """The same, with no run in it before and after."""
    assert product.cluster is cluster
    return product
