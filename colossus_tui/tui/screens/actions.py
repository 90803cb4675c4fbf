"""The journal: every action a row, and one action in full."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import BindingType
from textual.widget import Widget

from colossus_tui.model import Action, Confirmation
from colossus_tui.model.match import ACTIONS
from colossus_tui.text import safe
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.base import ColossusScreen, bindings
from colossus_tui.tui.screens.card import QuestionCard
from colossus_tui.tui.screens.filtered import FilteredScreen
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.actions import action_cells, action_columns, action_lines, ordered
from colossus_tui.tui.views.words import wrapped
from colossus_tui.tui.widgets.lines import Lines
from colossus_tui.tui.widgets.table import Table, TableColumn


class JournalScreen(ColossusScreen):
    """What screens about actions share: one chosen action, and two keys for it."""

    def __init__(self) -> None:
        super().__init__()
        self._answer: tuple[str, str] = ("", "")

    def chosen(self) -> Action | None:
        """Return the action that a key is about."""
        raise NotImplementedError

    def thing(self) -> str | None:
        """The action's id."""
        return action.action_id if (action := self.chosen()) is not None else None

    def answer_to(self, action: Action | None) -> str:
        """Return what the hub last said about this action."""
        action_id, text = self._answer
        return text if action is not None and action.action_id == action_id else ""

    def answered(self, action_id: str, text: str) -> bool:
        """Show what the hub said; return whether this screen shows it."""
        self._answer = (action_id, text)
        self.show()
        return True

    def action_cancel(self) -> None:
        """Take the action back."""
        if (action := self.chosen()) is not None:
            self.console.feed.cancel(action.action_id)

    def action_approve(self) -> None:
        """Ask whether it is meant, then approve."""
        if (action := self.chosen()) is not None:
            self.app.push_screen(ApproveCard(action))


class ActionsScreen(FilteredScreen, JournalScreen):
    """All actions, or one run's, the open ones first."""

    BINDINGS: ClassVar[list[BindingType]] = bindings("actions")
    scope = "actions"
    language = ACTIONS

    def __init__(self, run_id: str = "") -> None:
        super().__init__()
        self._run_id = run_id

    def body(self) -> Iterable[Widget]:
        """The table, and below it what the hub answered."""
        yield Table(id="actions", empty="reading the journal ...")
        yield Lines(id="answer")

    def on_mount(self) -> None:
        """Give the table the keys."""
        self.query_one("#actions", Table).add_class("body").focus()
        super().on_mount()

    def list_title(self) -> str:
        """Whose actions."""
        return f"actions of {safe(self._run_id, 63)}" if self._run_id else "actions"

    def wanted(self) -> Wanted:
        """The journal."""
        return Wanted(journal=True, run_id=self._run_id)

    def _actions(self) -> list[Action]:
        found = self.console.journal or ()
        rows = [a for a in ordered(found) if not self._run_id or a.run_id == self._run_id]
        return self.matching(rows)

    def saved_state(self) -> dict[str, str]:
        """Whose actions, and the filter."""
        return {"run": self._run_id, **super().saved_state()}

    def show_body(self) -> None:
        """Fill the table."""
        table, answer = self.query_one("#actions", Table), self.query_one("#answer", Lines)
        if self.console.journal is not None:
            table.set_empty(self.nothing("action", "no action was asked for yet"))
        columns = action_columns(self.size.width)
        heads = [head for head, _, _ in columns]
        rows = [
            (action.action_id, tuple(cells[head] for head in heads))
            for action in self._actions()
            for cells in [action_cells(action)]
        ]
        table.set_rows(
            [TableColumn(h.lower(), h, cells, right) for h, cells, right in columns], rows
        )
        text = self._answer[1]
        lines = wrapped(text, "warn", self.size.width - 2) if text else []
        answer.styles.height = len(lines)
        answer.set_lines(lines)

    def exported(self) -> Exported:
        """The actions that are shown."""
        return Exported(
            "actions", self._actions(), about={"run": self._run_id, "filter": self._filter}
        )

    def chosen(self) -> Action | None:
        """The one under the cursor."""
        key = self.query_one("#actions", Table).cursor_key
        return next((action for action in self._actions() if action.action_id == key), None)

    def action_open(self) -> None:
        """Open the action under the cursor."""
        if (action := self.chosen()) is not None:
            self.console.open_action(action)

    def on_table_opened(self) -> None:
        """A double click opens."""
        self.action_open()


class ActionScreen(JournalScreen):
    """One action in full.

    Args:
        action: As it was last known; an old one may be in the journal's list no more.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("action")
    scope = "action"

    def __init__(self, action: Action) -> None:
        super().__init__()
        self._action = action

    def body(self) -> Iterable[Widget]:
        """One scrolled text."""
        yield Lines(id="action", focusable=True)

    def on_mount(self) -> None:
        """Give the text the keys."""
        self.query_one("#action", Lines).add_class("body").focus()
        super().on_mount()

    def title_text(self) -> str:
        """What it is."""
        return f"action: {self._action.verb} {safe(self._action.subject, 63)}"

    def wanted(self) -> Wanted:
        """The journal, in which its parts are as well."""
        return Wanted(journal=True)

    def chosen(self) -> Action | None:
        """This action."""
        return self._action

    def exported(self) -> Exported:
        """This action."""
        return Exported("actions", [self._action])

    def show_body(self) -> None:
        """Fill the text."""
        journal = self.console.journal or ()
        mine = self._action.action_id
        newer = next((action for action in journal if action.action_id == mine), self._action)
        if newer.updated_time_unix_ns >= self._action.updated_time_unix_ns:
            self._action = newer
        lines = action_lines(
            self._action, journal, self.answer_to(self._action), self.size.width - 3
        )
        self.query_one("#action", Lines).set_lines(lines)


class ApproveCard(QuestionCard):
    """Whether an approval is meant."""

    def __init__(self, action: Action) -> None:
        super().__init__()
        self._action = action
        self.question = Question(Confirmation.YES_NO)

    def text(self) -> list[Line]:
        """What would be approved."""
        action, cells = self._action, self.cells
        return [
            ((f"approve {action.verb} {safe(action.subject, 63)}", "strong"),),
            (),
            *wrapped(
                f"wanted by {action.operator} ({action.reason or 'no reason given'})",
                "plain",
                cells,
            ),
            *wrapped(action.detail, "dim", cells),
        ]

    def send(self) -> None:
        """Approve it; the screen below shows the answer."""
        self.console.feed.approve(self._action.action_id)
        self.action_close()

    def action_cancel(self) -> None:
        """There is nothing of its own to take back."""

    def action_open(self) -> None:
        """There is nothing of its own to open."""
