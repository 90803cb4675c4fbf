"""Screens as pictures: a console without a hub, on a site at one instant, at a fixed clock.

To add a screen: one line in SCREENS, with what brings it up.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from colossus_tui.model import (
    Confirmation,
    MapRequest,
    Mark,
    MarkKind,
    Playback,
    Preflight,
    Series,
    Timeline,
    Verb,
)
from colossus_tui.text import show_as_of
from colossus_tui.tui.app import ColossusApp
from colossus_tui.tui.export.screen import picture
from colossus_tui.tui.feed import Feed
from colossus_tui.tui.messages import (
    BulkPreflightReceived,
    IncidentReceived,
    JournalReceived,
    LinkChanged,
    PreflightReceived,
    TimelineReceived,
    ViewReceived,
)
from colossus_tui.tui.modes import Modes
from colossus_tui.tui.saved import SavedView, keep
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.screens.card import CardScreen
from colossus_tui.tui.screens.found import FoundScreen
from colossus_tui.tui.screens.map import MapScreen
from colossus_tui.tui.screens.nodes import NodeScreen, NodesScreen
from colossus_tui.tui.screens.run import RunScreen
from tests.shed.plans import PLAN
from tests.tui import world
from tests.tui.world_incidents import INCIDENTS, NOW, ago

FOLDER = Path(__file__).with_name("pictures_accepted")
SIZES = ((80, 24), (120, 40), (200, 50))
Bring = Callable[["Stage"], Awaitable[None]]


class Stage:
    """The console, and what it is told."""

    def __init__(self, pilot: Pilot[int], app: ColossusApp) -> None:
        self.pilot = pilot
        self.app = app

    async def press(self, *keys: str) -> None:
        """Press keys, and let it draw."""
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def tell(self, *messages: Any) -> None:
        """Hand it what a feed would."""
        for message in messages:
            self.app.post_message(message)
        await self.pilot.pause()

    async def open(self, screen: ColossusScreen) -> None:
        """Open a screen."""
        await self.app.push_screen(screen)
        await self.pilot.pause()

    async def map(self, request: MapRequest) -> None:
        """Send the map that is asked for."""
        await self.tell(ViewReceived(replace(world.view(), map=world.site_map(request))))

    async def card(self, run_id: str, confirmation: Confirmation) -> None:
        """Open the card of a pause with its preflight."""
        self.app.open_card(Verb.PAUSE, run_id)
        await self.pilot.pause()
        preflight = world.preflight(run_id, confirmation=confirmation)
        await self.tell(PreflightReceived(run_id, preflight))

    def shown(self) -> ColossusScreen:
        """The screen, or what is behind a card."""
        return next(
            one for one in reversed(self.app.screen_stack) if isinstance(one, ColossusScreen)
        )

    def picture(self) -> str:
        """What is shown now, as SVG."""
        return picture(self.shown())


@asynccontextmanager
async def stage(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> AsyncIterator[Stage]:
    """Yield a console without a hub that shows the world."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr(time, "time_ns", lambda: NOW)
    monkeypatch.setattr(Feed, "start", lambda feed: None)
    monkeypatch.setattr(Feed, "stop", lambda feed: feed._loop.close())
    for call in ("show", "preview", "preview_bulk", "find", "acknowledge", "silence"):
        monkeypatch.setattr(Feed, call, lambda *arguments: None)
    app = ColossusApp("nowhere", modes=Modes(asked="dark"))
    try:
        async with app.run_test(size=size, notifications=True) as pilot:
            it = Stage(pilot, app)
            journal = JournalReceived(world.ACTIONS)
            await it.tell(LinkChanged(True), ViewReceived(world.view()), journal)
            yield it
    finally:
        show_as_of(None)  # as after a replay


PAST = range(900, 0, -10)  # seconds
TIMELINE = Timeline(
    "",
    ago(900),
    NOW,
    world.EVENTS,
    0,
    world.ACTIONS[:3],
    INCIDENTS[:3],
    Series(
        "power.sum",
        "W",
        tuple(ago(second) for second in PAST),
        (-1,) * 90,
        tuple(
            6e8 * (1 - 0.2 * (second < 190)) + world.noise(second) * 9e6
            for second in range(900, 0, -10)
        ),
    ),
)


# --- what brings up each screen ------------------------------------------------------------------


async def _overview(it: Stage) -> None:
    await it.press("down", "space", "space")


async def _map(it: Stage) -> None:
    await it.open(MapScreen())
    await it.map(MapRequest())


