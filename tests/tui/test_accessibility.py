"""Nothing is told by colour alone: every screen, looked at for what is lost without colours.

The rules:
1. A span in the style of a warning or a failure holds a word or a glyph, or another of the same
   style beside it on its line does, or it stands in a column whose head is the word.
2. Two spans of a column or a text that read the same have the same meaning: where their styles
   differ in more than how quiet they are, what differs is written. A row of old figures says so.
3. The row and the cell under the cursor are marked by a glyph, or reversed.
4. A map tells its levels by digits; where two cells share a character, a legend says digit and
   colour, lightness orders the colours (tests/unit/test_themes.py), and a key brings the digits.
5. Without colours a screen has the same characters, and no colour at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

import pytest
from textual.strip import Strip

from colossus_tui.tui.compositor import lines_of
from colossus_tui.tui.theme import DARK, UNICODE
from colossus_tui.tui.views import Span
from colossus_tui.tui.widgets.heatmap import HeatMap
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table
from tests.tui.pictures import SCREENS, Stage, stage

COVERAGE = re.compile(r"([\d,]+)/([\d,]+)")
LOUD = {"warn", "bad"}
QUIET = {
    "plain",
    "dim",
    "faint",
    "strong",
    "head",
    "old",
}  # among these a style is only how loud it is
GLYPHS = {*UNICODE.states.values(), *UNICODE.severities.values(), *UNICODE.marks} - {"", "·"}
Lined: TypeAlias = list[list[tuple[str, Span]]]
WORDS = {"FAILING", "ALERTS"}  # heads that say what a number under them means


def lines_on(it: Stage) -> Iterator[list[tuple[str, Span]]]:
    """Every line of text and every row of a table: its spans, each with its column's head."""
    for screen in it.app.screen_stack:
        for lines in screen.query(Lines):
            yield from ([("", span) for span in line] for line in lines._lines)
        for table in screen.query(Table):
            heads = [column.head for column in table._columns]
            yield from (list(zip(heads, row, strict=True)) for row in table._rows)


def says(text: str) -> bool:
    """Whether a span has a word or a glyph; of "37/40" the numbers say that some are missing."""
    if (part := COVERAGE.fullmatch(text.strip())) and part[1] != part[2]:
        return True
    return any(character.isalpha() or character in GLYPHS for character in text)


def text_of(strips: list[Strip]) -> str:
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


@pytest.mark.parametrize("name", SCREENS)
async def test_nothing_is_told_by_colour_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(monkeypatch, (200, 50)) as it:
        await SCREENS[name](it)
        await it.pilot.pause()
        lines = list(lines_on(it))

        assert list(wordless(lines)) == []
        assert list(alike(lines)) == []
        assert [line for line in lines if is_old(line) and not says_old(line)] == []


def wordless(lines: Lined) -> Iterator[tuple[str, Span]]:
    """Spans that only their colour makes a warning."""
    for line in lines:
        for head, (text, style) in line:
            said = any(says(other) for _, (other, same) in line if same == style)
            if style in LOUD and text.strip() and not said and head not in WORDS:
                yield head, (text, style)


def alike(lines: Lined) -> Iterator[tuple[str, str, str, str]]:
    """Spans that read the same and do not mean the same."""
    seen: dict[tuple[str, str], str] = {}
    for line in lines:
        for head, (text, style) in line:
            if style in LOUD and any(says(other) for _, (other, same) in line if same == style):
                continue  # the line says it
            before = seen.setdefault((head, text), style)
            if says(text) and before != style and not {before, style} <= QUIET:
                yield head, text, before, style


def is_old(line: list[tuple[str, Span]]) -> bool:
    return any(style == "old" and any(map(str.isdigit, text)) for _, (text, style) in line)


def says_old(line: list[tuple[str, Span]]) -> bool:
    """Whether a line with old figures has their age, a mark, or a state in which none move."""
    texts = [(head, text) for head, (text, _) in line]
    aged = any("age" in text or "old" in text or "~" in text for _, text in texts)
    return aged or any(
        (head == "AGE" and text != "< 5 s") or (head == "STATE" and text != "● running")
        for head, text in texts
    )


