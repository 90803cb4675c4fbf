"""Freezing real processes: whoever dies meanwhile, nobody is left stopped who was not before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colossus_agent.control import cgroup
from colossus_agent.runs.record import RunSpec
from colossus_agent.runs.state import Outcome
from colossus_agent.runs.supervisor import Supervisor
from tests.agent.freezing import MECHANISMS, groups
from tests.e2e.product import process_state, start_time_ticks
from tests.support import until

ROOT = Path(__file__).resolve().parents[2]
CHILD = "import time\nwhile True: time.sleep(.01)"


class Node:
    """A supervisor with one run on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder / "agent")

    @property
    def plan(self) -> Path:
        return self.folder / "agent/runs/r/attempt-1/fuse.json"

    def start(self, *argv: str) -> int:
        """Start the run and return its rank's pid."""
        outcome = self.supervisor.start(RunSpec("r", argv, environment=dict(os.environ)), 1)
        assert outcome.kind == "done", outcome.detail
        return self.supervisor.poll().runs[0].ranks[0].pid

    def freeze(self, fuse_seconds: float = 60) -> Outcome:
        return self.supervisor.freeze("r", fuse_seconds)

    def close(self) -> None:
        for run in self.supervisor.poll().runs:
            self.supervisor.terminate(run.run_id, 0, True)
            until(lambda: not self.supervisor.poll().runs[0].process_count)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    monkeypatch.setattr(cgroup, "base", lambda: None)
    node = Node(tmp_path)
    yield node
    node.close()


@pytest.fixture(params=MECHANISMS)
def each(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Node, str]]:
    base = groups(request.param)
    monkeypatch.setattr(cgroup, "base", lambda: base)
    node = Node(tmp_path)
    yield node, request.param
    node.close()


def child_of(pid: int) -> int:
    """Return the pid of a process's first child once it has become its own program."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    child = int(until(lambda: path.read_text().split(), message=f"a child of {pid}")[0])
    until(lambda: process_state(pid) != "D" or process_state(child) == "S")  # vfork
    return child


def stopped(pid: int) -> Callable[[], bool]:
    return lambda: process_state(pid) == "T"


def runs(pid: int) -> bool:
    return process_state(pid) in tuple("RS")


def growing(path: Path) -> Callable[[], bool]:
    size = path.stat().st_size
    return lambda: path.stat().st_size > size


WRITER = "import sys,time\nwhile True: open(sys.argv[1],'a').write('x'); time.sleep(.01)"


def test_a_freeze_says_what_holds_the_processes(each: tuple[Node, str], tmp_path: Path) -> None:
    node, mechanism = each
    node.start(sys.executable, "-c", WRITER, str(tmp_path / "out"))
    until((tmp_path / "out").exists)

    outcome = node.freeze()

    assert (outcome.kind, outcome.detail) == ("done", f"frozen by {mechanism}")
    assert node.supervisor.poll().runs[0].state == "frozen"
    is_growing = growing(tmp_path / "out")
    assert node.freeze().detail == outcome.detail
    assert not is_growing()
    fuse = json.loads(node.plan.read_text())
    node.supervisor.thaw("r")
    until(is_growing)
    assert not node.plan.exists()
    # One that went on could take the next freeze's plan for its own.
    until(lambda: start_time_ticks(fuse["pid"]) != fuse["start_time_ticks"])


def test_what_its_user_had_stopped_stays_stopped_after_the_thaw(each: tuple[Node, str]) -> None:
    node, _ = each
    script = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    rank = node.start(sys.executable, "-c", script)
    child = child_of(rank)
    os.kill(child, signal.SIGSTOP)
    until(stopped(child))

    assert node.freeze().kind == "done"
    node.supervisor.thaw("r")

    until(lambda: runs(rank))
    assert stopped(child)()
    os.kill(child, signal.SIGCONT)
    until(lambda: runs(child))


def test_the_fuse_too_leaves_stopped_what_its_user_had_stopped(each: tuple[Node, str]) -> None:
    node, _ = each
    script = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    rank = node.start(sys.executable, "-c", script)
    child = child_of(rank)
    os.kill(child, signal.SIGSTOP)
    until(stopped(child))

    node.freeze(1.0)

    until(lambda: node.supervisor.poll().thawed_run_ids == ("r",))
    until(lambda: runs(rank))
    assert stopped(child)()
    os.kill(child, signal.SIGCONT)


def test_a_shell_with_job_control_waits_on_for_its_child(node: Node, tmp_path: Path) -> None:
    after = tmp_path / "after"
    line = f'set -m; {sys.executable} -c "$1"; echo $? > {after}'
    shell = node.start("bash", "-c", line, "bash", CHILD)
    child = child_of(shell)

    for _ in range(3):
        assert node.freeze().kind == "done"
        assert stopped(shell)()
        assert stopped(child)()
        node.supervisor.thaw("r")
        until(lambda: runs(child))

    assert not after.exists()
    os.kill(child, signal.SIGTERM)
    until(after.exists)


def test_who_has_left_the_control_group_is_stopped_by_signal(each: tuple[Node, str]) -> None:
    node, _ = each
    script = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    child = child_of(node.start(sys.executable, "-c", script))
    base = cgroup.base()
    if base is not None:  # with stop signals alone there is no group to leave
        (base.parent / "cgroup.procs").write_text(str(child))

    assert node.freeze().kind == "done"

    assert stopped(child)()
    node.supervisor.thaw("r")
    until(lambda: runs(child))


def test_a_zombie_holds_nothing_up(node: Node) -> None:
    script = "import subprocess,time; p = subprocess.Popen(['true'])\nwhile True: time.sleep(.01)"
    rank = node.start(sys.executable, "-c", script)
    child = child_of(rank)
    until(lambda: process_state(child) == "Z")

    assert node.freeze().detail == "frozen by stop signals"

    node.supervisor.thaw("r")
    until(lambda: runs(rank))


def test_a_process_that_waits_in_the_kernel_is_named_and_all_go_on(
    node: Node, tmp_path: Path
) -> None:
    source, program = tmp_path / "v.c", tmp_path / "v"
    source.write_text(
        "#define _DEFAULT_SOURCE\n#include <unistd.h>\n"
        "int main(void) { if (vfork() == 0) { sleep(60); _exit(0); } return 0; }\n"
    )
    subprocess.run(["gcc", "-o", str(program), str(source)], check=True)
    rank = node.start(str(program))
    until(lambda: process_state(rank) == "D")
    child = child_of(rank)

    outcome = node.freeze(3.0)

    assert outcome.kind == "failed"
    assert f"pid {rank} waits in the kernel" in outcome.detail
    assert process_state(child) == "S"
    assert not node.plan.exists()
    os.kill(child, signal.SIGKILL)
    until(lambda: not runs(rank))


def test_a_debugger_that_keeps_a_process_going_fails_the_freeze(node: Node) -> None:
    script = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    rank = node.start(sys.executable, "-c", script)
    child = child_of(rank)
    tracer = subprocess.Popen(
        [sys.executable, "-c", SWALLOWING_TRACER, str(child)], stdout=subprocess.PIPE
    )
    assert tracer.stdout is not None
    assert tracer.stdout.readline() == b"attached\n"

    outcome = node.freeze(3.0)

    assert outcome.kind == "failed"
    assert f"pid {child}" in outcome.detail
    until(lambda: runs(rank))
    tracer.kill()
    tracer.wait()
    tracer.stdout.close()
    until(lambda: runs(child))


SWALLOWING_TRACER = """
import ctypes, os, sys
libc, pid = ctypes.CDLL(None), int(sys.argv[1])
libc.ptrace.argtypes = [ctypes.c_long] * 4
libc.ptrace(16, pid, 0, 0)  # PTRACE_ATTACH
os.waitpid(pid, 0)
libc.ptrace(7, pid, 0, 0)  # PTRACE_CONT
print("attached", flush=True)
while True:
    os.waitpid(pid, 0)
    libc.ptrace(7, pid, 0, 0)
