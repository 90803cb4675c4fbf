"""Power and cooling as rows and lines: pure functions, no terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colossus_tui.model import (
    CoolingLoop,
    FacilityFault,
    FacilityLink,
    Measured,
    PlaceKind,
    PowerPlace,
    PowerView,
    Quality,
)
from colossus_tui.text import celsius, flow, leak, signed, width
from colossus_tui.tui.theme import ASCII, DARK, UNICODE, Glyphs
from colossus_tui.tui.views import GAP, LEFT, Line
from colossus_tui.tui.views.power import (
    columns_for,
    detail_lines,
    loop_lines,
    rows_of,
    source_lines,
)

HOSTILE = "\x1b[2J[bold red]boo[/]\r\n\u202e"
GOOD = Measured(4.4e6, Quality.GOOD, 1.0)
SITE = PowerPlace(
    PlaceKind.SITE,
    "",
    drawn_watts=174e6,
    basis="GPUs",
    gpu_watts=174e6,
    reporting_gpu_count=550_000,
    gpu_count=550_000,
    change_1s_watts=-1.3e6,
    change_60s_watts=0.0,
)
FEED = PowerPlace(
    PlaceKind.FEED,
    "A",
    limit_watts=60e6,
    limit_name="feed A",
    drawn_watts=55e6,
    basis="meter",
    meter=GOOD,
    gpu_watts=50e6,
    reporting_gpu_count=99,
    gpu_count=100,
    age_seconds=12.0,
)
HALL = PowerPlace(
    PlaceKind.HALL,
    "hall-1",
    parent="A",
    limit_watts=30e6,
    drawn_watts=31e6,
    basis="GPUs + CPUs",
    meter=replace(GOOD, quality=Quality.STALE, age_seconds=340.0),
    gpu_watts=30e6,
    cpu_watts=1e6,
    detail="its meter told nothing for 5m40s",
)
RACK = PowerPlace(PlaceKind.RACK, "r/1", parent="hall-1")
LOOP = CoolingLoop(
    "cdu-1",
    ("hall-1",),
    Measured(31.5),
    Measured(41.0),
    Measured(0.1),
    Measured(0.0),
    4e6,
    36.0,
)
VIEW = PowerView((SITE, FEED, HALL, RACK), (LOOP,), hall="hall-1")
SIZES = [80, 120, 200]


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


def cells(view: PowerView, wide: int, glyphs: Glyphs = UNICODE) -> list[dict[str, tuple[str, str]]]:
    columns = columns_for(wide, view)
    heads = [column.head for column, _ in columns]
    return [dict(zip(heads, row, strict=True)) for _, row in rows_of(view, columns, glyphs)]


@pytest.mark.parametrize("wide", SIZES)
def test_columns_fit_beside_a_scrollbar_and_the_weightiest_are_there(wide: int) -> None:
    columns = columns_for(wide, VIEW)

    assert LEFT + sum(room for _, room in columns) + GAP * (len(columns) - 1) < wide
    heads = [column.head for column, _ in columns]
    assert heads[0] == "PLACE"
    assert {"DRAWN", "BY", "LIMIT", "HEADROOM", "USED", "60 S"} <= set(heads)
    if wide == 200:
        assert {"1 S", "", "OTHER LOADS", "GPUS", "METER", "AGE", "WHY NOT THE METER"} <= set(heads)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("wide", SIZES)
def test_every_figure_fits_its_column(wide: int, glyphs: Glyphs) -> None:
    columns = columns_for(wide, VIEW)
    for _, row in rows_of(VIEW, columns, glyphs):
        for (column, room), (shown, style) in zip(columns, row, strict=True):
            assert width(shown) <= room, (column.head, shown)
            assert style in DARK.styles
            assert glyphs is UNICODE or shown.isascii()


def test_the_tree_is_indented_and_figures_have_units() -> None:
    site, feed, hall, rack = cells(VIEW, 200)

    assert [row["PLACE"][0] for row in (site, feed, hall, rack)] == [
        "site",
        " feed A",
        "  hall-1",
        "   r/1",
    ]
    assert [site["DRAWN"][0], feed["LIMIT"][0], hall["HEADROOM"][0]] == [
        "174 MW",
        "60.0 MW",
        "-1.0 MW",
    ]
    assert (site["1 S"][0], site["60 S"][0]) == ("-1.3 MW", "+0 W")
    assert feed["OTHER LOADS"] == ("5.0 MW", "old")
    assert (feed["AGE"], feed["METER"]) == (("12 s", "old"), ("good", "good"))
    assert feed["GPUS"] == ("▲99/100", "warn")
    assert {rack[head][0] for head in ("DRAWN", "LIMIT", "USED", "1 S", "AGE")} == {"n/a"}


@pytest.mark.parametrize(
    ("watts", "shown", "style"),
    [
        (26.9e6, "89.7 %", "plain"),
        (27e6, "▲ 90.0 %", "warn"),
        (29.1e6, "✗ 97.0 %", "bad"),
        (31e6, "✗ 103.3 %", "bad"),
    ],
)
def test_a_limit_that_is_nearly_used_is_told_by_glyph_and_colour(
    watts: float, shown: str, style: str
) -> None:
    view = PowerView((replace(HALL, drawn_watts=watts),))

    (row,) = cells(view, 200)
    assert row["USED"] == (shown, style)
    assert row[""][0].endswith("!") == (watts > 30e6)


def test_what_a_meter_is_not_believed_for_is_said_in_words() -> None:
    hall = cells(VIEW, 200)[2]

    assert hall["BY"] == ("▲GPUs + CPUs", "warn")
    assert hall["METER"] == ("stale", "old")
    assert hall["WHY NOT THE METER"][0] == "its meter told nothing for 5m40s"
    lines = detail_lines(HALL, 80)
    assert text(lines[0]).startswith("hall-1: its meter told nothing for 5m40s")
    assert "meter 4.4 MW (stale, 5m40s old)" in " ".join(map(text, detail_lines(HALL, 200)))


def test_a_modelled_meter_says_so() -> None:
    (row,) = cells(PowerView((replace(FEED, basis="meter (modelled)"),)), 80)

    assert row["BY"] == ("modelled", "dim")


@pytest.mark.parametrize("wide", SIZES)
def test_the_place_under_the_cursor_is_told_in_full_in_three_lines(wide: int) -> None:
    for place in VIEW.places:
        lines = detail_lines(place, wide - 2)
        assert 0 < len(lines) <= 3
        assert all(width(text(line)) <= wide - 2 for line in lines)
    whole = " ".join(text(line) for line in detail_lines(FEED, 78))
    for words in (
        "55.0 MW by meter",
        "feed A 60.0 MW",
        "91.7 % used",
        "headroom 5.0 MW",
        "1 s n/a",
    ):
        assert words in whole
    assert detail_lines(None, 80) == []


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("wide", SIZES)
def test_loops_have_supply_return_flow_heat_and_leak(wide: int, glyphs: Glyphs) -> None:
    head, line = loop_lines(VIEW, wide - 3, glyphs)

    assert all(width(text(one)) <= wide - 3 for one in (head, line))
    for words in ("31.5 °C", "41.0 °C", "9.5 K", "6,000 l/min", "4.0 MW", "dry", "hall-1"):
        assert words in text(line)


def test_what_is_wrong_with_loops_comes_first_and_is_said() -> None:
    leaking = replace(LOOP, name="z", leak=Measured(1.0))
    warm = replace(LOOP, name="y", supply_celsius=Measured(37.0))
    old = replace(LOOP, name="x", flow_m3_per_second=Measured(0.1, Quality.STALE, 300.0))
    bad = replace(LOOP, name="w", return_celsius=Measured(41.0, Quality.BAD))
    lines = loop_lines(PowerView(loops=(LOOP, old, bad, warm, leaking)), 100, UNICODE)[1:]

    assert [text(line)[:5].strip() for line in lines] == ["z", "y", "w", "x", "cdu-1"]
    assert "✗ LEAK" in text(lines[0])
    assert ("▲37.0 °C", "warn") in [(t.strip(), s) for t, s in lines[1]]
    assert ("~41.0 °C", "bad") in [(t.strip(), s) for t, s in lines[2]]
    assert ("~6,000 l/min", "old") in [(t.strip(), s) for t, s in lines[3]]
    assert text(lines[2]).endswith("return bad")
    assert text(lines[3]).endswith("flow 5m00s old")


def test_a_loop_without_sensors_says_nothing_that_is_not_known() -> None:
    (_, line) = loop_lines(PowerView(loops=(CoolingLoop("1"),)), 80, UNICODE)

    assert text(line).split() == ["1", *["n/a"] * 6]
    assert loop_lines(PowerView(), 80, UNICODE) == []


def test_sources_and_what_could_not_be_taken_are_told() -> None:
    up = FacilityLink("mqtt", "mqtt://127.0.0.1:1883", "up", "", 1, 5_000)
    away = FacilityLink("redfish", "https://pdu-7", "away", "HTTP 401", 1)
    fault = FacilityFault("from_the_future", 3, "a/b", "measured 90 s from now", 1)

    assert "[facility]" in text(source_lines(PowerView(), 80)[0])
    (one,) = source_lines(PowerView(links=(up,)), 80)
    assert "mqtt://127.0.0.1:1883 up for" in text(one)
    assert "5,000 values" in text(one)
    lines = source_lines(PowerView(links=(up, away), faults=(fault,)), 120)
    assert text(lines[0]).startswith("sources 1/2 up, 5,000 values")
    assert text(lines[1]).startswith("https://pdu-7: HTTP 401")
    assert "3 not taken" in text(lines[2])
    assert "from the future: a/b: measured 90 s from now" in text(lines[2])


def test_what_others_say_is_harmless() -> None:
    place = replace(HALL, name=HOSTILE, detail=HOSTILE, basis=HOSTILE, limit_name=HOSTILE)
    loop = replace(LOOP, name=HOSTILE, halls=(HOSTILE,))
    link = FacilityLink("mqtt", HOSTILE, "away", HOSTILE, 1)
    fault = FacilityFault(HOSTILE, 1, HOSTILE, HOSTILE, 1)
    view = PowerView((place,), (loop,), (link,), (fault,))
    lines = [
        *detail_lines(place, 100),
        *loop_lines(view, 100, UNICODE),
        *source_lines(view, 100),
        *[row for _, row in rows_of(view, columns_for(200, view), UNICODE)],
    ]

    assert all(text(line).isprintable() for line in lines)


def test_texts_of_the_building() -> None:
    assert (signed(1_500.0, "W"), signed(-2.0, "W"), signed(None, "W")) == (
        "+1.5 kW",
        "-2 W",
        "n/a",
    )
    assert (celsius(31.46), celsius(None)) == ("31.5 °C", "n/a")
    assert (flow(0.1), flow(None)) == ("6,000 l/min", "n/a")
    assert (flow(0.8526), flow(2.1)) == ("51.2 m3/min", "126 m3/min")
    assert (leak(1.0), leak(0.0), leak(None)) == ("LEAK", "dry", "n/a")
