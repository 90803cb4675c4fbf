"""Foreign sentences over as many lines as they need: nothing of a reason is cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from colossus_tui.text import fit, safe, width
from colossus_tui.tui.views import Line

SENTENCE_LIMIT = 4_096  # characters; more is no sentence
LEAST_CELLS = 16


def wrapped(text: str, style: str, cells: int, indent: int = 0) -> list[Line]:
    """Return a text as lines of at most so many cells; a word that is too long is broken."""
    room = max(cells - indent, LEAST_CELLS)
    pad = " " * indent
    return [((f"{pad}{row}", style),) for row in _rows(safe(text, SENTENCE_LIMIT), room)]


def _rows(text: str, room: int) -> list[str]:
    rows, current = [], ""
    for word in text.split(" "):
        for part in _parts(word, room):
            if current and width(current) + 1 + width(part) > room:
                rows.append(current)
                current = part
            else:
                current = f"{current} {part}" if current else part
    return [*rows, current]


def _parts(word: str, room: int) -> Iterable[str]:
    while width(word) > room:
        end = len(word)
        while width(word[:end]) > room:
            end -= max((width(word[:end]) - room) // 2, 1)
        yield word[:end]
        word = word[end:]
    yield word


def labelled(label: str, text: str, cells: int, style: str = "plain", at: int = 16) -> list[Line]:
    """Return a text beside its label, on as many lines as it needs."""
    first, *more = wrapped(text, style, cells, at)
    ((row, _),) = first
    return [((fit(label, at - 1) + " ", "dim"), (row[at:], style)), *more]


def in_columns(names: Sequence[str], cells: int, style: str = "plain") -> list[Line]:
    """Return foreign names side by side, in order down each line."""
    shown = [safe(name, 63) for name in names]
    wide = max((width(name) for name in shown), default=0) + 2
    per_line = max(cells // wide, 1)
    return [
        tuple((fit(name, wide), style) for name in shown[index : index + per_line])
        for index in range(0, len(shown), per_line)
    ]
