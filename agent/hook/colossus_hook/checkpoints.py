"""Checkpoints on disk: published whole or not at all, and found again."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable

_NAME = re.compile(r"[a-z]+-(\d{1,18})(?:\.ckpt)?")


def publish(partial: str | os.PathLike[str], path: str | os.PathLike[str]) -> int:
    """Give a checkpoint that was written as `partial` its name, once it is safe on disk.

    Both are files or both are folders, beside each other. Whoever looks meets all of it under
    `path` or nothing, also after a power cut; one that had the name before makes way. Return its
    size in bytes.

    Raises:
        OSError: The disk is full or gone; what was written stays under its partial name.
    """
    partial, path = os.fspath(partial), os.fspath(path)
    size = make_safe(partial)
    forget(path)
    os.rename(partial, path)
    _sync(os.path.dirname(path) or ".")
    return size


def forget(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint; one that is half removed does not pass for a whole one."""
    folder, name = os.path.split(os.fspath(path))
    aside = os.path.join(folder, f".{name}.old")
    _remove(aside)
    try:
        os.rename(path, aside)
    except FileNotFoundError:
        return
    _remove(aside)


def newest(
    folder: str | os.PathLike[str], is_whole: Callable[[str], bool] = lambda path: True
) -> str | None:
    """Return the checkpoint to go on from, or None for a fresh start.

    It is the one in `folder` with the highest step in its name ("step-00000120", "step-120.ckpt",
    "checkpoint-120"), or the one that the hub knows of (COLOSSUS_DURABLE_PATH) if that is newer:
    a training must not begin anew in silence because its folder is not the one it was.

    Args:
        folder: Where the run's checkpoints are published; it may be missing.
        is_whole: Tells a whole one from a torn one, where names alone do not.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        names = []
    steps = {name: int(match[1]) for name in names if (match := _NAME.fullmatch(name))}
    known = int(os.environ.get("COLOSSUS_DURABLE_STEP") or 0)
    for name in sorted(steps, key=lambda name: steps[name], reverse=True):
        path = os.path.join(folder, name)
        if steps[name] >= known and is_whole(path):
            return path
    return os.environ.get("COLOSSUS_DURABLE_PATH") or None


def make_safe(path: str | os.PathLike[str]) -> int:
    """Have the disk take a file or a whole folder; return its size in bytes.

    Raises:
        OSError: The disk does not take it.
    """
    if not os.path.isdir(path):
        _sync(path)
        return os.path.getsize(path)
    size = 0
    for folder, _, names in os.walk(path):
        size += sum(make_safe(os.path.join(folder, name)) for name in names)
        _sync(folder)
    return size


def mark(path: str | os.PathLike[str]) -> None:
    """Make an empty file that is safe on disk, after all that was made safe before it."""
    with open(path, "wb"):
        pass
    _sync(path)
    _sync(os.path.dirname(path) or ".")


def _sync(path: str | os.PathLike[str]) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)
