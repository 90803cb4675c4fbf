"""A real hub process for tests that speak its wire."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.product import Product


@pytest.fixture
def hub() -> Iterator[Product]:
    """A hub without agents, on a Unix socket and on a TCP port of loopback."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        try:
            product.start_hub("--listen", "127.0.0.1:0", "--port-file", f"{folder}/port")
            yield product
        finally:
            product.close()


@pytest.fixture
def tcp(hub: Product) -> str:
    """The hub's TCP address."""
    return f"127.0.0.1:{(hub.folder / 'port').read_text().strip()}"
