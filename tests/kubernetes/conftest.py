"""A fresh recorded Kubernetes for each test, and the product on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.site import KubernetesSite


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A recorded Kubernetes with three nodes of four GPUs each."""
    with tempfile.TemporaryDirectory(prefix="colossus-kubernetes-") as folder:
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def site(cluster: Cluster) -> Iterator[KubernetesSite]:
    """A hub on that Kubernetes, with an agent for each of its nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = KubernetesSite(Path(folder), cluster)
        try:
            site.start()
            yield site
        finally:
            site.close()
