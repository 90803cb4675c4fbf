"""The keeper: parent of one attempt's ranks on this node; it outlives the agent.

Run as a script with the attempt's folder; standard library only. It starts the ranks that
launch.json names, writes down who they are and how each ends, and does nothing else. The starting
command returns once every rank has been started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main(folder: Path) -> None:
    """Start the ranks, then wait for them."""
    launch: dict[str, Any] = json.loads((folder / "launch.json").read_text())
    (folder / "launch.json").unlink()  # it holds the environment; run.json keeps what is needed
    ready, told = os.pipe()
    if os.fork():
        os.close(told)
        os.read(ready, 1)  # returns when the keeper has started the ranks, or has died
        os._exit(0)
    os.close(ready)
    become_keeper()
    ticks = start_time_ticks(os.getpid())
    write(folder / "keeper.json", {"pid": os.getpid(), "start_time_ticks": ticks})
    ranks = {start(folder, launch, rank): rank for rank in range(launch["rank_count"])}
    os.close(told)
    wait(folder, ranks)


def become_keeper() -> None:
    """Leave the agent's session and adopt what the ranks leave behind."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(folder: Path, launch: dict[str, Any], rank: int) -> int:
    """Start one rank and write down its identity; return its pid."""
    failed, reports = os.pipe()  # closed by a successful exec
    pid = os.fork()
    if pid == 0:
        os.close(failed)
        run_rank(folder, launch, rank, reports)
    os.close(reports)
    record = {"pid": pid, "start_time_ticks": start_time_ticks(pid), "rank": rank}
    write(folder / f"rank-{rank}.json", record | {"cgroup": launch["cgroup"]})
    with os.fdopen(failed, "rb") as file:
        error = file.read().decode("utf-8", "replace")
    if error:
        write(folder / f"failure-{rank}.json", {"detail": error})
    return pid


def run_rank(folder: Path, launch: dict[str, Any], rank: int, reports: int) -> None:
    """Become the rank; never returns."""
    try:
        os.setsid()
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if launch["cgroup"]:
            Path(launch["cgroup"], "cgroup.procs").write_text(str(os.getpid()))
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, launch["nice"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        log = os.open(folder / f"rank-{rank}.log", flags, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if launch["working_directory"]:
            os.chdir(launch["working_directory"])
        environment = launch["environment"] | launch["rank_environments"][rank]
        os.execvpe(launch["argv"][0], launch["argv"], environment)
    except BaseException as error:  # noqa: BLE001  # the child of a fork must not run on
        os.write(reports, str(error).encode())
        os._exit(127)


def wait(folder: Path, ranks: dict[int, int]) -> None:
    """Write down how each rank ends, until no child is left."""
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return
        if pid not in ranks:
            continue  # an orphan of a rank
        rank = ranks[pid]
        code = os.waitstatus_to_exitcode(status)
        record: dict[str, Any] = {
            "exit_code": code if code >= 0 else -1,
            "exit_signal": -code if code < 0 else 0,
            "time_unix_ns": time.time_ns(),
            "detail": "",
        }
        failure = folder / f"failure-{rank}.json"
        if failure.exists():
            record["detail"] = json.loads(failure.read_text())["detail"]
        write(folder / f"exit-{rank}.json", record)


def start_time_ticks(pid: int) -> int:
    """Return the start time of a process; 0 when it cannot be read."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def write(path: Path, value: dict[str, Any]) -> None:
    """Write the file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(value))
    partial.rename(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
