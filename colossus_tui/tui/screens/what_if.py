"""The card of a move of nodes; it computes, and asks the hub for nothing."""

from __future__ import annotations

from textual import events

from colossus_tui.model import MoveError, what_if
from colossus_tui.text import now_ns
from colossus_tui.tui.screens.card import Card
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.what_if import FIELDS, card_keys, choices, field_lines, what_if_lines
from colossus_tui.tui.views.words import wrapped

FROM, TO, NODES = range(len(FIELDS))
DIGITS_LIMIT = 7
SHIFTS = {"left": -1, "right": 1}
ALL = "all that it has"


class WhatIfCard(Card):
    """Who gives, who takes, how many; below what every run would come to.

    Args:
        run_id: Who gives at first; None for the first that can.
    """

    def __init__(self, run_id: str | None) -> None:
        super().__init__()
        self._names = ["" if run_id is None else run_id, ""]
        self._digits = ""
        self._active = TO
        self._typed = ""  # beginning of a name

    def text(self) -> list[Line]:
        """The fields, then what would change."""
        self._choose()
        lines = field_lines([*self._names, self._digits or ALL], self._active)
        lines.append(())
        view = self.console.view
        if view is None or not all(self._names):
            return [*lines, (("two runs that hold nodes are needed", "dim"),)]
        try:
            found = what_if(
                view.runs,
                self._names[FROM],
                self._names[TO],
                int(self._digits) if self._digits else None,
                now_unix_ns=now_ns(),
            )
        except MoveError as error:
            return [*lines, *wrapped(str(error), "warn", self.cells)]
        return [*lines, *what_if_lines(found, self.cells)]

    def asked(self) -> list[Line]:
        """The keys."""
        return card_keys()

    def _choices(self) -> list[str]:
        return choices(self.console.view.runs) if self.console.view is not None else []

    def _choose(self) -> None:
        """Fill what was not chosen yet, or is there no more, with the first that can be."""
        found = self._choices()
        for side in (FROM, TO):
            other = self._names[TO if side == FROM else FROM]
            if self._names[side] not in found:
                self._names[side] = next((name for name in found if name != other), "")

    def press(self, event: events.Key) -> bool:
        """Take a key into a field, or go to the next."""
        key, character = event.key, event.character
        if key in ("tab", "enter", "shift+tab"):
            self._active = (self._active + (2 if key == "shift+tab" else 1)) % len(FIELDS)
            self._typed = ""
        elif self._active == NODES:
            self._press_nodes(key, character)
        elif key in SHIFTS:
            self._step(SHIFTS[key])
        elif event.is_printable and character:
            self._begin_with(character)
        return True

    def _press_nodes(self, key: str, character: str | None) -> None:
        if key == "backspace":
            self._digits = self._digits[:-1]
        elif character and character in "0123456789" and len(self._digits) < DIGITS_LIMIT:
            self._digits = (self._digits + character).lstrip("0")
        else:
            self.console.bell()

    def _step(self, by: int) -> None:
        """Choose the next name that the other side has not."""
        side, self._typed = self._active, ""
        found = [
            name for name in self._choices() if name != self._names[TO if side == FROM else FROM]
        ]
        if found:
            place = found.index(self._names[side]) if self._names[side] in found else 0
            self._names[side] = found[(place + by) % len(found)]

    def _begin_with(self, character: str) -> None:
        """Choose the first name that begins with what was typed."""
        for typed in (self._typed + character, character):
            found = [name for name in self._choices() if name.lower().startswith(typed.lower())]
            if found:
                self._typed, self._names[self._active] = typed, found[0]
                return
        self.console.bell()
