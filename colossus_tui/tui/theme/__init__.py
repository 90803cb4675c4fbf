"""One visual language: quiet until something is wrong; state by word, glyph and colour."""

from __future__ import annotations

from colossus_tui.tui.theme.glyphs import ASCII, SEVERITY_STYLES, STATE_STYLES, UNICODE, Glyphs
from colossus_tui.tui.theme.themes import DARK, MONO, OWN, SIXTEEN, THEMES, Theme

__all__ = [
    "ASCII",
    "DARK",
    "MONO",
    "OWN",
    "SEVERITY_STYLES",
    "SIXTEEN",
    "STATE_STYLES",
    "THEMES",
    "UNICODE",
    "Glyphs",
    "Theme",
]
