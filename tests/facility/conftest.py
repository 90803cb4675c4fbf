"""A broker that a test may start, stop and start again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.facility.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker."""
    made = Mosquitto(tmp_path)
    made.start()
    yield made
    made.stop()
