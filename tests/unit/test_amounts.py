"""Powers, shares and times as people type them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.model import Shed, amounts
from colossus_tui.model.amounts import AmountError


@pytest.mark.parametrize(
    ("text", "watts"),
    [("150MW", 150e6), ("150 MW", 150e6), (" 1.5 gw ", 1.5e9), ("850kw", 850e3), (".5 MW", 5e5)],
)
def test_powers(text: str, watts: float) -> None:
    assert amounts.power(text) == watts


@pytest.mark.parametrize("text", ["", "150", "MW", "0 MW", "-3 MW", "1e5 MW", "150 MWh", "nan MW"])
def test_what_is_no_power_is_said(text: str) -> None:
    with pytest.raises(AmountError, match="is no power; give one as in 150MW"):
        amounts.power(text)


@pytest.mark.parametrize(("text", "ratio"), [("20%", 0.2), ("-20 %", 0.2), ("12.5 %", 0.125)])
def test_shares(text: str, ratio: float) -> None:
    assert amounts.share(text) == pytest.approx(ratio)


@pytest.mark.parametrize("text", ["20", "0%", "100%", "120 %", "%", "x%"])
def test_what_is_no_share_is_said(text: str) -> None:
    with pytest.raises(AmountError, match="is no share"):
        amounts.share(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10_800),
        ("3 h", 10_800),
        ("5min", 300),
        ("90 s", 90),
        ("1h30m", 5_400),
        (" 1h 30m ", 5_400),
        ("1.5h", 5_400),
        ("2 d", 172_800),
    ],
)
def test_times(text: str, seconds: float) -> None:
    assert amounts.span(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "3", "h", "0s", "3 weeks", "-3h", "3h!", "11e9d", "9999999d", "\x1b[2J" * 50]
)
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(AmountError, match="is no time; give one as in") as error:
        amounts.span(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 300


def test_none_is_a_time_where_it_ends_something() -> None:
    assert amounts.span_or_zero(" 0 ") == 0
    assert amounts.span_or_zero("1h") == 3_600
    with pytest.raises(AmountError):
        amounts.span_or_zero("0s")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("150 MW", Shed(150e6)),
        ("150 MW 3h 5min", Shed(150e6, 0, 300, 10_800, True)),
        ("150MW 3 h 2 min", Shed(150e6, 0, 120, 10_800, True)),
        ("-20 %", Shed(0, 0.2)),
        ("20% 1h30m", Shed(0, 0.2, 300, 5_400, True)),
        ("get under 150 MW for 3 h in 5 min", Shed(150e6, 0, 300, 10_800, True)),
        ("150 MW within 90s", Shed(150e6, 0, 90)),
        ("by 20% in 10 min for 1 d", Shed(0, 0.2, 600, 86_400, True)),
    ],
)
def test_a_shed_in_one_line(text: str, meant: Shed) -> None:
    assert amounts.shed(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3h",
        "150",
        "150 MW 3",
        "150 MW 3h 5min 7s",
        "150 MW for",
        "150 MW at 3h",
        "150 MW for 3h for 3h",
    ],
)
def test_a_line_that_is_not_understood_is_answered_with_examples(text: str) -> None:
    with pytest.raises(AmountError, match="as in"):
        amounts.shed(text)


@given(st.text(max_size=40) | st.from_regex(r"-?\d{1,4} ?(MW|%)( (for|in)? ?\d ?(h|min|x))*"))
def test_whatever_is_typed_is_understood_or_refused(text: str) -> None:
    with contextlib.suppress(AmountError):
        asked = amounts.shed(text)
        assert (asked.target_watts > 0) != (asked.cut_ratio > 0)
        assert asked.within_seconds > 0


@pytest.mark.parametrize("text", ["by 20 MW", "to 80 %", "under 80%", "get under 20 % for 1h"])
def test_a_word_that_does_not_fit_its_amount_is_asked_about(text: str) -> None:
    with pytest.raises(AmountError, match="may be meant in two ways"):
        amounts.shed(text)
