"""What the model of a node says in words."""

from __future__ import annotations

import pytest

from colossus_tui.model import clock_event_reasons


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (0, "none"),
        (0x4, "power cap"),
        (0x48, "hw slowdown, hw thermal"),
        (0x4004, "power cap, 0x4000"),
    ],
)
def test_reasons_for_slow_clocks_are_words(mask: int, words: str) -> None:
    assert clock_event_reasons(mask) == words
