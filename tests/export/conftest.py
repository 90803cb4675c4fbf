"""One Prometheus for all tests of a module that leave it alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.prometheus import Prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A running Prometheus; tests tell their series apart by a label."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that a test may start and stop."""
    server = Prometheus(tmp_path)
    yield server
    server.stop()
