"""Processes by pid and start time, so that a recycled pid is never mistaken for its predecessor."""

from __future__ import annotations

import errno
import functools
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ProcessId:
    """Identity of one process until the next boot: pid and start time in kernel ticks."""

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


Table = Mapping[int, ProcessStat]


@functools.cache
def boot_id() -> str:
    """Return this boot's identity: start times of different boots may be equal."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def read_stat(pid: int) -> ProcessStat | None:
    """Return the process's state, or None when it is gone (a zombie counts as gone)."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # gone, or hidden from this user
        return None
    try:
        fields = os.read(descriptor, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(descriptor)
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


def find_inner(identity: ProcessId, inode: int) -> ProcessStat | None:
    """Return the process that calls itself by this pid, in its own pid namespace as in a pod's.

    Its start time is the same inside and outside, so few are looked at more closely. Pods that
    begin in the same tick are alike even so: then it is the one that has its page mapped.

    Args:
        identity: As the process itself sees it.
        inode: Of its page.
    """
    outer = find(identity)
    if outer is not None and _inner_pid(identity.pid) == identity.pid:
        return outer
    alike = [
        stat
        for pid in _pids()
        if (stat := read_stat(pid)) is not None
        and stat.start_time_ticks == identity.start_time_ticks
        and _inner_pid(pid) == identity.pid
    ]
    if len(alike) > 1:
        alike = [stat for stat in alike if _maps(stat.pid, inode)]
    return alike[0] if alike else None


def _maps(pid: int, inode: int) -> bool:
    """Return whether a process has a file of this inode in its memory."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.split(maxsplit=5)[4] == str(inode) for line in lines)


def _inner_pid(pid: int) -> int:
    """Return what a process's innermost namespace calls it; 0 when it is gone."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next((line for line in text.splitlines() if line.startswith("NSpid:")), "")
    return int(line.split()[-1]) if line else pid  # a kernel without such namespaces


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def table() -> Table:
    """Return every process of the machine."""
    return {pid: stat for pid in _pids() if (stat := read_stat(pid)) is not None}


def family(
    roots: Iterable[ProcessId],
    members: Iterable[int] = (),
    *,
    keeper: ProcessId | None = None,
    mark: bytes = b"",
    read: Callable[[], Table] = table,
) -> list[ProcessStat]:
    """Return every process of a run.

    Args:
        roots: The ranks. Each is the leader of a session of its own.
        members: Pids that a control group names.
        keeper: Parent of the ranks and of all that they leave behind; not part of the run.
        mark: What stands in the environment of the run's processes alone.
        read: Reads all processes.

    Who is in a rank's session, descends from a rank or from the keeper, or is a member, belongs to
    the run. A session whose rank is gone may be a stranger's by now, so there the mark decides.
    """
    stats = read()
    roots = list(roots)
    living = {root.pid for root in roots if _is(stats, root)}
    orphaned = {root.pid for root in roots if root.pid not in stats}
    found = living | {pid for pid in members if pid in stats}
    found |= {
        pid
        for pid, stat in stats.items()
        if stat.session in living or (stat.session in orphaned and _bears(pid, mark))
    }
    parents = found | ({keeper.pid} if keeper is not None and _is(stats, keeper) else set())
    while True:
        children = {
            pid for pid, stat in stats.items() if stat.parent_pid in parents and pid not in found
        }
        if not children:
            return [stats[pid] for pid in sorted(found)]
        found |= children
        parents |= children


def _is(stats: Table, identity: ProcessId) -> bool:
    stat = stats.get(identity.pid)
    return stat is not None and stat.identity == identity


def _bears(pid: int, mark: bytes) -> bool:
    try:
        return bool(mark) and mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def send(identity: ProcessId, number: int) -> bool:
    """Send a signal to exactly this process; return whether it was there to get it.

    Raises:
        OSError: The system denied it.
    """
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a strict sandbox
            raise
        return _send_by_pid(identity, number)
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


def _send_by_pid(identity: ProcessId, number: int) -> bool:
    if find(identity) is None:
        return False
    try:
        os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    return True


def send_all(stats: Iterable[ProcessStat], number: int) -> tuple[int, list[str]]:
    """Send a signal to each; return how many got it, and what the system denied."""
    count, denied = 0, []
    for stat in stats:
        try:
            count += send(stat.identity, number)
        except OSError as error:
            denied.append(f"pid {stat.pid}: {error.strerror}")
    return count, denied
