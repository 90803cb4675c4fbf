"""Real processes of the product without each loading its libraries: forks of one that has.

Loading takes a hub half a second of a processor, and the tests start some hundred. One process a
test worker loads what hubs and commands need, and is forked for each; what is forked sets up its
own session, environment and files, runs the module's `__main__`, and ends as any interpreter does.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import os
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypedDict

LOADED = (
    "colossus_tui.hub.app",
    "colossus_tui.hub.command",
    "colossus_tui.cli.main",
    "colossus_tui.cli.look",
    "colossus_tui.cli.act",
    "colossus_tui.client",
    "colossus_tui.tui.app",
    "grpc.aio",
)
MESSAGE_BYTES = 1 << 20
_STATUS = struct.Struct("<i")


class _Order(TypedDict):
    args: list[str]
    environment: dict[str, str]
    folder: str
    in_terminal: bool


class Process:
    """One forked process, with what tests use of `subprocess.Popen`."""

    def __init__(self, args: Sequence[str], pid: int, status: int) -> None:
        self.args = list(args)
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return its exit code, minus the signal that ended it; None while it runs."""
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: It runs on after `timeout` seconds.
        """
        code = self._look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _look(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            (self.returncode,) = _STATUS.unpack(os.read(self._status, _STATUS.size))
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Server:
    """The process that is forked, seen from the tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # who asks gets the answer to what it has asked
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forks", str(there.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[there.fileno()],
                start_new_session=True,
            )

    def close(self) -> None:
        """Let it end; what it has started goes on."""
        self._here.close()
        self._process.wait(10)

    def start(
        self,
        args: Sequence[str],
        environment: Mapping[str, str],
        files: tuple[int, int, int],
        *,
        in_terminal: bool = False,
    ) -> Process:
        """Run a module, `args[0]`, with arguments, in a session of its own on these files."""
        order = _Order(
            args=list(args),
            environment=dict(environment),
            folder=os.getcwd(),
            in_terminal=in_terminal,
        )
        ours, theirs = os.pipe()
        try:
            with self._lock:
                socket.send_fds(self._here, [json.dumps(order).encode()], [*files, theirs])
                (pid,) = _STATUS.unpack(self._here.recv(_STATUS.size))
        finally:
            os.close(theirs)
        return Process(args, pid, ours)


_servers: dict[int, Server] = {}
_making = threading.Lock()


def start(args: Sequence[str], environment: Mapping[str, str], output: int) -> Process:
    """Run a module, `args[0]`, with arguments; both outputs go to one file."""
    with open(os.devnull, "rb") as nothing:
        return _server().start(args, environment, (nothing.fileno(), output, output))


def start_in_terminal(
    args: Sequence[str], environment: Mapping[str, str], terminal: int
) -> Process:
    """Run a module, `args[0]`, with arguments, on a terminal that becomes its session's."""
    return _server().start(args, environment, (terminal,) * 3, in_terminal=True)


def run(
    args: Sequence[str], environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a module to its end and return what it said.

    Raises:
        subprocess.TimeoutExpired: It ran on after `timeout` seconds, and was killed.
    """
    with (
        open(os.devnull, "rb") as nothing,
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as errors,
    ):
        files = nothing.fileno(), output.fileno(), errors.fileno()
        process = _server().start(args, environment, files)
        try:
            code = process.wait(timeout)
        except BaseException:
            process.kill()
            raise
        said = []
        for file in (output, errors):
            file.seek(0)
            said.append(file.read().decode())
        return subprocess.CompletedProcess(list(args), code, *said)


def _server() -> Server:
    with _making:
        server = _servers.get(os.getpid())
        if server is None:
            server = _servers[os.getpid()] = Server()
            atexit.register(server.close)
        return server


# --- in the process that is forked ---------------------------------------------------------


def _serve(control: socket.socket) -> list[str] | None:
    """Fork whenever asked; return in each fork what it is to run, and None at the end."""
    running: dict[int, tuple[int, int]] = {}  # by pidfd: pid, and where its end is told
    with selectors.DefaultSelector() as looked:
        looked.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in looked.select():
                if key.fileobj is not control:
                    looked.unregister(key.fileobj)
                    _reap(key.fd, *running.pop(key.fd))
                    continue
                data, received, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 4)
                if not data:
                    return None
                *files, status = received
                pid = os.fork()
                if not pid:
                    return _become(json.loads(data), files)
                for file in files:
                    os.close(file)
                handle = os.pidfd_open(pid)
                running[handle] = pid, status
                looked.register(handle, selectors.EVENT_READ)
                control.send(_STATUS.pack(pid))


def _reap(handle: int, pid: int, status: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(handle)
    with contextlib.suppress(BrokenPipeError):  # nobody asks any more
        os.write(status, _STATUS.pack(code))
    os.close(status)


def _become(order: _Order, files: list[int]) -> list[str]:
    os.setsid()
    os.chdir(order["folder"])
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 1024)  # what the forks share, the control socket among them
    if order["in_terminal"]:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.environ.clear()
    os.environ.update(order["environment"])
    time.tzset()
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())
    return order["args"]


def main() -> NoReturn:
    """Load what is used, and be forked."""
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    args = _serve(control)
    if args is None:
        sys.exit()
    sys.argv = args
    runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    sys.exit()


if __name__ == "__main__":
    main()
