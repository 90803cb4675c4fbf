"""The console's composition: the feed, the screens, and who gets which message."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterable
from typing import ClassVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from colossus_tui.model import ActionState, Verb, View
from colossus_tui.text import safe
from colossus_tui.tui.actions import COMMANDS, offered
from colossus_tui.tui.feed import Feed
from colossus_tui.tui.messages import (
    ActionChanged,
    ActionFailed,
    LinkChanged,
    PreflightReceived,
    ViewReceived,
)
from colossus_tui.tui.screens.base import ColossusScreen
from colossus_tui.tui.screens.card import CardScreen
from colossus_tui.tui.screens.overview import OverviewScreen
from colossus_tui.tui.theme import ASCII, BACKGROUND, UNICODE
from colossus_tui.tui.views.site import Link

TICK_SECONDS = 1.0


class ColossusApp(App[int]):
    """The console."""

    CSS = f"""
    ColossusScreen {{ background: {BACKGROUND}; }}
    CardScreen {{ background: #000000 60%; }}
    ColossusScreen Lines, Table {{ background: {BACKGROUND}; scrollbar-background: {BACKGROUND};
        scrollbar-color: #30363d; scrollbar-color-hover: #484f58; scrollbar-color-active: #56b4e9;
        scrollbar-background-hover: {BACKGROUND}; scrollbar-background-active: {BACKGROUND}; }}
    """
    TITLE = "colossus"
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(command.keys, command.name, show=False, priority=command.name == "quit")
        for command in COMMANDS
        if "all" in command.scope and command.name != "command_palette"
    ]

    def __init__(
        self,
        address: str | None,
        *,
        ascii_only: bool = False,
        end_after_seconds: float | None = None,
    ) -> None:
        super().__init__()
        self.glyphs = ASCII if ascii_only else UNICODE
        self.view: View | None = None
        self.link = Link(since=time.monotonic())
        self.feed = Feed(address, self.post_message)
        self._end_after = end_after_seconds
        self.animation_level = "none"

    def on_mount(self) -> None:
        """Start the feed and show the overview."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGHUP, signal.SIGTERM):  # leave as after `q`: terminal, children
            loop.add_signal_handler(number, self.exit, 128 + number)
        self.feed.start()
        self.push_screen(OverviewScreen())
        self.set_interval(TICK_SECONDS, self._tick)
        if self._end_after is not None:
            self.set_timer(self._end_after, self.action_quit)

    def _tick(self) -> None:
        """Let ages grow while the hub says nothing."""
        if not self.link.linked:
            self._show()

    async def action_quit(self) -> None:
        """Leave."""
        self.exit(0)

    def on_unmount(self) -> None:
        """End the feed."""
        self.feed.stop()

    # --- what the feed says ------------------------------------------------------------------

    def on_view_received(self, message: ViewReceived) -> None:
        """Show the newest state."""
        self.view = message.view
        self._show()

    def on_link_changed(self, message: LinkChanged) -> None:
        """Note whether what is shown is still so."""
        if message.linked != self.link.linked or self.view is None:
            since = time.monotonic() if message.linked or self.link.linked else self.link.since
            self.link = Link(message.linked, message.detail, since)
            if not message.linked:
                self._show()

    def on_preflight_received(self, message: PreflightReceived) -> None:
        """Hand a preflight to its card."""
        if isinstance(self.screen, CardScreen):
            self.screen.preflight_received(message.preflight)

    def on_action_changed(self, message: ActionChanged) -> None:
        """Hand an action's stage to its card; without a card, tell its end."""
        if isinstance(self.screen, CardScreen):
            self.screen.action_changed(message.action)
            return
        action = message.action
        if action.state.is_end:
            good = action.state is ActionState.OBSERVED
            self.notify(
                safe(action.detail, 200),
                title=f"{action.verb} {safe(action.run_id, 63)}: {action.state}",
                severity="information" if good else "warning",
                markup=False,
            )

    def on_action_failed(self, message: ActionFailed) -> None:
        """Tell that the hub could not be asked."""
        if isinstance(self.screen, CardScreen):
            self.screen.failed(message.verb, message.run_id, message.detail)

    def _show(self) -> None:
        with self.batch_update():
            for screen in self.screen_stack:
                if isinstance(screen, ColossusScreen) and (
                    screen is self.screen or isinstance(self.screen, CardScreen)
                ):
                    screen.show()

    # --- what the operator says --------------------------------------------------------------

    def open_card(self, verb: str, run_id: str) -> None:
        """Open the preflight card."""
        runs = self.view.runs if self.view is not None else ()
        current = next((run.priority_class for run in runs if run.run_id == run_id), None)
        self.push_screen(CardScreen(Verb(verb), run_id, current))

    def action_help(self) -> None:
        """Show every key."""
        from colossus_tui.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen | CardScreen):
            self.push_screen(HelpScreen())

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Return the palette's commands: what this screen offers."""
        if not isinstance(screen, ColossusScreen):
            return
        for command in offered(screen.scope):
            if command.name == "command_palette":
                continue

            async def run(name: str = command.name) -> None:
                await screen.run_action(name if name not in ("help", "quit") else f"app.{name}")

            yield SystemCommand(f"{command.label} ({command.shown})", command.help, run)


def run_console(
    address: str | None, *, ascii_only: bool = False, end_after_seconds: float | None = None
) -> int:
    """Show the console until the operator leaves; without an address, with a hub of its own."""
    from colossus_tui.embedded import Embedded

    plain = ascii_only or os.environ.get("TERM", "") in ("dumb", "linux", "vt100", "vt220")
    if address is not None:
        return _run(address, plain, end_after_seconds)
    with Embedded() as embedded:
        return _run(embedded.address, plain, end_after_seconds)


def _run(address: str, ascii_only: bool, end_after_seconds: float | None) -> int:
    app = ColossusApp(address, ascii_only=ascii_only, end_after_seconds=end_after_seconds)
    code = app.run()
    return app.return_code or (code or 0)
