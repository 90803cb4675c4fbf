"""An app that writes no more than its terminal takes, keys' answers first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import events
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from colossus_tui.tui.compositor import CroppingCompositor, Glass
from colossus_tui.tui.drain import QUESTION, Bandwidth, Drain
from colossus_tui.tui.driver import CountingDriver

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.driver import Driver
    from textual.screen import Screen
    from textual.timer import Timer

PRESSES = (
    events.Key | events.Paste | events.MouseDown | events.MouseScrollDown | events.MouseScrollUp
)
REST_SECONDS = 0.2  # between two looks for room, beside each answer of the terminal
END_SECONDS = 1.0  # for the last answer, which the shell would take for typed


class PacedApp(App[int]):
    """Draws through a drain.

    Attributes:
        drain: The terminal's link.
        glass: What the terminal shows.
        is_overdue: Whether a state waits for its time to be shown.
    """

    def __init__(self, bandwidth: Bandwidth = Bandwidth.AUTO) -> None:
        super().__init__()
        self.drain = Drain(bandwidth)
        self.glass = Glass(self.drain, self._queued)
        self._rest: Timer | None = None
        self.is_overdue = False
        self._leaves_with: int | None = None
        self._owing: Screen[object] | None = None  # one of Textual's own that was not drawn

    def get_driver_class(self) -> type[Driver]:
        """Return Textual's driver; that of a terminal counts what is written."""
        found = super().get_driver_class()
        return CountingDriver if found is LinuxDriver else found

    def start_pacing(self) -> None:
        """Ask the terminal for the first time; once it is there."""
        self._rest = self.set_interval(REST_SECONDS, self._go_on, pause=True)
        self.drain.begin()
        if isinstance(self._driver, CountingDriver):
            self._ask()
        else:
            self.drain.stop()  # a browser, or a test: nobody would answer

    def show_all(self) -> None:
        """Bring what is in sight up to date."""
        raise NotImplementedError

    def show_state(self) -> None:
        """Show a new state; on a slow link when it is time for one."""
        self.is_overdue = not self.drain.may_show()
        if not self.is_overdue:
            self.show_all()

    def leave(self, code: int) -> None:
        """End the app, once the terminal has given the answer that is still to come."""
        self.drain.stop()
        self._leaves_with = code
        if not self.drain.is_waiting:
            self.exit(code)
            return
        self.set_timer(END_SECONDS, lambda: self.exit(code))

    def _queued(self) -> int:
        return self._driver.queued if isinstance(self._driver, CountingDriver) else 0

    def _ask(self) -> None:
        if isinstance(self._driver, CountingDriver) and self.drain.should_ask():
            self._driver.write(QUESTION)
            self.drain.asked()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Write an update, and the question behind it."""
        if not isinstance(screen._compositor, CroppingCompositor) and renderable is not None:
            self.glass.forget()
            if self.glass.room(self.size.area) == 0:
                self._owing, renderable = screen, None
                self.drain.has_rest = True
        super()._display(screen, renderable)
        if renderable is not None:
            self._ask()
        if self._rest is not None:
            (self._rest.resume if self.drain.has_rest else self._rest.pause)()

    def on_cursor_position(self) -> None:
        """Take the terminal's answer: a frame has arrived."""
        self.drain.answered()
        if self._leaves_with is not None and not self.drain.is_waiting:
            self.exit(self._leaves_with)
        self._go_on()

    def _go_on(self) -> None:
        """Write what waits, as far as there is room."""
        if not self.drain.has_rest:
            return
        if self.glass.room(self.size.area) == 0:
            self._ask()  # unless it is asked already what there is to wait for
            return
        owing, self._owing = self._owing, None
        if owing is not None and owing is self.screen:
            self.drain.has_rest = False
            owing.refresh()
        else:
            self.screen._compositor_refresh()

    async def on_event(self, event: events.Event) -> None:
        """Let what a key changes go before all else."""
        if isinstance(event, PRESSES):
            self.drain.pressed()
        await super().on_event(event)
