"""What every screen has: the site's header, its own body, what happens, and its keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from colossus_tui.model import Verb, View
from colossus_tui.model.match import Text
from colossus_tui.text import clock
from colossus_tui.tui.actions import key_of, offered
from colossus_tui.tui.export.values import Exported
from colossus_tui.tui.feed import Wanted
from colossus_tui.tui.screens.cropped import CroppedScreen
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.scrubber import scrubber
from colossus_tui.tui.views.site import header, keys, strip
from colossus_tui.tui.widgets.drawn import Drawn
from colossus_tui.tui.widgets.lines import Lines

STRIP_LINES, LOW_STRIP_LINES = 5, 3  # the fewer on a terminal of up to LOW_LINES
LOW_LINES = 30
AROUND_BODY = ("header", "strip", "footer")
HEAD_LINES = 2


def bindings(scope: str) -> list[BindingType]:
    """Return a screen's key bindings from the registry."""
    return [
        Binding(command.keys, command.name, command.label, show=False)
        for command in offered(scope)
        if scope in command.scope
    ]


class ColossusScreen(CroppedScreen):
    """Base of the console's screens."""

    DEFAULT_CSS = """
    ColossusScreen { layout: vertical; }
    ColossusScreen > #header { height: 2; }
    ColossusScreen > #strip { height: 3; }
    ColossusScreen > #scrubber { height: 0; }
    ColossusScreen > #footer { height: 1; }
    ColossusScreen > .body { height: 1fr; }
    ColossusScreen > Lines.body { margin: 0 0 0 1; }
    """
    scope: ClassVar[str] = "all"
    heading: ClassVar[str] = ""

    def compose(self) -> ComposeResult:
        """Place header, body, strip and footer."""
        yield Lines(id="header")
        yield from self.body()
        yield Lines(id="strip")
        yield Lines(id="scrubber")
        yield Lines(id="footer")

    def body(self) -> Iterable[Widget]:
        """Return what is between header and strip."""
        raise NotImplementedError

    def wanted(self) -> Wanted:
        """Return what the hub must send for this screen."""
        return Wanted()

    def title_text(self) -> str:
        """Return what stands beside the site's name."""
        return self.heading

    def below(self, view: View, count: int) -> list[Line]:
        """Return so many lines of what happens."""
        return strip(view.events, view.actions, count, self.console.glyphs)

    def on_mount(self) -> None:
        """Show what is known already."""
        self.show()

    def on_screen_resume(self) -> None:
        """Ask the hub for what this screen shows; what another one held goes on."""
        if self.console.hold is not None and self.console.hold.screen is not self:
            self.console.release()
        self.console.feed.show(self.wanted())
        self.console.drain.expect()
        self.show()

    def on_resize(self) -> None:
        """Fit the new size."""
        self.show()

    def show(self) -> None:
        """Bring every part up to date."""
        app = self.console
        view, glyphs = app.view, app.glyphs
        self.query_one("#header", Lines).set_lines(
            header(
                view,
                app.link,
                self.title_text(),
                glyphs,
                self.size.width,
                self._held(),
                app.drain.words,
            )
        )
        if view is not None:
            count = self._strip_lines()
            part = self.query_one("#strip", Lines)
            part.styles.height = count
            part.set_lines(self.below(view, count))
            self._show_playback(view)
        self.query_one("#footer", Lines).set_lines([keys(self._footer())])
        self.show_body()

    def _show_playback(self, view: View) -> None:
        """Show where a replay stands; a hub has no such line."""
        part = self.query_one("#scrubber", Lines)
        playback = view.playback
        lines = scrubber(playback, self.size.width, self.console.glyphs) if playback else []
        part.styles.height = len(lines)
        part.set_lines(lines)

    def show_body(self) -> None:
        """Bring the body up to date."""
        raise NotImplementedError

    def _strip_lines(self) -> int:
        return STRIP_LINES if self.size.height > LOW_LINES else LOW_STRIP_LINES

    def around(self) -> int:
        """Return the lines that are not the body's."""
        playback = self.query_one("#scrubber", Lines).styles.height
        return HEAD_LINES + self._strip_lines() + int(playback.value if playback else 0) + 1

    def _footer(self) -> list[tuple[str, str]]:
        """Return as many keys as fit; the last, help and quit, always do."""
        found = offered(self.scope, replaying=self.console.is_replay)
        pairs = [(command.shown, command.label) for command in found]
        room = self.size.width
        last = pairs[-2:]
        room -= sum(_cells(pair) for pair in last)
        kept = []
        for pair in pairs[:-2]:
            room -= _cells(pair)
            if room < 0:
                break
            kept.append(pair)
        return kept + last

    def _held(self) -> str:
        """Return since when the screen stands still."""
        hold = self.console.hold
        return f"held since {clock(hold.since_unix_ns)}, {key_of('hold')} to go on" if hold else ""

    def saved_state(self) -> dict[str, str] | None:
        """Return what a saved view of this screen keeps; None where it cannot be kept."""
        return None

    def restore(self, state: Mapping[str, str]) -> str:
        """Take what a saved view has kept; return what of it cannot be so any more."""
        del state
        return ""

    def exported(self) -> Exported | None:
        """Return the values behind the screen, where there are any."""
        return None

    def thing(self) -> str | None:
        """Return the name of what is under the cursor."""
        return self.run_id() or self.node_name()

    def text_lines(self) -> list[str]:
        """Return the body as plain text."""
        parts = [part for part in self.query(Drawn) if part.id not in AROUND_BODY]
        return [line for part in parts for line in part.text_lines()]

    def run_id(self) -> str | None:
        """Return the run that an action would be about."""
        return None

    def node_name(self) -> str | None:
        """Return the node that an action would be about."""
        return None

    def action_act(self, verb: str) -> None:
        """Open the preflight card for the run, the node or the site."""
        if Verb(verb).is_on_site:
            self.console.open_site_card(verb)
            return
        subject = self.node_name() if Verb(verb).is_on_node else self.run_id()
        if subject is None:
            self.console.bell()
            return
        self.console.open_card(verb, subject)

    def action_actions(self) -> None:
        """Open the actions: on a run's screen only its own."""
        self.console.open_actions((self.run_id() or "") if self.scope == "run" else "")

    def action_incidents(self) -> None:
        """Open the incidents."""
        from colossus_tui.tui.screens.incidents import IncidentsScreen

        self.app.push_screen(IncidentsScreen())

    def action_timeline(self) -> None:
        """Open the timeline: on a run's screen of the run, else of the site."""
        from colossus_tui.tui.screens.timeline import TimelineScreen

        self.app.push_screen(TimelineScreen((self.run_id() or "") if self.scope == "run" else ""))

    def action_nodes(self) -> None:
        """Open the nodes."""
        from colossus_tui.tui.screens.nodes import NodesScreen

        self.app.push_screen(NodesScreen())

    def action_map(self) -> None:
        """Open the map of the site: on a run's screen with the run drawn over it."""
        from colossus_tui.tui.screens.map import MapScreen

        run_id = self.run_id() if self.scope == "run" else None
        self.app.push_screen(MapScreen(str(Text("run", "=", (run_id,))) if run_id else ""))

    def action_money(self) -> None:
        """Open what runs cost, and idle GPUs."""
        from colossus_tui.tui.screens.money import MoneyScreen

        self.app.push_screen(MoneyScreen())

    def action_bets(self) -> None:
        """Open the comparison of all runs."""
        from colossus_tui.tui.screens.bets import BetsScreen

        self.app.push_screen(BetsScreen())

    def action_power(self) -> None:
        """Open the site's power."""
        from colossus_tui.tui.screens.power import PowerScreen

        self.app.push_screen(PowerScreen())

    def action_back(self) -> None:
        """Go back, unless the palette came over it meanwhile."""
        if self.app.screen is self:
            self.app.pop_screen()


def _cells(pair: tuple[str, str]) -> int:
    return len(pair[0]) + len(pair[1]) + 3
