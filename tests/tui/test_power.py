"""The power screen, driven by its keys over made-up views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from colossus_tui.model import Incident, IncidentState, PlaceKind, PowerPlace, PowerView
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.map import MapScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.screens.power import PowerScreen
from tests.tui.test_map import Console, console
from tests.unit.test_power_views import LOOP, VIEW

SIZES = [(80, 24), (120, 40), (200, 50)]
CLOSED = replace(VIEW, places=VIEW.places[:3], hall="")


def opened(count: int) -> PowerView:
    racks = tuple(
        PowerPlace(PlaceKind.RACK, f"r{index:03}", "hall-1", drawn_watts=70e3 + index, basis="GPUs")
        for index in range(count)
    )
    return replace(VIEW, places=(*VIEW.places[:3], *racks))


async def at_power(one: Console, view: PowerView = CLOSED) -> None:
    await one.press("w")
    assert isinstance(one.app.screen, PowerScreen)
    await one.show(None, power=view)


def shown(one: Console, words: Sequence[str]) -> None:
    for word in words:
        assert word in one.text, (word, one.text)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ascii_only", [False, True])
async def test_w_opens_power_and_everything_is_there(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], ascii_only: bool
) -> None:
    async with console(monkeypatch, size, ascii_only=ascii_only) as one:
        await at_power(one)

        assert one.wanted[-1] == Wanted(power=True)
        shown(one, ["site", "feed A", "hall-1", "55.0 MW", "60.0 MW", "5.0 MW", "91.7 %"])
        shown(one, ["COOLING LOOP", "cdu-1", "31.5 ", "9.5 K", "6,000 l/min", "4.0 MW", "dry"])
        assert one.text.isascii() == ascii_only
        shown(one, ["1 s -1.3 MW", "550,000/550,000 GPUs", "[facility]", "help", "quit"])
        await one.press("escape")
        assert isinstance(one.app.screen, OverviewScreen)
        assert not one.wanted[-1].power


async def test_enter_opens_a_halls_racks_and_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await at_power(one)
        await one.press("enter")  # the site has nothing to open
        assert one.wanted[-1] == Wanted(power=True)
        await one.press("down", "down", "enter")

        assert one.wanted[-1] == Wanted(power=True, power_hall="hall-1")
        await one.show(None, power=opened(400))
        shown(one, ["racks of hall-1", "r000", "70.0 kW", "hall-1: its meter told"])
        await one.press("end")
        shown(one, ["r399", "r399: 70.4 kW"])
        await one.press("home", "down", "down", "enter")
        assert one.wanted[-1] == Wanted(power=True)


async def test_enter_on_a_rack_and_m_on_a_hall_open_the_map_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (120, 40)) as one:
        await at_power(one, opened(3))
        await one.press("down", "down", "down", "enter")
        assert isinstance(one.app.screen, MapScreen)
        assert one.map is not None
        assert (one.map.hall, one.map.rack) == ("hall-1", "r000")
        one.app.pop_screen()
        await one.press("up", "m")
        assert (one.map.hall, one.map.rack) == ("hall-1", "")
        await one.press("w")
        assert isinstance(one.app.screen, PowerScreen)


async def test_the_cursor_stays_on_its_place_when_others_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await at_power(one)
        await one.press("down", "down")
        new = PowerPlace(PlaceKind.FEED, "0", drawn_watts=1.0)
        await one.show(
            None, power=replace(CLOSED, places=(CLOSED.places[0], new, *CLOSED.places[1:]))
        )

        shown(one, ["hall-1: its meter told nothing"])


async def test_many_loops_leave_room_for_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        loops = tuple(replace(LOOP, name=f"loop-{index:02}") for index in range(40))
        await at_power(one, replace(opened(30), loops=loops))

        shown(one, ["r000", "r003", "loop-00"])
        await one.press("tab", "end")
        shown(one, ["r000", "[facility]"])


async def test_other_keys_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await at_power(one)
        for key in ("p", "S", "D", "v", "1", "space", "x", "F5"):
            await one.press(key)
        assert isinstance(one.app.screen, PowerScreen)
        shown(one, ["feed A"])


async def test_before_the_hub_has_answered_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await one.press("w", "down", "enter", "m", "escape")

        shown(one, ["asking for the site's power"])


async def test_the_opened_hall_is_kept_and_values_are_taken_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with console(monkeypatch, (80, 24)) as one:
        await at_power(one, opened(2))
        screen = one.app.screen
        assert isinstance(screen, PowerScreen)
        assert screen.thing() is None  # the site has no name
        await one.press("down", "down")
        assert screen.thing() == "hall-1"
        await one.press("enter")
        assert screen.saved_state() == {"hall": "hall-1"}
        found = screen.exported()
        assert found is not None
        assert (found.kind, found.about, len(found.rows)) == ("places", {"hall": "hall-1"}, 5)

        assert screen.restore({"hall": "hall-2"}) == ""
        assert one.wanted[-1] == Wanted(power=True, power_hall="hall-2")


async def test_an_incident_of_a_limit_opens_power_at_its_hall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incident = Incident(1, "power.limit", hall="hall-1", state=IncidentState.OPEN)
    async with console(monkeypatch, (120, 40)) as one:
        await one.press("i")
        await one.show(None, incidents=(incident,))
        await one.press("w")

        assert isinstance(one.app.screen, PowerScreen)
        assert one.wanted[-1] == Wanted(power=True, power_hall="hall-1")
