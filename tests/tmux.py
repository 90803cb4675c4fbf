"""A program in a real tmux, as an operator has it over SSH."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self


class Tmux:
    """One program in a tmux server of its own.

    Args:
        socket: Of the server; nobody else's.
    """

    def __init__(
        self,
        socket: Path,
        argv: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self._command = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        size = ["-x", str(columns), "-y", str(rows)]
        subprocess.run(
            [*self._command, "new-session", "-d", *size, "-s", "it", *argv],
            env={**environment, "TERM": "xterm-256color"},
            check=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        subprocess.run([*self._command, "kill-server"], check=False, capture_output=True)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names, such as "Enter"."""
        subprocess.run([*self._command, "send-keys", "-t", "it", *keys], check=True)

    def write(self, text: str) -> None:
        """Type text as it is."""
        subprocess.run([*self._command, "send-keys", "-t", "it", "-l", "--", text], check=True)

    @property
    def text(self) -> str:
        """The screen's lines; empty once the program has ended."""
        shown = subprocess.run(
            [*self._command, "capture-pane", "-p", "-t", "it"],
            check=False,
            capture_output=True,
            text=True,
        )
        return shown.stdout

    def until(self, *wanted: str, seconds: float = 20.0) -> str:
        """Wait until the screen shows all of these and return it."""
        deadline = time.monotonic() + seconds
        while not all(part in (text := self.text) for part in wanted):
            if time.monotonic() > deadline:
                raise AssertionError(f"the screen never showed {wanted}:\n{text}")
            time.sleep(0.1)
        return text

    def until_gone(self, unwanted: str, seconds: float = 20.0) -> None:
        """Wait until the screen shows this no more."""
        deadline = time.monotonic() + seconds
        while unwanted in (text := self.text):
            if time.monotonic() > deadline:
                raise AssertionError(f"the screen still shows {unwanted!r}:\n{text}")
            time.sleep(0.1)

    def until_ended(self, seconds: float = 20.0) -> None:
        """Wait until the program has ended, and its server with it."""
        deadline = time.monotonic() + seconds
        while (
            subprocess.run(
                [*self._command, "has-session", "-t", "it"], check=False, capture_output=True
            ).returncode
            == 0
        ):
            if time.monotonic() > deadline:
                raise AssertionError(f"it has not ended:\n{self.text}")
            time.sleep(0.1)
