"""A screen on which a line can be typed: a filter, or what to look for."""

from __future__ import annotations

from textual import events

from colossus_tui.model import View
from colossus_tui.model.match import MatchError
from colossus_tui.text import safe
from colossus_tui.tui.actions import offered
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.words import wrapped


class TypedScreen(ColossusScreen):
    """Takes keys into the line while there is one, and says what is wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self._entry: Entry | None = None
        self._wrong = ""

    def check_entry(self, entry: Entry) -> None:
        """Look at the line as it is.

        Raises:
            MatchError: It is not right yet.
        """
        raise NotImplementedError

    def entered(self, entry: Entry) -> None:
        """Take the line, which is right."""
        raise NotImplementedError

    def dropped(self, entry: Entry) -> None:
        """Take that the line was given up."""

    def begin(self, character: str) -> bool:
        """Begin a line if this key begins one; return whether."""
        raise NotImplementedError

    def begin_entry(self, entry: Entry) -> None:
        """Begin to type."""
        self._entry, self._wrong = entry, ""
        self.show()

    def typed_text(self) -> str:
        """Return the line as it is typed; empty while none is."""
        if self._entry is None:
            return ""
        word = self._entry.word
        kept = "enter looks for it" if word == "find" else "enter keeps it"
        hint = "not right yet" if self._wrong else f"{kept}, escape drops it"
        return f"{word}: {safe(self._entry.text[-60:])}_   ({hint})"

    def below(self, view: View, count: int) -> list[Line]:
        """Return what is wrong with what is typed, else what happens."""
        if self._entry is not None and self._wrong:
            return wrapped(self._wrong, "dim", self.size.width - 2, 1)[:count]
        return super().below(view, count)

    def on_key(self, event: events.Key) -> None:
        """While a line is typed every key belongs to it."""
        entry = self._entry
        if entry is None:
            # Here and not by a binding, which the app looks up when the keys after it have passed
            # already: a slow link delivers many at once.
            if not (event.character and self.begin(event.character)):
                return
        elif event.key == "escape":
            self._entry, self._wrong = None, ""
            self.dropped(entry)
        elif event.key == "enter":
            self._enter_line(entry)
        elif entry.press(event.key, event.character):
            self._look_at(entry)
        else:
            return
        event.stop()
        event.prevent_default()
        self.show()

    def on_paste(self, event: events.Paste) -> None:
        """Take pasted text into the line."""
        if self._entry is not None:
            self._entry.paste(event.text)
            self._look_at(self._entry)
            self.show()

    def _look_at(self, entry: Entry) -> None:
        self._wrong = ""
        try:
            self.check_entry(entry)
        except MatchError as error:
            self._wrong = str(error)

    def _enter_line(self, entry: Entry) -> None:
        self._look_at(entry)
        if self._wrong:
            self.console.bell()
            return
        self._entry = None
        self.entered(entry)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keep letters from acting while they are typed."""
        del parameters
        own = {command.name.partition("(")[0] for command in offered(self.scope)}
        return not (self._entry is not None and action in own)
