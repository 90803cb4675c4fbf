"""What jobs and processes say is shown harmlessly everywhere."""

from __future__ import annotations

import sys

import pytest

from tests.e2e.product import Product

pytestmark = pytest.mark.e2e

HOSTILE = "\x1b]0;owned\x07\x1b[31m[red]boo[/red]\r\n\x9b2J\u202egnp.exe\u200b" + "A" * 10_000


def test_hostile_commands_reach_no_terminal(product: Product) -> None:
    script = "import sys, time; sys.stdout.buffer.write(b'\\x1b[2J\\xff\\xfe'); time.sleep(300)"
    started = product.cli("run", "--name", "evil", "--", sys.executable, "-c", script, HOSTILE)
    assert started.returncode == 0, started.stderr

    for command in (["status"], ["runs"], ["show", "evil"], ["show", "node-1"], ["events"]):
        result = product.cli(*command)
        text = result.stdout + result.stderr
        assert result.returncode == 0, text
        assert not [
            character
            for character in text
            if (ord(character) < 32 and character != "\n") or 127 <= ord(character) < 160
        ], command
        assert "\u202e" not in text
        assert "\u200b" not in text
        assert "A" * 2_000 not in text


@pytest.mark.parametrize("name", ["../up", "a/b", "", "x" * 64, "a b", "\x1b[31m", "-rf"])
def test_hostile_names_are_refused_naming_the_field(product: Product, name: str) -> None:
    result = product.cli("run", f"--name={name}", "--", "true")

    assert result.returncode == 2
    assert "name" in result.stderr
    assert "\x1b" not in result.stderr
