"""ASCII alone, for a terminal that takes no more: each letter as wide as before."""

from __future__ import annotations

from functools import lru_cache

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from colossus_tui.text import width

_LIKE = str.maketrans(
    {
        **dict.fromkeys("─━▔▁▂", "-"),
        **dict.fromkeys("│┃▌▐▊▎▏▕", "|"),
        **dict.fromkeys("┌┐└┘├┤┬┴┼", "+"),
        **dict.fromkeys("█▀▄", "#"),
        **dict.fromkeys("●•·", "*"),
        "…": ".",
        "°": "'",
        "µ": "u",
        "\N{MULTIPLICATION SIGN}": "x",
        "\N{EN DASH}": "-",
        "▲": "!",
        "✗": "x",
    }
)


class AsciiFilter(LineFilter):
    """Draws every line in ASCII; a letter that is like none becomes a question mark."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """Return the line's segments in ASCII."""
        del background
        return [
            segment if segment.text.isascii() else segment._replace(text=ascii_of(segment.text))
            for segment in segments
        ]


@lru_cache(maxsize=1_024)
def ascii_of(text: str) -> str:
    """Return a text of as many cells, in ASCII."""
    found = text.translate(_LIKE)
    return "".join(one if one.isascii() else "?" * width(one) for one in found)
