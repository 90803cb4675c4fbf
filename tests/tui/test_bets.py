"""The bets and the card of a move, driven by their keys over made-up views."""

from __future__ import annotations

import pytest

from colossus_tui.model import RunState
from colossus_tui.tui.screens.bets import BetsScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.screens.run import RunScreen
from colossus_tui.tui.screens.what_if import WhatIfCard
from tests.tui.test_map import Console, console
from tests.unit.test_bets_views import a_curve, a_run

RUNS = (a_run("10t", 100), a_run("1t-a", 20), a_run("6t", 50))
CURVES = tuple(a_curve(run.run_id, at + 1.0) for at, run in enumerate(RUNS))
SIZES = [(80, 24), (200, 50)]


async def opened(one: Console) -> None:
    await one.show(None, runs=RUNS, curves=CURVES)
    await one.press("b")


@pytest.mark.parametrize("size", SIZES)
async def test_bets_open_and_show_curves_and_rows(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as one:
        await opened(one)

        assert isinstance(one.app.screen, BetsScreen)
        assert one.wanted[-1].curves
        for word in ("LOSS AGAINST TRAINING FLOP", "TOK/MWH", "12 d, 10-15 d", "1t-a", "M what if"):
            assert word in one.text
        await one.press("x")
        assert "LOSS AGAINST TOKENS" in one.text
        await one.press("tab")
        assert "LOSS AGAINST WALL TIME" in one.text
        await one.press("x")
        assert "LOSS AGAINST TRAINING FLOP" in one.text
        await one.press("escape")
        assert type(one.app.screen) is OverviewScreen


async def test_zoom_and_pan_stay_within_and_keys_that_mean_nothing_do_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (120, 40)) as one:
        await opened(one)
        whole = one.text
        await one.press("minus", "greater_than_sign", "0", "ctrl+b", "f5", "Z", "9")
        assert one.text == whole
        await one.press("plus")
        closer = one.text
        assert " to " in closer.splitlines()[2]
        await one.press("less_than_sign")
        assert one.text != closer
        await one.press("greater_than_sign")
        assert one.text == closer
        await one.press("0")
        assert one.text == whole


async def test_rows_are_filtered_ordered_and_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (120, 40)) as one:
        await opened(one)
        await one.press("slash")
        await one.type("6t")
        await one.press("enter")
        assert "1t-a" not in one.text
        await one.press("escape")  # drops the filter, not the screen
        assert isinstance(one.app.screen, BetsScreen)
        assert "1t-a" in one.text
        await one.press("o", "o", "o", "O", "j", "enter")
        assert isinstance(one.app.screen, RunScreen)
        await one.press("escape", "escape")
        assert type(one.app.screen) is OverviewScreen


@pytest.mark.parametrize("size", SIZES)
async def test_a_move_is_tried_by_keys_and_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as one:
        await opened(one)
        await one.press("M")

        assert isinstance(one.app.screen, WhatIfCard)
        assert "modelled: nothing is done" in one.text
        assert "from  10t" in one.text
        assert "to    1t-a" in one.text
        assert "100>0" in one.text
        await one.type("6")
        assert "to    6t" in one.text
        await one.press("tab")
        await one.type("25")
        assert "100>75" in one.text
        assert "50>75" in one.text
        await one.type("99")
        assert "not within 0 and the 100" in one.text
        await one.press("backspace", "backspace", "x", "space", "f5")
        assert "100>75" in one.text
        await one.press("shift+tab", "right")
        assert "to    P2" in one.text
        await one.press("left", "left")
        assert "to    1t-a" in one.text
        await one.press("shift+tab", "right")
        assert "from  6t" in one.text  # not who takes already
        await one.press("end")
        assert "colossus resume" in one.text
        await one.press("escape")
        assert isinstance(one.app.screen, BetsScreen)


async def test_without_runs_there_is_nothing_to_move(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await one.show(None, runs=(), curves=())
        await one.press("b")
        assert "no points yet" in one.text
        assert "no runs yet" in one.text
        await one.press("M")
        assert "two runs that hold nodes are needed" in one.text
        await one.press("right", "a", "tab", "5", "enter")
        gone = (a_run("10t", 100, state=RunState.COMPLETED),)
        await one.show(None, runs=gone, curves=())
        assert "two runs that hold nodes are needed" in one.text


async def test_a_run_reaches_further_back_when_all_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (120, 40)) as one:
        await opened(one)
        await one.press("enter")
        assert one.wanted[-1].span_seconds == 900
        await one.press("minus")
        assert one.wanted[-1].span_seconds == 21_600
        await one.press("minus", "minus", "minus")
        assert one.wanted[-1].span_seconds > 604_800
        await one.press("plus")
        assert one.wanted[-1].span_seconds == 604_800
        await one.press("0")
        assert one.wanted[-1].span_seconds > 604_800
