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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests import forks

BIN = Path(sys.executable).parent
_SIZE = ("COLUMNS", "LINES")  # a terminal tells its size itself


class _Screen(pyte.Screen):
    """A screen that answers, as to where its cursor is."""

    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        self._answer = answer
        super().__init__(columns, rows)

    def write_process_input(self, data: str) -> None:
        """Send an answer to the program."""
        self._answer(data)


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
        self.screen = _Screen(columns, rows, self._answer)
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

    def _answer(self, text: str) -> None:
        """Take the emulator's answer to a question: it would come late, when a test reads."""

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


class SlowTerminal(Terminal):
    """The same behind a link that takes so many bytes a second, and keeps the rest for later.

    As with ssh over a slow line: what the program writes is taken at once, however much it is, so
    nothing tells it by itself that it writes too much.

    Attributes:
        most_backlog: Most bytes that have waited for the link.
        is_stalled: Whether nothing is taken.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        *,
        rate: float = 960.0,
        delay_seconds: float = 0.15,
        columns: int = 80,
        rows: int = 24,
        answers: bool = True,
    ) -> None:
        self._rate, self._delay = rate, delay_seconds
        self._answers = answers
        self._waiting = b""
        self._travelling: deque[tuple[float, bytes]] = deque()
        self._keys: deque[tuple[float, str]] = deque()
        self._moved = time.monotonic()
        self._credit = 0.0
        self.most_backlog = 0
        self.is_stalled = False
        super().__init__(argv, environment, columns, rows)

    @property
    def master(self) -> int:
        """The side of the terminal; what is written there has passed the link."""
        return self._master

    @property
    def backlog(self) -> int:
        """Bytes that wait for the link now."""
        return len(self._waiting)

    def _answer(self, text: str) -> None:
        if self._answers:
            self.press(text)

    def press(self, keys: str) -> None:
        """Write keys; they arrive later."""
        self._keys.append((time.monotonic() + self._delay, keys))

    def read(self, seconds: float) -> None:
        """Let the link work for so many seconds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.is_stalled:
                self._move()
            time.sleep(0.005)

    def _move(self) -> None:
        while select.select([self._master], [], [], 0)[0]:
            try:
                self._waiting += os.read(self._master, 65_536)
            except OSError:  # the program has closed its side
                break
        self.most_backlog = max(self.most_backlog, len(self._waiting))
        now, before = time.monotonic(), self._moved
        self._moved = now
        self._credit = min(self._credit + (now - before) * self._rate, self._rate / 10)
        count = min(int(self._credit), len(self._waiting))
        self._credit -= count
        if count:
            self._travelling.append((now + self._delay, self._waiting[:count]))
            self._waiting = self._waiting[count:]
        while self._travelling and self._travelling[0][0] <= now:
            data = self._travelling.popleft()[1]
            self.output += data
            self._stream.feed(data)
        while self._keys and self._keys[0][0] <= now:
            os.write(self._master, self._keys.popleft()[1].encode())
