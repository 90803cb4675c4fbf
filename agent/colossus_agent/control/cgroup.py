"""Control groups: version 2 where it is mounted (also beside version 1), else none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

WEIGHTS = {"P0": 1000, "P1": 400, "P2": 100, "P3": 25, "P4": 5}


def base(mountinfo: str = "/proc/self/mountinfo") -> Path | None:
    """Return the folder below which groups of runs may be made, or None.

    It is the agent's own group in the version 2 tree, or the tree's root where that is its group.
    """
    mount = _mount_point(mountinfo)
    if mount is None:
        return None
    own = _own_group()
    for folder in (mount / own.lstrip("/"), mount):
        candidate = folder / "colossus"
        try:
            candidate.mkdir(exist_ok=True)
        except OSError:
            continue
        if (candidate / "cgroup.procs").exists():
            return candidate
    return None


def _mount_point(mountinfo: str) -> Path | None:
    with open(mountinfo, encoding="utf-8", errors="replace") as file:
        for line in file:
            left, _, right = line.partition(" - ")
            if right.startswith("cgroup2 "):
                return Path(left.split()[4])
    return None


def _own_group() -> str:
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("0::"):
                return line[3:].strip()
    return "/"


def create(parent: Path, name: str) -> Path | None:
    """Make a group, or return None where that is not possible or it could not be frozen."""
    group = parent / name
    try:
        group.mkdir(exist_ok=True)
    except OSError:
        return None
    if not (group / "cgroup.freeze").exists():
        remove(group)
        return None
    return group


def remove(group: Path) -> None:
    """Remove an empty group; one that is not empty stays."""
    with suppress(OSError):
        group.rmdir()


def members(group: Path) -> list[int]:
    """Return the pids in the group; none when it is gone."""
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except (OSError, ValueError):
        return []


def set_frozen(group: Path, frozen: bool) -> None:
    """Ask the kernel to freeze or thaw the group.

    Raises:
        OSError: The kernel denied it.
    """
    (group / "cgroup.freeze").write_text("1" if frozen else "0")


def is_frozen(group: Path) -> bool:
    """Return whether every process of the group is frozen now."""
    try:
        return "frozen 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False


def set_weight(group: Path, priority_class: str) -> int | None:
    """Set the group's processor weight and return it as read back; None without a controller."""
    path = group / "cpu.weight"
    try:
        path.write_text(str(WEIGHTS[priority_class]))
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def writable() -> bool:
    """Return whether groups can be made and frozen here; leaves nothing behind."""
    parent = base()
    if parent is None:
        return False
    group = create(parent, f"probe-{os.getpid()}")
    if group is None:
        return False
    remove(group)
    return True