async def _filtered(it: Stage) -> None:
    await it.open(MapScreen("run=10t"))
    await it.map(MapRequest(where="run=10t"))
    await it.press("enter")
    await it.map(MapRequest("hall-a", where="run=10t"))


async def _rack(it: Stage) -> None:
    await _map(it)
    await it.press("enter")
    await it.map(MapRequest("hall-a"))
    await it.press("enter")
    await it.map(MapRequest("hall-a", "r0000"))


async def _bulk(it: Stage) -> None:
    runs = [one.run_id for one in world.BULK.preflights]
    it.app.open_bulk(Verb.PAUSE, runs, {"1t-b"})
    await it.pilot.pause()
    await it.tell(BulkPreflightReceived(world.BULK))


async def _choice(it: Stage) -> None:
    it.app.open_card(Verb.REPRIORITIZE, "10t")
    await it.pilot.pause()


async def _card_of_a_stop(it: Stage) -> None:
    await it.card("10t", Confirmation.TYPE_NAME)
    await it.press("1", "0")
    assert isinstance(it.app.screen, CardScreen)


async def _card_of_a_shed(it: Stage) -> None:
    await it.press("s", *("minus", "8", "percent_sign"), "enter")
    preflight = Preflight(
        Verb.SHED,
        "",
        allowed=True,
        effect="2 steps bring the site from 163.3 MW to 150.0 MW, target 150.4 MW",
        confirmation=Confirmation.TYPE_NAME,
        plan=PLAN,
    )
    await it.tell(PreflightReceived("the site", preflight))


async def _found(it: Stage) -> None:
    await it.open(FoundScreen("10t:17", world.FOUND, lambda gpu: None))


async def _incident(it: Stage) -> None:
    await it.press("i", "enter")
    await it.tell(IncidentReceived(17, INCIDENTS[0]), TimelineReceived(TIMELINE))


async def _timeline(it: Stage) -> None:
    await it.press("t")
    await it.tell(TimelineReceived(TIMELINE))
    await it.press("down", "down")


async def _what_if(it: Stage) -> None:
    runs = [replace(run, node_count=run.gpu_count // 4) for run in world.RUNS]
    await it.tell(ViewReceived(replace(world.view(), runs=tuple(runs))))
    await it.press("b", "M", "tab", *"2500")


async def _replay(it: Stage) -> None:
    marks = (
        Mark(ago(600), MarkKind.ALERT, INCIDENTS[0].title),
        Mark(ago(240), MarkKind.ACTION, "pause 1t-a"),
        Mark(ago(60), MarkKind.ALERT, INCIDENTS[1].title),
    )
    playback = Playback(
        ago(900),
        ago(-300),
        NOW,
        4.0,
        marks=marks,
        damage="14:18:20: a block is cut; what came before it is shown",
        file_name="the night",
        mark=marks[2],
    )
    await it.tell(ViewReceived(replace(world.view(), playback=playback)))


async def _saved(it: Stage) -> None:
    keep(it.app.settings, SavedView("hot GPUs", "map", {"filter": "temp>85"}, "dark"))
    keep(it.app.settings, SavedView("big runs", "overview", {"filter": "class=P0"}, "light"))
    await it.press("apostrophe", "down")


SCREENS: Mapping[str, Bring] = {
    "overview": _overview,
    "run": lambda it: it.open(RunScreen("10t")),
    "nodes": lambda it: it.open(NodesScreen()),
    "node": lambda it: it.open(NodeScreen("node-000004")),
    "actions": lambda it: it.press("a"),
    "action": lambda it: it.press("a", "down", "enter"),
    "map": _map,
    "map-filtered": _filtered,
    "map-rack": _rack,
    "found": _found,
    "bets": lambda it: it.press("b"),
    "money": lambda it: it.press("dollar_sign"),
    "power": lambda it: it.press("w", "down", "down"),
    "incidents": lambda it: it.press("i"),
    "incident": _incident,
    "timeline": _timeline,
    "card-silence": lambda it: it.press("i", "down", "u"),
    "help": lambda it: it.press("question_mark"),
    "card": lambda it: it.card("1t-a", Confirmation.YES_NO),
    "card-name": _card_of_a_stop,
    "card-class": _choice,
    "card-shed": _card_of_a_shed,
    "card-what-if": _what_if,
    "replay": _replay,
    "bulk": _bulk,
    "card-save": lambda it: it.press("n", "W", *"my nodes"),
    "card-saved": _saved,
}
