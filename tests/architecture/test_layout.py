"""What the repository promises about itself: sizes, versions, folders and what imports pull in."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = ["protos", "agent/hook", "agent", "."]
CODE = ["protos", "agent", "colossus_tui", "tests", "bench", "examples"]
LINE_LIMIT = 600


def sources() -> list[Path]:
    """All Python files that we wrote."""
    return [
        path
        for folder in CODE
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "_pb2" not in path.name
    ]


def test_no_module_outgrows_its_reader() -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in sources()
        if (count := len(path.read_text().splitlines())) > LINE_LIMIT
    }

    assert long == {}


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.read_text().strip() and not path.read_text().lstrip("#!/ \n").startswith('"""')
    ]

    assert silent == []


def test_the_four_distributions_have_one_version() -> None:
    projects = [
        tomllib.loads((ROOT / project / "pyproject.toml").read_text())["project"]
        for project in PROJECTS
    ]
    versions = {project["version"] for project in projects}
    pins = {
        pin
        for project in projects
        for requirement in project["dependencies"]
        for pin in re.findall(r"^colossus-\w+==(.+)$", requirement)
    }

    assert len(versions) == 1
    assert pins == versions


@pytest.mark.parametrize("folder", ["agent", "protos"])
def test_project_folders_are_not_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import colossus_tui", "colossus_tui.tui colossus_tui.hub textual rich grpc numpy"),
        ("import colossus_tui.__main__", "colossus_tui.tui colossus_tui.hub textual rich numpy"),
        ("import colossus_tui.client", "colossus_tui.tui colossus_tui.hub textual rich grpc numpy"),
        (
            "from colossus_tui.client import Client",
            "colossus_tui.tui colossus_tui.hub textual rich",
        ),
        (
            "import colossus_tui.cli.main; from colossus_tui.cli.parser import parse_words; "
            "parse_words([]); import colossus_tui.tui.app",
            "grpc google numpy zstandard colossus_tui.hub.config colossus_tui.sim.command",
        ),
        ("import colossus_tui.cli", "colossus_tui.tui colossus_tui.hub textual rich numpy"),
        ("import colossus_tui.hub.server", "colossus_tui.tui textual rich"),
        (
            "import colossus_tui.hub.app",
            "colossus_tui.tui textual rich colossus_agent kubernetes_asyncio",
        ),
        ("import colossus_agent.app", "colossus_tui textual rich numpy"),
        ("import colossus_hook", "colossus_tui colossus_agent grpc google numpy psutil"),
    ],
)
def test_an_import_pulls_in_no_more_than_it_should(statement: str, absent: str) -> None:
    script = (
        f"import sys; {statement}; "
        f"print(' '.join(name for name in {absent.split()!r} if name in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )

    assert result.stdout.strip() == ""


def test_nvml_is_not_touched_by_an_import() -> None:
    script = "import sys, colossus_agent.nvml; print('pynvml' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )

    assert result.stdout.strip() == "False"


def test_no_package_registry_is_named() -> None:
    address = re.compile(r"https?://[^\s\"']*/(simple|packages)(/|\b)")
    texts = subprocess.run(
        ["git", "ls-files", "-z", "*.txt", "*.toml", "*.lock", "*.md", "Makefile", "scripts"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    named = [
        name
        for name in texts
        if name and (ROOT / name).exists() and address.search((ROOT / name).read_text())
    ]

    assert named == []
