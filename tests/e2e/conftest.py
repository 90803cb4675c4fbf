"""A fresh product for each test."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.product import Product


@pytest.fixture
def product() -> Iterator[Product]:
    """Hub and agent of this machine, linked and reporting."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:  # short: it holds a socket
        product = Product(Path(folder))
        try:
            product.start_hub()
            product.start_agent()
            yield product
        finally:
            product.close()
