"""The plan of a shed on a card and on the command line, by itself."""

from __future__ import annotations

from dataclasses import replace

from colossus_tui.cli.cards import preflight_text
from colossus_tui.model import (
    Confirmation,
    Preflight,
    Site,
    Verb,
)
from colossus_tui.text import fine_watts, width
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.card import preflight_lines
from colossus_tui.tui.views.shed import asking_lines, plan_lines
from tests.shed.plans import PLAN, STEPS

CELLS = 75  # of a card at 80 columns


def text(lines: list[Line]) -> str:
    return "\n".join("".join(part for part, _ in line) for line in lines)


def test_a_plan_shows_what_each_step_saves_and_what_the_site_then_draws() -> None:
    shown = text(plan_lines(PLAN, CELLS))

    rows = [row.split() for row in shown.splitlines()]
    first = ["1", "cap", "960", "W", "6t", "4.200", "MW", "159.1", "MW", "-", "20", "s"]
    assert first in rows
    assert ["2", "pause", "1t-b", "9.100", "MW", "150.0", "MW", "812", "GPU·h", "1m35s"] in rows
    assert (
        shown.index("1t-b") < shown.index("only if the site is still above") < shown.index("scrap")
    )
    assert "10t             56.20 MW: flex tier 0 is never touched" in shown
    assert "\x1b" not in shown
    assert all(width(row) <= CELLS for row in shown.splitlines())


def test_a_wide_card_says_why() -> None:
    assert "2% slower (modelled)" in text(plan_lines(PLAN, 127))
    assert all(width(row) <= 127 for row in text(plan_lines(PLAN, 127)).splitlines())


def test_an_undoing_shows_what_comes_back() -> None:
    step = replace(STEPS[0], cap_watts=0.0, saved_watts=-4.2e6)
    shown = text(plan_lines(replace(PLAN, target_watts=0.0, steps=(step,)), CELLS))

    assert "BACK" in shown
    assert ["1", "cap", "off", "6t", "4.200", "MW", "167.5", "MW"] in [
        row.split() for row in shown.splitlines()
    ]
    assert "AT RISK" not in shown


def test_the_card_and_the_command_line_show_the_same_steps() -> None:
    preflight = Preflight(
        Verb.SHED,
        "",
        allowed=True,
        effect="2 steps",
        confirmation=Confirmation.TYPE_NAME,
        plan=PLAN,
    )

    card, printed = text(preflight_lines(preflight, "the site", CELLS)), preflight_text(preflight)

    assert preflight.subject == "north"
    for words in ("cap 960 W", "159.1 MW", "812 GPU·h", "flex tier 0 is never touched"):
        assert words in card
        assert words in printed
    assert "if not enough" in printed
    assert "\x1b" not in printed


def test_the_question_names_what_the_site_draws_and_how_to_ask() -> None:
    site = Site(power_watts=163.3e6, power_basis="GPUs", gpu_count=8, reporting_gpu_count=7)

    shown = text(asking_lines(site, "150 M", "", CELLS))

    assert "163.3 MW (GPUs, 7/8 GPUs reporting)" in shown
    assert "150 M_" in shown
    assert '"150 MW 3h 5min"' in shown
    assert "that is wrong" in text(asking_lines(None, "", "that is wrong", CELLS))


def test_powers_have_four_digits() -> None:
    assert [fine_watts(value) for value in (163.24e6, 1e9, 999.6, 41.0, -2.5e3, None)] == [
        *("163.2 MW", "1.000 GW", "1000 W", "41 W", "-2.500 kW", "n/a")
    ]
