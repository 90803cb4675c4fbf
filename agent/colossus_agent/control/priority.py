"""Priority classes as nice values."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from colossus_agent.control.process import ProcessStat

NICE = {"P0": 0, "P1": 2, "P2": 5, "P3": 10, "P4": 19}
_PASSES = 5  # threads that are born meanwhile bear their parent's old value


def set_nice(read: Callable[[], Iterable[ProcessStat]], nice: int) -> list[str]:
    """Give every thread of the processes this nice value.

    Args:
        read: Reads the processes again.
        nice: The value.

    Returns:
        What the system refused; empty when every thread was seen to have the value.
    """
    for _ in range(_PASSES):
        changed, refused = False, []
        for stat in read():
            try:
                changed |= _set_threads(stat.pid, nice)
            except OSError as error:
                refused.append(f"pid {stat.pid}: {error.strerror}")
        if refused or not changed:
            return refused
    return ["it starts threads faster than they can be set"]


def _set_threads(pid: int, nice: int) -> bool:
    """Return whether any thread had another value."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    changed = False
    for thread in threads:
        try:
            if os.getpriority(os.PRIO_PROCESS, thread) != nice:
                os.setpriority(os.PRIO_PROCESS, thread, nice)
                changed = True
        except ProcessLookupError:
            continue
    return changed


def read_nice(pid: int) -> int | None:
    """Return the process's nice value as the system gives it, or None when it is gone."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return None
