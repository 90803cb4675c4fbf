"""The map of the site, driven by its keys over made-up views."""

from __future__ import annotations

import math
from array import array
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.pilot import Pilot

from colossus_tui.model import (
    Extreme,
    Found,
    FoundGpu,
    Header,
    MapLayout,
    MapRequest,
    NamedLimit,
    RollUp,
    Run,
    RunDetail,
    RunState,
    Site,
    SiteMap,
    View,
)
from colossus_tui.tui.app import ColossusApp
from colossus_tui.tui.feed import Feed, Wanted
from colossus_tui.tui.messages import FoundReceived, LinkChanged, ViewReceived
from colossus_tui.tui.modes import Modes
from colossus_tui.tui.screens.found import FoundScreen
from colossus_tui.tui.screens.nodes import NodeScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.screens.run import RunScreen
from colossus_tui.tui.widgets.heatmap import HeatMap

SIZES = [(80, 24), (200, 50)]
HALLS, RACKS, NODES = 19, 7_640, 18


class Console:
    """The app without a hub: what it wants is remembered, what it gets is made up."""

    def __init__(self, pilot: Pilot[int], app: ColossusApp) -> None:
        self.pilot = pilot
        self.app = app
        self.wanted: list[Wanted] = []
        self.looked_for: list[tuple[str, Sequence[str]]] = []

    @property
    def map(self) -> MapRequest | None:
        """The map that is asked for."""
        return self.wanted[-1].map

    @property
    def heat(self) -> HeatMap:
        return self.app.screen.query_one("#heat", HeatMap)

    @property
    def text(self) -> str:
        strips = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in strips)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        await self.press(*text)

    async def show(self, site_map: SiteMap | None, **parts: object) -> None:
        site = Site("memphis", 1, 1, 4, 4, 1.0, limits=(NamedLimit("contract", "", 100.0, 98.0),))
        view = View(Header(1, 1), site, (Run("10t", state=RunState.RUNNING),), map=site_map)
        self.app.post_message(ViewReceived(replace(view, **parts)))  # type: ignore[arg-type]
        await self.pilot.pause()


@asynccontextmanager
async def console(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], *, ascii_only: bool = False
) -> AsyncIterator[Console]:
    made: list[Console] = []

    def asked(feed: Feed, wanted: Wanted) -> None:
        for one in made:
            one.wanted.append(wanted)

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setattr(Feed, "start", lambda feed: None)
    monkeypatch.setattr(Feed, "stop", lambda feed: feed._loop.close())
    monkeypatch.setattr(Feed, "show", asked)
    monkeypatch.setattr(
        Feed, "find", lambda feed, text, wheres: made[0].looked_for.append((text, wheres))
    )
    app = ColossusApp("nowhere", modes=Modes(ascii_only=ascii_only))
    async with app.run_test(size=size) as pilot:
        made.append(Console(pilot, app))
        app.post_message(LinkChanged(True))
        await made[0].show(None)
        yield made[0]


