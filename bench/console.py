"""The console beside its peers, in a real terminal of 200x50: `python -m bench.console`.

Start is from exec to the first screen that names all seven demo runs (a hub with the real demo runs
on it is there already). Key to paint is from the key's byte written to the terminal to the first
byte of the answer; settled is to the last byte before 50 ms of silence. Peers: nvitop on a fake
NVML library of 8 GPUs, glances, and an empty Textual app.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import (
    ABSENT,
    COLUMNS,
    PEERS,
    ROWS,
    cpu_seconds,
    end,
    memory_kib,
    options,
    quantile,
    report,
    table,
)

NAMES = (b"10t", b"6t", b"imagine-v2", b"1.5t-a", b"1.5t-b", b"1t-a", b"1t-b")
SILENCE_SECONDS = 0.05
ASKED, ANSWER = b"\x1b[6n", b"\x1b[1;1R"
EMPTY_APP = (
    "from textual.app import App\n"
    "class Empty(App):\n"
    "    BINDINGS = [('j', 'bell', ''), ('k', 'bell', '')]\n"
    "Empty().run()\n"
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one program; None is not measured."""

    name: str
    start_ms: float | None = None
    bytes_per_second: float | None = None
    cpu_percent: float | None = None
    rss_mib: float | None = None
    key_p50_ms: float | None = None
    key_p95_ms: float | None = None
    settled_p95_ms: float | None = None
    note: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the budgets are for it."""
        return self.name.startswith("colossus")


class Program:
    """A program in a terminal, its output read by whoever measures.

    It says where its cursor is when it is asked, as every terminal does.
    """

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        pid, self._master = pty.fork()
        if pid == 0:
            os.execvpe(argv[0], list(argv), {**environment, "TERM": "xterm-256color"})
        self.pid = pid
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read(self, seconds: float) -> bytes:
        """Return what comes first within so many seconds; b"" for nothing."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return b""
        try:
            found = os.read(self._master, 65536)
        except OSError:
            return b""
        if ASKED in found:
            os.write(self._master, ANSWER)
        return found

    def press(self, key: bytes) -> None:
        """Write a key."""
        os.write(self._master, key)

    def until(self, wanted: Sequence[bytes], seconds: float) -> float | None:
        """Return seconds since exec at which everything wanted had been written, or None."""
        seen = b""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            seen += self.read(0.05)
            if seen and all(text in seen for text in wanted):
                return time.perf_counter() - self.started
        return None

    def count(self, seconds: float) -> int:
        """Return how many bytes are written within so many seconds."""
        total, deadline = 0, time.perf_counter() + seconds
        while (left := deadline - time.perf_counter()) > 0:
            total += len(self.read(left))
        return total

    def close(self) -> None:
        """End it."""
        for number in (15, 9):
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                break
            deadline = time.perf_counter() + 5
            while time.perf_counter() < deadline:
                self.read(0.05)
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    os.close(self._master)
                    return
        os.close(self._master)


def measure(
    name: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    wanted: Sequence[bytes],
    keys: Sequence[bytes],
    *,
    quick: bool,
) -> Figures:
    """Measure one program."""
    starts = []
    for _ in range(2 if quick else 5):
        program = Program(argv, environment)
        took = program.until(wanted, 20.0)
        program.close()
        if took is None:
            return Figures(name, note="its first screen never came")
        starts.append(took * 1000)
    program = Program(argv, environment)
    try:
        program.until(wanted, 20.0)
        program.count(2.0)
        seconds = 8.0 if quick else 20.0
        cpu, begun = cpu_seconds(program.pid), time.perf_counter()
        size = program.count(seconds)
        passed = time.perf_counter() - begun
        used = cpu_seconds(program.pid) - cpu
        first, settled = press_keys(program, keys, 30 if quick else 100)
        return Figures(
            name,
            statistics.median(starts),
            size / passed,
            used / passed * 100,
            memory_kib(program.pid)["Rss"] / 1024,
            quantile(first, 0.5),
            quantile(first, 0.95),
            quantile(settled, 0.95),
        )
    finally:
        program.close()


def press_keys(
    program: Program, keys: Sequence[bytes], count: int
) -> tuple[list[float], list[float]]:
    """Press keys; return ms to the first byte and to the last before a silence, of each."""
    first, settled = [], []
    for index in range(count):
        while program.read(SILENCE_SECONDS):
            pass  # begin in silence
        pressed = time.perf_counter()
        program.press(keys[index % len(keys)])
        if not program.read(1.0):
            continue
        last = time.perf_counter()
        first.append((last - pressed) * 1000)
        while program.read(SILENCE_SECONDS):
            last = time.perf_counter()
        settled.append((last - pressed) * 1000)
    return first, settled


