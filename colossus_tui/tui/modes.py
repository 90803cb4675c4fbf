"""How the console is drawn: what was asked for, else what the terminal is capable of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from colossus_tui.tui.drain import Bandwidth

if TYPE_CHECKING:
    from colossus_tui.tui.settings import Settings

COLOURED = ("dark", "light", "contrast", "colourblind")  # need more than sixteen colours
THEME_NAMES = (*COLOURED, "sixteen", "mono")
PLAIN_TERMINALS = ("dumb", "linux", "vt100", "vt220")  # cannot draw the glyphs
_COLOURS = {None: 0, "standard": 16, "windows": 16, "256": 256, "truecolor": 1 << 24}


class ThemeError(ValueError):
    """There is no such theme; the message names those that there are."""


@dataclass(frozen=True, slots=True)
class Modes:
    """What was asked for.

    Attributes:
        asked: Theme by flag or environment; None lets terminal and memory decide.
        looks_only: Whether nothing may be changed: no run, and no setting of the user's.
        no_colour: Whether NO_COLOR is set (no-color.org); a theme that is asked for wins.
        bandwidth: How much may go to the terminal.
    """

    ascii_only: bool = False
    asked: str | None = None
    no_colour: bool = False
    looks_only: bool = False
    bandwidth: Bandwidth = Bandwidth.AUTO

    def theme(self, colours: int, settings: Settings) -> tuple[str, str]:
        """Return the theme to begin with, and what is wrong with the remembered one, if so."""
        if self.asked is not None:
            return self.asked, ""
        if self.no_colour or not colours:
            return "mono", ""
        remembered, wrong = settings.theme()
        if remembered in COLOURED and colours <= 16:
            return "sixteen", wrong
        return remembered or ("dark" if colours > 16 else "sixteen"), wrong


def colours_of(color_system: str | None) -> int:
    """Return how many colours a terminal has, by Rich's name for them."""
    return _COLOURS.get(color_system, 16)


def known_theme(name: str) -> str:
    """Return the name of a theme that there is.

    Raises:
        ThemeError: There is none of this name.
    """
    if name not in THEME_NAMES:
        raise ThemeError(f"there is no theme {name!r}; known: {', '.join(THEME_NAMES)}")
    return name


def asked_modes(
    environment: Mapping[str, str],
    *,
    ascii_only: bool,
    theme: str | None,
    looks_only: bool = False,
    bandwidth: str = Bandwidth.AUTO,
) -> Modes:
    """Return what flags and environment ask for."""
    plain = environment.get("TERM", "") in PLAIN_TERMINALS or not is_utf8(environment)
    no_colour = bool(environment.get("NO_COLOR"))
    return Modes(ascii_only or plain, theme, no_colour, looks_only, Bandwidth(bandwidth))


def is_utf8(environment: Mapping[str, str]) -> bool:
    """Return whether the locale's characters are UTF-8; without a locale they are.

    Python itself turns LC_CTYPE=C into C.UTF-8 (PEP 538): only another encoding, or LC_ALL=C, is
    seen here.
    """
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    name = next(filter(None, names), "")
    encoding = name.partition("@")[0].rpartition(".")[2].lower().replace("-", "")
    return not name or encoding == "utf8" or (name not in ("C", "POSIX") and "." not in name)