@pytest.mark.parametrize("name", SCREENS)
async def test_without_colours_a_screen_says_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(monkeypatch, (120, 40)) as it:
        await SCREENS[name](it)
        it.app.show_theme("contrast")  # maps with digits, as without colours
        await it.pilot.pause()
        before = text_of(lines_of(it.app.screen))

        it.app.show_theme("mono")
        await it.pilot.pause()

        strips = lines_of(it.app.screen)
        frame = str.maketrans("┌┐└┘─│", "      ")  # of a card, in place of its ground
        if not name.startswith(("card", "bulk")):
            same = text_of(strips)
            if name == "map-filtered":  # what a filter does not meet: blank, or a sign
                signs = str.maketrans("", "", "- ")
                same, before = same.translate(signs), before.translate(signs)
            assert same == before
        else:
            words = text_of(strips).translate(frame).split()
            assert set(before.split()) - set(words) == set()
        for strip in strips:
            for _, style, _ in strip:
                assert style is None or style.color is None or style.color.is_default
                assert style is None or style.bgcolor is None or style.bgcolor.is_default


@pytest.mark.parametrize("theme", ["dark", "contrast", "mono"])
async def test_the_cursor_is_seen_without_colours(
    theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SCREENS:
        async with stage(monkeypatch, (80, 24)) as it:
            await SCREENS[name](it)
            it.app.show_theme(theme)
            await it.pilot.pause()
            for table in it.app.screen.query(Table):
                if not table._rows or not table.has_focus:
                    continue
                y = table._cursor + 1 - table.scroll_offset.y
                rows = [table.render_line(line) for line in range(1, table.size.height)]
                assert rows[y - 1].text.startswith(">")
                assert sum(row.text.startswith(">") for row in rows) == 1
            for heat in it.app.screen.query(HeatMap):
                _mark_of_the_cursor(heat, theme)


def _mark_of_the_cursor(heat: HeatMap, theme: str) -> None:
    """The cell under the cursor has a glyph, is reversed, or is the only one of its colour."""
    assert heat.grid is not None
    assert heat.cursor is not None
    x, line, _ = heat.grid.place(heat.cursor)
    strip = heat.render_line(line - heat.scroll_offset.y)
    segments = list(strip.crop(x, x + heat.grid.cell))
    if heat.grid.cell > 1:
        assert "".join(segment.text for segment in segments).startswith(">")
    elif theme == "mono":
        assert all(segment.style is not None and segment.style.reverse for segment in segments)
    else:
        styles = [segment.style for segment in segments if segment.style is not None]
        inks = [one.get_truecolor().hex for style in styles for one in (style.color, style.bgcolor)
                if one is not None]  # fmt: skip
        assert "#ffffff" in inks  # lighter than every level, dark's and contrast's


async def test_a_dense_map_has_a_legend_and_a_key_for_its_digits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(monkeypatch, (80, 24)) as it:
        await SCREENS["map"](it)
        heat = it.app.screen.query_one(HeatMap)
        assert heat.grid is not None
        assert heat.grid.stack == 2  # what this is about: two cells in a character
        legend = text_of(lines_of(it.app.screen))
        assert "0123456789" in legend

        await it.press("d")

        assert heat.grid.stack == 1
        rows = [heat.render_line(line).text for line in range(1, heat.size.height)]
        assert sum(character.isdigit() for row in rows for character in row) > 500
        await it.press("d")
        assert heat.grid.stack == 2
        for theme in ("contrast", "sixteen", "mono"):
            it.app.show_theme(theme)
            await it.pilot.pause()
            assert heat.grid.stack == 1


def test_the_legend_has_the_colours_of_the_map() -> None:
    for level in range(10):
        ground = DARK.styles[f"heat{level}"].bgcolor
        assert ground is not None
        assert ground.get_truecolor().hex == DARK.heat[level]
