"""In which order tests run: first what takes long, so that no worker is left alone with it."""

from __future__ import annotations

import pytest

PROCESSES = {"hub", "product", "site", "node", "terminal"}  # fixtures that start some


@pytest.hookimpl(trylast=True)  # after they were shuffled
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those that start processes first."""
    items.sort(key=_is_quick)


def _is_quick(item: pytest.Item) -> bool:
    starts = PROCESSES.intersection(getattr(item, "fixturenames", ()))
    return not starts and item.get_closest_marker("e2e") is None
