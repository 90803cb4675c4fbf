"""Themes in a real terminal: chosen, cycled, remembered, and none where colours are unwanted."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, local_run
from tests.support import until
from tests.terminal import Terminal

COLOURS = re.compile(rb"\x1b\[[\d;]*\b(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|38|48)\b[\d;]*m")
TRUE = {"COLORTERM": "truecolor"}


@pytest.fixture
def agent(hub: Product) -> Iterator[FakeAgent]:
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.report(local_run("10t"))
        agent.steps("10t", [1, 2, 3])
        until(lambda: hub.run_of("10t").get("step") == 3)
        yield agent


def console(
    hub: Product, extra: Mapping[str, str], *arguments: str, term: str = "xterm-256color"
) -> Terminal:
    environment = {**hub.environment, **extra}
    return Terminal([str(BIN / "colossus"), *arguments], environment, 100, 30, term)


def settings(hub: Product) -> Path:
    return Path(hub.environment["COLOSSUS_CONFIG_DIR"]) / "console.json"


def ground(colour: str) -> bytes:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (0, 2, 4))
    return f"48;2;{red};{green};{blue}".encode()


def test_t_shows_the_next_theme_and_it_is_there_next_time(hub: Product, agent: FakeAgent) -> None:
    with console(hub, TRUE) as terminal:
        terminal.until("10t", "running")
        assert ground("0d1117") in terminal.output
        before = len(terminal.output)
        terminal.press("T")
        terminal.until("light: quiet, on a white ground")
        terminal.until_that(lambda: ground("ffffff") in terminal.output[before:])
    assert json.loads(settings(hub).read_text()) == {"theme": "light"}
    with console(hub, TRUE) as terminal:
        terminal.until("10t", "running")
        assert ground("ffffff") in terminal.output
        assert ground("0d1117") not in terminal.output
    with console(hub, TRUE, "--theme", "contrast") as terminal:
        terminal.until("10t", "running")
        assert ground("000000") in terminal.output


@pytest.mark.parametrize("extra", [TRUE, {"COLORTERM": ""}], ids=["truecolor", "256"])
def test_all_themes_come_round_and_everything_stays_in_sight(
    hub: Product, agent: FakeAgent, extra: dict[str, str]
) -> None:
    with console(hub, extra) as terminal:
        terminal.until("10t", "running")
        for name in ("light", "contrast", "colourblind", "sixteen", "mono", "dark"):
            terminal.press("T")
            terminal.until(f"{name}: ")
            terminal.until("10t", "running", "? help")


def test_no_color_means_no_colour(hub: Product, agent: FakeAgent) -> None:
    with console(hub, {**TRUE, "NO_COLOR": "1"}) as terminal:
        terminal.until("10t", "● running", ">")
        terminal.press("c")
        terminal.until("checkpoint 10t", "y does it")
        terminal.press("n")
        terminal.until_gone("y does it")
        terminal.press("\x10")
        terminal.until("Search for commands")
        assert not COLOURS.findall(terminal.output)
    with console(hub, {**TRUE, "NO_COLOR": "1"}, "--theme", "light") as terminal:
        terminal.until("10t", "running")
        assert ground("ffffff") in terminal.output


def test_a_terminal_of_sixteen_colours_gets_its_own(hub: Product, agent: FakeAgent) -> None:
    with console(hub, {}, term="xterm-16color") as terminal:
        terminal.until("10t", "● running")
        assert COLOURS.search(terminal.output)
        assert b"48;2;" not in terminal.output
        assert b"38;5;" not in terminal.output


def test_a_locale_without_utf8_gets_ascii(hub: Product, agent: FakeAgent) -> None:
    with console(hub, {"LC_ALL": "de_DE.ISO-8859-1"}) as terminal:
        terminal.until("10t", "> running")
        terminal.press("c")
        terminal.until("checkpoint 10t", "y does it")
        terminal.press("n")
        terminal.until_gone("y does it")
        terminal.press("\x10")
        terminal.until("Search for commands")
        assert terminal.output.isascii()


def test_a_damaged_file_is_told_and_left(hub: Product, agent: FakeAgent) -> None:
    settings(hub).parent.mkdir(parents=True)
    settings(hub).write_text('{"theme": "light", views')
    with console(hub, TRUE) as terminal:
        terminal.until("damaged")
        terminal.press("T")
        terminal.until("remembered")
    assert settings(hub).read_text() == '{"theme": "light", views'


def test_settings_that_may_not_be_written_are_told(hub: Product, agent: FakeAgent) -> None:
    settings(hub).parent.mkdir(parents=True)
    settings(hub).mkdir()  # in the file's place
    with console(hub, TRUE) as terminal:
        terminal.until("directory")
    assert os.listdir(settings(hub)) == []
