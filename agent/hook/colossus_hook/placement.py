"""Which run and rank a process is, and where its page lies: from the agent, or from Slurm."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Mapping
from typing import NamedTuple

PAGE_ROOT = "/dev/shm"
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


def find(environment: Mapping[str, str], uid: int) -> Placement:
    """Return the place that the environment gives a process of this user.

    `COLOSSUS_RUN` with `COLOSSUS_PAGE_DIR`, which the agent sets, wins over `SLURM_JOB_ID`. What a
    launcher such as torchrun says of ranks wins over both.
    """
    run_id, folder = environment.get("COLOSSUS_RUN", ""), environment.get("COLOSSUS_PAGE_DIR", "")
    if run_id or not environment.get("SLURM_JOB_ID"):
        return Placement(
            run_id,
            number(environment.get("COLOSSUS_ATTEMPT"), 1),
            _first(environment, ("RANK", "COLOSSUS_RANK"), 0),
            _first(environment, ("LOCAL_RANK", "COLOSSUS_LOCAL_RANK"), 0),
            _first(environment, ("WORLD_SIZE", "COLOSSUS_WORLD_SIZE"), 1),
            folder if run_id else "",
        )
    run_id, attempt = slurm_run_id(environment), slurm_attempt(environment)
    node = environment.get("SLURMD_NODENAME", "")
    known = _WORD.fullmatch(run_id) and _WORD.fullmatch(node)
    return Placement(
        run_id,
        attempt,
        _first(environment, ("RANK", "SLURM_PROCID"), 0),
        _first(environment, ("LOCAL_RANK", "SLURM_LOCALID"), 0),
        _first(environment, ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), 1),
        page_folder(uid, run_id, attempt, node) if known else "",
        is_made=False,
    )


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


def _first(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    known = (environment[name] for name in names if environment.get(name))
    return number(next(known, None), default)
