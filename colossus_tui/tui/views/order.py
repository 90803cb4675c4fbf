"""Rows that stay where they are while their values change."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from colossus_tui.tui.theme import Glyphs

T = TypeVar("T")
MOVED = "~"  # beside the sign of the order: the values have gone on since


class StandingOrder:
    """An order that is made anew only when the rows, the order or the filter are others.

    What moves under an operator's eyes cannot be read, and a key pressed on it hits another. So
    values may leave the order that they made; a sign beside the head says so, and a key orders
    anew.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._names: list[str] = []
        self._moved = False

    def kept(self, rows: Sequence[T], name: Callable[[T], str], key: object) -> list[T]:
        """Return the rows in the order that stands.

        Args:
            rows: As their values order them now.
            key: What the order was made by.
        """
        found = {name(row): row for row in rows}
        if key != self._key or found.keys() != set(self._names):
            self._key, self._names = key, list(found)
        self._moved = list(found) != self._names
        return [found[one] for one in self._names]

    def again(self) -> None:
        """Order anew."""
        self._names = []

    def sign(self, glyphs: Glyphs, backwards: bool) -> str:
        """Return the sign beside the head of the column that orders."""
        return glyphs.order[backwards] + (MOVED if self._moved else "")
