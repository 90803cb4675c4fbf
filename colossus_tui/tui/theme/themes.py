"""The themes: every style by its name, grounds, and the ten levels of a map.

Views name styles; only what is here knows colours. What is read is made readable when a theme is
built, on every ground that it may stand on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from rich.style import Style

from colossus_tui.tui.modes import THEME_NAMES
from colossus_tui.tui.theme.colours import FAINT, STRICT, TEXT, readable

OWN = "default"  # the terminal's own colour
MANY, FEW, NONE = 256, 16, 0  # colours; of many the nearest is taken
_BOLD = frozenset({"strong", "title", "warn", "bad", "key", "head"})
# Of curves, "curve0" and on: Okabe and Ito 2008, grey for their second blue, which would come out
# like the first once it is read on a dark ground.
CURVES = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#b8b8b8")
_SAME = {"title": "accent", "key": "accent", "head": "dim", "old": "dim"}


@dataclass(frozen=True, slots=True)
class Theme:
    """One look of everything.

    Attributes:
        meaning: For whom it is.
        needs: Colours that a terminal must have.
        styles: By the names that views use.
        background: Behind everything; `card` behind a card.
        cursor: Over the row under the cursor.
        here: The cell of a map under the cursor; a colour, or "" where the cell is reversed.
        heat: A colour for each level, from quiet to loud; empty where digits alone tell.
        heat_dim: The same where a filter meets nothing: never as loud as a cell that it meets.
        halves: Whether a map too dense for digits may have two cells in one character.
        least: Contrast ratio of all text.
        scrollbar: Of the bar; of the bar in use.
    """

    name: str
    meaning: str
    needs: int
    styles: Mapping[str, Style] = field(repr=False)
    background: str = OWN
    card: str = OWN
    cursor: Style = field(default_factory=Style)
    here: str = ""
    heat: tuple[str, ...] = ()
    heat_dim: tuple[str, ...] = ()
    dark: bool = True
    halves: bool = True
    least: float = TEXT
    scrollbar: tuple[str, str] = (OWN, OWN)

    def on(self, ground: str, style: str) -> str:
        """Return a style's colour so that it is read on this ground."""
        colour = self.styles[style].color
        assert colour is not None
        return readable(colour.get_truecolor().hex, (ground,), self.least)


def _ramp(colours: str) -> tuple[str, ...]:
    return tuple(colours.split())


