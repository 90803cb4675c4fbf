"""What every benchmark needs: a process's cost, a terminal, the verdict on the budgets."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".bench-venv" / "bin"
ABSENT = "n/a: not installed (make bench installs it)"
COLUMNS, ROWS = 200, 50


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, all its threads, user and system.

    The process's own clock (linux/posix-timers.h: CPUCLOCK_SCHED) has nanoseconds where
    /proc/PID/stat has hundredths.
    """
    return time.clock_gettime((~pid << 3) | 2)


def memory_kib(pid: int) -> dict[str, int]:
    """Return "Rss" and "Pss" of a process in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = (line.split() for line in lines)
    return {field[0][:-1]: int(field[1]) for field in fields if field[0] in ("Rss:", "Pss:")}


class Terminal:
    """A program in a terminal of 200x50 whose output is read and counted."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.byte_count = 0
        self.tail = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            argv,
            env={**environment, "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is closed
                return
            self.byte_count += len(data)
            self.tail = (self.tail + data)[-4096:]

    def close(self) -> None:
        """End the program."""
        end(self.process)
        os.close(self._master)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this benchmark started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def options(name: str, description: str | None, **more: str) -> argparse.Namespace:
    """Return `quick` and `json` from the command line of one benchmark, and flags of its own."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=description)
    parser.add_argument("--quick", action="store_true", help="shorter, and so less exact")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    for flag, text in more.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    return parser.parse_args()


def report(
    name: str, figures: Sequence[Any], budgets: Mapping[str, float], text: str, *, as_json: bool
) -> int:
    """Print a benchmark's result and return its exit code, 1 when something is over its budget.

    Args:
        name: The benchmark's.
        figures: A dataclass for each program or way, with `name` and `is_ours`; ours have budgets.
        budgets: Upper limit of each field that has one; what was not measured keeps no budget.
        text: The figures for a reader.
        as_json: Print one JSON object instead of the text.
    """
    over = [
        f"{one.name}: {field}"
        for one in figures
        for field, limit in budgets.items()
        if one.is_ours and ((value := getattr(one, field)) is None or value > limit)
    ]
    if as_json:
        parts = [asdict(one) for one in figures]
        result = {"benchmark": name, "budgets": budgets, "over_budget": over, "figures": parts}
        print(json.dumps(result))
    else:
        print(text)
        print(f"OVER BUDGET: {', '.join(over)}" if over else "within budget")
    return 1 if over else 0


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return a quantile; None of nothing."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned text; the first is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    rule = "  ".join("-" * width for width in widths).rstrip()
    return "\n".join([lines[0], rule, *lines[1:]])