def map_of(
    places: MapLayout, hall: str = "", rack: str = "", metric: str = "power", where: str = ""
) -> SiteMap:
    count = len(places.cell_names)
    values = array("f", (600.0 + 90.0 * math.sin(index / 40) for index in range(count)))
    worst = (Extreme("node-7", 3, 697.0, "10t", 1_204, 1.0),)
    counts = array("i", (index % 2 for index in range(count)))
    states = bytearray(b"\x01" * count)
    states[count // 2] = 4
    return SiteMap(
        hall,
        rack,
        metric,
        "W" if metric == "power" else "C",
        places,
        values.tobytes(),
        bytes(states),
        counts.tobytes() if where else b"",
        sum(counts) if where else 0,
        roll_up=RollUp(metric, "W", count, count - 1, 1e6, 510, 600, 690, 689, 0.0, worst),
        where=where,
    )


def site_places(halls: int = HALLS, racks: int = RACKS) -> MapLayout:
    sizes = [racks // halls + (index < racks % halls) for index in range(halls)]
    names = tuple(f"r{rack:03}" for size in sizes for rack in range(size))
    return MapLayout(
        1, tuple(f"hall-{i:02}" for i in range(halls)), tuple(sizes), names, (72,) * racks
    )


def hall_places() -> MapLayout:
    racks = tuple(f"r{rack:03}" for rack in range(402))
    names = tuple(f"{rack}-n{node:02}" for rack in racks for node in range(NODES))
    return MapLayout(2, racks, (NODES,) * 402, names, (4,) * len(names))


def rack_places(rack: str) -> MapLayout:
    names = tuple(f"{rack}-n{node:02}" for node in range(NODES))
    return MapLayout(3, names, (4,) * NODES, ("0", "1", "2", "3") * NODES, (1,) * 4 * NODES)


@pytest.mark.parametrize("size", SIZES)
async def test_a_giant_site_opens_down_to_a_node_and_back(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as it:
        await it.press("m")
        assert it.map == MapRequest()
        assert "asking for the map" in it.text
        await it.show(map_of(site_places()))
        assert "hall-00 > r000" in it.text
        assert "contract" in it.text
        assert "98 %" in it.text
        if size == (200, 50):
            assert all(f"hall-{hall:02}" in it.text for hall in range(HALLS))
            assert "node-7" in it.text
        await it.press("right", "l", "down", "up")
        assert it.heat.cursor == 2
        assert "hall-00 > r002" in it.text

        await it.press("enter")
        assert it.map == MapRequest("hall-00")
        assert "asking for power of site > hall-00" in it.text
        await it.show(map_of(hall_places(), "hall-00"))
        assert it.heat.cursor == 2 * NODES
        await it.press("right", "enter")
        assert it.map == MapRequest("hall-00", "r002")
        await it.show(map_of(rack_places("r002"), "hall-00", "r002"))
        assert it.heat.cursor == 4
        assert "r002-n01 > GPU 0" in it.text
        assert "POWER BY GPU" in it.text or size == (80, 24)

        await it.press("right", "right", "enter")
        assert isinstance(it.app.screen, NodeScreen)
        assert it.wanted[-1].node_name == "r002-n01"
        await it.press("escape")
        assert it.map == MapRequest("hall-00", "r002")
        await it.press("escape")
        await it.show(map_of(hall_places(), "hall-00"))
        assert it.heat.cursor == 2 * NODES + 1
        await it.press("escape")
        await it.show(map_of(site_places()))
        assert it.heat.cursor == 2
        await it.press("escape")
        assert isinstance(it.app.screen, OverviewScreen)


@pytest.mark.parametrize("size", SIZES)
async def test_the_cursor_stays_in_sight_and_on_its_cell(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        for key in ("end", "pageup", "pageup", "home", "pagedown", "pagedown", "down", "end"):
            await it.press(key)
            assert it.heat.grid is not None
            assert it.heat.cursor is not None
            _, line, _ = it.heat.grid.place(it.heat.cursor)
            assert 0 <= line - it.heat.scroll_offset.y < it.heat.size.height
        assert it.heat.cursor == RACKS - 1
        assert "hall-18 > r401" in it.text

        fewer = site_places(HALLS, RACKS)
        kept = fewer.cell_names[100:]
        sizes = (fewer.group_sizes[0] - 100, *fewer.group_sizes[1:])
        await it.show(map_of(replace(fewer, revision=2, cell_names=kept, group_sizes=sizes)))
        assert it.heat.cursor == RACKS - 101
        assert "hall-18 > r401" in it.text


@pytest.mark.parametrize("size", SIZES)
async def test_metrics_change_by_letters_and_digits(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        await it.press("v")
        assert it.map == MapRequest(metric="gpu_temperature")
        assert "asking for temperature of site" in it.text
        assert "W 0123456789 " in it.text  # what is drawn is power still, and says so
        await it.show(map_of(site_places(), metric="gpu_temperature"))
        assert "°C 0123456789 " in it.text
        assert "asking for" not in it.text
        for key, metric in (("V", "power"), ("V", "health"), ("5", "sm_clock"), ("8", "health")):
            await it.press(key)
            assert it.map == MapRequest(metric=metric)


@pytest.mark.parametrize("size", SIZES)
async def test_a_filter_is_checked_as_it_is_typed_and_escape_clears_it(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        await it.type("/tempp>85")
        assert "filter: tempp>85_" in it.text
        assert "'tempp'" in it.text
        await it.press("enter")  # not right: it stays
        assert it.map == MapRequest()
        await it.press(*["backspace"] * 4)
        await it.type(">85jv8")
        assert "unit" in it.text or "'85jv8'" in it.text  # letters are typed, not obeyed
        await it.press(*["backspace"] * 3)
        await it.press("enter")
        assert it.map == MapRequest(where="temp>85")
        assert "asking for" in it.text  # what is shown is not filtered yet, and says so
        assert "match" not in it.text
        await it.show(map_of(site_places(), where="temp>85"))
        assert "asking for" not in it.text
        assert "3,820 of 550,080 GPUs match" in it.text
        assert "no match" in it.text
        wrong = map_of(site_places(), where="temp>85")
        await it.show(replace(wrong, where_error="the hub knows no such thing"))
        assert "the hub knows no such thing" in it.text
        await it.press("slash", "escape")
        assert it.map == MapRequest()


async def test_a_runs_map_is_drawn_over_the_site(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (200, 50)) as it:
        await it.press("enter")
        assert isinstance(it.app.screen, RunScreen)
        await it.show(None, run=RunDetail(Run("10t", state=RunState.RUNNING)))
        await it.press("m")
        assert it.map == MapRequest(where="run=10t")
        await it.show(map_of(site_places(), where="run=10t"))
        assert "where run=10t" in it.text
        await it.press("escape")
        assert isinstance(it.app.screen, RunScreen)


async def test_outliers_are_visited_the_worst_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (200, 50)) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        await it.press("right_square_bracket")
        assert it.heat.cursor == RACKS // 2
        assert "✗ lost" in it.text
        states = bytearray(b"\x01" * RACKS)
        states[5], states[9] = 4, 3  # lost and stale
        await it.show(replace(map_of(site_places()), states=bytes(states)))
        for keys, cells in (("right", [5, 9]), ("left", [9, 5])):  # the worst first, or last
            await it.press("home", *["right"] * 20)  # stands out nowhere
            found = []
            for _ in cells:
                await it.press(f"{keys}_square_bracket")
                found.append(it.heat.cursor)
            assert found == cells, keys
        clean = replace(map_of(site_places()), states=b"\x01" * RACKS)
        await it.show(clean)
        await it.press("right_square_bracket")
        assert "no cell stands out" in it.text


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_found_is_shown_on_its_rack(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    gpus = tuple(FoundGpu(f"r007-n{n:02}", 2, "GPU-1", "hall-03", "r007") for n in (5, 6))
    async with console(monkeypatch, size) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        await it.type("F10t:42")
        await it.press("enter")
        assert it.looked_for == [("10t:42", ["run=10t and rank=42"])]
        assert "looking for '10t:42'" in it.text
        it.app.post_message(FoundReceived("10t:42", Found(0, ())))
        await it.pilot.pause()
        assert "nothing found for '10t:42'" in it.text
        it.app.post_message(FoundReceived("10t:42", None, "the hub is away"))
        await it.pilot.pause()
        assert "the hub is away" in it.text

        it.app.post_message(FoundReceived("10t:42", Found(2, gpus)))
        await it.pilot.pause()
        assert isinstance(it.app.screen, FoundScreen)
        assert "2 GPUs found for '10t:42'" in it.text
        await it.press("down", "enter")
        assert it.map == MapRequest("hall-03", "r007")
        await it.show(map_of(rack_places("r007"), "hall-03", "r007"))
        assert "r007-n06 > GPU 2" in it.text

        it.app.post_message(FoundReceived("x", Found(1, gpus[:1])))
        await it.pilot.pause()
        await it.show(map_of(rack_places("r007"), "hall-03", "r007"))
        assert "r007-n05 > GPU 2" in it.text
        await it.press("escape")
        await it.show(map_of(hall_places(), "hall-03"))
        assert "r007 > r007-n05" in it.text
        lone = FoundGpu("lone", 1)
        it.app.post_message(FoundReceived("lone", Found(1, (lone,))))
        await it.pilot.pause()
        assert isinstance(it.app.screen, NodeScreen)


async def test_a_click_moves_the_cursor_and_a_double_click_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (200, 50)) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        await it.pilot.click("#heat", offset=(5, 3))
        await it.pilot.pause()
        cursor = it.heat.cursor
        assert cursor is not None
        assert it.heat.grid is not None
        assert it.heat.grid.place(cursor)[:2] == (5, 3)
        await it.pilot.click("#heat", offset=(5, 3), times=2)
        await it.pilot.pause()
        assert it.map == MapRequest("hall-00")


async def test_a_steady_map_draws_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (200, 50)) as it:
        await it.press("m")
        places = site_places()
        await it.show(map_of(places))
        drawn: list[object] = []
        monkeypatch.setattr(it.heat, "refresh", lambda *regions, **_: drawn.extend(regions))
        await it.show(map_of(places))
        assert drawn == []
        one = map_of(places)
        values = array("f", one.cell_values())
        values[17] = 689.0
        await it.show(replace(one, values=values.tobytes()))
        assert len(drawn) == 1


@pytest.mark.parametrize("size", SIZES)
async def test_without_line_drawing_glyphs_a_map_is_digits(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with console(monkeypatch, size, ascii_only=True) as it:
        await it.press("m")
        await it.show(map_of(site_places()))
        drawn = "".join(line[:-2] for line in it.text.splitlines())  # less the scroll bar
        assert drawn.replace("°", "").isascii(), {c for c in drawn if not c.isascii()}
        assert "4567" in it.text.replace("0123456789", "") or "555" in it.text
        await it.press("end")
        assert it.heat.cursor == RACKS - 1


async def test_a_site_without_halls_opens_no_hall(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as it:
        await it.press("n", "m")
        await it.show(map_of(MapLayout(1, ("",), (2,), ("", "\x1b[2J"), (4, 4))))
        await it.press("enter")
        assert it.map == MapRequest()
        assert "name no hall or rack" in it.text
        await it.show(SiteMap(metric="power", unit="W", layout=MapLayout()))
        assert "nothing is here" in it.text
        await it.press("right", "down", "end", "pagedown", "enter", "right_square_bracket")
        assert it.heat.cursor is None
