"""A list with a filter that works while it is typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from colossus_tui.model.match import Language, MatchError
from colossus_tui.text import safe
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.screens.typed import TypedScreen

T = TypeVar("T")


def _all(row: object) -> bool:
    """Every row."""
    del row
    return True


class FilteredScreen(TypedScreen):
    """Base of the lists of nodes and of actions; a term that is not right yet chooses nothing."""

    language: ClassVar[Language[Any]]

    def __init__(self) -> None:
        super().__init__()
        self._filter = ""
        self._match: Callable[[Any], bool] = _all

    def list_title(self) -> str:
        """Return what is listed, in words."""
        return self.heading

    def title_text(self) -> str:
        """The filter as it is typed, else what is listed and by which filter."""
        if typed := self.typed_text():
            return typed
        title = self.list_title()
        return f"{title} matching {safe(self._filter, 60)!r}" if self._filter else title

    def matching(self, rows: Sequence[T]) -> list[T]:
        """Return the rows that the filter meets."""
        return [row for row in rows if self._match(row)]

    def nothing(self, what: str, at_all: str) -> str:
        """Return what stands in place of rows: that the filter meets none, or there are none."""
        return f"no {what} matches {safe(self._filter, 60)!r}" if self._filter else at_all

    def action_filter(self) -> None:
        """Begin to type a filter; the one that is there can be changed."""
        self.begin_entry(Entry("filter", self._filter))

    def begin(self, character: str) -> bool:
        """A slash begins a filter."""
        if character == "/":
            self.action_filter()
        return character == "/"

    def check_entry(self, entry: Entry) -> None:
        """Take the filter as it is typed, if it is right."""
        self._match = self.language.parse(entry.text)

    def entered(self, entry: Entry) -> None:
        """Keep it."""
        self._filter = entry.text.strip()

    def dropped(self, entry: Entry) -> None:
        """A filter that is given up filters no more."""
        del entry
        self._filter, self._match = "", _all

    def saved_state(self) -> dict[str, str]:
        """The filter."""
        return {"filter": self._filter}

    def restore(self, state: Mapping[str, str]) -> str:
        """Take the filter."""
        try:
            self._match = self.language.parse(state.get("filter", ""))
        except MatchError as error:
            return str(error)
        self._filter = state.get("filter", "")
        return ""
