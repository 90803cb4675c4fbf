"""Themes: what is read can be read, what differs differs, and which one a terminal begins with."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from colossus_tui.cli.main import main
from colossus_tui.tui.modes import COLOURED, THEME_NAMES, Modes, asked_modes, colours_of, is_utf8
from colossus_tui.tui.settings import Settings, SettingsError
from colossus_tui.tui.theme import MONO, SEVERITY_STYLES, SIXTEEN, STATE_STYLES, THEMES, Theme

# WCAG 2.2, https://www.w3.org/TR/WCAG22/: 1.4.3 text, 1.4.6 text for those who see little, 1.4.11
# what is not text.
AA, AAA, NOT_TEXT = 4.5, 7.0, 3.0
FULL = [THEMES[name] for name in COLOURED]


def luminance(colour: str) -> float:
    """Relative luminance as WCAG defines it; written apart from the product's own."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def ink(theme: Theme, style: str) -> str:
    colour = theme.styles[style].color
    assert colour is not None
    return colour.get_truecolor().hex


def grounds(theme: Theme) -> tuple[str, ...]:
    assert theme.cursor.bgcolor is not None
    return theme.background, theme.card, theme.cursor.bgcolor.get_truecolor().hex


def test_black_on_white_is_the_most_contrast_there_is() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # a known value


@pytest.mark.parametrize("theme", FULL, ids=lambda theme: theme.name)
def test_every_text_of_a_theme_can_be_read(theme: Theme) -> None:
    least = AAA if theme.name == "contrast" else AA
    levels = {f"heat{level}" for level in range(10)} | {"heat_dim"}
    wrong = {
        (style, ground): found
        for style in set(theme.styles) - levels
        for ground in grounds(theme)
        if (found := contrast(ink(theme, style), ground))
        < (NOT_TEXT if style == "faint" and least == AA else least)
    }

    assert wrong == {}
    for level, ground in enumerate(theme.heat):
        assert contrast(ink(theme, f"heat{level}"), ground) >= (AAA if least == AAA else NOT_TEXT)
        for style in ("plain", "warn", "bad"):
            assert contrast(theme.on(ground, style), ground) >= least
    for ground in theme.heat_dim:
        assert contrast(theme.on(ground, "warn"), ground) >= least
    assert contrast(theme.background, theme.here) >= AAA


@pytest.mark.parametrize("theme", FULL, ids=lambda theme: theme.name)
def test_levels_are_told_apart_without_colours_and_grow_louder(theme: Theme) -> None:
    away = [contrast(level, theme.background) for level in theme.heat]
    dim = [contrast(level, theme.background) for level in theme.heat_dim]

    assert len(theme.heat) == len(theme.heat_dim) == 10
    assert away == sorted(away)
    assert all(after / before > 1.03 for before, after in pairwise(away))
    assert dim == sorted(dim)
    assert all(quiet < loud for quiet, loud in zip(dim, away, strict=True))


def test_all_themes_have_the_same_styles_and_few_colours_have_no_levels() -> None:
    names = {name for name in THEMES["dark"].styles if not name.startswith("heat")}
    used = {*STATE_STYLES.values(), *SEVERITY_STYLES.values()}

    assert tuple(THEMES) == THEME_NAMES
    assert all(names <= set(theme.styles) for theme in THEMES.values())
    assert used <= names
    assert not MONO.heat
    assert not SIXTEEN.heat
    assert all(style.color is None and style.bgcolor is None for style in MONO.styles.values())


def test_good_bad_and_a_warning_differ_for_red_and_green_blind_eyes() -> None:
    theme = THEMES["colourblind"]
    # What a deuteranope sees of a colour is about its blue and the mean of red and green (Vienot,
    # Brettel, Mollon 1999, both axes of what is left).
    seen = []
    for style in ("good", "warn", "bad", "accent"):
        red, green, blue = (int(ink(theme, style)[at : at + 2], 16) for at in (1, 3, 5))
        seen.append(((red + green) / 2, blue))

    for index, (yellow, blue) in enumerate(seen):
        for other_yellow, other_blue in seen[index + 1 :]:
            assert abs(yellow - other_yellow) + abs(blue - other_blue) > 60


@pytest.mark.parametrize(
    ("colours", "modes", "remembered", "first"),
    [
        ("truecolor", Modes(), None, "dark"),
        ("256", Modes(), "light", "light"),
        ("standard", Modes(), None, "sixteen"),
        ("standard", Modes(), "light", "sixteen"),
        ("standard", Modes(), "mono", "mono"),
        (None, Modes(), "light", "mono"),
        ("truecolor", Modes(no_colour=True), "light", "mono"),
        ("standard", Modes(asked="light", no_colour=True), None, "light"),
    ],
)
def test_the_terminal_and_what_was_asked_decide(
    colours: str | None, modes: Modes, remembered: str | None, first: str
) -> None:
    settings = Settings()
    if remembered:
        settings.write("theme", remembered)

    assert modes.theme(colours_of(colours), settings) == (first, "")


@pytest.mark.parametrize(
    ("environment", "utf8"),
    [
        ({}, True),
        ({"LANG": "de_DE.UTF-8"}, True),
        ({"LANG": "C.utf8"}, True),
        ({"LANG": "en_US"}, True),
        ({"LANG": "de_DE.ISO-8859-1@euro"}, False),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, False),
        ({"LC_ALL": "", "LC_CTYPE": "ja_JP.eucJP", "LANG": "ja_JP.UTF-8"}, False),
    ],
)
def test_a_locale_without_utf8_gets_ascii(environment: dict[str, str], utf8: bool) -> None:
    assert is_utf8(environment) is utf8
    assert asked_modes(environment, ascii_only=False, theme=None).ascii_only is not utf8


def test_a_theme_that_there_is_not_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, named in (([], "pink"), (["--theme", "pink"], "")):
        monkeypatch.setenv("COLOSSUS_THEME", named)
        with pytest.raises(SystemExit) as end:
            main(words)
        said = capsys.readouterr().err
        assert end.value.code == 2
        assert "'pink'" in said
        assert all(name in said for name in THEME_NAMES)
        assert ("COLOSSUS_THEME" in said) is bool(named)


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"\xff", b'{"theme": ' + b"[" * 10_000], ids=range(4)
)
def test_damaged_settings_are_told_and_stay_as_they_are(content: bytes) -> None:
    settings = Settings()
    settings.path.parent.mkdir(parents=True)
    settings.path.write_bytes(content)

    name, wrong = Modes().theme(1 << 24, settings)

    assert name == "dark"
    assert str(settings.path) in wrong
    assert "move it away" in wrong
    with pytest.raises(SettingsError, match="move it away"):
        settings.write("theme", "light")
    assert settings.path.read_bytes() == content


def test_settings_keep_what_they_do_not_know(tmp_path: Path) -> None:
    settings = Settings()
    settings.write("of_a_newer_console", [1])
    settings.write("theme", "light")

    assert json.loads(settings.path.read_text()) == {"of_a_newer_console": [1], "theme": "light"}
    assert [path.name for path in settings.path.parent.iterdir()] == ["console.json"]
    settings.write("theme", 7)
    assert "theme '7' is none of" in settings.theme()[1]
