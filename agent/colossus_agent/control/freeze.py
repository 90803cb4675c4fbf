"""Freezing a run in place, always behind an armed fuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colossus_agent.control import cgroup, fuse
from colossus_agent.control.cuda import MOVE_SECONDS, CudaCheckpoint, CudaError
from colossus_agent.control.process import ProcessId, ProcessStat, send

STOPPED = frozenset("Tt")
TRACED_SECONDS = 0.5  # in which a debugger has let go on what it will not keep stopped
STOP_SECONDS = 5.0
OVERDUE_SECONDS = 2.0
_NAMED = 8  # processes that an error names


class FreezeError(Exception):
    """The run could not be frozen; nothing of it stays stopped."""


@dataclass(frozen=True, slots=True)
class Freezer:
    """One run's freeze on this node.

    Attributes:
        folder: Where fuse.json lies while frozen.
        group: The run's own control group, or None for stop signals.
        processes: Reads all processes of the run again.
    """

    folder: Path
    group: Path | None
    processes: Callable[[], list[ProcessStat]]

    @property
    def mechanism(self) -> str:
        """What stops the processes, in words."""
        return f"cgroup v{cgroup.version(self.group)}" if self.group else "stop signals"

    @property
    def _plan(self) -> Path:
        return self.folder / "fuse.json"

    def freeze(self, fuse_seconds: float, cuda: CudaCheckpoint | None = None) -> None:
        """Arm the fuse, then stop every process, and return once all are seen stopped.

        Args:
            cuda: Releases the GPU memory of the processes before they are stopped.

        Raises:
            FreezeError: A process would not stop, or the fuse could not be armed.
        """
        self._arm(fuse_seconds if cuda is None else fuse_seconds + MOVE_SECONDS)
        try:
            if cuda is not None:
                self._release(cuda)
                self._amend(deadline_boottime=_boottime() + fuse_seconds)
            self._stop(min(STOP_SECONDS, fuse_seconds * 0.8))
        except (OSError, FreezeError, CudaError) as error:
            words = str(error)
            try:
                self.thaw()
            except FreezeError as left:
                words = f"{words}; and to undo it failed: {left}"
            raise FreezeError(words) from None

    def thaw(self) -> None:
        """Continue every process that the freeze stopped and end the fuse.

        Raises:
            FreezeError: GPU memory was not restored; the fuse tries again at its time.
        """
        plan = self._read_plan()
        if plan is None and self._plan.exists():  # damaged: rather too many than too few
            plan = {"processes": [_identity(stat) for stat in self.processes()]}
        wrong = fuse.thaw({**(plan or {}), "cgroup": str(self.group or "")})
        if wrong:
            raise FreezeError("; ".join(wrong[:_NAMED]))
        if plan is not None and plan.get("pid"):  # else it could take the next freeze for its own
            send(ProcessId(plan["pid"], plan.get("start_time_ticks", -1)), signal.SIGKILL)
        with suppress(FileNotFoundError):
            self._plan.unlink()

    def is_frozen(self) -> bool:
        """Return whether every process is stopped now, by the kernel's own word."""
        if self.group is not None and cgroup.is_frozen(self.group):
            return True
        stats = self.processes()
        return bool(stats) and all(stat.state in STOPPED for stat in stats)

    def is_overdue(self) -> bool:
        """Return whether the fuse should have thawed, and is no more: somebody has ended it."""
        plan, deadline = self._read_plan(), self.deadline_unix_ns()
        if plan is None or time.time_ns() < deadline + OVERDUE_SECONDS * 1e9:
            return False
        return fuse.start_time_ticks(plan.get("pid", 0)) != plan.get("start_time_ticks")

    def deadline_unix_ns(self) -> int:
        """Return when the fuse thaws; 0 when none is armed."""
        plan = self._read_plan()
        if plan is None:
            return 0
        left = plan["deadline_boottime"] - _boottime()
        return time.time_ns() + int(left * 1e9)

    def _read_plan(self) -> dict[str, Any] | None:
        try:
            plan: dict[str, Any] = json.loads(self._plan.read_text())
            return plan if {"deadline_boottime", "processes"} <= plan.keys() else None
        except (OSError, ValueError, AttributeError):
            return None

    def _arm(self, fuse_seconds: float) -> None:
        with suppress(FileNotFoundError):
            (self.folder / "thawed.json").unlink()
        before = self._read_plan() or {}  # of a freeze that its agent did not live to finish
        self._write_plan(
            {
                "deadline_boottime": _boottime() + fuse_seconds,
                "cgroup": str(self.group or ""),
                "processes": before.get("processes", []),
                "cuda": before.get("cuda"),
            }
        )
        process = subprocess.run(
            [sys.executable, "-I", "-S", fuse.__file__, str(self._plan)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=10,
            check=False,
        )
        if process.stdout != b"armed\n":
            raise FreezeError(f"the fuse did not start: {process.stderr.decode()[-200:]}")

    def _release(self, cuda: CudaCheckpoint) -> None:
        """Move the GPU memory of every process to the host; the fuse knows of each before."""
        stats = {stat.pid: stat for stat in self.processes()}
        states = cuda.holders(stats.values())
        if not states:
            raise FreezeError("none of its processes has a CUDA state, so there is nothing to move")
        if other := [pid for pid, state in states.items() if state != "running"]:
            raise FreezeError(f"pid {other[0]}: its CUDA state is {states[other[0]]}, not running")
        holders = [_identity(stats[pid]) for pid in states]
        self._amend(cuda={"program": cuda.program, "processes": holders})
        cuda.release(states)

    def _amend(self, **parts: Any) -> None:
        """Tell the fuse more.

        Raises:
            FreezeError: It has ended.
        """
        plan = self._read_plan()
        if plan is None:
            raise FreezeError("the fuse ended before all was stopped")
        self._write_plan(plan | parts)

    def _write_plan(self, plan: dict[str, Any]) -> None:
        partial = self._plan.with_suffix(".part")
        partial.write_text(json.dumps(plan))
        partial.rename(self._plan)

    def _stop(self, seconds: float) -> None:
        """Stop all: by the group, and by signals whoever is not in it."""
        deadline = time.monotonic() + seconds
        if self.group is not None:
            cgroup.set_frozen(self.group, True)
        while moving := self._moving():
            self._signal(moving)
            if time.monotonic() > deadline:
                raise FreezeError(f"not stopped within {seconds:g} s: {_words(moving)}")
            time.sleep(0.01)
        if self.deadline_unix_ns() <= time.time_ns():
            raise FreezeError("the fuse ended before all was stopped")

    def _moving(self) -> list[ProcessStat]:
        """Return who is not stopped; the members of a group count until all of it is frozen.

        A debugger's process is stopped for a moment at every signal, also where the debugger then
        lets it go on: it is looked at twice.
        """
        found, is_traced = self._look()
        if is_traced and not found:
            time.sleep(TRACED_SECONDS)
            found, _ = self._look()
        return found

    def _look(self) -> tuple[list[ProcessStat], bool]:
        """Return who is not stopped, and whether a debugger holds one of those that are."""
        frozen = self.group is not None and cgroup.is_frozen(self.group)
        inside = set(cgroup.members(self.group)) if self.group is not None and frozen else set()
        outside = [stat for stat in self.processes() if stat.pid not in inside]
        moving = [stat for stat in outside if stat.state not in STOPPED]
        return moving, any(stat.state == "t" for stat in outside)

    def _signal(self, moving: list[ProcessStat]) -> None:
        """Send SIGSTOP to all outside the group whose parents are stopped.

        A shell with job control that still runs would take a stopped child for one that it need
        not wait for. The fuse gets to know of each before it is stopped; who was stopped already
        is not ours to continue.
        """
        pids = {stat.pid for stat in moving}
        inside = set(cgroup.members(self.group)) if self.group is not None else set()
        ready = [stat for stat in moving if stat.parent_pid not in pids and stat.pid not in inside]
        known = (self._read_plan() or {}).get("processes", [])
        fresh = [identity for stat in ready if (identity := _identity(stat)) not in known]
        if fresh:
            self._amend(processes=known + fresh)
        for stat in ready:
            send(stat.identity, signal.SIGSTOP)


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _identity(stat: ProcessStat) -> list[int]:
    return [stat.pid, stat.start_time_ticks]


def _words(stats: list[ProcessStat]) -> str:
    """Name processes with why they may not stop."""
    named = [
        f"pid {stat.pid} waits in the kernel" if stat.state == "D" else f"pid {stat.pid}"
        for stat in sorted(stats, key=lambda stat: stat.state != "D")
    ]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more
