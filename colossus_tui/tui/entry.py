"""One line that an operator types, such as a filter; without a terminal."""

from __future__ import annotations

from dataclasses import dataclass

TEXT_LIMIT = 200


@dataclass(slots=True)
class Entry:
    """A line that is being typed."""

    word: str  # what it is, before the line
    text: str = ""

    def press(self, key: str, character: str | None) -> bool:
        """Take a key; return whether it belongs to the line."""
        if key == "backspace":
            self.text = self.text[:-1]
        elif key == "ctrl+u":
            self.text = ""
        elif character is not None and character.isprintable():
            self.text = (self.text + character)[:TEXT_LIMIT]
        else:
            return False
        return True

    def paste(self, text: str) -> None:
        """Take text as if it were typed."""
        kept = "".join(character for character in text.strip() if character.isprintable())
        self.text = (self.text + kept)[:TEXT_LIMIT]
