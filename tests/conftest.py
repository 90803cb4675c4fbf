"""What holds for every test: the developer's own state and settings stay out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.hub_fixtures", "tests.order"]

SITES = {"slurm", "actions", "kubernetes"}

settings.register_profile("quick", max_examples=40)
settings.register_profile("thorough", max_examples=1_000)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a change of contracts or pictures be accepted knowingly."""
    parser.addoption(
        "--accept-contracts",
        action="store_true",
        help="write tests/architecture/contract_baseline.json from the .proto files",
    )
    parser.addoption(
        "--accept-pictures",
        action="store_true",
        help="write tests/tui/pictures_accepted from the screens as they are",
    )
    parser.addoption(
        "--thorough",
        action="store_true",
        help="also what shows on another backend what one has shown, and every journal point",
    )


@pytest.fixture(autouse=True)
def _isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("COLOSSUS_", "SLURM_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLOSSUS_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("COLOSSUS_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setenv("COLOSSUS_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("COLOSSUS_EXPORT_DIR", str(tmp_path / "exports"))
    monkeypatch.setenv("TZ", "UTC")
    for name in ("NO_COLOR", "COLUMNS", "LINES"):  # workers of a parallel run get the latter two
        monkeypatch.delenv(name, raising=False)


@pytest.hookimpl(tryfirst=True)  # before the plugin reads the marks
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark whole sites; keep tests in one worker that share one: a module, a backend's matrix."""
    if not config.getoption("--thorough"):
        repeated = [item for item in items if _is_repeated(item)]
        config.hook.pytest_deselected(items=repeated)
        items[:] = [item for item in items if item not in set(repeated)]
    for item in items:
        if item.path.parent.name in SITES:
            item.add_marker(pytest.mark.site)
        stand = item.callspec.params.get("stand") if hasattr(item, "callspec") else None
        if stand is not None:
            item.add_marker(pytest.mark.xdist_group(f"actions-{stand}"))
        elif "slurm" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _is_repeated(item: pytest.Item) -> bool:
    """Return whether another backend's test shows the same, for the hub alone decides it."""
    if not hasattr(item, "callspec") or item.get_closest_marker("hub_decides") is None:
        return False
    return str(item.callspec.params.get("stand")) != "local"
