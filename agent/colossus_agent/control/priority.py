"""Priority classes as nice values."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from colossus_agent.control.process import ProcessStat

NICE = {"P0": 0, "P1": 2, "P2": 5, "P3": 10, "P4": 19}


def set_nice(stats: Iterable[ProcessStat], nice: int) -> list[str]:
    """Give every thread of the processes this nice value; return what the system refused."""
    refused = []
    for stat in stats:
        try:
            threads = [int(name) for name in os.listdir(f"/proc/{stat.pid}/task")]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for thread in threads:
            try:
                os.setpriority(os.PRIO_PROCESS, thread, nice)
            except ProcessLookupError:
                continue
            except PermissionError as error:
                refused.append(f"pid {stat.pid}: {error.strerror}")
                break
    return refused


def read_nice(pid: int) -> int | None:
    """Return the process's nice value as the system gives it, or None when it is gone."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None


def may_raise() -> bool:
    """Return whether this agent may lower nice values (CAP_SYS_NICE, bit 23)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> 23 & 1)
    return False
