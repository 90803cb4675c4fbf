"""The fuse: a process of its own that ends a freeze at its deadline, whatever else has died.

Run as a script with the path of fuse.json; standard library only. It says "armed" on standard
output before anything is frozen. It ends early, thawing nothing, when the file is gone: somebody
else has thawed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

RESTORE_SECONDS = 120.0
RESTORE_TRIES = 3  # others may have to let go of the GPUs first
STATE_SECONDS = 5.0


def main(path: str) -> None:
    """Wait for the deadline and thaw."""
    detach()
    file = Path(path)
    plan: dict[str, Any] = json.loads(file.read_text())
    plan["pid"] = os.getpid()
    plan["start_time_ticks"] = start_time_ticks(os.getpid())
    partial = file.with_suffix(".tmp")
    partial.write_text(json.dumps(plan))
    partial.rename(file)
    os.write(1, b"armed\n")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while True:
        newest = mine(file)
        if newest is None:
            return
        if time.clock_gettime(time.CLOCK_BOOTTIME) >= newest["deadline_boottime"]:
            break
        time.sleep(0.2)
    plan = newest
    for _ in range(RESTORE_TRIES):
        plan["wrong"] = thaw(plan)
        if not plan["wrong"]:
            break
        time.sleep(2.0)
    partial.write_text(json.dumps(plan))
    partial.rename(file)
    file.rename(file.with_name("thawed.json"))


def detach() -> None:
    """Leave the agent's session, so that nothing that ends the agent ends this."""
    if os.fork():
        os._exit(0)
    os.setsid()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def mine(file: Path) -> dict[str, Any] | None:
    """Return the plan while it names this process: a thaw by hand removes it."""
    try:
        plan: dict[str, Any] = json.loads(file.read_text())
        return plan if plan["pid"] == os.getpid() else None
    except (OSError, ValueError, KeyError):
        return None


def start_time_ticks(pid: int) -> int:
    """Return the start time of a process; -1 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return -1


def thaw(plan: dict[str, Any]) -> list[str]:
    """Undo what the plan names, and return what could not be.

    Children are continued before their parents: a shell with job control that woke first would
    see its child stopped, and go on without it. GPU memory comes last, since a stopped process
    cannot take it back.
    """
    if plan.get("cgroup"):
        for name, word in (("cgroup.freeze", "0"), ("freezer.state", "THAWED")):
            with suppress(OSError):
                descriptor = os.open(f"{plan['cgroup']}/{name}", os.O_WRONLY)
                try:
                    os.write(descriptor, word.encode())
                finally:
                    os.close(descriptor)
    for pid, ticks in reversed(plan.get("processes", [])):
        if start_time_ticks(pid) == ticks:
            with suppress(OSError):
                os.kill(pid, signal.SIGCONT)
    cuda = plan.get("cuda")
    if not cuda:
        return []
    found = [restore(cuda["program"], pid, ticks) for pid, ticks in cuda["processes"]]
    return [wrong for wrong in found if wrong]


def restore(program: str, pid: int, ticks: int) -> str:
    """Give a process its GPU memory back by the state that it is in; return what went wrong."""
    for state, action in (("checkpointed", "restore"), ("locked", "unlock")):
        if start_time_ticks(pid) != ticks:
            return ""
        if cuda_state(program, pid) == state:
            _ask(program, RESTORE_SECONDS, "--action", action, "--pid", str(pid))
    state = cuda_state(program, pid)
    if state == "running" or start_time_ticks(pid) != ticks:
        return ""
    return f"pid {pid}: its CUDA state is {state or 'not known'}, its GPU memory not restored"


def cuda_state(program: str, pid: int) -> str:
    """Return the CUDA state of a process as the program tells it; "" when it has none."""
    return _ask(program, STATE_SECONDS, "--get-state", "--pid", str(pid)).strip()[:20]


def _ask(program: str, seconds: float, *arguments: str) -> str:
    import subprocess  # only a freeze that released GPU memory pays for it

    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("ascii", "replace") if done.returncode == 0 else ""


if __name__ == "__main__":
    main(sys.argv[1])
