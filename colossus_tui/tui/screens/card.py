"""The cards over a screen: figures, confirmation, then progress to what was observed."""

from __future__ import annotations

import uuid
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from colossus_tui.model import (
    Action,
    ActionParameters,
    Confirmation,
    Preflight,
    PriorityClass,
    Run,
    Verb,
)
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.feed import Order
from colossus_tui.tui.screens.base import bindings
from colossus_tui.tui.screens.cropped import CroppedScreen
from colossus_tui.tui.views import Line, card
from colossus_tui.tui.widgets.lines import Lines

CARD_LINES, CARD_CELLS = 18, 80
AROUND = 5  # cells beside the text: padding and scroll bar
SCROLLS = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10, "home": -100_000, "end": 100_000}


class Card(CroppedScreen, ModalScreen[None]):
    """A text that scrolls, over a question that stays in sight."""

    DEFAULT_CSS = f"""
    Card {{ align: center middle; background: $background 60%; }}
    Card:ansi {{ background: transparent; }}
    Card > #frame {{
        width: {CARD_CELLS}; max-width: 100%; height: {CARD_LINES}; max-height: 100%;
        background: $surface; padding: 1 2;
    }}
    Card:ansi > #frame {{ border: solid ansi_default; padding: 0 1; }}
    Card Lines {{ background: $surface; scrollbar-background: $surface; }}
    Card #card {{ height: 1fr; }}
    Card #question {{ height: 1; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", show=False),
        *bindings("card"),
    ]

    @property
    def cells(self) -> int:
        """Cells of a line of text."""
        return min(CARD_CELLS, self.size.width) - AROUND

    def compose(self) -> ComposeResult:
        """The card; what is behind it stays as it is where to dim it would take seconds."""
        if self.console.drain.is_slow:
            self.styles.background = "transparent"
        with Vertical(id="frame"):
            yield Lines(id="card")
            yield Lines(id="question")

    def on_mount(self) -> None:
        """Show what is known."""
        self.show()

    def on_resize(self) -> None:
        """Fit the new size."""
        self.show()

    def text(self) -> list[Line]:
        """Return what scrolls."""
        raise NotImplementedError

    def asked(self) -> list[Line]:
        """Return what stays in sight below."""
        raise NotImplementedError

    def press(self, event: events.Key) -> bool:
        """Take a key; return whether it was meant for the card itself."""
        raise NotImplementedError

    def show(self) -> None:
        """Bring the card up to date; it grows with its text as far as the screen goes."""
        text, asked = self.text(), self.asked()
        wanted = len(text) + len(asked) + 3
        frame, question = self.query_one("#frame"), self.query_one("#question", Lines)
        frame.styles.height = min(max(wanted, CARD_LINES), self.size.height)
        question.styles.height = len(asked)
        self.query_one("#card", Lines).set_lines(text)
        question.set_lines(asked)

    def on_key(self, event: events.Key) -> None:
        """Scroll, or answer; keys that mean nothing here go no further."""
        if event.key == "escape":
            return
        if event.key in SCROLLS:
            self.query_one("#card", Lines).scroll_relative(y=SCROLLS[event.key], animate=False)
        elif not self.press(event):
            return
        event.stop()
        event.prevent_default()
        self.show()

    def dismiss(self, result: None = None) -> AwaitComplete:
        """Close the card, unless the palette came over it meanwhile: Textual would close that."""
        return super().dismiss(result) if self.app.screen is self else AwaitComplete()

    def action_close(self) -> None:
        """Close the card; an action that was sent goes on."""
        self.dismiss(None)


class QuestionCard(Card):
    """A card whose question is answered before anything is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.question: Question | None = None
        self.sent = False

    def press(self, event: events.Key) -> bool:
        """Answer the question; once it is sent, the card's own keys act."""
        if self.sent:
            return False
        if self.question is not None:
            character = event.character if event.is_printable else None
            answer = self.question.press(event.key, character)
            if answer is None and self.question.wrong and event.key == "enter":
                self.console.bell()
            elif answer is not None:
                self.decided(answer)
        return True

    def decided(self, yes: bool) -> None:
        """Do it, or close."""
        if not yes:
            self.action_close()
            return
        self.sent = True
        self.send()

    def send(self) -> None:
        """Ask the hub to do it."""
        raise NotImplementedError

    def on_paste(self, event: events.Paste) -> None:
        """Take a pasted name as if it were typed."""
        if self.question is not None and self.question.confirmation is Confirmation.TYPE_NAME:
            self.question.paste(event.text)
        self.show()

    def asked(self) -> list[Line]:
        """The question, while there is one."""
        if self.question is None or self.sent:
            return []
        return card.question_lines(self.question, self.cells)


