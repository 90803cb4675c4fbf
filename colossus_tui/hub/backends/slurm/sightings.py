"""From Slurm's records to runs: an array's task is one, a heterogeneous job with all parts one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.backends.slurm.shapes import SlurmJob
from colossus_tui.model import Job, PriorityClass, RunState

_ENDS = {
    "COMPLETED": (RunState.COMPLETED, "it ended with exit code 0"),
    "CANCELLED": (RunState.STOPPED, "it was cancelled"),
    "TIMEOUT": (RunState.FAILED, "it reached its time limit"),
    "NODE_FAIL": (RunState.FAILED, "a node of it failed"),
    "BOOT_FAIL": (RunState.FAILED, "a node of it did not boot"),
    "DEADLINE": (RunState.FAILED, "it reached its deadline"),
    "OUT_OF_MEMORY": (RunState.FAILED, "it ran out of memory"),
    "PREEMPTED": (RunState.FAILED, "another job took its nodes"),
}


def sightings(
    jobs: Iterable[SlurmJob],
    classes: Mapping[str, PriorityClass],
    partitions: frozenset[str] = frozenset(),
) -> dict[str, Sighting]:
    """Return every run.

    Args:
        jobs: Slurm's records.
        classes: Class of each quality of service that has one.
        partitions: Only jobs of these; empty for all.
    """
    wholes: dict[str, list[SlurmJob]] = {}
    for job in jobs:
        if not partitions or partitions & set(job.partition.split(",")):
            wholes.setdefault(identity(job), []).append(job)
    return {
        f"slurm-{name}": _sighting(name, sorted(parts, key=lambda part: part.het_offset), classes)
        for name, parts in wholes.items()
    }


def identity(job: SlurmJob) -> str:
    """Return how Slurm's commands call it: "12", "12_3", or a heterogeneous job's first part."""
    if job.het_job_id:
        return str(job.het_job_id)
    if job.array_job_id and job.array_task_id is not None:
        return f"{job.array_job_id}_{job.array_task_id}"
    return str(job.array_job_id or job.job_id)


def _sighting(name: str, parts: list[SlurmJob], classes: Mapping[str, PriorityClass]) -> Sighting:
    first = parts[0]
    # A gang is where its slowest part is: one that waits makes it wait.
    state, why = min((_state(part) for part in parts), key=lambda found: _ORDER.index(found[0]))
    reason = next((part.reason for part in parts if part.reason), "")
    held = any(part.held for part in parts)
    job = Job(
        job_id=name,
        name=first.name,
        state="+".join(sorted({part.state or "".join(sorted(part.flags)) for part in parts})),
        reason=explain(reason, first.description),
        held=held,
        can_requeue=all(part.can_requeue for part in parts),
        restart_count=max(part.restart_count for part in parts),
        user=first.user,
        queue=first.partition,
        quality=first.quality,
        priority=first.priority,
        node_names=tuple(sorted({node for part in parts for node in part.node_names})),
        gpu_count=sum(part.gpu_count for part in parts),
        part_of=_part_of(first, len(parts)),
    )
    return Sighting(
        run_id=f"slurm-{name}",
        job=job,
        state=state,
        why=why,
        attempt=_attempt(state, job.restart_count),
        priority_class=classes.get(first.quality) if first.quality else None,
        started_unix_ns=(first.submit_time or first.start_time) * 10**9,
        command=first.command,
    )


_ORDER = (
    RunState.FAILED,
    RunState.STOPPED,
    RunState.PENDING,
    RunState.STARTING,
    RunState.STOPPING,
    RunState.FROZEN,
    RunState.RUNNING,
    RunState.COMPLETED,
)


def _attempt(state: RunState, restart_count: int) -> int:
    """Slurm counts a restart when it requeues; it is an attempt once it has begun."""
    waiting = state in (RunState.PENDING, RunState.STOPPING)
    return max(restart_count, 1) if waiting else restart_count + 1


def _part_of(job: SlurmJob, count: int) -> str:
    if job.het_job_id:
        return f"{count} components"
    if job.array_job_id and job.array_task_id is None:
        return f"array {job.array_job_id}, tasks {job.array_tasks} wait"
    return f"array {job.array_job_id}" if job.array_job_id else ""


def _state(job: SlurmJob) -> tuple[RunState, str]:
    if "COMPLETING" in job.flags and job.state in ("", "PENDING", "RUNNING"):
        return RunState.STOPPING, "its processes are ending"
    if "CONFIGURING" in job.flags and job.state in ("", "PENDING", "RUNNING"):
        return RunState.STARTING, "its nodes are made ready"
    if job.state == "PENDING":
        return RunState.PENDING, explain(job.reason, job.description) or "it waits"
    if job.state == "RUNNING":
        return RunState.RUNNING, "Slurm runs it"
    if job.state == "SUSPENDED":
        return RunState.FROZEN, "Slurm has suspended it"
    if job.state == "FAILED":
        return RunState.FAILED, _exit(job)
    return _ENDS.get(job.state, (RunState.PENDING, f"Slurm calls it {job.state or 'nothing'}"))


def _exit(job: SlurmJob) -> str:
    if job.exit_signal:
        return f"it was ended by signal {job.exit_signal}"
    code = f"exit code {job.exit_code}" if job.exit_code is not None else "an error"
    return f"it ended with {code}" + (f" ({job.reason})" if job.reason else "")


# Why a job waits, in a sentence; Slurm's own word stays in front of it.
_REASONS = {
    "Resources": "not enough free nodes yet",
    "Priority": "jobs of higher priority come first",
    "Dependency": "a job that it depends on has not ended",
    "DependencyNeverSatisfied": "what it depends on can no longer happen",
    "BeginTime": "its begin time has not come",
    "JobArrayTaskLimit": "its array already runs as many tasks as it may",
    "JobHeldUser": "held by its user or an operator",
    "JobHeldAdmin": "held by an administrator",
    "Licenses": "a license is not free",
    "PartitionDown": "its partition is down",
    "PartitionNodeLimit": "it wants more nodes than its partition gives",
    "PartitionTimeLimit": "it wants more time than its partition gives",
    "ReqNodeNotAvail": "a node that it asked for is not available",
    "Reservation": "its reservation has not begun",
    "QOSMaxJobsPerUserLimit": "its user has reached the limit of the quality of service",
    "AssocGrpCpuLimit": "its account has reached its limit of processors",
    "InactiveLimit": "the system's inactive limit was reached",
}


def explain(reason: str, description: str = "") -> str:
    """Return Slurm's reason with what it means."""
    word = reason.partition(",")[0].partition("(")[0].strip()
    meaning = _REASONS.get(word) or description
    if not reason:
        return description
    return f"{reason}: {meaning}" if meaning and meaning != reason else reason
