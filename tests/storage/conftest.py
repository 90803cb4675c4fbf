"""One PostgreSQL for the folder, a database of its own for each test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.storage.cluster import Cluster

_numbers = itertools.count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running server."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def shared(cluster: Cluster) -> str:
    """The address of an empty database."""
    return cluster.make_database(f"db{next(_numbers)}")
