"""What an operator must do to mean it, and what he has done of that."""

from __future__ import annotations

from dataclasses import dataclass

from colossus_tui.model import Confirmation

TYPED_LIMIT = 63


@dataclass(slots=True)
class Question:
    """A question on a card.

    Attributes:
        asked: What must be typed, in words: "the run's name".
        expected: What must be typed.
        typed: What was typed so far.
        wrong: Whether something else was entered last.
    """

    confirmation: Confirmation
    asked: str = ""
    expected: str = ""
    typed: str = ""
    wrong: bool = False

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
        if key == "enter":
            if self.typed == self.expected:
                return True
            self.typed, self.wrong = "", True
        elif key == "backspace":
            self.typed = self.typed[:-1]
        elif character is not None:
            self.paste(character)
        return None

    def paste(self, text: str) -> None:
        """Take text as if it were typed."""
        kept = "".join(character for character in text.strip() if character.isprintable())
        self.typed = (self.typed + kept)[:TYPED_LIMIT]
