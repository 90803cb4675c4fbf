"""cuda-checkpoint on a node: whether it may be used, what a freeze does with it, the way back."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from colossus_agent.control import cgroup, fuse
from colossus_agent.control.cuda import CudaCheckpoint
from colossus_agent.runs.record import RunSpec
from colossus_agent.runs.supervisor import Supervisor
from tests.agent.freezing import MECHANISMS, groups
from tests.e2e.product import process_state
from tests.support import until

PROGRAM = Path(__file__).resolve().parents[1] / "fakes" / "cuda-checkpoint"


def test_the_program_of_a_new_enough_driver_is_taken() -> None:
    assert CudaCheckpoint(str(PROGRAM), lambda: "570.86.10").refusal() == ""


@pytest.mark.parametrize(
    ("program", "driver", "named"),
    [
        ("", "570.1", "set cuda_checkpoint in the agent's settings"),
        ("/no/such/program", "570.1", "no program that this user can execute"),
        ("/etc/passwd", "570.1", "no program that this user can execute"),
        (str(PROGRAM), "", "there is no NVIDIA driver"),
        (str(PROGRAM), "550.54.15", "the NVIDIA driver is 550.54.15"),
        (str(PROGRAM), "\x1b[31m", "the NVIDIA driver is"),
        ("/bin/true", "570.1", "has no --action"),
    ],
)
def test_each_reason_why_not_is_told(program: str, driver: str, named: str) -> None:
    assert named in CudaCheckpoint(program, lambda: driver).refusal()


class Node:
    """A supervisor that may use the program, and a run of two ranks with CUDA state."""

    def __init__(self, folder: Path) -> None:
        self.cuda = CudaCheckpoint(str(PROGRAM), lambda: "570.86.10")
        self.supervisor = Supervisor(folder / "agent", cuda=self.cuda)
        loop = "import time\nwhile True: time.sleep(.01)"
        self.supervisor.start(
            RunSpec("r", (sys.executable, "-c", loop), environment=dict(os.environ), rank_count=2),
            1,
        )
        self.pids = [rank.pid for rank in self.supervisor.poll().runs[0].ranks]
        self.states = folder / "cuda"
        for gpu, pid in enumerate(self.pids):
            state = {"state": "running", "gpu": gpu, "bytes": 2**30}
            (self.states / str(pid)).write_text(json.dumps(state))

    def cuda_states(self) -> list[str]:
        return [json.loads((self.states / str(pid)).read_text())["state"] for pid in self.pids]

    def run(self) -> bool:
        return all(process_state(pid) in tuple("RS") for pid in self.pids)


@pytest.fixture(params=MECHANISMS)
def node(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Node]:
    (tmp_path / "cuda").mkdir()
    monkeypatch.setenv("FAKE_CUDA", str(tmp_path / "cuda"))
    monkeypatch.setenv("FAKE_CUDA_NVML", str(tmp_path / "nvml"))
    base = groups(request.param)
    monkeypatch.setattr(cgroup, "base", lambda: base)
    node = Node(tmp_path)
    yield node
    node.supervisor.terminate("r", 0, True)
    until(lambda: not node.supervisor.poll().runs[0].process_count)


def test_memory_is_moved_before_the_stop_and_back_after_the_thaw(node: Node) -> None:
    outcome = node.supervisor.freeze("r", 60, release_gpus=True)

    assert outcome.kind == "done", outcome.detail
    assert node.cuda_states() == ["checkpointed"] * 2
    run = node.supervisor.poll().runs[0]
    assert run.state == "frozen"
    assert node.supervisor.thaw("r").kind == "done"
    assert node.cuda_states() == ["running"] * 2
    until(node.run)


@pytest.mark.parametrize("node", ["stop signals"], indirect=True)  # how it stops is all one here
@pytest.mark.parametrize("action", ["lock", "checkpoint"])
def test_what_one_rank_could_not_do_is_undone_on_both(node: Node, action: str) -> None:
    (node.states / "trouble").write_text(f"fail {action} {node.pids[1]}\n")

    outcome = node.supervisor.freeze("r", 60, release_gpus=True)

    assert outcome.kind == "failed"
    assert f"cuda-checkpoint {action} of pid {node.pids[1]}" in outcome.detail
    assert node.cuda_states() == ["running"] * 2
    until(node.run)


def test_the_fuse_gives_the_memory_back(node: Node) -> None:
    node.supervisor.freeze("r", 1.0, release_gpus=True)

    until(lambda: node.supervisor.poll().thawed_run_ids == ("r",))

    assert node.cuda_states() == ["running"] * 2
    until(node.run)


@pytest.mark.parametrize("node", ["stop signals"], indirect=True)  # how it stops is all one here
def test_memory_that_does_not_come_back_is_told_and_tried_again(node: Node) -> None:
    node.supervisor.freeze("r", 60, release_gpus=True)
    (node.states / "trouble").write_text(f"fail restore {node.pids[0]}\n")

    outcome = node.supervisor.thaw("r")

    assert outcome.kind == "failed"
    assert f"pid {node.pids[0]}: its CUDA state is checkpointed" in outcome.detail
    (node.states / "trouble").unlink()
    assert node.supervisor.thaw("r").kind == "done"
    assert node.cuda_states() == ["running"] * 2


@pytest.mark.waits
def test_a_fuse_that_cannot_give_the_memory_back_says_so(node: Node) -> None:
    (node.states / "trouble").write_text(f"fail restore {node.pids[0]}\n")
    node.supervisor.freeze("r", 1.0, release_gpus=True)

    def told() -> Mapping[str, str]:
        return node.supervisor.poll().not_restored

    wrong = until(told, 30)

    assert f"pid {node.pids[0]}: its CUDA state is checkpointed" in wrong["r"]
    assert node.cuda_states() == ["checkpointed", "running"]


@pytest.mark.parametrize("node", ["stop signals"], indirect=True)  # how it stops is all one here
def test_a_process_that_ended_while_frozen_has_nothing_to_restore(node: Node) -> None:
    node.supervisor.freeze("r", 60, release_gpus=True)
    os.kill(node.pids[0], signal.SIGKILL)

    assert node.supervisor.thaw("r").kind in ("done", "failed")  # it may be about to end

    until(lambda: fuse.cuda_state(str(PROGRAM), node.pids[1]) == "running")
    until(lambda: not process_state(node.pids[0]))


def test_one_that_something_else_has_locked_is_left_alone(node: Node) -> None:
    file = node.states / str(node.pids[0])
    file.write_text(json.dumps({"state": "locked", "gpu": 0, "bytes": 2**30}))

    outcome = node.supervisor.freeze("r", 60, release_gpus=True)

    assert outcome.kind == "failed"
    assert f"pid {node.pids[0]}: its CUDA state is locked, not running" in outcome.detail
    assert node.cuda_states() == ["locked", "running"]
    until(node.run)
