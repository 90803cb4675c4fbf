"""Foreign text made harmless, and numbers with their units."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui import text


@given(st.text(max_size=300), st.integers(1, 100))
def test_any_text_becomes_one_bounded_printable_line(foreign: str, limit: int) -> None:
    shown = text.safe(foreign, limit)

    assert len(shown) <= limit
    assert all(character.isprintable() for character in shown)
    assert not set("\x1b\n\r\t\x9b\u202e\u200b\u2066") & set(shown)


@given(st.text(max_size=60), st.integers(0, 40), st.booleans())
def test_a_cell_takes_exactly_its_width(foreign: str, cells: int, right: bool) -> None:
    shown = text.fit(text.safe(foreign), cells, right=right)

    assert text.width(shown) == cells


def test_wide_characters_count_twice() -> None:
    assert text.width("漢字") == 4
    assert text.fit("漢字漢字", 6) == "漢字… "
    assert text.fit("漢", 1) == "…"


def test_stacked_marks_are_not_drawn() -> None:
    assert text.safe("e\u0301" + "\u0301" * 500, 20).count("\u0301") == 0


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (None, "W", "n/a"),
        (math.nan, "W", "n/a"),
        (math.inf, "B", "n/a"),
        (0.0, "W", "0 W"),
        (999.4, "W", "999 W"),
        (12_345.0, "W", "12.3 kW"),
        (3.2e8, "W", "320 MW"),
        (0.0, "B", "0 B"),
        (80 * 1024.0**3, "B", "80.0 GiB"),
        (1536.0, "B/s", "1.5 KiB/s"),
        (0.834, "ratio", "83 %"),
        (0.0123, "cores", "1.2 %"),
        (1.5, "cores", "150 %"),
        (41.0, "C", "41 °C"),
        (5.0, "mask", "0x5"),
        (1980.0, "MHz", "1,980 MHz"),
        (1e6, "J", "1.0 MJ"),
        (48_200.0, "step", "48,200"),
        (1.0, "runs", "1 runs"),
        (0.2, "s", "200 ms"),
        (12_345.0, "GPU·h", "12,345 GPU·h"),
        (99.7, "GPU·h", "100 GPU·h"),
        (1.04, "GPU·h", "1.0 GPU·h"),
        (0.99, "GPU·h", "59 GPU·min"),
        (0.000_41, "rank·h", "1 rank·s"),
        (0.0, "rank·h", "0 rank·s"),
    ],
)
def test_a_measured_value_has_its_unit(value: float | None, unit: str, expected: str) -> None:
    assert text.measured(value, unit) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "n/a"), (0, "0 us"), (0.0004, "400 us"), (0.25, "250 ms"), (5.04, "5.0 s"),
        (59.4, "59 s"), (60, "1m00s"), (119.7, "2m00s"), (3_600, "1h00m"), (86_400, "1d00h"),
        (-5, "-5.0 s"), (math.inf, "n/a"),
    ],
)  # fmt: skip
def test_a_span_of_time_has_two_units(seconds: float | None, expected: str) -> None:
    assert text.duration(seconds) == expected


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_number_breaks_a_screen(value: float) -> None:
    for unit in ("W", "B", "ratio", "s", "C", "count", "mask", "GPU·h", "step", "MHz", ""):
        shown = text.measured(value, unit)
        assert shown == "n/a" or any(character.isdigit() for character in shown)


def test_a_unit_of_a_nodes_own_is_made_harmless() -> None:
    assert text.measured(5.0, "\x1b]0;x\x07" + "y" * 100).isprintable()
    assert len(text.measured(5.0, "y" * 100)) < 30


def test_a_large_number_in_few_cells() -> None:
    shown = {
        None: "n/a",
        0.0: "0",
        999_999.0: "999,999",
        999_999.6: "1.00M",
        3_262_416.0: "3.26M",
        31_899_600.0: "31.9M",
        999_600_000.0: "1.00G",
        -4.5e14: "-450T",
        2e18: "2000P",
    }

    assert {value: text.compact(value) for value in shown} == shown
    assert all(len(one) <= 7 for one in shown.values())
