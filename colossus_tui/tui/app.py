"""The console's composition: the feed, the screens, and who gets which message."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterable, Set
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from colossus_tui.model import Action, ActionState, Verb
from colossus_tui.text import show_as_of
from colossus_tui.tui import quickstart
from colossus_tui.tui.actions import COMMANDS, key_of, offered
from colossus_tui.tui.feed import Feed
from colossus_tui.tui.messages import (
    ActionAnswered,
    ActionChanged,
    ActionFailed,
    BulkChanged,
    BulkPreflightReceived,
    FoundReceived,
    IncidentAnswered,
    IncidentReceived,
    JournalReceived,
    LinkChanged,
    Noted,
    PreflightReceived,
    TimelineReceived,
    ViewReceived,
)
from colossus_tui.tui.modes import Modes, asked_modes
from colossus_tui.tui.replaying import ReplayKeys
from colossus_tui.tui.screens.actions import ActionScreen, ActionsScreen, JournalScreen
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.screens.bulk import BulkCard
from colossus_tui.tui.screens.card import Card, CardScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.views.bulk import bulk_end
from colossus_tui.tui.views.site import Link

TICK_SECONDS = 1.0
STUCK_SECONDS = 5.0  # longer than an exit takes whose terminal still reads


class ColossusApp(ReplayKeys):
    """The console."""

    CSS = """
    ColossusScreen, ColossusScreen Lines, Table, HeatMap { background: $background; }
    """
    TITLE = "colossus"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        # A letter belongs to whoever types a filter or a name; control keys never do.
        Binding(key, command.name, show=False, priority=key.startswith("ctrl"))
        for command in COMMANDS
        for key in command.keys.split(",")
        if {"all", "replay"} & {*command.scope} and command.name != "command_palette"
    ]

    def __init__(
        self,
        address: str | None,
        *,
        modes: Modes | None = None,
        end_after_seconds: float | None = None,
    ) -> None:
        asked = modes or Modes()
        super().__init__(asked)
        self.link = Link(since=time.monotonic())
        self.feed = Feed(address, self.post_message, looks_only=asked.looks_only)
        self._end_after = end_after_seconds
        self.last_resort: threading.Timer | None = None

    def get_default_screen(self) -> Screen[None]:
        """Return the overview, which is below all others."""
        return OverviewScreen()

    def on_mount(self) -> None:
        """Start the feed."""
        loop = asyncio.get_running_loop()

        def leave(number: int, frame: object) -> None:
            """Leave as after `q`; by force where a terminal that takes nothing blocks the loop."""
            del frame
            self.last_resort = threading.Timer(STUCK_SECONDS, os._exit, (128 + number,))
            self.last_resort.daemon = True
            self.last_resort.start()
            loop.call_soon_threadsafe(self.exit, 128 + number)

        # Not by the loop's own handlers: they wait for the loop.
        for number in (signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, leave)
        self.start_pacing()
        self.feed.start()
        if self.unsaid:
            self.tell("theme", self.unsaid, good=False)
        self.set_interval(TICK_SECONDS, self._tick)
        self.set_timer(quickstart.SECONDS, quickstart.end)
        if self._end_after is not None:
            self.set_timer(self._end_after, self.action_quit)

    def _tick(self) -> None:
        """Let ages grow while the hub says nothing, and show what had to wait for its time."""
        self.let_ages_grow()
        if not self.link.linked or self.is_overdue:
            self.show_state()

    async def action_quit(self) -> None:
        """Leave."""
        self.leave(0)

    def on_unmount(self) -> None:
        """End the feed."""
        self.feed.stop()

    # --- what the feed says ------------------------------------------------------------------

    def on_view_received(self, message: ViewReceived) -> None:
        """Show the newest state."""
        self.take(view=message.view)

    def on_link_changed(self, message: LinkChanged) -> None:
        """Note whether what is shown is still so."""
        if message.linked != self.link.linked or self.view is None:
            since = time.monotonic() if message.linked or self.link.linked else self.link.since
            self.link = Link(message.linked, message.detail, since)
            if not message.linked:
                self.show_all()

    def on_noted(self, message: Noted) -> None:
        """Say it."""
        self.tell(message.title, message.text, good=message.good)

    def on_journal_received(self, message: JournalReceived) -> None:
        """Show the newest list of actions."""
        self.take(journal=message.actions)

    def on_preflight_received(self, message: PreflightReceived) -> None:
        """Hand a preflight to its card."""
        if isinstance(self.screen, CardScreen):
            self.screen.preflight_received(message.subject, message.preflight)

    def on_bulk_preflight_received(self, message: BulkPreflightReceived) -> None:
        """Hand a preflight of several runs to its card."""
        if isinstance(self.screen, BulkCard):
            self.screen.bulk_received(message.preflight)

    def on_action_changed(self, message: ActionChanged) -> None:
        """Hand an action's stage to its card; without a card, tell its end."""
        action = message.action
        if isinstance(self.screen, CardScreen) and self.screen.action_changed(action):
            return
        if action.state.is_end:
            title = f"{action.verb} {action.subject}: {action.state}"
            self.tell(title, action.detail, good=action.state is ActionState.OBSERVED)

    def on_bulk_changed(self, message: BulkChanged) -> None:
        """Hand the actions of a bulk to their card; without a card, tell their end."""
        if isinstance(self.screen, BulkCard) and self.screen.bulk_id == message.bulk_id:
            self.screen.bulk_changed(message.actions)
        elif message.actions and all(action.state.is_end for action in message.actions):
            text, good = bulk_end(message.actions[0].verb, message.actions)
            self.tell(text, f"each one: {key_of('actions')}", good=good)

    def on_found_received(self, message: FoundReceived) -> None:
        """Hand what was found to the map that looked for it."""
        from colossus_tui.tui.screens.map import MapScreen

        if isinstance(self.screen, MapScreen):
            self.screen.found(message.text, message.found, message.detail)

    def on_action_failed(self, message: ActionFailed) -> None:
        """Tell that the hub could not be asked: on its card, else at the edge of the screen."""
        if isinstance(self.screen, CardScreen | BulkCard):
            self.screen.failed(message.verb, message.subject, message.detail)
        else:
            self.tell(f"{message.verb} {message.subject}", message.detail, good=False)

    def on_action_answered(self, message: ActionAnswered) -> None:
        """Show what the hub said to a cancel or an approval, where the action is shown."""
        text = f"{message.word}: {message.detail or 'the hub has taken it'}"
        for screen in reversed(self.screen_stack):
            shows = isinstance(screen, CardScreen | BulkCard | JournalScreen)
            if shows and screen.answered(message.action_id, text):
                return
        if message.detail:
            self.tell(message.word, message.detail, good=False)

    def on_incident_received(self, message: IncidentReceived) -> None:
        """Hand an incident to the screen that shows it."""
        from colossus_tui.tui.screens.incidents import IncidentScreen

        for screen in self.screen_stack:
            if isinstance(screen, IncidentScreen):
                screen.incident_received(message.incident_id, message.incident)

    def on_incident_answered(self, message: IncidentAnswered) -> None:
        """Show what the hub said of an incident, where the incident is shown."""
        from colossus_tui.tui.screens.incidents import IncidentScreenBase

        text = f"{message.word}: {message.detail or 'the hub has written it down'}"
        for screen in reversed(self.screen_stack):
            if isinstance(screen, IncidentScreenBase):
                screen.answered(message.incident_id, text)
                return
        if message.detail:
            self.tell(message.word, message.detail, good=False)

    def on_timeline_received(self, message: TimelineReceived) -> None:
        """Hand a span of time to the screen that asked for it."""
        from colossus_tui.tui.screens.incidents import IncidentScreen
        from colossus_tui.tui.screens.timeline import TimelineScreen

        if isinstance(self.screen, IncidentScreen | TimelineScreen):
            self.screen.timeline_received(message.timeline, message.detail)

    def show_all(self) -> None:
        """Bring what is in sight up to date."""
        playback = self.view.playback if self.view is not None else None
        show_as_of(playback.position_time_unix_ns if playback is not None else None)
        with self.batch_update():
            for screen in self.screen_stack:
                if isinstance(screen, ColossusScreen) and (
                    screen is self.screen or isinstance(self.screen, Card)
                ):
                    screen.show()

    # --- what the operator says --------------------------------------------------------------

    def open_card(self, verb: str, subject: str) -> None:
        """Open the preflight card of a verb on a run or node."""
        runs = self.view.runs if self.view is not None else ()
        current = next((run for run in runs if run.run_id == subject), None)
        self.push_screen(CardScreen(Verb(verb), subject, current))

    def open_site_card(self, verb: str) -> None:
        """Open the card of a shed, or of its undoing."""
        from colossus_tui.tui.screens.shed import SiteCard

        self.push_screen(SiteCard(Verb(verb)))

    def open_bulk(self, verb: str, run_ids: Iterable[str], hidden: Set[str]) -> None:
        """Open the preflight card of a verb on several runs."""
        self.push_screen(BulkCard(Verb(verb), list(run_ids), hidden))

    def open_actions(self, run_id: str = "") -> None:
        """Open all actions, or those of one run."""
        self.push_screen(ActionsScreen(run_id))

    def open_action(self, action: Action) -> None:
        """Open one action in full."""
        self.push_screen(ActionScreen(action))

    def action_help(self) -> None:
        """Show every key."""
        from colossus_tui.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen | Card):
            self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return the palette's commands: what this screen offers."""
        if not isinstance(screen, ColossusScreen):
            return
        for command in offered(screen.scope, replaying=self.is_replay):
            if command.name == "command_palette":
                continue

            async def run(name: str = command.name) -> None:
                is_own = hasattr(self, f"action_{name.partition('(')[0]}")
                await screen.run_action(f"app.{name}" if is_own else name)

            yield SystemCommand(f"{command.label} ({command.shown})", command.help, run)


def run_console(
    address: str | None,
    *,
    ascii_only: bool = False,
    theme: str | None = None,
    looks_only: bool = False,
    bandwidth: str = "auto",
    end_after_seconds: float | None = None,
) -> int:
    """Show the console until the operator leaves; without an address, with a hub of its own."""
    from colossus_tui.embedded import Embedded

    modes = asked_modes(
        os.environ,
        ascii_only=ascii_only,
        theme=theme,
        looks_only=looks_only,
        bandwidth=bandwidth,
    )
    if address is not None:
        return _run(address, modes, end_after_seconds)
    with Embedded() as embedded:
        return _run(embedded.address, modes, end_after_seconds)


def _run(address: str, modes: Modes, end_after_seconds: float | None) -> int:
    app = ColossusApp(address, modes=modes, end_after_seconds=end_after_seconds)
    code = app.run()
    if app.last_resort is not None:
        app.last_resort.cancel()
    return app.return_code or (code or 0)
