"""Processes by pid and start time, so that a recycled pid is never mistaken for its predecessor."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Identity of one process for ever: pid and start time in kernel ticks since boot."""

    pid: int
    start_time_ticks: int


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says; `state` is the kernel's letter."""

    pid: int
    state: str
    parent_pid: int
    session: int
    nice: int
    start_time_ticks: int

    @property
    def identity(self) -> ProcessId:
        """The process's identity."""
        return ProcessId(self.pid, self.start_time_ticks)


def read_stat(pid: int) -> ProcessStat | None:
    """Return the process's state, or None when it is gone (a zombie counts as gone)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return ProcessStat(
        pid,
        fields[0].decode("ascii", "replace"),
        int(fields[1]),
        int(fields[3]),
        int(fields[16]),
        int(fields[19]),
    )


def find(identity: ProcessId) -> ProcessStat | None:
    """Return the state of exactly this process, or None when it is gone or its pid recycled."""
    stat = read_stat(identity.pid)
    return stat if stat and stat.start_time_ticks == identity.start_time_ticks else None


def all_stats() -> Iterator[ProcessStat]:
    """Yield every process of the machine."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := read_stat(int(name))) is not None:
            yield stat


def family(roots: Iterable[ProcessId], members: Iterable[int] = ()) -> list[ProcessStat]:
    """Return every process of a run.

    Args:
        roots: The ranks. Each is the leader of a session of its own.
        members: Pids that a control group names.

    Whoever is in a rank's session, descends from a rank or is a member belongs to the run.
    """
    stats = {stat.pid: stat for stat in all_stats()}
    # The kernel gives a pid out again only when no session bears its number any more.
    own = [root for root in roots if root.pid not in stats or stats[root.pid].identity == root]
    sessions = {root.pid for root in own}
    found = sessions & stats.keys() | set(members)
    found |= {pid for pid, stat in stats.items() if stat.session in sessions}
    grown = True
    while grown:
        children = {
            pid for pid, stat in stats.items() if stat.parent_pid in found and pid not in found
        }
        found |= children
        grown = bool(children)
    return [stats[pid] for pid in sorted(found) if pid in stats]


def send(identity: ProcessId, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it.

    Raises:
        PermissionError: The system denied it.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except (ProcessLookupError, OSError):
        return False
    try:
        # The descriptor holds the process, so the check below cannot be overtaken by a new pid.
        if find(identity) is None:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