"""

DYING_AGENT = """
import os, signal, sys
from pathlib import Path
from colossus_agent.control import freeze, process
from colossus_agent.control.process import ProcessId
looks, sends = int(sys.argv[3]), int(sys.argv[4])
root = ProcessId(int(sys.argv[2]), process.read_stat(int(sys.argv[2])).start_time_ticks)
def die(left):
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
def look():
    global looks
    die(looks := looks - 1)
    return process.family([root])
def send(identity, number):
    global sends
    die(sends := sends - 1)
    return process.send(identity, number)
freeze.send = send
freeze.Freezer(Path(sys.argv[1]), None, look).freeze(1.0)
"""


@pytest.mark.parametrize(
    ("looks", "sends"), [(0, 9), (1, 9), (2, 9), (9, 0), (9, 1), (9, 2), (3, 9)]
)
def test_an_agent_that_dies_in_a_freeze_leaves_nobody_stopped(
    tmp_path: Path, looks: int, sends: int
) -> None:
    leaf = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    tree = f"import subprocess,sys; subprocess.run([sys.executable, '-c', {leaf!r}])"
    root = subprocess.Popen([sys.executable, "-c", tree], start_new_session=True)
    pids = [root.pid, child := child_of(root.pid), child_of(child)]
    try:
        arguments = [str(tmp_path), str(root.pid), str(looks), str(sends)]
        died = subprocess.run([sys.executable, "-c", DYING_AGENT, *arguments], check=False)

        assert died.returncode == -signal.SIGKILL
        until((tmp_path / "thawed.json").exists, 5)
        until(lambda: all(runs(pid) for pid in pids))
    finally:
        os.killpg(root.pid, signal.SIGKILL)
        root.wait()


def test_the_agent_thaws_when_somebody_has_ended_the_fuse(each: tuple[Node, str]) -> None:
    node, _ = each
    rank = node.start(sys.executable, "-c", CHILD)
    node.freeze(1.0)
    fuse = json.loads(node.plan.read_text())
    assert start_time_ticks(fuse["pid"]) == fuse["start_time_ticks"]
    os.kill(fuse["pid"], signal.SIGKILL)

    until(lambda: node.supervisor.poll().runs[0].state == "running")

    until(lambda: runs(rank))
    assert not node.plan.exists()


@pytest.mark.parametrize(
    ("mounts", "layout"),
    [
        ("cgroup2 cgroup2 rw", "unified"),
        ("cgroup2 cgroup2 rw\ncgroup cgroup rw,freezer", "hybrid"),
        ("cgroup2 cgroup2 rw\ncgroup cgroup rw,name=systemd", "unified"),
        ("cgroup cgroup rw,cpu,cpuacct\ncgroup cgroup rw,freezer", "version 1"),
        ("tmpfs tmpfs rw", "none mounted"),
    ],
)
def test_the_layout_of_control_groups_is_told(tmp_path: Path, mounts: str, layout: str) -> None:
    place = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:1 - "
    file = tmp_path / "mountinfo"
    file.write_text("".join(f"{place}{mount}\n" for mount in mounts.splitlines()))

    assert cgroup.layout(str(file)) == layout
