"""Textual's own driver for a terminal, with a count of what is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from colossus_tui.tui.app import ColossusApp


class CountingDriver(LinuxDriver):
    """Tells the app's drain what goes to the terminal."""

    def write(self, data: str) -> None:
        """Write, and count."""
        cast("ColossusApp", self._app).drain.sent(len(data))
        super().write(data)

    @property
    def queued(self) -> int:
        """Writes that the thread behind this has not made yet."""
        thread = self._writer_thread
        return thread._queue.qsize() if thread is not None else 0
