"""What the feed tells the app; named after what has happened."""

from __future__ import annotations

from textual.message import Message

from colossus_tui.model import Action, Preflight, Verb, View


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
    """The hub computed what an action would cost."""

    def __init__(self, preflight: Preflight) -> None:
        super().__init__()
        self.preflight = preflight


class ActionChanged(Message):
    """An action that this console asked for has changed."""

    def __init__(self, action: Action) -> None:
        super().__init__()
        self.action = action


class ActionFailed(Message):
    """The hub could not be asked about an action."""

    def __init__(self, verb: Verb, run_id: str, detail: str) -> None:
        super().__init__()
        self.verb = verb
        self.run_id = run_id
        self.detail = detail
