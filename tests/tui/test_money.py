"""The money screen: two tables driven by keys over made-up views, and through a real hub."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from colossus_tui.model import (
    NO_PRICES,
    IdleGroup,
    IdleKind,
    IdleView,
    Money,
    Run,
    RunState,
    Site,
    SiteMoney,
)
from colossus_tui.tui.screens.card import CardScreen
from colossus_tui.tui.screens.money import MoneyScreen
from colossus_tui.tui.screens.nodes import NodeScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.screens.run import RunScreen
from colossus_tui.tui.widgets.table import Table
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent
from tests.hub.test_money import SETTINGS, work
from tests.terminal import Terminal
from tests.tui.test_map import Console, console

HOSTILE = "\x1b[2J[red]A"
COSTS = SiteMoney("$", 1.19e6, 1.155e6, 35_000.0, 548_300, 550_000, 54.0, 1.25, 12_300.0, 50_600.0)


def idle() -> IdleView:
    since = time.time_ns() - 700 * 10**9
    held = IdleGroup(
        IdleKind.HELD, "1t-b", "ada", "hall-A", "no work", 72, since, since, False, 151.9, ("n7",)
    )
    free = IdleGroup(
        IdleKind.FREE, "", "", HOSTILE, "no run", 24, since, since, True, 50.6, ("n3", HOSTILE)
    )
    return IdleView((held, free), 550_000, 549_000, 300.0)


def runs() -> tuple[Run, ...]:
    money = Money("$", 935.9, 148.09, 3.17e6, 40_012.0, 50.45, 0.98, 0.98)
    big = Run("10t", state=RunState.RUNNING, gpu_count=432, money=money, gpu_hours=69.2)
    small = replace(
        big, run_id="1t-b", money=replace(money, per_hour=155.9, so_far=None, at_risk=None)
    )
    return (replace(big, energy_joules=2.4e8), small)


async def shown(app: Console, money: SiteMoney = COSTS, found: IdleView | None = None) -> None:
    site = Site("memphis", 1, 1, 4, 4, 1.0, money=money)
    view = found if found is not None else idle()
    await app.show(None, site=site, runs=runs(), idle=view)


def focused(app: Console) -> str | None:
    return app.app.focused.id if app.app.focused is not None else None


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (200, 50)])
async def test_costs_of_runs_and_idle_gpus_are_on_one_screen(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as app:
        await app.press("dollar_sign")
        assert isinstance(app.app.screen, MoneyScreen)
        assert app.wanted[-1].idle
        await shown(app)

        lines = app.text.splitlines()
        row = next(line for line in lines if "10t" in line)
        for part in ("$936", "$148.09", "$3.17M", "$40.0k", "$50.5"):
            assert part in row
        other = next(line for line in lines if "1t-b" in line)
        assert other.count("n/a") >= 2  # what is not known is no 0
        for part in ("$1.19M/h for 550,000 GPUs", "held idle $12.3k/h", "free $50.6k/h"):
            assert part in lines[2]
        assert "TO FINISH is modelled" in lines[3]
        assert "548,300/550,000 metered" in lines[3]
        assert "IDLE 96 of 550,000 GPUs   549,000 judged" in app.text
        held = next(line for line in lines if "▲ held" in line)
        for part in ("1t-b", "no work", "72", "11m40s", "$152", "hall-A"):
            assert part in held
        assert ">=11m40s" in next(line for line in lines if "no run" in line)
        assert "\x1b" not in app.text
        assert "tab table" in lines[-1]


async def test_tab_goes_to_the_other_table_and_verbs_are_about_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (80, 24)) as app:
        await app.press("dollar_sign")
        await shown(app)
        assert focused(app) == "runs"
        await app.press("f")
        assert isinstance(app.app.screen, CardScreen)
        assert app.app.screen.subject == "10t"
        await app.press("escape", "tab")
        assert focused(app) == "idle"
        marked = [line for line in app.text.splitlines() if line.startswith(">")]
        assert len(marked) == 1  # one cursor on the screen
        assert "no work" in marked[0]
        await app.press("p")
        assert isinstance(app.app.screen, CardScreen)
        assert app.app.screen.subject == "1t-b"
        await app.press("escape", "down", "p")
        assert isinstance(app.app.screen, MoneyScreen)  # free GPUs have no run to pause
        await app.press("tab")
        assert focused(app) == "runs"
        await app.press("escape")
        assert isinstance(app.app.screen, OverviewScreen)


async def test_enter_opens_the_run_or_the_longest_idle_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (80, 24)) as app:
        await app.press("dollar_sign")
        await shown(app)
        await app.press("down", "enter")
        assert isinstance(app.app.screen, RunScreen)
        assert app.wanted[-1].run_id == "1t-b"
        await app.press("escape", "tab", "enter")
        assert isinstance(app.app.screen, RunScreen)
        await app.press("escape", "down", "enter")
        assert isinstance(app.app.screen, NodeScreen)
        assert app.wanted[-1].node_name == "n3"


async def test_runs_are_ordered_by_any_column(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (200, 50)) as app:
        await app.press("dollar_sign")
        await shown(app)
        table = app.app.screen.query_one("#runs", Table)
        await app.press("o", "o", "o", "o", "o")  # state, class, run, GPUs, what they cost
        assert "COST/H▾" in app.text
        await app.press("home")
        assert table.cursor_key == "10t"
        await app.press("O", "home")
        assert table.cursor_key == "1t-b"


async def test_without_prices_it_says_how_to_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as app:
        await app.press("dollar_sign")
        bare = tuple(replace(run, money=Money()) for run in runs())
        await app.show(None, site=Site("home", 1, 1), runs=bare, idle=IdleView())

        assert NO_PRICES in app.text
        assert "n/a" in next(line for line in app.text.splitlines() if "10t" in line)
        assert "there is no GPU" in app.text
        assert "$" not in app.text


@pytest.mark.parametrize("size", [(40, 10), (60, 16)])
async def test_on_a_low_terminal_the_tables_take_turns(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as app:
        await app.press("dollar_sign")
        await shown(app)
        assert "10t" in app.text
        assert "hall-A" not in app.text
        await app.press("tab")
        assert focused(app) == "idle"
        assert "held" in app.text
        assert "10t" not in app.text
        await app.press("tab")
        assert "10t" in app.text


async def test_the_overview_has_a_column_of_costs_where_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (200, 50)) as app:
        await shown(app)
        assert "COST/H" in app.text
        assert "$936" in app.text
        assert "$1.19M/h" in app.text.splitlines()[1]
    async with console(monkeypatch, (80, 24)) as app:
        await shown(app)
        assert "COST/H" not in app.text


async def test_without_glyphs_it_reads_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24), ascii_only=True) as app:
        await app.press("dollar_sign")
        await shown(app)
        assert "! held" in app.text
        assert set(app.text) - {"\N{REPLACEMENT CHARACTER}", "…"} <= set(map(chr, range(128)))


def test_a_real_hubs_prices_reach_the_terminal(hub: Product, tmp_path: Path) -> None:
    settings = tmp_path / "hub.toml"
    settings.write_text(SETTINGS)
    hub.kill("hub")
    hub.hang_up()
    hub.start_hub("--config", str(settings))
    with FakeAgent(hub.address) as agent:
        agent.greet()
        work(agent)
        agent.steps("r", [1, 2, 3])
        with Terminal([str(BIN / "colossus")], hub.environment, 120, 30) as terminal:
            terminal.until("r", "running", "€72.0k/h")
            terminal.press("$")
            terminal.until("€72.0k/h for 2 GPUs", "COST/H", "SO FAR", "IDLE 0 of 2 GPUs   0 judged")
            terminal.until("no GPU tells whether it works", "held idle n/a", "free n/a")
            terminal.press("f")
            terminal.until("freeze r", "interruption", "€1,200")
            terminal.press("n")
            terminal.until_gone("interruption")
            terminal.press("q")
            assert terminal.wait() == 0
