"""What the feed tells the app; named after what has happened."""

from __future__ import annotations

from collections.abc import Sequence

from textual.message import Message

from colossus_tui.model import (
    Action,
    BulkPreflight,
    Found,
    Incident,
    Preflight,
    Timeline,
    Verb,
    View,
)


class ViewReceived(Message):
    """The hub sent a state. A newer one takes the place of one not yet shown."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view

    def can_replace(self, message: Message) -> bool:
        """Return whether this makes an older message needless."""
        return isinstance(message, ViewReceived)


class LinkChanged(Message):
    """The link to the hub came up or went away."""

    def __init__(self, linked: bool, detail: str = "") -> None:
        super().__init__()
        self.linked = linked
        self.detail = detail


class PreflightReceived(Message):
    """The hub computed what an action on a run or node would cost."""

    def __init__(self, subject: str, preflight: Preflight) -> None:
        super().__init__()
        self.subject = subject
        self.preflight = preflight


class BulkPreflightReceived(Message):
    """The hub computed what one verb on several runs would cost."""

    def __init__(self, preflight: BulkPreflight) -> None:
        super().__init__()
        self.preflight = preflight


class ActionChanged(Message):
    """An action that this console asked for has changed."""

    def __init__(self, action: Action) -> None:
        super().__init__()
        self.action = action


class BulkChanged(Message):
    """Actions of one bulk have changed; these are all of them."""

    def __init__(self, bulk_id: str, actions: Sequence[Action]) -> None:
        super().__init__()
        self.bulk_id = bulk_id
        self.actions = tuple(actions)


class ActionFailed(Message):
    """The hub could not be asked about an action."""

    def __init__(self, verb: Verb, subject: str, detail: str) -> None:
        super().__init__()
        self.verb = verb
        self.subject = subject
        self.detail = detail


class ActionAnswered(Message):
    """The hub answered an approval or a cancel; without a detail it was taken."""

    def __init__(self, action_id: str, word: str, detail: str) -> None:
        super().__init__()
        self.action_id = action_id
        self.word = word
        self.detail = detail


class Noted(Message):
    """Something is to be said at the edge of the screen."""

    def __init__(self, title: str, text: str, *, good: bool = True) -> None:
        super().__init__()
        self.title = title
        self.text = text
        self.good = good


class JournalReceived(Message):
    """The hub's actions, newest first. A newer list takes the place of one not yet shown."""

    def __init__(self, actions: Sequence[Action]) -> None:
        super().__init__()
        self.actions = tuple(actions)

    def can_replace(self, message: Message) -> bool:
        """Return whether this makes an older message needless."""
        return isinstance(message, JournalReceived)


class FoundReceived(Message):
    """The hub looked for a GPU; `found` is None where it could not be asked."""

    def __init__(self, text: str, found: Found | None, detail: str = "") -> None:
        super().__init__()
        self.text = text
        self.found = found
        self.detail = detail


class IncidentReceived(Message):
    """One incident in full; None where there is none. A newer one takes an older one's place."""

    def __init__(self, incident_id: int, incident: Incident | None) -> None:
        super().__init__()
        self.incident_id = incident_id
        self.incident = incident

    def can_replace(self, message: Message) -> bool:
        """Return whether this makes an older message needless."""
        return isinstance(message, IncidentReceived) and message.incident_id == self.incident_id


class IncidentAnswered(Message):
    """The hub answered an operator's word on an incident; without a detail it was taken."""

    def __init__(
        self, incident_id: int, word: str, incident: Incident | None, detail: str = ""
    ) -> None:
        super().__init__()
        self.incident_id = incident_id
        self.word = word
        self.incident = incident
        self.detail = detail


class TimelineReceived(Message):
    """A span of time; `detail` says why there is none. A newer one takes an older one's place."""

    def __init__(self, timeline: Timeline | None, detail: str = "") -> None:
        super().__init__()
        self.timeline = timeline
        self.detail = detail

    def can_replace(self, message: Message) -> bool:
        """Return whether this makes an older message needless."""
        return isinstance(message, TimelineReceived)
