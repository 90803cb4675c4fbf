"""Amounts as text, and what the views make of what is not known."""

from __future__ import annotations

import math

import pytest

from colossus_tui.cli.money import site_lines as printed
from colossus_tui.model import NO_PRICES, IdleView, Money, Run, SiteMoney
from colossus_tui.model.match import Match
from colossus_tui.text import measured, money, width
from colossus_tui.tui.theme import UNICODE
from colossus_tui.tui.views.detail import _cost, _used
from colossus_tui.tui.views.money import (
    IDLE_COLUMNS,
    MONEY_COLUMNS,
    idle_columns,
    idle_empty,
    idle_head,
    rate,
    site_lines,
)
from colossus_tui.tui.views.runs import chosen, columns_for


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [
        (None, "$", "n/a"),
        (math.nan, "$", "n/a"),
        (0.0, "$", "$0.00"),
        (0.0042, "$", "$0.0042"),
        (12.345, "$", "$12.35"),
        (999.994, "$", "$999.99"),
        (999.999, "$", "$1,000"),
        (1_234.5, "$", "$1,234"),
        (12_345.0, "€", "€12.35k"),
        (4_213_100.0, "US$", "US$4.213M"),
        (1.2e9, "$", "$1.200B"),
        (5.5e13, "$", "$55,000B"),
        (-31.5, "$", "-$31.50"),
        (4_213_100.0, "CHF", "4.213M CHF"),
        (12.0, "", "12.00"),
    ],
)
def test_an_amount_has_its_currency(value: float | None, currency: str, expected: str) -> None:
    assert money(value, currency) == expected


@pytest.mark.parametrize("exponent", range(-3, 12))
def test_no_amount_is_wider_than_its_column(exponent: int) -> None:
    for digit in (1.0, 1.234567, 9.4, 9.99, 9.9949, 9.99951):
        value = digit * 10.0**exponent
        assert width(money(value, "$")) <= 8
        assert width(rate(value, "$")) <= 7


def test_a_measured_amount_stands_after_its_sign() -> None:
    assert measured(412.0, "$") == "$412.00"
    assert measured(412.0, "CHF") == "412.0 CHF"
    assert measured(7.2e6, "Wh") == "7.2 MWh"


def test_without_prices_the_remedy_is_told() -> None:
    assert site_lines(SiteMoney())[0] == ((NO_PRICES, "warn"),)
    assert printed(SiteMoney()) == NO_PRICES
    assert _cost(Money()) == "n/a, the hub has no prices"


def test_what_is_not_priced_is_said_and_is_no_zero() -> None:
    gpus_only = SiteMoney("$", 4.0, 4.0, None, 0, 2, held_idle_per_hour=None, free_per_hour=0.0)
    energy_only = SiteMoney("$", None, None, None, 0, 2, 50.0, 1.2)

    first, second = (_text(line) for line in site_lines(gpus_only))
    assert first == "$4.00/h for 2 GPUs  held idle n/a  free $0.00/h"
    assert second == "TO FINISH is modelled; energy not priced"
    first, second = (_text(line) for line in site_lines(energy_only))
    assert first == "n/a for 2 GPUs  held idle n/a  free n/a"
    assert second.endswith("GPUs not priced; energy n/a, 0/2 metered, $50.00/MWh x 1.20")
    assert "GPUs n/a, energy n/a (0/2 GPUs metered" in printed(energy_only)


def test_a_foreign_source_is_made_harmless() -> None:
    hostile = SiteMoney("$", 1.0, 1.0, source="\x1b[2Jcontract")

    assert "\x1b" not in _text(site_lines(hostile)[0])
    assert "\x1b" not in printed(hostile)


@pytest.mark.parametrize("cells", [40, 60, 80, 120, 200])
def test_columns_fit_and_the_costs_come_first(cells: int) -> None:
    columns = columns_for(cells, [Run("a" * 12)], MONEY_COLUMNS)

    assert 2 + sum(wide + 2 for _, wide in columns) <= cells + 2
    names = [column.name for column, _ in columns]
    assert {"run", "cost"} <= set(names)
    if cells >= 80:
        assert {"so_far", "finish", "tokens", "risk"} <= set(names)
    heads = [head for head, _, _ in idle_columns(cells)]
    assert heads == [head for head, _, _ in IDLE_COLUMNS][: len(heads)]
    if cells >= 80:
        assert "COST/H" in heads


def test_runs_without_an_amount_come_last() -> None:
    runs = [Run("a"), Run("b", money=Money("$", 1.0)), Run("c", money=Money("$", 5.0))]

    found = chosen(runs, Match(), "cost", False, MONEY_COLUMNS)

    assert [run.run_id for run in found] == ["c", "b", "a"]
    cost = next(column for column in MONEY_COLUMNS if column.name == "cost")
    assert cost.cell(runs[0], 8, UNICODE) == ("n/a", "faint")


def test_idle_gpus_say_how_many_could_be_judged() -> None:
    assert idle_empty(None) == "..."
    assert idle_empty(IdleView()) == "there is no GPU"
    assert idle_empty(IdleView((), 4, 0)) == "no GPU tells whether it works"
    assert idle_empty(IdleView((), 4, 3)) == "no GPU is idle"
    partly = idle_head(IdleView((), 4, 3, 300.0))
    assert partly[1] == ("   3 judged", "warn")


def test_a_run_says_what_it_used_and_how_much_of_it_was_metered() -> None:
    run = Run("a", gpu_hours=120.0, energy_joules=3.6e9, money=Money("$", metered_ratio=0.5))

    assert _used(run) == "120 GPU·h, 1.0 MWh (50 % metered)"
    assert _used(Run("a")) == "n/a"


def _text(line: tuple[tuple[str, str], ...]) -> str:
    return "".join(text for text, _ in line)
