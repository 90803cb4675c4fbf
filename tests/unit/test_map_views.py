"""What a map shows, as levels, places and text: pure functions, no terminal."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Sequence
from dataclasses import replace

import pytest

from colossus_tui.model import (
    Extreme,
    Found,
    FoundGpu,
    MapLayout,
    MapRequest,
    NamedLimit,
    Place,
    PlaceKind,
    RollUp,
    Run,
    RunDetail,
    SiteMap,
    Spread,
)
from colossus_tui.model.match import MatchError, parse_gpus
from colossus_tui.tui.actions import offered
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.theme import ASCII, DARK, MONO, UNICODE, Glyphs
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.detail import run_lines
from colossus_tui.tui.views.find import FOUND_COLUMNS, filters_of, found_cells, only_node
from colossus_tui.tui.views.grid import plan
from colossus_tui.tui.views.heat import (
    LEVELS,
    MARK_SHIFT,
    MISSING,
    UNMATCHED,
    Scale,
    outliers,
    picture_of,
    quantised,
    scale_of,
)
from colossus_tui.tui.views.map import (
    Beside,
    cell_of,
    cursor_after,
    limit_lines,
    short_lines,
    step_down,
    tall_lines,
)
from colossus_tui.tui.widgets.ink import NOTHING, Ink

HOSTILE = "\x1b[2J[bold red]boo[/]\r\n\u202e"
SCALE = Scale("gpu_temperature", "C", 0.0, 100.0)
NAN = math.nan


def text(lines: Sequence[Line]) -> str:
    return "\n".join("".join(part for part, _ in line).rstrip() for line in lines)


def layout(*groups: tuple[str, Sequence[str]], revision: int = 1) -> MapLayout:
    names = tuple(name for _, cells in groups for name in cells)
    return MapLayout(
        revision,
        tuple(name for name, _ in groups),
        tuple(len(cells) for _, cells in groups),
        names,
        (72,) * len(names),
    )


def map_of(
    values: Sequence[float],
    states: bytes = b"",
    matches: Sequence[int] = (),
    places: MapLayout | None = None,
    metric: str = "gpu_temperature",
    unit: str = "C",
) -> SiteMap:
    names = [f"r{index}" for index in range(len(values))]
    return SiteMap(
        metric=metric,
        unit=unit,
        layout=places or layout(("hall-1", names)),
        values=array("f", values).tobytes(),
        states=states or b"\x01" * len(values),
        matching_counts=array("i", matches).tobytes(),
        matching_gpu_count=sum(matches),
    )


def beside(
    site_map: SiteMap, glyphs: Glyphs = UNICODE, where: str = "", cursor: int | None = 0
) -> Beside:
    request = MapRequest(site_map.hall, site_map.rack)
    picture = picture_of(site_map, None)
    return Beside(picture, request, cursor, (), where, (), glyphs, glyphs is UNICODE)


def test_a_value_leaves_its_level_only_by_more_than_noise() -> None:
    first = quantised([39.0, 41.0, NAN, -5.0, 500.0], SCALE, None)
    assert list(first) == [3, 4, MISSING, 0, 9]

    assert list(quantised([41.0, 39.0, 50.0, -9.0, 200.0], SCALE, first)) == [3, 4, 5, 0, 9]
    assert list(quantised([45.0, 35.0, NAN, 15.0, 85.0], SCALE, first)) == [4, 3, MISSING, 1, 8]


def test_noise_changes_few_cells() -> None:
    noise = random.Random(1)
    values = [noise.uniform(20, 90) for _ in range(2_000)]
    picture = picture_of(map_of(values), None)
    changed = 0
    for _ in range(10):
        noisy = [value * (1 + noise.gauss(0, 0.01)) for value in values]
        after = picture_of(map_of(noisy), picture)
        changed += sum(a != b for a, b in zip(picture.codes, after.codes, strict=True))
        assert after.scale == picture.scale
        picture = after
    assert changed / 10 < 2_000 * 0.01


def test_a_scale_is_round_and_stays_until_values_leave_it() -> None:
    first = scale_of("power", "W", [63_000.0, 104_000.0], None)

    assert first.ends() == ("60.0 kW", "110 kW")
    assert scale_of("power", "W", [61_000.0, 111_000.0], first) == first
    assert scale_of("power", "W", [61_000.0, 190_000.0], first) != first
    assert scale_of("power", "W", [70_000.0, 71_000.0], first) != first
    assert scale_of("tensor_active", "ratio", [0.4], None).ends() == ("0 %", "100 %")
    assert scale_of("power", "W", [NAN], first) == first
    assert scale_of("age", "s", [2.0, 3.0], None).low == 0.0
    assert scale_of("memory_used", "B", [2.0**40, 2.0**41], None).ends() == ("1.0 TiB", "2.0 TiB")


def test_one_mad_value_does_not_flatten_all_others() -> None:
    scale = scale_of("gpu_temperature", "C", [*(50.0 + i / 10 for i in range(200)), 5e8], None)

    assert scale.high < 100


def test_states_are_marks_and_what_a_filter_misses_is_dimmed() -> None:
    site_map = map_of([50.0] * 7, bytes([1, 2, 3, 4, 9, 12, 0]), [1, 0, 1, 1, 1, 1, 1])

    codes = picture_of(site_map, None).codes

    assert [code >> MARK_SHIFT & 3 for code in codes] == [0, 0, 2, 3, 1, 3, 0]
    assert [bool(code & UNMATCHED) for code in codes] == [False, True, *[False] * 5]
    assert picture_of(site_map, None).counts() == (3, 1, 1, 2)


def test_health_is_drawn_from_the_states() -> None:
    picture = picture_of(map_of([NAN] * 5, bytes([1, 2, 3, 4, 9]), metric="health", unit=""), None)

    assert [code & 15 for code in picture.codes] == [0, 3, 6, 9, 0]
    shown = text(tall_lines(beside(picture.site_map), 58, 40))
    assert "HEALTH BY RACK" in shown
    assert "0 live  3 grey  6 stale  9 lost" in shown


def test_numbers_that_are_too_few_are_missing() -> None:
    short = replace(map_of([50.0, 60.0, 70.0]), values=array("f", [50.0]).tobytes(), states=b"")

    assert [code & 15 for code in picture_of(short, None).codes][1:] == [MISSING, MISSING]
    assert picture_of(SiteMap(), None).codes == b""
    assert "nothing is here" in text(short_lines(beside(SiteMap(), cursor=None), 78, 8))


def test_the_legend_has_both_ends_with_their_unit_and_counts_what_is_wrong() -> None:
    site_map = map_of([20.0, 60.0, 90.0], bytes([1, 3, 4]))

    shown = text(tall_lines(beside(site_map), 58, 40))

    assert "TEMPERATURE BY RACK" in shown
    assert "20 °C 0123456789 100 °C" in shown
    assert "· n/a  ▲ failing  ○ 1 stale  ✗ 1 lost" in shown
    assert "hall-1 > r0" in shown
    assert "20 °C  live  72 GPUs" in shown


def test_without_colours_everything_is_ascii_and_no_two_things_look_alike() -> None:
    codes = [*range(LEVELS + 1), 16, 32, 48, UNMATCHED | 3]
    ink = Ink(ASCII, MONO)
    drawn = [ink.cell(code, 1, "", False)[0] for code in codes]

    assert "".join(drawn) == "0123456789.!ox-"
    site_map = map_of([20.0, NAN], bytes([1, 4]), [3, 0])
    shown = text(short_lines(beside(site_map, ASCII, "run=a"), 78, 8))
    assert shown.replace("°", "").isascii()
    assert "- no match" in shown


def test_two_cells_in_a_character_keep_what_is_wrong_in_sight() -> None:
    ink = Ink(UNICODE, DARK)

    assert ink.pair(3, 3, -1)[0] == " "
    assert ink.pair(3, 4, -1)[0] == "▀"
    assert ink.pair(3, NOTHING, -1)[0] == "▀"
    assert ink.pair(3, 3 << MARK_SHIFT, -1)[0] == "✗"
    assert ink.pair(1 << MARK_SHIFT, 2 << MARK_SHIFT, -1)[0] == "○"
    assert ink.pair(MISSING, 4, -1)[0] == "·"
    assert [ink.pair(3, 4, half)[0] for half in (0, 1)] == ["▀", "▄"]
    assert ink.cell(5, 2, "", True)[0] == ">5"


def test_hostile_names_draw_nothing_of_their_own() -> None:
    worst = (Extreme(HOSTILE, 1, 90.0, HOSTILE, 3, 9.0),)
    roll_up = RollUp("gpu_temperature", "C", 4, 3, worst=worst, age_seconds=9.0)
    places = layout((HOSTILE, [HOSTILE, "b"]))
    site_map = replace(
        map_of([50.0, 60.0], places=places), roll_up=roll_up, where_error=HOSTILE, hall=HOSTILE
    )
    full = replace(beside(site_map), limits=(NamedLimit(HOSTILE),), notes=(HOSTILE,))
    gpu = FoundGpu(HOSTILE, 0, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    place = Place(PlaceKind.RUN, HOSTILE, roll_ups=(roll_up,))
    shown = [
        *tall_lines(full, 58, 60),
        *short_lines(full, 78, 20),
        *run_lines(RunDetail(Run("r"), place=place), (), 75, ASCII),
        tuple(found_cells(gpu).values()),
    ]

    assert "boo" in text(shown)
    assert text(shown).replace("\n", "").isprintable()


def test_the_cursor_keeps_its_cell_when_the_layout_changes() -> None:
    before = layout(("h1", ["a", "b"]), ("h2", ["a", "b", "c"]))
    after = layout(("h0", ["x", "y", "z"]), ("h1", ["a"]), ("h2", ["b", "c"]), revision=2)

    assert cursor_after(before, after, 4) == 5  # h2 > c
    assert cursor_after(before, after, 1) == 3  # h1 > b is gone: what is left of h1
    assert cursor_after(before, layout(("n", ["q"])), 4) == 0
    assert cursor_after(MapLayout(), after, 0) == 0
    assert cell_of(after, "h2", "c") == 5
    assert cell_of(after, "nowhere") is None


def test_a_giant_site_fits_a_wall_and_scrolls_on_a_small_terminal() -> None:
    sizes = [403 if index < 2 else 402 for index in range(19)]
    giant = layout(*((f"hall-{i:02}", [f"r{n}" for n in range(s)]) for i, s in enumerate(sizes)))

    wall = plan(giant, 137, 42, few=False, halves=True)
    small = plan(giant, 77, 12, few=False, halves=True)
    plain = plan(giant, 137, 42, few=False, halves=False)

    assert len(wall.lines) <= 42
    assert len(small.lines) < 80
    assert plain.stack == 1
    for grid in (wall, small, plain):
        places = {grid.place(index) for index in range(7_640)}
        assert len(places) == 7_640
        assert all(grid.at(*grid.place(index)) == index for index in range(0, 7_640, 7))


def test_arrows_go_to_the_cell_beside_and_stop_at_the_edges() -> None:
    grid = plan(
        layout(*((f"group-{g}", [str(c) for c in range(10)]) for g in range(4))),
        40,
        4,
        few=False,
        halves=True,
    )
    for index in range(40):
        right = grid.beside(index, 1)
        if grid.place(right)[1:] == grid.place(index)[1:] and right != index:
            assert grid.beside(right, -1) == index
        assert 0 <= grid.above(index, 1) <= index <= grid.above(index, -1) < 40
    assert grid.above(20, 100) < 10 or grid.place(20)[1] < 3
    assert grid.beside(0, -1) == 0
    assert grid.beside(39, 1) == 39


def test_few_cells_say_their_numbers() -> None:
    rack = layout(*((f"node-{n}", ["0", "1", "2", "3"]) for n in range(18)))
    picture = picture_of(map_of([612.0] * 72, places=rack, metric="power", unit="W"), None)

    assert plan(rack, 137, 42, few=True, halves=True).cell == 8
    assert picture.texts[0] == "612W"
    assert Ink(UNICODE, DARK).cell(picture.codes[0], 8, "612W", True)[0] == ">612W   "


def test_outliers_come_the_worst_first() -> None:
    values = [50.0 + index % 3 for index in range(20)]
    values[3], values[7], values[9] = 99.0, 88.0, 1.0
    states = bytearray(b"\x01" * 20)
    states[12], states[13] = 3, 4
    site_map = map_of(values, bytes(states))

    assert outliers(picture_of(site_map, None)) == [13, 12, 3, 7]
    low = replace(site_map, metric="sm_clock", unit="MHz")
    assert outliers(picture_of(low, None)) == [13, 12, 9]
    matches = [0 if index in (13, 3) else 1 for index in range(20)]
    some = replace(site_map, matching_counts=array("i", matches).tobytes())
    assert outliers(picture_of(some, None)) == [12, 7]
    assert outliers(picture_of(map_of([50.0] * 5), None)) == []


def test_a_filter_says_how_many_it_meets_or_what_is_wrong() -> None:
    site_map = map_of([50.0, 60.0], matches=[0, 1_204])
    site_map = replace(site_map, layout=replace(site_map.layout, gpu_counts=(275_000,) * 2))  # type: ignore[type-var]

    shown = text(tall_lines(beside(site_map, where="temp>85"), 58, 40))
    wrong = text(short_lines(beside(replace(site_map, where_error="no field 'tmp'")), 78, 9))

    assert "1,204 of 550,000 GPUs match" in shown
    assert "no match" in shown
    assert "filter: no field 'tmp'" in wrong


def test_limits_are_marked_when_they_come_near_and_the_nearest_is_first() -> None:
    limits = (
        NamedLimit("far", "", 100.0, 50.0, 4, 4),
        NamedLimit("unknown", "", 100.0, None, 0, 4),
        NamedLimit("near", "hall-1", 100.0, 91.0, 4, 4),
        NamedLimit("full", "hall-2", 100.0, 98.0, 3, 4),
    )
    here = replace(beside(map_of([50.0])), limits=limits)

    lines = limit_lines(here, 6)

    assert [line[1][0].strip() for line in lines] == ["full", "near", "far", "unknown"]
    assert [line[0] for line in lines[:3]] == [("✗ ", "bad"), ("▲ ", "warn"), ("  ", "plain")]
    assert "98 % of 100 W  75 % reports" in text(lines)
    assert "n/a" in text(lines[3:])
    hall = replace(here, request=MapRequest("hall-1"))
    assert [line[1][0].strip() for line in limit_lines(hall, 6)] == ["near", "far", "unknown"]


def test_a_map_opens_hall_then_rack_then_node() -> None:
    site = layout(("h1", ["r1", "r2"]), ("h2", ["r1"]))

    assert step_down(MapRequest(), site, 2) == ("h2", "")
    assert step_down(MapRequest("h2"), layout(("r1", ["n1"]), ("r2", ["n2"])), 1) == ("h2", "r2")
    assert step_down(MapRequest("h2", "r1"), layout(("n1", ["0"])), 0) is None


def test_what_is_looked_for_becomes_filters() -> None:
    assert filters_of("10t:42") == ["run=10t and rank=42"]
    assert filters_of(" node-17 ")[0] == "node=node-17"
    assert filters_of("GPU-8f")[1] == "node~'gpu-8f*' or uuid~'gpu-8f*'"
    assert filters_of("run=10t and temp>85") == ["run=10t and temp>85"]
    for one in ("10t:42", "node-17", "GPU-8f", "a:b", "it:3s"):
        for where in filters_of(one):
            parse_gpus(where)
    for wrong in ("", "  ", "tempp>85", "temp>", "a ("):
        with pytest.raises(MatchError):
            filters_of(wrong)


def test_what_was_found_on_one_node_needs_no_choice() -> None:
    one, two = FoundGpu("a", 0, rank=3), FoundGpu("b", 1, age_seconds=9.0)

    assert only_node(Found(2, (one, replace(one, gpu_index=1)))) == one
    assert only_node(Found(2, (one, two))) is None
    assert only_node(Found(9, (one,))) is None
    assert only_node(Found(0, ())) is None
    assert set(found_cells(two)) == {head for head, _, _ in FOUND_COLUMNS}


def test_a_run_names_its_worst_gpus_in_place_of_spreads_of_gpus() -> None:
    spreads = (
        Spread("step_seconds", "s", 1.0, 1.0, 1.0),
        Spread("power", "W", 1.0, 2.0, 3.0, max_where="from the list"),
    )
    worst = (Extreme("node-7", 3, 97.0, "10t", 1_204),)
    power = RollUp("power", "W", 8, 7, 5_000.0, 500.0, 600.0, 900.0, 890.0, 1.0, worst)
    detail = RunDetail(Run("10t"), spreads=spreads)

    with_place = text(
        run_lines(
            replace(detail, place=Place(PlaceKind.RUN, "10t", roll_ups=(power,))), (), 100, ASCII
        )
    )

    assert "worst: node-7 GPU 3, rank 1,204" in with_place
    assert "7/8" in with_place
    assert "from the list" not in with_place
    assert "step time" in with_place
    assert "from the list" in text(run_lines(detail, (), 100, ASCII))


def test_a_line_is_typed_rubbed_out_and_pasted() -> None:
    entry = Entry("filter")
    for key in "ab":
        assert entry.press(key, key)
    assert entry.press("backspace", None)
    assert not entry.press("up", None)
    assert not entry.press("f1", "\x1b")
    entry.paste(" c\x1b\nd ")
    assert entry.text == "acd"
    assert entry.press("ctrl+u", None)
    assert entry.text == ""


def test_the_map_offers_no_key_twice() -> None:
    for scope in ("map", "found"):
        keys = [key for command in offered(scope) for key in command.keys.split(",")]
        assert len(keys) == len(set(keys)), scope
