"""Two recorded Kubernetes for all tests here: a bare one, and one with the product on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.site import KubernetesSite


@contextmanager
def recorded() -> Iterator[Cluster]:
    """A recorded Kubernetes with three nodes of four GPUs each."""
    with tempfile.TemporaryDirectory(prefix="colossus-kubernetes-") as folder:
        cluster = Cluster(Path(folder))
        try:
            yield cluster
        finally:
            cluster.close()


@pytest.fixture(scope="session")
def bare() -> Iterator[Cluster]:
    """One that no product follows."""
    with recorded() as cluster:
        yield cluster


@pytest.fixture
def cluster(bare: Cluster) -> Iterator[Cluster]:
    """The same, with nothing in it before and after."""
    try:
        yield bare
    finally:
        bare.clear()


@pytest.fixture(scope="session")
def product() -> Iterator[KubernetesSite]:
    """A hub on another one, with an agent for each of its nodes."""
    with recorded() as cluster, tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = KubernetesSite(Path(folder), cluster)
        try:
            site.start()
            yield site
        finally:
            site.close()


@pytest.fixture
def site(product: KubernetesSite) -> Iterator[KubernetesSite]:
    """The same, with no run in it before and after."""
    try:
        yield product
    finally:
        product.cluster.clear()
