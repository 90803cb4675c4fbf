"""NVIDIA's cuda-checkpoint: moves a process's GPU memory to the host, so that its GPUs are free.

The way back is in the fuse, which must know it when all else has died.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from colossus_agent.control import fuse
from colossus_agent.control.process import ProcessStat

MINIMUM_DRIVER = 570  # before it the program cannot be asked what it did, nor given a time
LOCK_SECONDS = 10.0
CHECKPOINT_SECONDS = 120.0
MOVE_SECONDS = LOCK_SECONDS + CHECKPOINT_SECONDS + 15.0  # all of a release, with asking for states
_HELP_SECONDS = 5.0


class CudaError(Exception):
    """The program did not do what it was asked; the message is in its words."""


class CudaCheckpoint:
    """The program on this node, if its settings allow it.

    Args:
        program: Path of the program; "" where it is not allowed.
        driver_version: Returns the NVIDIA driver's version; "" without one.
    """

    def __init__(self, program: str, driver_version: Callable[[], str]) -> None:
        self.program = program
        self._driver_version = driver_version
        self._probed: tuple[str, str] | None = None  # driver, refusal

    def refusal(self) -> str:
        """Return why a freeze cannot release GPU memory here, with the remedy; "" when it can."""
        if not self.program:
            return (
                "releasing GPU memory in a freeze is not enabled: set cuda_checkpoint in the "
                "agent's settings to the path of NVIDIA's cuda-checkpoint"
            )
        driver = self._driver_version()
        if self._probed is None or self._probed[0] != driver:
            self._probed = (driver, self._probe(driver))
        return self._probed[1]

    def _probe(self, driver: str) -> str:
        where = f"cuda_checkpoint {self.program!r}"
        if not (Path(self.program).is_file() and os.access(self.program, os.X_OK)):
            return f"{where}: is no program that this user can execute; name the right path"
        if not driver:
            return "there is no NVIDIA driver"
        major = re.match(r"\d{1,5}", driver)
        if major is None or int(major[0]) < MINIMUM_DRIVER:
            return f"the NVIDIA driver is {driver[:40]}; cuda-checkpoint needs {MINIMUM_DRIVER}"
        try:
            told = subprocess.run(
                [self.program, "--help"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_HELP_SECONDS,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{where}: {error}"
        if b"--action" not in told or b"--get-state" not in told:
            return f"{where}: has no --action or no --get-state; install the one of driver 570"
        return ""

    def holders(self, stats: Iterable[ProcessStat]) -> dict[int, str]:
        """Return the CUDA state of every process that has one."""
        states = {stat.pid: fuse.cuda_state(self.program, stat.pid) for stat in stats}
        return {pid: state for pid, state in states.items() if state}

    def release(self, pids: Iterable[int]) -> None:
        """Lock all, then move the memory of all, and return once each says that it is done.

        All locks are asked for at once: work that is under way may need the other ranks to end.

        Raises:
            CudaError: One of them did not; the others may be locked or have moved theirs.
        """
        pids = list(pids)
        limit = ("--timeout", str(int(LOCK_SECONDS * 1000)))
        self._all("lock", pids, LOCK_SECONDS + 2, *limit)
        self._all("checkpoint", pids, CHECKPOINT_SECONDS)
        for pid in pids:
            state = fuse.cuda_state(self.program, pid)
            if state != "checkpointed":
                raise CudaError(f"pid {pid}: its CUDA state is {state or 'not known'}")

    def _all(self, action: str, pids: list[int], seconds: float, *more: str) -> None:
        deadline = time.monotonic() + seconds
        calls = {
            pid: subprocess.Popen(
                [self.program, "--action", action, "--pid", str(pid), *more],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            for pid in pids
        }
        wrong = []
        for pid, call in calls.items():
            try:
                said, _ = call.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                call.kill()
                call.communicate()
                wrong.append(f"cuda-checkpoint {action} of pid {pid}: not done in {seconds:g} s")
                continue
            if call.returncode:
                words = said[-200:].decode("utf-8", "replace").strip() or "no word"
                wrong.append(f"cuda-checkpoint {action} of pid {pid}: {words}")
        if wrong:
            raise CudaError("; ".join(wrong[:4]))
