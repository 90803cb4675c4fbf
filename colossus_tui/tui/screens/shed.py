"""The card of a shed, or of its undoing: the plan, the site's name typed, then how it goes."""

from __future__ import annotations

from dataclasses import replace

from textual import events

from colossus_tui.model import ActionParameters, Preflight, Shed, Verb, amounts
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.screens.card import AROUND, CardScreen
from colossus_tui.tui.views import Line, shed

SUBJECT = "the site"
WIDE_CELLS = 132  # where the terminal has so many, each step also says why


class SiteCard(CardScreen):
    """One verb on the site; a shed is asked for in one typed line."""

    DEFAULT_CSS = f"""
    SiteCard > #frame {{ width: {WIDE_CELLS}; }}
    """

    def __init__(self, verb: Verb) -> None:
        super().__init__(verb, SUBJECT, None)
        self.parameters = ActionParameters(shed=Shed())
        self.chooses = verb is Verb.SHED
        self._entry = Entry("shed")

    @property
    def cells(self) -> int:
        """Cells of a line of text."""
        return min(WIDE_CELLS, self.size.width) - AROUND

    def choice(self) -> list[Line]:
        """Return the question for what is to be shed."""
        view = self.console.view
        site = view.site if view is not None else None
        return shed.asking_lines(site, self._entry.text, self._wrong, self.cells)

    def press(self, event: events.Key) -> bool:
        """Take the line, or answer the question."""
        if not self.chooses:
            return super().press(event)
        self._wrong = ""
        if event.key != "enter":
            self._entry.press(event.key, event.character if event.is_printable else None)
            return True
        try:
            asked = amounts.shed(self._entry.text)
        except amounts.AmountError as error:
            self._wrong = str(error)
            self.console.bell()
        else:
            self._choose(ActionParameters(shed=asked))
        return True

    def on_paste(self, event: events.Paste) -> None:
        """Take a pasted line, or a pasted name."""
        if self.chooses:
            self._entry.paste(event.text)
            self.show()
        else:
            super().on_paste(event)

    def question_of(self, preflight: Preflight) -> Question:
        """Return what the operator must do; from here on it is about this very plan."""
        assert preflight.plan is not None
        assert self.parameters.shed is not None
        approved = self.parameters.shed.approved(preflight.plan)
        self.parameters = replace(self.parameters, shed=approved)
        return Question(preflight.confirmation, "the site's name", preflight.subject)
