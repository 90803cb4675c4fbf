"""Letters beyond ASCII, drawn in ASCII."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.text import safe, width
from colossus_tui.tui.plain_text import ascii_of


@given(st.text())
def test_it_is_ascii_and_as_wide_as_before(text: str) -> None:
    shown = ascii_of(safe(text))

    assert shown.isascii()
    assert len(shown) == width(safe(text))


def test_what_is_like_something_stays_like_it() -> None:
    assert (
        ascii_of("hall A contr…  41 °C  3 GPU·h  日本 ├─┤")
        == "hall A contr.  41 'C  3 GPU*h  ???? +-+"
    )
