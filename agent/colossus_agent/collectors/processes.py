"""Processes that belong to a run or hold a GPU, read from /proc directly."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from colossus_agent.readings import ProcessSample
from colossus_hook import placement

SCAN_SECONDS = 5.0
YOUNG_SECONDS = 10.0  # a process this young may not yet have become what it was started for
TRUST_SECONDS = 60.0  # then a pid is looked up again: another process may have it
COMMAND_LIMIT = 1024
ENOUGH_TICKS, ENOUGH_SECONDS = 20, 10.0  # the kernel counts in 10 ms: 0.2 % of a core over 10 s
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_SLURM_GROUP = re.compile(r"/job_(\d+)(?:/|$)")
_OWN_GROUP = re.compile(
    r"/colossus/([A-Za-z0-9][A-Za-z0-9._-]{0,62})-(\d+)-[0-9a-f]{8}(?:/|$)", re.M
)
_WANTED = frozenset(
    {
        b"COLOSSUS_RUN",
        b"COLOSSUS_JOB",
        b"COLOSSUS_NAMESPACE",
        b"COLOSSUS_NODE",
        b"JOB_COMPLETION_INDEX",
        b"SLURM_JOB_ID",
        b"SLURM_ARRAY_JOB_ID",
        b"SLURM_ARRAY_TASK_ID",
        b"SLURMD_NODENAME",
        b"SLURM_PROCID",
    }
)
_RANKS = (
    "COLOSSUS_RANK",
    "RANK",
    "SLURM_PROCID",
    "JOB_COMPLETION_INDEX",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
)


@dataclass(slots=True)
class _Known:
    """What does not change about a process, and its last processor time."""

    start_time_ticks: int
    name: str
    command: str
    user: str
    run_id: str
    run_source: str
    rank: int
    cpu_ticks: int = 0
    read_time: float = 0.0
    cpu_ratio: float = 0.0
    look_again: float = 0.0

    def measure(self, ticks: int, now: float) -> None:
        """Take processor time in, once enough ticks have passed to tell a ratio from them."""
        passed, used = now - self.read_time, ticks - self.cpu_ticks
        if self.read_time and (used < ENOUGH_TICKS and passed < ENOUGH_SECONDS):
            return
        if self.read_time and passed > 0:
            self.cpu_ratio = used / _TICKS / passed
        self.cpu_ticks, self.read_time = ticks, now


class Processes:
    """Finds them every SCAN_SECONDS; reads those that matter each time it is asked.

    Args:
        proc: Where the kernel shows processes.
        node_name: As schedulers call this node; a job's processes of another node that shares the
            machine are not ours.
    """

    def __init__(self, proc: str = "/proc", node_name: str = "") -> None:
        self._proc = proc
        self._node = node_name.partition(".")[0]
        self._known: dict[int, _Known] = {}
        self._scanned = -SCAN_SECONDS
        self._relevant: set[int] = set()

    def read(self, gpu_processes: Mapping[int, Iterable[tuple[int, int]]]) -> list[ProcessSample]:
        """Return the processes.

        Args:
            gpu_processes: GPU index to (pid, bytes) of the processes on it; bytes -1 not known.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)  # what start times are counted in
        if now - self._scanned >= SCAN_SECONDS:
            self._scan(now)
            self._scanned = now
        on_gpus: dict[int, list[tuple[int, int]]] = {}
        for gpu, members in gpu_processes.items():
            for pid, size in members:
                on_gpus.setdefault(pid, []).append((gpu, size))
        samples = []
        for pid in sorted(self._relevant | on_gpus.keys()):
            sample = self._sample(pid, on_gpus.get(pid, []), now)
            if sample is not None:
                samples.append(sample)
        return samples

    def _scan(self, now: float) -> None:
        pids = {int(name) for name in os.listdir(self._proc) if name.isdecimal()}
        for pid in self._known.keys() - pids:
            del self._known[pid]
        self._relevant = set()
        for pid in pids:
            known = self._known.get(pid)
            if known is None or now >= known.look_again:
                stat = self._stat(pid)
                known = None if stat is None else self._look_up(pid, stat[3], now)
            if known is not None and known.run_id:
                self._relevant.add(pid)

    def _look_up(self, pid: int, start_time_ticks: int, now: float) -> _Known:
        before = self._known.get(pid)
        is_same = before is not None and before.start_time_ticks == start_time_ticks
        if before is not None and is_same and now < before.look_again:
            return before
        found = self._known[pid] = self._describe(pid, start_time_ticks)
        if before is not None and is_same:
            found.cpu_ticks, found.read_time = before.cpu_ticks, before.read_time
            found.cpu_ratio = before.cpu_ratio
        if now - start_time_ticks / _TICKS >= YOUNG_SECONDS:
            found.look_again = now + TRUST_SECONDS + pid % TRUST_SECONDS  # not all at once
        return found

    def _describe(self, pid: int, start_time_ticks: int) -> _Known:
        environment = self._environment(pid)
        run_id, source, rank = self._run_of(pid, environment)
        name = self._read(pid, "comm", 64)
        command = (
            self._read(pid, "cmdline", COMMAND_LIMIT * 2).replace(b"\0", b" ") if run_id else b""
        )
        return _Known(
            start_time_ticks,
            visible(name.rstrip(b"\n"), 64),
            visible(command, COMMAND_LIMIT),
            self._user(pid) if run_id else "",
            run_id,
            source,
            rank,
        )

    def _run_of(self, pid: int, environment: Mapping[str, str]) -> tuple[str, str, int]:
        rank = next(
            (
                int(environment[name])
                for name in _RANKS
                if environment.get(name, "").isdecimal() and len(environment[name]) < 8
            ),
            -1,
        )
        if run := environment.get("COLOSSUS_RUN"):
            return run, "environment:COLOSSUS_RUN", rank
        if job := placement.find_job(environment):
            if job.node and self._node and job.node != self._node:
                return "", "", rank
            name = "SLURM_JOB_ID" if job.scheduler == "slurm" else "COLOSSUS_JOB"
            return job.run_id, f"environment:{name}", rank
        groups = self._read(pid, "cgroup", 4096).decode("ascii", "replace")
        if found := _OWN_GROUP.search(groups):
            return found[1], "cgroup", rank
        if found := _SLURM_GROUP.search(groups):
            return f"slurm-{found[1]}", "cgroup", rank
        return "", "", rank

    def _environment(self, pid: int) -> dict[str, str]:
        wanted = {}
        for entry in self._read(pid, "environ", 256 * 1024).split(b"\0"):
            name, equals, value = entry.partition(b"=")
            if equals and (name in _WANTED or name.endswith(b"RANK")):
                wanted[name.decode("ascii", "replace")] = visible(value, 63)
        return wanted

    def _sample(self, pid: int, gpus: list[tuple[int, int]], now: float) -> ProcessSample | None:
        stat = self._stat(pid)
        if stat is None:
            return None
        state, ticks, resident, start_time_ticks = stat
        known = self._look_up(pid, start_time_ticks, now)
        if not gpus and not known.run_id:
            return None
        if gpus and not known.command:
            command = self._read(pid, "cmdline", COMMAND_LIMIT * 2).replace(b"\0", b" ")
            known.command, known.user = visible(command, COMMAND_LIMIT), self._user(pid)
        known.measure(ticks, now)
        return ProcessSample(
            pid,
            start_time_ticks,
            known.name,
            known.command,
            known.user,
            known.run_id,
            known.run_source,
            known.rank,
            round(known.cpu_ratio, 3),
            resident * _PAGE,
            state,
            tuple(gpu for gpu, _ in gpus),
            tuple(size for _, size in gpus),
        )

    def _stat(self, pid: int) -> tuple[str, int, int, int] | None:
        """Return state, processor ticks, resident pages and start time."""
        fields = self._read(pid, "stat", 1024).rpartition(b")")[2].split()
        if len(fields) < 22 or fields[0] == b"Z":
            return None
        ticks = int(fields[11]) + int(fields[12])
        return fields[0].decode("ascii", "replace"), ticks, int(fields[21]), int(fields[19])

    def _user(self, pid: int) -> str:
        try:
            owner = os.stat(f"{self._proc}/{pid}").st_uid
        except OSError:
            return ""
        try:
            return pwd.getpwuid(owner).pw_name
        except KeyError:
            return str(owner)

    def _read(self, pid: int, name: str, limit: int) -> bytes:
        try:
            descriptor = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            return os.read(descriptor, limit)
        except OSError:
            return b""
        finally:
            os.close(descriptor)


def visible(raw: bytes, limit: int) -> str:
    """Return foreign bytes as bounded text without control characters."""
    text = raw[: limit * 4].decode("utf-8", "replace")
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in text[:limit]
    ).strip()
