"""A hub and an agent for this very machine, as children of whoever needs them and finds none.

The children end when their standard input does, so even a parent killed with SIGKILL leaves none
behind. Runs belong to neither: they go on.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from colossus_tui.paths import hub_socket, make_private, state_dir

LOG = logging.getLogger(__name__)
START_SECONDS = 15.0
STOP_SECONDS = 3.0
WATCH_SECONDS = 0.25
BACKOFF_SECONDS = (0.2, 5.0)


class EmbeddedError(Exception):
    """The hub or the agent could not be started; the message holds the end of its log."""


def answers(path: Path) -> bool:
    """Return whether somebody listens on the socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


class Embedded:
    """The hub of this user on this machine: another's if one answers, else an own one.

    While the other's lives it is used; when it goes away, `keep` starts an own one. A child that
    dies is started again.

    Args:
        settings: File with the own hub's settings.
        agents: Name, module and arguments of what speaks for the nodes: this machine's agent.
    """

    def __init__(
        self,
        site_name: str = "this machine",
        settings: Path | None = None,
        agents: tuple[str, Sequence[str]] = ("agent", ("colossus_agent",)),
    ) -> None:
        self._socket = hub_socket()
        self.address = f"unix:{self._socket}"
        self._agents, command = agents
        given = ["--config", str(settings)] if settings else []
        self._commands = {
            "hub": ["colossus_tui.hub", "--listen", self.address, "--site-name", site_name, *given],
            self._agents: [*command, "--hub", self.address],
        }
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock_file: int | None = None
        self._failures = 0
        self._next_start = 0.0
        self._ending = threading.Event()
        self._keeper: threading.Thread | None = None

    @property
    def is_own(self) -> bool:
        """Whether the hub is a child of this process."""
        return bool(self._children)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Return once a hub answers.

        Raises:
            EmbeddedError: None could be started.
        """
        make_private(self._socket.parent)
        make_private(state_dir())
        make_private(state_dir() / "log")
        deadline = time.monotonic() + START_SECONDS
        while not answers(self._socket):
            if not self._children and self._take_lock():
                self._spawn_all()
            self._check_first_start()
            if time.monotonic() > deadline:
                self.stop()
                raise EmbeddedError(
                    f"no hub answered within {START_SECONDS:g} s{self._tail('hub')}"
                )
            time.sleep(0.02)
        self._keeper = threading.Thread(target=self._keep, name="embedded", daemon=True)
        self._keeper.start()

    def _check_first_start(self) -> None:
        for name, child in self._children.items():
            if child.poll() is not None:
                tail = self._tail(name)
                self.stop()
                raise EmbeddedError(f"the {name} ended with {child.returncode} at once{tail}")

    def _take_lock(self) -> bool:
        """Only one process at a time has the hub of this user as its child."""
        if self._lock_file is not None:
            return True
        path = self._socket.parent / "hub.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        self._lock_file = descriptor
        return True

    def _spawn_all(self) -> None:
        for name in self._commands:
            self._spawn(name)

    def _spawn(self, name: str) -> None:
        common = ["--state-dir", str(state_dir()), "--lifeline"]
        command = self._commands[name]
        log = state_dir() / "log" / f"{name}.log"
        if log.exists() and log.stat().st_size > 4_000_000:
            log.replace(log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            self._children[name] = subprocess.Popen(
                [sys.executable, "-m", *command, *common],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C in the terminal is for the console alone
            )

    def _keep(self) -> None:
        while not self._ending.wait(WATCH_SECONDS):
            dead = [name for name, child in self._children.items() if child.poll() is not None]
            orphaned = not self._children and not answers(self._socket) and self._take_lock()
            if not dead and not orphaned:
                continue
            if time.monotonic() < self._next_start:
                continue
            self._failures += 1
            low, high = BACKOFF_SECONDS
            self._next_start = time.monotonic() + min(low * 2**self._failures, high)
            for name in dead or self._commands:
                LOG.warning("child=%s ended; started again", name)
                try:
                    self._spawn(name)
                except OSError as error:  # a full disk, too many processes: tried again later
                    LOG.warning("child=%s detail=%r", name, error)

    def _tail(self, name: str) -> str:
        try:
            lines = (state_dir() / "log" / f"{name}.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        return ":\n  " + "\n  ".join(lines[-5:]) if lines else ""

    def stop(self) -> None:
        """End the children, if they are ours. Runs go on."""
        self._ending.set()
        if self._keeper is not None:
            self._keeper.join()
        for name in (self._agents, "hub"):
            if (child := self._children.pop(name, None)) is not None:
                _end(child)
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.stdin is not None:
        with contextlib.suppress(OSError):
            child.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP_SECONDS)
        return
    child.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(STOP_SECONDS)
        return
    child.kill()
    child.wait()