def _theme(
    name: str,
    meaning: str,
    inks: Mapping[str, str],
    grounds: tuple[str, str, str],
    heat: tuple[str, ...],
    heat_dim: tuple[str, ...],
    *,
    here: str,
    scrollbar: tuple[str, str],
    least: float = TEXT,
    dark: bool = True,
    halves: bool = True,
) -> Theme:
    """Build a theme; grounds are the background, a card's and the cursor's."""
    faint = least if least == STRICT else FAINT
    styles = {
        style: Style(
            color=readable(
                inks[_SAME.get(style, style)], grounds, faint if style == "faint" else least
            ),
            bold=style in _BOLD or None,
            italic=style == "old" or None,
        )
        for style in (*inks, *_SAME)
    }
    for number, ink in enumerate(CURVES):
        styles[f"curve{number}"] = Style(color=readable(ink, grounds, least))
    for level, ground in enumerate(heat):
        ink = readable(ground, (ground,), faint)
        styles[f"heat{level}"] = Style(color=ink, bgcolor=ground)
    middle = heat_dim[len(heat_dim) // 2]
    styles["heat_dim"] = Style(color=readable(inks["faint"], (middle,), faint), bgcolor=middle)
    background, card, cursor = grounds
    return Theme(
        name,
        meaning,
        MANY,
        styles,
        background,
        card,
        Style(bgcolor=cursor),
        here,
        heat,
        heat_dim,
        dark,
        halves,
        least,
        scrollbar,
    )


DARK = _theme(
    "dark",
    "quiet, on a dark ground",
    {
        "plain": "#c9d1d9",
        "dim": "#8b949e",
        "faint": "#656d76",
        "strong": "#f0f6fc",
        "accent": "#56b4e9",
        "good": "#3fb99b",
        "warn": "#e69f00",
        "bad": "#ff7b57",
    },
    ("#0d1117", "#161b22", "#1f2d3d"),
    _ramp("#152238 #1a3352 #1f476d #265d83 #37758f #558d93 #7da38c #a8b87c #d3c869 #f5dc5f"),
    _ramp("#12161c #14181f #161b22 #181e26 #1b2129 #1e242c #21272f #242b33 #282f37 #2c333b"),
    here="#ffffff",
    scrollbar=("#30363d", "#56b4e9"),
)
_LIGHT = partial(
    _theme,
    "light",
    "quiet, on a white ground",
    {
        "plain": "#24292f",
        "dim": "#57606a",
        "faint": "#868e96",
        "strong": "#0b0e12",
        "accent": "#0a5cb8",
        "good": "#0e6b52",
        "warn": "#8a4b00",
        "bad": "#b3261e",
    },
    ("#ffffff", "#f3f5f8", "#d8e6f7"),
    # From pale to dark: on white the darkest is the loudest.
    _ramp("#eef3f8 #dae7ef #c1dae3 #a2c9d1 #82b5bb #649d9d #56857c #66693f #7a431d #761a10"),
    _ramp("#fbfbfc #f8f9fa #f6f7f8 #f4f5f6 #f2f3f5 #f0f1f3 #edeff1 #ebedef #e9ebee #e7e9ec"),
    here="#000000",
    scrollbar=("#c4ccd4", "#0a5cb8"),
    dark=False,
)
_CONTRAST = partial(
    _theme,
    "contrast",
    "as much contrast as there is, and digits on every map",
    {
        "plain": "#ffffff",
        "dim": "#d6d6d6",
        "faint": "#b4b4b4",
        "strong": "#ffffff",
        "accent": "#7ad7ff",
        "good": "#6dffab",
        "warn": "#ffd84d",
        "bad": "#ffa79a",
    },
    ("#000000", "#000000", "#00335c"),
    # Nothing between: on a middle tone neither black nor white is read as well as it must be.
    _ramp("#0a0f1a #0f1d36 #142c52 #193a6b #1d4780 #8db4c2 #a6c8a8 #c2d189 #e2dc66 #fff04a"),
    _ramp("#0a0a0a #0d0d0d #101010 #131313 #161616 #191919 #1c1c1c #1f1f1f #222222 #252525"),
    here="#ffffff",
    scrollbar=("#8a8a8a", "#7ad7ff"),
    least=STRICT,
    halves=False,
)
_COLOURBLIND = partial(
    _theme,
    "colourblind",
    "colours that red- and green-blind eyes tell apart",
    # Okabe and Ito 2008. Dark has green for good and orange beside red-orange; here good is blue,
    # a warning yellow, what is bad vermilion, and what is neither reddish purple.
    {
        "plain": "#c9d1d9",
        "dim": "#8b949e",
        "faint": "#656d76",
        "strong": "#f0f6fc",
        "accent": "#cc79a7",
        "good": "#56b4e9",
        "warn": "#f0e442",
        "bad": "#d55e00",
    },
    ("#0d1117", "#161b22", "#1f2d3d"),
    # Cividis (Nunez, Anderton, Renslow 2018): one blue-yellow way, even in lightness.
    _ramp("#00224e #123570 #3b496c #575d6d #707173 #8a8678 #a59c74 #c3b369 #e1cc55 #fee838"),
    DARK.heat_dim,
    here="#ffffff",
    scrollbar=("#30363d", "#cc79a7"),
)
SIXTEEN = Theme(
    "sixteen",
    "the terminal's own sixteen colours",
    FEW,
    {
        "plain": Style(),
        "dim": Style(),
        "faint": Style(color="bright_black"),
        "strong": Style(bold=True),
        "title": Style(color="cyan", bold=True),
        "accent": Style(color="cyan"),
        "good": Style(color="green"),
        "warn": Style(color="yellow", bold=True),
        "bad": Style(color="red", bold=True),
        "key": Style(color="cyan", bold=True),
        "head": Style(bold=True),
        "old": Style(italic=True),
        **{
            f"curve{number}": Style(color=colour)
            for number, colour in enumerate(
                ("cyan", "yellow", "green", "bright_yellow", "magenta", "red", "bright_blue")
            )
        },
    },
    cursor=Style(reverse=True),
    halves=False,
)
MONO = Theme(
    "mono",
    "no colour at all: words, glyphs, bold and reverse",
    NONE,
    {
        **dict.fromkeys(("plain", "dim", "faint", "accent", "good", "old"), Style()),
        **dict.fromkeys((f"curve{number}" for number in range(len(CURVES))), Style()),
        **dict.fromkeys(("strong", "title", "warn", "key", "head"), Style(bold=True)),
        "bad": Style(bold=True, reverse=True),
    },
    cursor=Style(reverse=True),
    halves=False,
)
_READY = {theme.name: theme for theme in (DARK, SIXTEEN, MONO)}
_OTHERS = {"light": _LIGHT, "contrast": _CONTRAST, "colourblind": _COLOURBLIND}


class _Themes(Mapping[str, Theme]):
    """All themes; one that takes long to make readable is made when it is asked for."""

    def __getitem__(self, name: str) -> Theme:
        if name not in _READY:
            _READY[name] = _OTHERS[name]()
        return _READY[name]

    def __iter__(self) -> Iterator[str]:
        return iter(THEME_NAMES)

    def __len__(self) -> int:
        return len(THEME_NAMES)


THEMES = _Themes()
