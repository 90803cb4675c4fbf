"""What the README shows is what the repository holds."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from colossus_tui.tui.actions import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SHOWN_WITH = {"action", "found", "incident", "what_if"}  # screens on the page of another


def test_the_readmes_script_is_the_example_and_short() -> None:
    example = (ROOT / "examples" / "pause_riskiest.py").read_text()

    assert example in (ROOT / "README.md").read_text()
    assert len(example.splitlines()) < 20


@pytest.mark.parametrize(
    ("page", "example"),
    [("pytorch", "pytorch_ddp"), ("lightning", "lightning"), ("huggingface", "huggingface")],
)
def test_the_code_of_a_frameworks_page_is_its_example(page: str, example: str) -> None:
    text = (ROOT / "docs" / "frameworks" / f"{page}.md").read_text()
    sources = [path.read_text() for path in (ROOT / "examples" / example).glob("*.*")]
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    blocks += re.findall(r"```sh\n(#!.*?)```", text, re.S)

    assert blocks
    for block in blocks:
        assert any(
            textwrap.indent(block, " " * deep) in source for source in sources for deep in (0, 4)
        ), block


def test_every_path_that_a_page_names_exists() -> None:
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in [
            ROOT / "README.md",
            ROOT / "agent" / "hook" / "README.md",
            *(ROOT / "docs" / "frameworks").glob("*.md"),
        ]
        for name in re.findall(
            r"`((?:docs|examples|agent|bench|protos|colossus_tui)/[\w./]+)`", page.read_text()
        )
        if not (ROOT / name).exists()
    ]

    assert not missing


def test_every_screen_has_a_page_with_pictures_that_are_there() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "screens").glob("*.md")}
    scopes = {scope for command in COMMANDS for scope in command.scope} - {"all", "replay"}
    missing = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "screens").glob("*.md")]
        for name in re.findall(r"\]\(((?:\.\./)?[\w./-]+\.(?:svg|md))\)", page.read_text())
        if not (page.parent / name).exists()
    ]

    assert scopes - pages - SHOWN_WITH == set()
    assert missing == []


def test_make_targets_that_the_readme_names_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))

    assert set(re.findall(r"make ([a-z]+) ", (ROOT / "README.md").read_text())) <= targets
