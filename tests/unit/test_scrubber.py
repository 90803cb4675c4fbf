"""The scrubber: where a replay stands, in any width, told by words and glyphs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.model import Mark, MarkKind, Playback
from colossus_tui.text import width
from colossus_tui.tui.theme import ASCII, UNICODE, Glyphs
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.scrubber import scrubber

START, SECOND = 1_800_000_000 * 10**9, 10**9


def playback(at: float = 30.0, length: float = 100.0, **changes: object) -> Playback:
    values: dict[str, object] = {
        "start_time_unix_ns": START,
        "end_time_unix_ns": START + int(length * SECOND),
        "position_time_unix_ns": START + int(at * SECOND),
        **changes,
    }
    return Playback(**values)  # type: ignore[arg-type]


def text(line: Line) -> str:
    return "".join(part for part, _ in line)


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@given(
    cells=st.integers(20, 250),
    at=st.floats(-10, 200_000),
    length=st.floats(0, 100_000),
    marks=st.lists(st.integers(-5, 200_000), max_size=20),
    speed=st.sampled_from([0.1, 1.0, 60.0, 600.0]),
)
def test_it_fits_any_width(
    glyphs: Glyphs, cells: int, at: float, length: float, marks: list[int], speed: float
) -> None:
    found = tuple(Mark(START + second * SECOND, MarkKind.ALERT) for second in marks)
    lines = scrubber(playback(at, length, marks=found, speed=speed), cells, glyphs)

    assert len(lines) == 1
    if cells >= 70:
        assert width(text(lines[0])) <= cells
        assert " REPLAY " in text(lines[0])


def test_it_says_in_words_whether_it_plays_and_how_fast() -> None:
    playing, paused = (
        text(scrubber(playback(speed=8.0, paused=paused), 100, ASCII)[0])
        for paused in (False, True)
    )

    assert "playing 08:00:30 x8 " in playing
    assert "paused  08:00:30 x8 " in paused
    assert "30 s of 1m40s" in playing


def test_alerts_and_actions_differ_without_colours() -> None:
    marks = (
        Mark(START + 60 * SECOND, MarkKind.ALERT),
        Mark(START + 60 * SECOND, MarkKind.ACTION),  # in the alert's cell
        Mark(START + 90 * SECOND, MarkKind.ACTION),
    )
    for glyphs, alert, action in ((UNICODE, "▲", "◆"), (ASCII, "!", "a")):
        bar = text(scrubber(playback(marks=marks), 120, glyphs)[0]).split(" x1 ")[1].split()[0]
        assert bar.count(alert) == 1
        assert bar.count(action) == 1
        assert bar.index(alert) < bar.index(action)


def test_the_bar_grows_with_the_position() -> None:
    done, here = ASCII.scrub[:2]
    places = [
        text(scrubber(playback(at), 120, ASCII)[0]).index(here) for at in (0.0, 25.0, 50.0, 100.0)
    ]

    assert places == sorted(set(places))
    assert done in text(scrubber(playback(50.0), 120, ASCII)[0])


def test_what_is_missing_damaged_or_wrong_stands_below() -> None:
    alert = Mark(START, MarkKind.ALERT, "6t: rank\x1b[2J 117 is slow")
    damaged = scrubber(playback(damage="cut at 14:03:22: \x1bit ends"), 80, ASCII)
    missing = scrubber(playback(damage="cut", missing="not recorded: \x07node"), 80, ASCII)
    at_alert = scrubber(playback(mark=alert), 80, ASCII)

    assert text(damaged[1]).strip() == "cut at 14:03:22: \N{REPLACEMENT CHARACTER}it ends"
    assert "not recorded" in text(missing[1])
    assert text(at_alert[1]).startswith(" ! 6t: rank")
    for lines in (damaged, missing, at_alert):
        assert len(lines) == 2
        assert text(lines[1]).isprintable()
