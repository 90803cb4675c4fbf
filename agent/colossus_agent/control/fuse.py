"""The fuse: a process of its own that ends a freeze at its deadline, whatever else has died.

Run as a script with the path of fuse.json; standard library only. It says "armed" on standard
output before anything is frozen. It ends early, thawing nothing, when the file is gone: somebody
else has thawed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any


def main(path: str) -> None:
    """Wait for the deadline and thaw."""
    detach()
    file = Path(path)
    plan: dict[str, Any] = json.loads(file.read_text())
    plan["pid"] = os.getpid()
    plan["start_time_ticks"] = start_time_ticks(os.getpid())
    partial = file.with_suffix(".tmp")
    partial.write_text(json.dumps(plan))
    partial.rename(file)
    os.write(1, b"armed\n")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while time.clock_gettime(time.CLOCK_BOOTTIME) < plan["deadline_boottime"]:
        time.sleep(0.2)
        if not still_mine(file):
            return
    thaw(json.loads(file.read_text()))
    file.rename(file.with_name("thawed.json"))


def detach() -> None:
    """Leave the agent's session, so that nothing that ends the agent ends this."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def still_mine(file: Path) -> bool:
    """Return whether the file still names this process: a thaw by hand removes it."""
    try:
        return bool(json.loads(file.read_text())["pid"] == os.getpid())
    except (OSError, ValueError, KeyError):
        return False


def start_time_ticks(pid: int) -> int:
    """Return the start time of a process; -1 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return -1


def thaw(plan: dict[str, Any]) -> None:
    """Thaw the group and continue every process of the plan, children before their parents.

    A shell with job control that woke first would see its child stopped, and go on without it.
    """
    if plan.get("cgroup"):
        for name, word in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
            with suppress(OSError):
                descriptor = os.open(f"{plan['cgroup']}/{name}", os.O_WRONLY)
                try:
                    os.write(descriptor, word.encode())
                finally:
                    os.close(descriptor)
    for pid, ticks in reversed(plan.get("processes", [])):
        if start_time_ticks(pid) == ticks:
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)


if __name__ == "__main__":
    main(sys.argv[1])
