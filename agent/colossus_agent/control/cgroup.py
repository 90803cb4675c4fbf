"""Control groups: version 2 where it is mounted (also beside version 1), else none."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

WEIGHTS = {"P0": 1000, "P1": 400, "P2": 100, "P3": 25, "P4": 5}


def base(mountinfo: str = "/proc/self/mountinfo") -> Path | None:
    """Return the folder below which groups of runs may be made, or None.

    The tree's root before the agent's own group: who ends a service ends all that is in its group,
    and runs outlive the agent.
    """
    mount = _mount_point(mountinfo)
    if mount is None:
        return None
    for parent in (mount, mount / _own_group().lstrip("/")):
        candidate = parent / "colossus"
        try:
            candidate.mkdir(exist_ok=True)
        except OSError:
            continue
        if os.access(candidate / "cgroup.procs", os.W_OK):
            _share_processors(candidate)
            return candidate
    return None


def _share_processors(folder: Path) -> None:
    """Let groups below have weights; refused where the parent itself holds processes."""
    for path in (folder.parent, folder):
        with suppress(OSError):
            if "cpu" in (path / "cgroup.controllers").read_text().split():
                (path / "cgroup.subtree_control").write_text("+cpu")


def _mount_point(mountinfo: str) -> Path | None:
    try:
        text = Path(mountinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        if right.startswith("cgroup2 "):
            return Path(left.split()[4])
    return None


def _own_group() -> str:
    for line in Path("/proc/self/cgroup").read_text(errors="replace").splitlines():
        if line.startswith("0::"):
            return line[3:]
    return "/"


def create(parent: Path, name: str) -> Path | None:
    """Make a group, or return None where that is not possible or it could not be frozen.

    Its name is nobody else's: another agent of this machine may hold a run of the same name.
    """
    group = parent / f"{name}-{os.urandom(4).hex()}"
    try:
        group.mkdir()
    except OSError:
        return None
    if not (group / "cgroup.freeze").exists():
        remove(group)
        return None
    return group


def remove(group: Path) -> None:
    """Remove a group and the groups below it; what is not empty stays."""
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)


def members(group: Path) -> list[int]:
    """Return the pids in the group and below it; none when it is gone."""
    pids: list[int] = []
    with suppress(OSError):
        for folder, _, _ in os.walk(group):
            pids += [int(pid) for pid in Path(folder, "cgroup.procs").read_bytes().split()]
    return [pid for pid in pids if pid > 0]  # 0 is a process of another pid namespace


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
