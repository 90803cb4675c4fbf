"""Export and copy in a real terminal: files that are there, and a clipboard that is filled."""

from __future__ import annotations

import base64
import csv
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.terminal import Terminal

CLIPBOARD = re.compile(rb"\x1b\]52;c;([\w+/=]*)\x07")


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run("10t"), local_run("6t"))
        agent.steps("10t", [1, 2, 3])
        until(lambda: hub.run_of("10t").get("step") == 3)
        yield agent


@pytest.fixture
def terminal(hub: Product, agent: FakeAgent) -> Iterator[Terminal]:
    with Terminal([str(BIN / "colossus")], hub.environment, 100, 30) as terminal:
        terminal.until("10t", "6t")
        yield terminal


def copied(terminal: Terminal) -> str:
    terminal.until("copied")
    terminal.until_that(lambda: CLIPBOARD.search(terminal.output) is not None)
    return base64.b64decode(CLIPBOARD.findall(terminal.output)[-1]).decode()


def exports(hub: Product) -> list[Path]:
    return sorted(Path(hub.environment["COLOSSUS_EXPORT_DIR"]).glob("*"))


def test_a_screen_is_exported_as_it_is_shown(hub: Product, terminal: Terminal) -> None:
    terminal.press("/10t\r")
    terminal.until("runs matching")
    terminal.press("E")
    terminal.until("export")
    until(lambda: len(exports(hub)) == 3)
    table, values, picture = exports(hub)

    assert [row["run_id"] for row in csv.DictReader(table.read_text().splitlines())] == ["10t"]
    found = json.loads(values.read_text())
    assert (found["about"]["filter"], found["runs"][0]["step"]) == ("10t", 3)
    words = "".join(ET.fromstring(picture.read_text()).itertext())
    assert "running" in words
    assert "10t" in words


@pytest.mark.parametrize(("keys", "shown", "kind"), [
    ("n", "node-1", "nodes"), ("n\r", "GPUS", "gpus"), ("\r", "THE LAST 15 MINUTES", "ranks"),
    ("a", "actions", "actions"),
])  # fmt: skip
def test_every_screen_with_values_exports_them(
    hub: Product, terminal: Terminal, keys: str, shown: str, kind: str
) -> None:
    for key in keys:
        terminal.press(key)
        terminal.read(0.3)
    terminal.until(shown)
    terminal.press("E")
    until(lambda: len(exports(hub)) == 3)

    assert kind in json.loads(exports(hub)[1].read_text())


def test_the_name_and_the_whole_table_are_copied(terminal: Terminal) -> None:
    terminal.press("y")
    assert copied(terminal) == "10t"
    terminal.press("Y")
    terminal.until("3 lines")
    lines = copied(terminal).splitlines()
    assert lines[0].startswith("STATE")
    assert "6t" in lines[2]


def test_where_nothing_is_there_nothing_is_copied(terminal: Terminal) -> None:
    terminal.press("/zzz\r")
    terminal.until("no run matches")
    terminal.press("y")
    terminal.until("nothing here")
    assert not CLIPBOARD.search(terminal.output)


def test_a_folder_that_cannot_be_written_is_told(hub: Product, terminal: Terminal) -> None:
    Path(hub.environment["COLOSSUS_EXPORT_DIR"]).write_text("a file")
    terminal.press("E")
    terminal.until("exists")
