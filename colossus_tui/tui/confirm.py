"""What an operator must do to mean it, and what he has done of that."""

from __future__ import annotations

from dataclasses import dataclass, field

from colossus_tui.model import Confirmation
from colossus_tui.tui.entry import Entry


@dataclass(slots=True)
class Question:
    """A question on a card.

    Attributes:
        asked: What must be typed, in words: "the run's name".
        expected: What must be typed.
        wrong: Whether something else was entered last.
    """

    confirmation: Confirmation
    asked: str = ""
    expected: str = ""
    wrong: bool = False
    _line: Entry = field(default_factory=lambda: Entry("name"))

    @property
    def typed(self) -> str:
        """What was typed so far."""
        return self._line.text

    def press(self, key: str, character: str | None) -> bool | None:
        """Take a key; return yes or no once it is answered."""
        match self.confirmation:
            case Confirmation.TYPE_NAME:
                return self._type(key, character)
            case Confirmation.NONE:
                return True if key == "enter" else None
            case _:
                return {"y": True, "n": False}.get(key)

    def _type(self, key: str, character: str | None) -> bool | None:
        if key != "enter":
            self._line.press(key, character)
        elif self.typed.strip() == self.expected.strip():
            return True
        else:
            self._line.text, self.wrong = "", True
        return None

    def paste(self, text: str) -> None:
        """Take text as if it were typed."""
        self._line.paste(text)
