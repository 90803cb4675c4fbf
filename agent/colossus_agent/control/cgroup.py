"""Control groups that freeze: version 2, also where it lies beside version 1, else version 1.

Version 2 freezes without any controller, so a hybrid machine that mounts it for names only will do.
A group says by the files in it which of the two it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

WEIGHTS = {"P0": 1000, "P1": 400, "P2": 100, "P3": 25, "P4": 5}
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes spaces and the like


def base(mountinfo: str = "/proc/self/mountinfo") -> Path | None:
    """Return the folder below which groups of runs may be made, or None.

    The tree's root before the agent's own group: who ends a service ends all that is in its group,
    and runs outlive the agent.
    """
    for mount, own in _trees(mountinfo):
        for parent in (mount, mount / own.lstrip("/")):
            candidate = parent / "colossus"
            try:
                candidate.mkdir(exist_ok=True)
            except OSError:
                continue
            if version(candidate) and os.access(candidate / "cgroup.procs", os.W_OK):
                _share_processors(candidate)
                return candidate
    return None


def version(group: Path) -> int:
    """Return which version of control groups freezes this one: 2, 1, or 0 for none."""
    if (group / "cgroup.freeze").exists():
        return 2
    return int((group / "freezer.state").exists())


def _share_processors(folder: Path) -> None:
    """Let groups below have weights; refused where the parent itself holds processes."""
    for path in (folder.parent, folder):
        with suppress(OSError):
            if "cpu" in (path / "cgroup.controllers").read_text().split():
                (path / "cgroup.subtree_control").write_text("+cpu")


def _trees(mountinfo: str) -> Iterator[tuple[Path, str]]:
    """Yield where a tree that can freeze is mounted and the agent's own group in it, 2 before 1."""
    mounts, groups = _mounts(mountinfo), _own_groups()
    for controller in ("", "freezer"):
        if controller in mounts:
            yield mounts[controller], groups.get(controller, "/")


def _mounts(mountinfo: str) -> dict[str, Path]:
    """Return where each controller of version 1 is mounted; "" is version 2."""
    try:
        text = Path(mountinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    mounts: dict[str, Path] = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        place, kind = left.split(), right.split()
        if len(place) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), place[4]))
        names = [""] if kind[0] == "cgroup2" else _controllers(kind[2])
        for name in names:
            mounts.setdefault(name, point)
    return mounts


def _controllers(options: str) -> list[str]:
    """Return the controllers of a version 1 mount; a tree for names only has none."""
    named = any(option.startswith("name=") for option in options.split(","))
    return [] if named else [name for name in options.split(",") if name not in ("rw", "ro")]


def _own_groups() -> dict[str, str]:
    """Return the agent's own group by controller; "" is version 2."""
    groups = {}
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(errors="replace").splitlines():
            _, controllers, group = line.split(":", 2)
            groups.update(dict.fromkeys(controllers.split(","), group))
    return groups


def create(parent: Path, name: str) -> Path | None:
    """Make a group, or return None where that is not possible or it could not be frozen.

    Its name is nobody else's: another agent of this machine may hold a run of the same name.
    """
    group = parent / f"{name}-{os.urandom(4).hex()}"
    try:
        group.mkdir()
    except OSError:
        return None
    if not version(group):
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
    if version(group) == 1:
        (group / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
    else:
        (group / "cgroup.freeze").write_text("1" if frozen else "0")


def is_frozen(group: Path) -> bool:
    """Return whether every process of the group is frozen now."""
    try:
        if version(group) == 1:  # FREEZING until the last of them is
            return (group / "freezer.state").read_text().strip() == "FROZEN"
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


def usable() -> int:
    """Return which version can be made and frozen here, 0 for none; leaves nothing behind."""
    parent = base()
    group = create(parent, f"probe-{os.getpid()}") if parent else None
    if group is None:
        return 0
    try:
        return version(group)
    finally:
        remove(group)


def layout(mountinfo: str = "/proc/self/mountinfo") -> str:
    """Return how control groups are mounted here, in a word or two."""
    mounts = _mounts(mountinfo)
    if "" in mounts:
        return "hybrid" if len(mounts) > 1 else "unified"
    return "version 1" if mounts else "none mounted"
