"""What an operator does with the console itself: hold, order, filters of lists, saved views."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any, cast

import pytest
from textual.events import Key
from textual.geometry import Region

from colossus_tui.model import Confirmation, Header, Node, Run, RunState, Site, View
from colossus_tui.paths import config_dir
from colossus_tui.tui.compositor import CroppingCompositor, lines_of
from colossus_tui.tui.hold import Hold, aged
from colossus_tui.tui.messages import JournalReceived, ViewReceived
from colossus_tui.tui.saved import SavedView, forget, keep, saved_views
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.screens.map import MapScreen
from colossus_tui.tui.screens.nodes import NodesScreen
from colossus_tui.tui.settings import Settings, SettingsError
from colossus_tui.tui.widgets.drawn import Drawn
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table
from tests.tui import world
from tests.tui.pictures import Stage, stage


def with_losses(*losses: float) -> ViewReceived:
    runs = tuple(
        dataclasses.replace(run, loss=loss, recent_losses=())
        for run, loss in zip(world.RUNS, losses, strict=False)
    )
    return ViewReceived(dataclasses.replace(world.view(), runs=runs))


def text(it: Stage) -> str:
    return "\n".join(line for part in it.shown().query(Drawn) for line in part.text_lines())


def card(it: Stage) -> str:
    return "\n".join(it.app.screen.query_one("#card", Lines).text_lines())


def order(it: Stage) -> list[str]:
    return list(it.app.screen.query_one(Table)._keys)


async def test_a_held_screen_stands_still_and_then_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, (200, 50)) as it:
        await it.tell(with_losses(7.1, 7.2, 7.3))
        await it.press("z")
        assert "held since 14:13:20, z to go on" in text(it)
        await it.tell(with_losses(8.1, 8.2), JournalReceived(()))
        assert "7.100" in text(it)
        assert "8.100" not in text(it)
        assert it.app.journal == world.ACTIONS
        await it.press("z")
        assert "8.100" in text(it)
        assert "held" not in text(it)
        assert not it.app.journal


async def test_a_hold_ends_with_its_screen_and_outlives_a_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, (200, 50)) as it:
        await it.press("z")
        await it.tell(with_losses(8.1, 8.2))
        await it.press("p")
        await it.press("escape")
        assert "held since" in text(it)
        await it.press("n")
        assert "held" not in text(it)
        await it.press("escape")
        assert "8.100" in text(it)


async def test_what_is_held_grows_old_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    async with stage(monkeypatch, (200, 50)) as it:
        await it.press("z")
        assert it.app.view is not None
        assert it.app.view.site is not None
        before = it.app.view.site.age_seconds
        assert it.app.hold is not None
        monkeypatch.setattr(it.app.hold, "_began", now - 600.0)
        it.app._tick()
        await it.pilot.pause()
        assert it.app.view.site.age_seconds - before >= 600.0
        assert "age 10m" in text(it)
        assert "running~" in text(it)


def test_only_ages_change_and_never_stays_never() -> None:
    run = Run("a", age_seconds=2.0, loss=1.0)
    view = View(Header(), Site(age_seconds=-1.0), (run, Run("b", state=RunState.PAUSED)))

    after = aged(view, 5.0)

    assert [one.age_seconds for one in after.runs] == [7.0, 5.0]
    assert after.site == view.site
    assert dataclasses.replace(after.runs[0], age_seconds=2.0) == run
    assert after.header is view.header


async def test_rows_stay_where_they_are_while_their_values_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, (200, 50)) as it:
        await it.tell(with_losses(3.0, 2.0, 1.0))
        overview: Any = it.app.screen
        overview._order = "loss"
        overview.show()
        assert order(it) == ["10t", "6t", "1.5t-a"]
        await it.tell(with_losses(1.0, 2.0, 3.0))
        assert order(it) == ["10t", "6t", "1.5t-a"]
        assert "~" in overview.query_one(Table)._ordered[1]
        await it.press("=")
        assert order(it) == ["1.5t-a", "6t", "10t"]
        assert "~" not in overview.query_one(Table)._ordered[1]
        await it.tell(with_losses(9.0, 2.0))  # others are there: the order is made anew
        assert order(it) == ["10t", "6t"]


async def test_nodes_and_actions_are_filtered_as_it_is_typed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, (120, 40)) as it:
        await it.press("n")
        await it.press(*"/state=lo")
        assert "not right yet" in text(it)
        await it.press(*"st")
        lost = [node.node_name for node in world.NODES if node.freshness.value == "lost"]
        assert order(it) == lost
        await it.press("enter")
        assert "nodes matching 'state=lost'" in text(it)
        await it.press("slash", "escape")
        assert len(order(it)) == len(world.NODES)
        await it.press(*"/zzz", "enter")
        assert order(it) == []
        await it.press("escape", "a")
        await it.press(*"/by=alice and verb=pause", "enter")
        assert order(it) == [world.ACTIONS[0].action_id]
        await it.press(*"/T")  # a letter belongs to who types
        assert it.app.theme_now.name == "dark"


async def test_a_view_is_kept_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, (120, 40)) as it:
        await it.press("n", *"/hall=hall-b", "enter")
        it.app.show_theme("light")
        await it.press("W")
        await it.press(*"lost in b", "enter")
        await it.press("escape")
        it.app.show_theme("dark")
        kept = json.loads((config_dir() / "console.json").read_text())["views"]
        assert kept == [
            {
                "name": "lost in b",
                "screen": "nodes",
                "state": {"filter": "hall=hall-b"},
                "theme": "light",
            }
        ]
    async with stage(monkeypatch, (120, 40)) as it:
        await it.press("a")  # from wherever
        await it.press("apostrophe")
        await it.press("enter")
        await it.pilot.pause()
        assert isinstance(it.app.screen, NodesScreen)
        assert it.app.theme_now.name == "light"
        assert set(order(it)) == {node.node_name for node in world.NODES if node.hall == "hall-b"}
        await it.press("escape")
        assert it.app.screen.scope == "overview"


async def test_filter_order_and_metric_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings()
    keep(settings, SavedView("m", "map", {"metric": "gpu_temperature", "filter": "run=10t"}))
    keep(settings, SavedView("o", "overview", {"filter": "class=P0", "order": "loss"}))
    keep(settings, SavedView("p", "map", {"metric": "no such", "filter": "temp>"}, "pink"))
    keep(settings, SavedView("q", "of-a-newer-console", {}))
    async with stage(monkeypatch, (120, 40)) as it:
        await it.press("apostrophe", "enter")
        await it.pilot.pause()
        assert isinstance(it.app.screen, MapScreen)
        assert it.app.screen.saved_state() == settings_state(settings, "m")
        await it.press("apostrophe", "down", "enter")
        await it.pilot.pause()
        assert order(it) == ["6t", "10t"]
        await it.press("apostrophe", "up", "up", "enter")
        await it.pilot.pause()
        assert isinstance(it.app.screen, MapScreen)
        assert it.app.screen.saved_state()["filter"] == ""
        assert it.app.theme_now.name == "dark"
        await it.press("apostrophe", "up", "enter")
        assert card(it).endswith("'of-a-newer-console'")
        await it.press("x")
    assert [view.name for view in saved_views(settings)] == ["m", "o", "p"]


def settings_state(settings: Settings, name: str) -> dict[str, str]:
    return dict(next(view.state for view in saved_views(settings) if view.name == name))


@pytest.mark.parametrize("content", ["{", '{"views": 3}', '{"views": [{"state": {"filter": 1}}]}'])
async def test_damaged_views_are_told_and_nothing_is_lost(
    content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_dir() / "console.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    async with stage(monkeypatch, (120, 40)) as it:
        await it.press("apostrophe")
        assert any("move" in one.message for one in it.app._notifications)
        await it.press("W", *"mine", "enter")
        assert "move" in card(it)
    assert path.read_text() == content


def test_a_full_folder_and_too_many_views_are_told(tmp_path: Path) -> None:
    settings = Settings()
    for index in range(50):
        keep(settings, SavedView(str(index), "nodes", {}))
    keep(settings, SavedView("7", "map", {}))  # another one of its name

    with pytest.raises(SettingsError, match="50 views"):
        keep(settings, SavedView("new", "nodes", {}))
    assert len(saved_views(settings)) == 50
    assert os.listdir(settings.path.parent) == ["console.json"]


@pytest.mark.parametrize("keys", [("n", "ctrl+p"), ("escape", "ctrl+p")])
@pytest.mark.parametrize("over", ["card", "nodes"])
async def test_a_palette_that_comes_over_what_closes_ends_no_console(
    keys: tuple[str, ...], over: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(monkeypatch, (80, 24)) as it:
        if over == "card":
            await it.card("1t-a", Confirmation.YES_NO)
        else:
            await it.press("n")
        for key in keys:  # at once, as a slow link delivers them
            it.app.post_message(Key(key, key if len(key) == 1 else None))
        await it.pilot.pause()
        for _ in range(4):
            await it.press("escape")

        assert it.app.screen is it.shown()
        assert it.shown().scope == "overview"


async def test_behind_a_card_only_what_changes_is_drawn_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[set[Region]] = []
    render = CroppingCompositor.render_update

    def watch(self: CroppingCompositor, *args: Any, **more: Any) -> Any:
        drawn.append(set(self._dirty_regions))
        return render(self, *args, **more)

    async with stage(monkeypatch, (200, 50)) as it:
        await it.tell(with_losses(7.1, 7.2, 7.3))
        await it.card("1t-a", Confirmation.YES_NO)
        await it.tell(with_losses(7.4, 7.5, 7.6))
        monkeypatch.setattr(CroppingCompositor, "render_update", watch)
        for tenth in range(7, 10):
            await it.tell(with_losses(7.4, 7.5, 7.6 + tenth / 1_000))

        behind = "\n".join(strip.text for strip in lines_of(it.app.screen))
        assert "7.609" in behind
        regions = set.union(*drawn)
        assert regions
        assert all(region.height == 1 for region in regions), regions


def test_what_a_newer_console_has_kept_with_a_view_stays() -> None:
    settings = Settings()
    newer = {"name": "a", "screen": "nodes", "state": {}, "theme": "", "columns": ["x"]}
    settings.write("views", [newer, newer | {"name": "b"}])

    keep(settings, SavedView("c", "map", {}))
    forget(settings, "b")

    first, second = settings.read()["views"]
    assert first == newer
    assert second["name"] == "c"


def test_what_is_held_of_many_nodes_is_not_made_anew_each_second() -> None:
    def held(count: int) -> Hold:
        nodes = tuple(Node(f"n{index}") for index in range(count))
        return Hold(cast(ColossusScreen, None), View(Header(), nodes=nodes), None)

    assert held(10).aged() is not None
    assert held(10_000).aged() is None