def run(*, quick: bool) -> list[Figures]:
    """Measure the console and its peers, one after the other."""
    command = Path(sys.executable).with_name("colossus")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = {**os.environ, "COLOSSUS_STATE_DIR": folder, "COLOSSUS_RUNTIME_DIR": folder}
        demo = subprocess.Popen(
            [command, "demo", "--headless", "--for", "600"],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            address = f"unix:{folder}/demo/hub.sock"
            _await_demo(command, address, environment)
            ours = measure(
                "colossus (7 runs)",
                [str(command), "--hub", address],
                environment,
                NAMES,
                (b"j", b"k"),
                quick=quick,
            )
            return [ours, *_peers(folder, quick=quick)]
        finally:
            demo.send_signal(2)
            end(demo)


def _await_demo(command: Path, address: str, environment: Mapping[str, str]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        result = subprocess.run(
            [command, "runs", "--json", "--hub", address],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode == 0:
            runs = json.loads(result.stdout)["runs"]
            if sum(run["state"] == "running" for run in runs) == len(NAMES):
                return
        time.sleep(0.2)
    raise SystemExit("bench.console: the demo's runs did not start")


def _peers(folder: str, *, quick: bool) -> list[Figures]:
    empty = Path(folder) / "empty.py"
    empty.write_text(EMPTY_APP)
    found = [
        measure(
            "empty Textual app",
            [sys.executable, str(empty)],
            os.environ,
            (b"\x1b[?1049h",),
            (b"j", b"k"),
            quick=quick,
        )
    ]
    environment = dict(os.environ)
    if shutil.which("gcc"):
        from tests.fakes.fake_nvml import build

        environment |= {"LD_LIBRARY_PATH": str(build(Path(folder))), "FAKE_NVML_GPUS": "8"}
    peers = (
        (
            "nvitop (8 GPUs)",
            "nvitop",
            ("--monitor", "full", "--interval", "1"),
            (b"GPU",),
            (b"\x1b[B", b"\x1b[A"),
        ),
        ("glances", "glances", ("-t", "1"), (b"CPU",), (b"1", b"1")),
    )
    for name, program, arguments, wanted, keys in peers:
        if not (PEERS / program).exists():
            found.append(Figures(name, note=ABSENT))
            continue
        argv = [str(PEERS / program), *arguments]
        found.append(measure(name, argv, environment, wanted, keys, quick=quick))
    return found


BUDGETS = {
    "start_ms": 450.0,
    "bytes_per_second": 3_000.0,
    "cpu_percent": 3.0,
    "key_p95_ms": 40.0,
    "settled_p95_ms": 150.0,
}


def main() -> int:
    """Measure and print; return 1 when the console is over a budget."""
    asked = options(
        "console",
        __doc__,
        site="the map of the whole simulated site instead",
        screens="every screen on a simulated site instead",
    )
    if asked.screens:
        from bench import console_screens

        return console_screens.main(quick=asked.quick, as_json=asked.json)
    if asked.site:
        from bench import console_site

        return console_site.main(quick=asked.quick, as_json=asked.json)
    figures = run(quick=asked.quick)
    shown = text([*figures, _limits()])
    return report("console", figures, BUDGETS, shown, as_json=asked.json)


def _limits() -> Figures:
    return Figures(
        "budget",
        start_ms=BUDGETS["start_ms"],
        bytes_per_second=BUDGETS["bytes_per_second"],
        cpu_percent=BUDGETS["cpu_percent"],
        key_p95_ms=BUDGETS["key_p95_ms"],
        settled_p95_ms=BUDGETS["settled_p95_ms"],
    )


def text(figures: Sequence[Figures]) -> str:
    """Return the figures as a table."""
    heading = ("", "exec to screen", "bytes/s", "CPU", "RSS", "key p50", "key p95", "settled p95")
    rows = [
        (
            one.name,
            _cell(one.start_ms, "ms"),
            _cell(one.bytes_per_second, "B/s"),
            _cell(one.cpu_percent, "%", 2),
            _cell(one.rss_mib, "MiB"),
            _cell(one.key_p50_ms, "ms"),
            _cell(one.key_p95_ms, "ms"),
            _cell(one.settled_p95_ms, "ms"),
            one.note,
        )
        for one in figures
    ]
    return table([(*heading, ""), *rows])


def _cell(value: float | None, unit: str, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f} {unit}"


if __name__ == "__main__":
    sys.exit(main())
