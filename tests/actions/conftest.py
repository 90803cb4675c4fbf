"""One site a backend for the whole matrix: a fault must leave nothing for the next to trip over."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actions.local_stand import LocalStand
from tests.actions.stand import Stand


@pytest.fixture(scope="module")
def local() -> Iterator[Stand]:
    """Hub and agent of this machine."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        stand = LocalStand(Path(folder))
        try:
            yield stand
        finally:
            stand.close()
            stand.product.close()


@pytest.fixture(params=["local"])
def stand(request: pytest.FixtureRequest) -> Stand:
    """Every backend in turn."""
    stand: Stand = request.getfixturevalue(request.param)
    return stand
