"""Which run and rank a process is, and where its page lies: from the agent, or a scheduler."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from typing import NamedTuple

PAGE_ROOT = "/dev/shm"
RUN_ID_LIMIT = 63
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class Placement(NamedTuple):
    """One rank's place; `folder` is empty where no agent can see it."""

    run_id: str = ""
    attempt: int = 1
    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    folder: str = ""
    is_made: bool = True  # whether somebody else makes the folder


class Job(NamedTuple):
    """The scheduler's job that a process belongs to."""

    scheduler: str
    run_id: str
    attempt: int
    node: str  # as its agent calls it: without a domain


# Where each scheduler says the rank, the rank on this node, and how many there are; the first wins.
# What a launcher such as torchrun says of ranks comes before all of them.
_AGENT = (
    ("RANK", "COLOSSUS_RANK"),
    ("LOCAL_RANK", "COLOSSUS_LOCAL_RANK"),
    ("WORLD_SIZE", "COLOSSUS_WORLD_SIZE"),
)
_RANKS = {
    "slurm": (
        ("RANK", "SLURM_PROCID"),
        ("LOCAL_RANK", "SLURM_LOCALID"),
        ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
    ),
    # Kubernetes gives every pod of an indexed Job its index.
    "kubernetes": (("RANK", "COLOSSUS_RANK", "JOB_COMPLETION_INDEX"), *_AGENT[1:]),
}


def find(environment: Mapping[str, str], uid: int) -> Placement:
    """Return the place that the environment gives a process of this user.

    `COLOSSUS_RUN` with `COLOSSUS_PAGE_DIR`, which the agent sets, wins over a scheduler's job.
    """
    run_id, folder = environment.get("COLOSSUS_RUN", ""), environment.get("COLOSSUS_PAGE_DIR", "")
    job = find_job(environment)
    if run_id or job is None:
        attempt = number(environment.get("COLOSSUS_ATTEMPT"), 1)
        ranks = _ranks(environment, _AGENT)
        return Placement(run_id, attempt, *ranks, folder if run_id else "")
    known = _WORD.fullmatch(job.run_id) and _WORD.fullmatch(job.node)
    return Placement(
        job.run_id,
        job.attempt,
        *_ranks(environment, _RANKS[job.scheduler]),
        page_folder(uid, job.run_id, job.attempt, job.node) if known else "",
        is_made=False,
    )


def find_job(environment: Mapping[str, str]) -> Job | None:
    """Return the scheduler's job that a process with this environment belongs to; None for none.

    In Kubernetes the pod's template names Job or JobSet, namespace and node.
    """
    if run_id := slurm_run_id(environment):
        node = environment.get("SLURMD_NODENAME", "")
        return Job("slurm", run_id, slurm_attempt(environment), node)
    name, space = environment.get("COLOSSUS_JOB"), environment.get("COLOSSUS_NAMESPACE")
    if name and space:
        run_id = kubernetes_run_id(space, name)
        attempt = number(environment.get("COLOSSUS_ATTEMPT"), 1)
        node = environment.get("COLOSSUS_NODE", "").partition(".")[0]
        return Job("kubernetes", run_id, attempt, node)
    return None


def slurm_run_id(environment: Mapping[str, str]) -> str:
    """Return the run that a process of a Slurm job belongs to; "" for none.

    An array's task is a run of its own; all parts of a heterogeneous job are one, which Slurm
    gives each of them by the first part's number.
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"slurm-{array}_{task}"
    job = environment.get("SLURM_JOB_ID")
    return f"slurm-{job}" if job else ""


def slurm_attempt(environment: Mapping[str, str]) -> int:
    """Return which start of a Slurm job this is, from 1."""
    return number(environment.get("SLURM_RESTART_COUNT"), 0) + 1


def kubernetes_run_id(namespace: str, name: str) -> str:
    """Return the run that a Job or JobSet of Kubernetes is; a long name ends in its digest."""
    run_id = f"k8s-{namespace}.{name}"
    if len(run_id) <= RUN_ID_LIMIT:
        return run_id
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:10]
    return f"{run_id[: RUN_ID_LIMIT - 11]}-{digest}"


def page_folder(uid: int, run_id: str, attempt: int, node: str) -> str:
    """Return where the pages of a run lie that no agent has started."""
    return os.path.join(PAGE_ROOT, f"colossus-{uid}", run_id, str(attempt), node)


def make_folder(folder: str, uid: int) -> None:
    """Make the folder for this user alone.

    Raises:
        OSError: It cannot be made, or somebody else has made a part of it.
    """
    path = PAGE_ROOT
    for part in os.path.relpath(folder, PAGE_ROOT).split(os.sep):
        path = os.path.join(path, part)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    if not is_own(folder, uid):
        raise PermissionError(f"{folder}: not this user's alone")


def is_own(folder: str, uid: int) -> bool:
    """Return whether every part below PAGE_ROOT is a folder that only this user can change."""
    path = folder
    while len(path) > len(PAGE_ROOT):
        try:
            status = os.lstat(path)
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid or status.st_mode & 0o022:
            return False
        path = os.path.dirname(path)
    return True


def number(text: str | None, default: int) -> int:
    """Return the number, or the default where there is none."""
    try:
        return int(text) if text else default
    except ValueError:
        return default


def _ranks(
    environment: Mapping[str, str], names: tuple[tuple[str, ...], ...]
) -> tuple[int, int, int]:
    """Return rank, rank on this node and number of ranks."""
    rank, local_rank, world_size = names
    return (
        _first(environment, rank, 0),
        _first(environment, local_rank, 0),
        _first(environment, world_size, 1),
    )


def _first(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    known = (environment[name] for name in names if environment.get(name))
    return number(next(known, None), default)