class ActionCard(QuestionCard):
    """A card for one verb, which may need a class or a power limit first.

    Args:
        subject: What it is about, in words.
        run: The run as it is now; None for several, and for a node.
    """

    def __init__(self, verb: Verb, subject: str, run: Run | None) -> None:
        super().__init__()
        self.verb = verb
        self.subject = subject
        self.parameters = ActionParameters(node_name=subject if verb.is_on_node else "")
        self.chooses = verb in (Verb.REPRIORITIZE, Verb.CAP)  # something is still to be chosen
        self._run = run
        self._entry = Entry("watts")
        self._wrong = ""

    def on_mount(self) -> None:
        """Ask the hub, unless something must be chosen first."""
        if not self.chooses:
            self.ask()
        self.show()

    def ask(self) -> None:
        """Ask the hub for the preflight."""
        raise NotImplementedError

    def choice(self) -> list[Line]:
        """Return the question for a class, or for a limit."""
        if self.verb is Verb.CAP:
            return card.choose_cap(self.subject, self._run, self._entry.text, self._wrong)
        return card.choose_class(self.subject, self._run.priority_class if self._run else None)

    def press(self, event: events.Key) -> bool:
        """Choose, or answer the question."""
        if not self.chooses:
            return super().press(event)
        if self.verb is Verb.CAP:
            self._type_cap(event)
        elif event.key in "01234" and len(event.key) == 1:
            self._choose(ActionParameters(priority_class=list(PriorityClass)[int(event.key)]))
        return True

    def _type_cap(self, event: events.Key) -> None:
        self._wrong = ""
        if event.key != "enter":
            self._entry.press(event.key, event.character)
            return
        try:
            self._choose(ActionParameters(cap_watts=card.cap_watts(self._entry.text)))
        except ValueError as error:
            self._wrong = str(error)
            self.console.bell()

    def _choose(self, parameters: ActionParameters) -> None:
        self.parameters, self.chooses = parameters, False
        self.ask()

    def on_paste(self, event: events.Paste) -> None:
        """Take a pasted limit, or a pasted name."""
        if self.chooses and self.verb is Verb.CAP:
            self._entry.paste(event.text)
            self.show()
        else:
            super().on_paste(event)


class CardScreen(ActionCard):
    """One verb on one run or node."""

    def __init__(self, verb: Verb, subject: str, run: Run | None) -> None:
        super().__init__(verb, subject, run)
        self._action_id = str(uuid.uuid4())
        self._preflight: Preflight | None = None
        self._action: Action | None = None
        self._answer = ""
        self._problem = ""

    def ask(self) -> None:
        """Ask for the preflight."""
        self.console.feed.preview(self.verb, self.subject, self.parameters)

    def text(self) -> list[Line]:
        """The preflight, then the progress."""
        if self._problem:
            return card.problem(self.verb, self.subject, self._problem, self.cells, sent=self.sent)
        if self._action is not None:
            return card.progress_lines(self._action, self._answer, self.cells)
        if self._preflight is not None and not self.sent:
            return card.preflight_lines(self._preflight, self.subject, self.cells)
        return self.choice() if self.chooses else card.asking(self.verb, self.subject)

    def asked(self) -> list[Line]:
        """The question, then what can be done."""
        if self._action is not None and not self._problem:
            return card.progress_keys([self._action])
        return super().asked()

    def preflight_received(self, subject: str, preflight: Preflight) -> None:
        """Show the figures, if they are this card's."""
        if (preflight.verb, subject) != (self.verb, self.subject) or self.sent:
            return
        self._preflight = preflight
        if preflight.allowed:
            self.question = self.question_of(preflight)
        self.show()

    def question_of(self, preflight: Preflight) -> Question:
        """Return what the operator must do to mean it."""
        whose = "the node's name" if self.verb.is_on_node else "the run's name"
        return Question(preflight.confirmation, whose, self.subject)

    def action_changed(self, action: Action) -> bool:
        """Show how far the action came; return whether it is this card's."""
        if action.action_id != self._action_id:
            return False
        self._action = action
        if action.state.is_end:
            self._answer = ""  # its end says more
        self.show()
        return True

    def failed(self, verb: Verb, subject: str, detail: str) -> None:
        """Show that the hub could not be asked, if it was for this card."""
        if (verb, subject) == (self.verb, self.subject):
            self._problem = detail
            self.show()

    def answered(self, action_id: str, text: str) -> bool:
        """Show what the hub said to a cancel; return whether it is this card's."""
        if action_id != self._action_id:
            return False
        self._answer = text
        self.show()
        return True

    def send(self) -> None:
        """Ask for the action."""
        assert self._preflight is not None
        generation = self._preflight.generation
        order = Order(self._action_id, self.verb, self.subject, self.parameters, generation)
        self.console.feed.submit(order)

    def action_cancel(self) -> None:
        """Take the action back."""
        if self._action is not None:
            self.console.feed.cancel(self._action_id)

    def action_open(self) -> None:
        """Open the action in full."""
        if self._action is not None:
            self.dismiss(None)
            self.console.open_action(self._action)
