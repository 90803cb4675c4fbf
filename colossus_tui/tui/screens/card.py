"""The preflight card over a screen: figures, confirmation, then progress to what was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

from colossus_tui.model import (
    Action,
    ActionParameters,
    Confirmation,
    Preflight,
    PriorityClass,
    Verb,
)
from colossus_tui.tui.theme import CARD
from colossus_tui.tui.views import Line, card
from colossus_tui.tui.widgets.lines import Lines

if TYPE_CHECKING:
    from colossus_tui.tui.app import ColossusApp

CARD_LINES = 18


class CardScreen(ModalScreen[None]):
    """One verb on one run."""

    DEFAULT_CSS = f"""
    CardScreen {{ align: center middle; background: #000000 50%; }}
    CardScreen > #card {{
        width: 80; max-width: 100%; height: {CARD_LINES}; max-height: 100%;
        background: {CARD}; padding: 1 2;
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", show=False)]

    def __init__(self, verb: Verb, run_id: str, current: PriorityClass | None) -> None:
        super().__init__()
        self._verb = verb
        self._run_id = run_id
        self._current = current
        self._parameters = ActionParameters()
        self._preflight: Preflight | None = None
        self._action: Action | None = None
        self._problem = ""
        self._typed = ""
        self._wrong = False
        self._sent = False

    @property
    def console(self) -> ColossusApp:
        """The app, with its own type."""
        return cast("ColossusApp", self.app)

    def compose(self) -> ComposeResult:
        """The card."""
        yield Lines(id="card")

    def on_mount(self) -> None:
        """Ask the hub, unless a class must be chosen first."""
        if self._verb is not Verb.REPRIORITIZE:
            self._ask()
        self._show()

    def _ask(self) -> None:
        self.console.feed.preview(self._verb, self._run_id, self._parameters)

    def _lines(self) -> list[Line]:
        if self._problem:
            return card.problem(self._verb, self._run_id, self._problem, sent=self._sent)
        if self._action is not None:
            return card.progress_lines(self._action)
        if self._preflight is not None:
            if self._sent:
                return card.asking(self._verb, self._run_id)
            return card.preflight_lines(self._preflight, self._typed, wrong=self._wrong)
        if self._verb is Verb.REPRIORITIZE and self._parameters.priority_class is None:
            return card.choose_class(self._run_id, self._current)
        return card.asking(self._verb, self._run_id)

    def _show(self) -> None:
        self.query_one("#card", Lines).set_lines(self._lines())

    def preflight_received(self, preflight: Preflight) -> None:
        """Show the figures, if they are this card's."""
        mine = (preflight.verb, preflight.run_id) == (self._verb, self._run_id)
        if mine and not self._sent:
            self._preflight = preflight
            self._show()

    def action_changed(self, action: Action) -> None:
        """Show how far the action came, if it is this card's."""
        if self._sent and (action.verb, action.run_id) == (self._verb, self._run_id):
            self._action = action
            self._show()

    def failed(self, verb: Verb, run_id: str, detail: str) -> None:
        """Show that the hub could not be asked, if it was for this card."""
        if (verb, run_id) == (self._verb, self._run_id):
            self._problem = detail
            self._show()

    def on_key(self, event: events.Key) -> None:
        """Answer the card's question; other keys do nothing here."""
        if event.key == "escape":
            return
        event.stop()
        event.prevent_default()
        if self._verb is Verb.REPRIORITIZE and self._parameters.priority_class is None:
            if event.key in "01234" and len(event.key) == 1:
                wanted = list(PriorityClass)[int(event.key)]
                self._parameters = ActionParameters(priority_class=wanted)
                self._ask()
        elif self._preflight is not None and self._preflight.allowed and not self._sent:
            self._answer(event)
        self._show()

    def _answer(self, event: events.Key) -> None:
        assert self._preflight is not None
        match self._preflight.confirmation:
            case Confirmation.TYPE_NAME:
                if event.key == "enter":
                    if self._typed == self._run_id:
                        self._send()
                    else:
                        self._typed, self._wrong = "", True
                        self.console.bell()
                elif event.key == "backspace":
                    self._typed = self._typed[:-1]
                elif event.is_printable and event.character and len(self._typed) < 63:
                    self._typed += event.character
            case Confirmation.NONE:
                if event.key == "enter":
                    self._send()
            case _:
                if event.key == "y":
                    self._send()
                elif event.key == "n":
                    self.action_close()

    def on_paste(self, event: events.Paste) -> None:
        """Take a pasted name as if it were typed."""
        for character in event.text.strip():
            if self._preflight is not None and character.isprintable() and len(self._typed) < 63:
                self._typed += character
        self._show()

    def _send(self) -> None:
        assert self._preflight is not None
        self._sent = True
        self.console.feed.submit(
            self._verb, self._run_id, self._parameters, self._preflight.generation
        )

    def action_close(self) -> None:
        """Close the card; an action that was sent goes on."""
        self.dismiss(None)
