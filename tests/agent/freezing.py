"""Each way of stopping processes that this machine has, for tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from colossus_agent.control import cgroup

MECHANISMS = ("cgroup v2", "cgroup v1", "stop signals")
_KINDS = {"cgroup v2": " cgroup2 ", "cgroup v1": " cgroup "}


def groups(mechanism: str) -> Path | None:
    """Return where runs get their groups when only this mechanism is there; skips without it."""
    if mechanism == "stop signals":
        return None
    mounts = Path("/proc/self/mountinfo").read_text().splitlines(keepends=True)
    with tempfile.NamedTemporaryFile("w", suffix=".mountinfo") as file:
        file.writelines(line for line in mounts if _KINDS[mechanism] in line)
        file.flush()
        base = cgroup.base(file.name)
    if base is None:
        pytest.skip(f"this machine has no writable {mechanism} that freezes")
    return base
