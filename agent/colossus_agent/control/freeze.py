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

from colossus_agent.control import cgroup, fuse
from colossus_agent.control.process import ProcessStat, send

STOPPED = frozenset("Tt")


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
    def _plan(self) -> Path:
        return self.folder / "fuse.json"

    def freeze(self, fuse_seconds: float) -> None:
        """Arm the fuse, then stop every process, and return once all are seen stopped.

        Raises:
            FreezeError: A process would not stop, or the fuse could not be armed.
        """
        self._arm(fuse_seconds)
        try:
            self._stop()
        except (OSError, FreezeError) as error:
            self.thaw()
            raise FreezeError(str(error)) from None

    def thaw(self) -> None:
        """Continue every process and end the fuse."""
        fuse.thaw({"cgroup": str(self.group or ""), "processes": self._processes()})
        with suppress(FileNotFoundError):
            self._plan.unlink()

    def is_frozen(self) -> bool:
        """Return whether every process is stopped now, by the kernel's own word."""
        if self.group is not None and cgroup.is_frozen(self.group):
            return True
        stats = self.processes()
        return bool(stats) and all(stat.state in STOPPED for stat in stats)

    def deadline_unix_ns(self) -> int:
        """Return when the fuse thaws; 0 when none is armed."""
        try:
            plan = json.loads(self._plan.read_text())
            left = plan["deadline_boottime"] - time.clock_gettime(time.CLOCK_BOOTTIME)
        except (OSError, ValueError, KeyError):
            return 0
        return time.time_ns() + int(left * 1e9)

    def _arm(self, fuse_seconds: float) -> None:
        with suppress(FileNotFoundError):
            (self.folder / "thawed.json").unlink()
        self._write_plan(
            {
                "deadline_boottime": time.clock_gettime(time.CLOCK_BOOTTIME) + fuse_seconds,
                "cgroup": str(self.group or ""),
                "processes": self._processes(),
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

    def _processes(self) -> list[list[int]]:
        return [[stat.pid, stat.start_time_ticks] for stat in self.processes()]

    def _write_plan(self, plan: dict[str, object]) -> None:
        partial = self._plan.with_suffix(".part")
        partial.write_text(json.dumps(plan))
        partial.rename(self._plan)

    def _stop(self) -> None:
        deadline = time.monotonic() + 5
        if self.group is not None:
            cgroup.set_frozen(self.group, True)
        seen: set[int] = set()
        while not self.is_frozen():
            if self.group is None:
                fresh = [stat for stat in self.processes() if stat.pid not in seen]
                for stat in fresh:
                    send(stat.identity, signal.SIGSTOP)
                    seen.add(stat.pid)
                if fresh:
                    self._name_processes()
            if time.monotonic() > deadline:
                raise FreezeError("not every process stopped within 5 s")
            time.sleep(0.01)

    def _name_processes(self) -> None:
        """Let the fuse know of processes that were born while others were being stopped."""
        plan = json.loads(self._plan.read_text())
        self._write_plan(plan | {"processes": self._processes()})
