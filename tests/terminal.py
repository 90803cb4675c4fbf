"""A program in a real pseudo-terminal whose screen a test can read."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests import forks

BIN = Path(sys.executable).parent
_SIZE = ("COLUMNS", "LINES")  # a terminal tells its size itself


class Terminal:
    """One program and the screen that its output makes, as a terminal would draw it.

    Attributes:
        screen: The terminal emulator's screen; `screen.display` are its lines.
        output: Every byte the program wrote.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 80,
        rows: int = 24,
        term: str = "xterm-256color",
    ) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.output = b""
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        environment = {
            **{name: environment[name] for name in environment if name not in _SIZE},
            "TERM": term,
        }
        program, *arguments = argv
        self._process: forks.Process | subprocess.Popen[bytes]
        if program == str(BIN / "colossus"):
            args = ("colossus_tui", *arguments)
            self._process = forks.start_in_terminal(args, environment, slave)
        else:  # not by pty.fork: before exec it runs Python, which the threads of gRPC break
            self._process = subprocess.Popen(
                ["setsid", "--ctty", *argv],
                stdin=slave,
                stdout=slave,
                stderr=slave,
                env=environment,
            )
        self.pid = self._process.pid
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size, as a user who drags its corner."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Write keys to the terminal."""
        os.write(self._master, keys.encode())

    def click(self, column: int, row: int) -> None:
        """Press and release the left button; the first cell is (1, 1)."""
        self.press(f"\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m")

    def read(self, seconds: float) -> None:
        """Take in what the program writes within so many seconds."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left)[0]:
                return
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the program has closed its side
                return
            self.output += data
            self._stream.feed(data)

    @property
    def text(self) -> str:
        """The screen's lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def until(self, *wanted: str, seconds: float = 15.0) -> str:
        """Wait until the screen shows all of these and return it."""
        deadline = time.monotonic() + seconds
        while not all(text in self.text for text in wanted):
            if time.monotonic() > deadline:
                raise AssertionError(f"the screen never showed {wanted}:\n{self.text}")
            self.read(0.05)
        return self.text

    def until_that(self, holds: Callable[[], bool], seconds: float = 15.0) -> None:
        """Wait until something holds of the screen."""
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"it never came true of the screen:\n{self.text}")
            self.read(0.05)

    def until_gone(self, unwanted: str, seconds: float = 15.0) -> None:
        """Wait until the screen shows this no more."""
        deadline = time.monotonic() + seconds
        while unwanted in self.text:
            if time.monotonic() > deadline:
                raise AssertionError(f"the screen still shows {unwanted!r}:\n{self.text}")
            self.read(0.05)

    def wait(self, seconds: float = 10.0) -> int:
        """Return the exit code; the program must end by itself."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read(0.05)
            if (code := self._process.poll()) is not None:
                self.read(0.05)
                return code
        raise AssertionError(f"it has not ended within {seconds:g} s:\n{self.text}")
