"""The card of one verb on all marked runs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence, Set

from colossus_tui.model import Action, BulkPreflight, Confirmation, Verb
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.feed import Order
from colossus_tui.tui.screens.card import ActionCard
from colossus_tui.tui.views import Line, bulk, card


class BulkCard(ActionCard):
    """One verb on several runs.

    Args:
        hidden: Runs of these that the operator does not see now.
    """

    def __init__(self, verb: Verb, run_ids: Sequence[str], hidden: Set[str]) -> None:
        super().__init__(verb, bulk.runs(len(run_ids)), None)
        self.bulk_id = str(uuid.uuid4())
        self._run_ids = tuple(run_ids)
        self._hidden = frozenset(hidden)
        self._preflight: BulkPreflight | None = None
        self._actions: dict[str, Action] = {}
        self._problems: dict[str, str] = {}
        self._problem = ""
        self._answers: dict[str, str] = {}

    def ask(self) -> None:
        """Ask for one preflight for all."""
        self.console.feed.preview_bulk(self.verb, self._run_ids, self.parameters)

    def text(self) -> list[Line]:
        """The preflight, then the progress."""
        cells = self.cells
        if self._problem:
            return card.problem(self.verb, self.subject, self._problem, cells, sent=False)
        if self._preflight is None:
            return self.choice() if self.chooses else card.asking(self.verb, self.subject)
        if not self.sent:
            return bulk.bulk_lines(self._preflight, self._hidden, cells)
        return bulk.bulk_progress_lines(
            self.verb, self._preflight, self._actions, self._problems, self._answers, cells
        )

    def asked(self) -> list[Line]:
        """The question, then what can be done."""
        if self.sent:
            return card.progress_keys(list(self._actions.values()))
        if self._preflight is not None and not self._preflight.allowed_count:
            return [(("nothing was done; escape closes", "dim"),)]
        return super().asked()

    def bulk_received(self, preflight: BulkPreflight) -> None:
        """Show the figures, if they are this card's."""
        asked = tuple(one.run_id for one in preflight.preflights)
        if (preflight.verb, asked) != (self.verb, self._run_ids) or self.sent:
            return
        self._preflight = preflight
        if count := preflight.allowed_count:
            kind = preflight.confirmation
            if kind is not Confirmation.TYPE_NAME:
                kind = Confirmation.YES_NO
            self.question = Question(kind, f"the number of runs it acts on ({count})", str(count))
        self.show()

    def send(self) -> None:
        """Ask for an action on every run that allows it."""
        assert self._preflight is not None
        orders = [
            Order(str(uuid.uuid4()), self.verb, one.run_id, self.parameters, one.generation)
            for one in self._preflight.preflights
            if one.allowed
        ]
        self.console.feed.submit_all(self.bulk_id, orders)

    def bulk_changed(self, actions: Sequence[Action]) -> None:
        """Show how all stand."""
        self._actions = {action.run_id: action for action in actions}
        self.show()

    def failed(self, verb: Verb, subject: str, detail: str) -> None:
        """Show that the hub could not be asked, for all or for one."""
        if verb is not self.verb:
            return
        if subject:
            self._problems[subject] = detail
        else:
            self._problem = detail
        self.show()

    def answered(self, action_id: str, text: str) -> bool:
        """Show what the hub said to a cancel; return whether it is this card's."""
        run = next((a.run_id for a in self._actions.values() if a.action_id == action_id), None)
        if run is None:
            return False
        self._answers[run] = text
        self.show()
        return True

    def action_cancel(self) -> None:
        """Take back every action that can still be."""
        for action in self._actions.values():
            if action.can_cancel:
                self.console.feed.cancel(action.action_id)

    def action_open(self) -> None:
        """Open the actions, where each of these can be opened."""
        if self.sent:
            self.dismiss(None)
            self.console.open_actions()
