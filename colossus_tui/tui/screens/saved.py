"""Cards to keep a screen under a name, and to open what was kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from textual import events

from colossus_tui.text import fit, safe
from colossus_tui.tui.entry import Entry
from colossus_tui.tui.saved import NAME_LIMIT, SavedView, forget, keep
from colossus_tui.tui.screens.actions import ActionsScreen
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.screens.bets import BetsScreen
from colossus_tui.tui.screens.card import Card
from colossus_tui.tui.screens.map import MapScreen
from colossus_tui.tui.screens.money import MoneyScreen
from colossus_tui.tui.screens.nodes import NodesScreen
from colossus_tui.tui.screens.power import PowerScreen
from colossus_tui.tui.screens.run import RunScreen
from colossus_tui.tui.settings import SettingsError
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.words import wrapped

# Screens that can be kept beside the overview, and how each is opened again.
OPENERS: Mapping[str, Callable[[Mapping[str, str]], ColossusScreen]] = {
    "bets": lambda state: BetsScreen(),
    "nodes": lambda state: NodesScreen(),
    "actions": lambda state: ActionsScreen(state.get("run", "")),
    "map": lambda state: MapScreen(),
    "money": lambda state: MoneyScreen(),
    "power": lambda state: PowerScreen(),
    "run": lambda state: RunScreen(state.get("run", "")),
}


def screen_of(saved: SavedView) -> ColossusScreen:
    """Return a new screen of the kind that was kept."""
    return OPENERS[saved.screen](saved.state)


class SaveCard(Card):
    """Asks for a name."""

    def __init__(self, scope: str, state: Mapping[str, str]) -> None:
        super().__init__()
        self._scope = scope
        self._state = dict(state)
        self._entry = Entry("name")
        self._problem = ""

    def text(self) -> list[Line]:
        """What is kept."""
        lines: list[Line] = [((f"save the screen {self._scope}", "strong"),), ()]
        for name, value in self._state.items():
            if value:
                lines += wrapped(f"{name}: {value}", "plain", self.cells)
        lines.append(((f"theme: {self.console.theme_now.name}", "plain"),))
        if self._problem:
            lines += [(), *wrapped(self._problem, "warn", self.cells)]
        return lines

    def asked(self) -> list[Line]:
        """The name as it is typed."""
        typed = safe(self._entry.text, NAME_LIMIT) or "_"
        return [(("type a name, then enter: ", "plain"), (typed, "strong"))]

    def press(self, event: events.Key) -> bool:
        """Take the name."""
        if event.key == "enter":
            self._keep()
        else:
            self._entry.press(event.key, event.character)
            self._entry.text = self._entry.text[:NAME_LIMIT]
        return True

    def on_paste(self, event: events.Paste) -> None:
        """Take a pasted name."""
        self._entry.paste(event.text)
        self._entry.text = self._entry.text[:NAME_LIMIT]
        self.show()

    def _keep(self) -> None:
        name = self._entry.text.strip()
        if not name:
            self.console.bell()
            return
        view = SavedView(name, self._scope, self._state, self.console.theme_now.name)
        try:
            keep(self.console.settings, view)
        except SettingsError as error:
            self._problem = str(error)
            return
        self.dismiss(None)
        self.console.tell("saved", f"{name}; ' opens it", good=True)


class SavedCard(Card):
    """A list to choose from."""

    def __init__(self, views: Sequence[SavedView]) -> None:
        super().__init__()
        self._views = list(views)
        self._cursor = 0
        self._problem = ""

    def text(self) -> list[Line]:
        """One line a view, the chosen one marked."""
        lines: list[Line] = [(("saved views", "strong"),), ()]
        for index, view in enumerate(self._views):
            here = index == self._cursor
            state = ", ".join(f"{name} {value}" for name, value in view.state.items() if value)
            lines.append(
                (
                    (">" if here else " ", "accent"),
                    (f" {fit(safe(view.name, NAME_LIMIT), 20)}  ", "strong" if here else "plain"),
                    (f"{fit(safe(view.screen, 20), 10)} ", "plain"),
                    (safe(state, 100), "dim"),
                )
            )
        if not self._views:
            lines.append((("none yet: W keeps the screen that is shown", "dim"),))
        if self._problem:
            lines += [(), *wrapped(self._problem, "warn", self.cells)]
        return lines

    def asked(self) -> list[Line]:
        """What can be done."""
        keys = (("enter", "opens"), ("x", "deletes"), ("esc", "closes"))
        return [
            tuple(span for key, word in keys for span in ((key, "key"), (f" {word}   ", "dim")))
        ]

    def press(self, event: events.Key) -> bool:
        """Open or delete the chosen one."""
        if event.key == "enter" and self._views:
            self._open(self._views[self._cursor])
        elif event.key == "x" and self._views:
            self._delete(self._views[self._cursor])
        return True

    def on_key(self, event: events.Key) -> None:
        """Choose another one."""
        step = {"up": -1, "k": -1, "down": 1, "j": 1}.get(event.key, 0)
        if not step or not self._views:
            super().on_key(event)
            return
        self._cursor = (self._cursor + step) % len(self._views)
        event.stop()
        event.prevent_default()
        self.show()

    def _open(self, view: SavedView) -> None:
        if view.screen != "overview" and view.screen not in OPENERS:
            self._problem = f"this console has no screen {safe(view.screen, 40)!r}"
            return
        self.dismiss(None)
        self.console.call_later(self.console.open_saved, view)

    def _delete(self, view: SavedView) -> None:
        try:
            forget(self.console.settings, view.name)
        except SettingsError as error:
            self._problem = str(error)
            return
        self._views.remove(view)
        self._cursor = min(self._cursor, max(len(self._views) - 1, 0))
