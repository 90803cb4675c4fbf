"""Which processes of this node belong to a scheduler's jobs, and where they print to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from colossus_agent.control.process import ProcessId, find, read_stat
from colossus_hook import placement

_OUTPUT_PROCESSES = 64  # of one job; more are not asked where they print to


@dataclass(slots=True)
class Job:
    """The newest attempt of a job on this node."""

    attempt: int
    processes: list[ProcessId] = field(default_factory=list)


class Jobs:
    """Knows each process from its first two looks on, so that a look costs little.

    Args:
        node_name: As the scheduler calls this node; "" for one without a scheduler.
    """

    def __init__(self, node_name: str) -> None:
        self._node = node_name
        self._owners: dict[int, tuple[str, int, ProcessId] | None] = {}
        self._young: set[int] = set()  # looked at once: may be about to become another program

    def look(self) -> Mapping[str, Job]:
        """Return every job that has processes here."""
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        for gone in self._owners.keys() - pids:
            del self._owners[gone]
        again, self._young = self._young & pids, pids - self._owners.keys()
        for pid in again | self._young:
            self._owners[pid] = self._owner(pid)
        jobs: dict[str, Job] = {}
        for owner in self._owners.values():
            if owner is None:
                continue
            run_id, attempt, process = owner
            job = jobs.get(run_id)
            if job is None or attempt > job.attempt:
                job = jobs[run_id] = Job(attempt)
            if attempt == job.attempt:
                job.processes.append(process)
        return jobs

    def _owner(self, pid: int) -> tuple[str, int, ProcessId] | None:
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return None
        if b"SLURMD_NODENAME=" not in raw and b"COLOSSUS_JOB=" not in raw:
            return None
        job, status = placement.find_job(environment_of(raw)), read_stat(pid)
        if job is None or job.node != self._node or status is None:
            return None
        return job.run_id, job.attempt, status.identity


def environment_of(raw: bytes) -> dict[str, str]:
    """Return what a scheduler has put into a process's environment."""
    own = (b"SLURM", b"COLOSSUS_")
    entries = (entry.partition(b"=") for entry in raw.split(b"\0") if entry.startswith(own))
    return {
        name.decode("ascii", "replace"): value.decode("ascii", "replace")
        for name, _, value in entries
    }


def outputs(job: Job) -> Iterator[str]:
    """Yield paths of the different files that the job's processes print to.

    They lead through /proc, so that they are right wherever the job has its files, also when one
    has been renamed. The batch script's process holds the file when srun's ranks do not.
    """
    seen: set[tuple[int, int]] = set()
    for process in sorted(job.processes, key=lambda one: one.pid)[:_OUTPUT_PROCESSES]:
        for descriptor in (1, 2):
            path = f"/proc/{process.pid}/fd/{descriptor}"
            try:
                status = os.stat(path)
            except OSError:
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and identity not in seen and find(process):
                seen.add(identity)
                yield path
