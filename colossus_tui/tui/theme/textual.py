"""The same themes for Textual's own parts: palette, messages, scroll bars."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import BUILTIN_THEMES
from textual.theme import Theme as TextualTheme

from colossus_tui.tui.theme.themes import OWN, Theme


def textual_theme(theme: Theme) -> TextualTheme:
    """Return what Textual's style sheets take their colours from."""
    if theme.background == OWN:
        variables = {**BUILTIN_THEMES["ansi-dark"].variables, **_bars(("ansi_default",) * 3)}
        return replace(BUILTIN_THEMES["ansi-dark"], name=theme.name, variables=variables)
    inks = {name: style.color.get_truecolor().hex for name, style in theme.styles.items()
            if style.color is not None}  # fmt: skip
    quiet, used = theme.scrollbar
    return TextualTheme(
        name=theme.name,
        primary=inks["accent"],
        secondary=inks["dim"],
        accent=inks["accent"],
        warning=inks["warn"],
        error=inks["bad"],
        success=inks["good"],
        foreground=inks["plain"],
        background=theme.background,
        surface=theme.card,
        panel=theme.card,
        dark=theme.dark,
        variables=_bars((quiet, used, theme.background)),
    )


def _bars(colours: tuple[str, ...]) -> dict[str, str]:
    quiet, used, ground = colours
    return {
        "scrollbar": quiet,
        "scrollbar-hover": used,
        "scrollbar-active": used,
        "scrollbar-background": ground,
        "scrollbar-background-hover": ground,
        "scrollbar-background-active": ground,
    }
