"""Ranks in pods: found behind a pid namespace of their own, by the pages that their hooks write."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from colossus_agent.control.process import ProcessId, find, find_inner
from colossus_agent.runs.supervisor import Supervisor
from colossus_hook import placement
from colossus_hook.page import start_time_ticks
from tests.support import until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="pid namespaces need root here")
UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
LOOP = """
import time
from colossus_hook import Run
with Run.from_env() as run:
    for step in range(1, 100_000):
        run.step(step, loss=1.0, tokens=1)
        time.sleep(0.02)
"""


class Pod:
    """One process in a pid namespace of its own, where it is number 1."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.parent = subprocess.Popen(
            [*UNSHARE, sys.executable, "-c", LOOP],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
        )
        self._children = Path(f"/proc/{self.parent.pid}/task/{self.parent.pid}/children")

    @property
    def pid(self) -> int:
        """What the machine calls it."""
        found = until(self._children.read_text, 10, message="the process inside")
        return int(found.split()[0])

    def kill(self) -> None:
        """End it."""
        self.parent.kill()
        self.parent.wait()


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """What a pod's template gives, for a namespace that nobody else has."""
    namespace = f"team-{random.SystemRandom().randrange(10**9)}"
    yield {
        "COLOSSUS_NAMESPACE": namespace,
        "COLOSSUS_JOB": "train",
        "COLOSSUS_NODE": "k1.example.org",
        "COLOSSUS_ATTEMPT": "3",
        "COLOSSUS_WORLD_SIZE": "8",
        "JOB_COMPLETION_INDEX": "5",
    }
    folder = placement.page_folder(os.getuid(), f"k8s-{namespace}.train", 3, "k1")
    shutil.rmtree(Path(folder).parent.parent, ignore_errors=True)


@pytest.fixture
def pod(environment: dict[str, str]) -> Iterator[Pod]:
    """A rank in such a pod."""
    pod = Pod(environment)
    yield pod
    pod.kill()


def test_a_process_is_found_by_its_number_inside(pod: Pod) -> None:
    inside = ProcessId(1, start_time_ticks(pod.pid))

    found = find_inner(inside, 0)

    assert found is not None
    assert found.pid == pod.pid
    assert find(inside) is None  # process 1 of the machine is another


def test_a_process_of_the_machine_itself_is_found_as_ever() -> None:
    own = ProcessId(os.getpid(), start_time_ticks(os.getpid()))

    found = find_inner(own, 0)

    assert found is not None
    assert found.pid == own.pid
    assert find_inner(ProcessId(own.pid, own.start_time_ticks + 1), 0) is None


def test_an_agent_sees_a_pods_rank_by_its_page(
    pod: Pod, environment: dict[str, str], tmp_path: Path
) -> None:
    run_id = f"k8s-{environment['COLOSSUS_NAMESPACE']}.train"
    supervisor = Supervisor(tmp_path, "k1.example.org")
    elsewhere = Supervisor(tmp_path / "elsewhere", "k2.example.org")

    def seen() -> bool:
        return any(run.run_id == run_id for run in supervisor.poll().runs)

    until(seen, 15, message="the run")
    (run,) = [run for run in supervisor.poll().runs if run.run_id == run_id]
    assert (run.backend, run.attempt, run.rank_count) == ("kubernetes", 3, 8)
    (rank,) = run.ranks
    assert (rank.rank, rank.alive, rank.pid, rank.hooked) == (5, True, pod.pid, True)
    assert not [run for run in elsewhere.poll().runs if run.run_id == run_id]

    pod.kill()

    def alive() -> bool:
        return any(run.ranks[0].alive for run in supervisor.poll().runs if run.run_id == run_id)

    until(lambda: not alive(), 10, message="the rank's end")
    assert seen()


def test_pods_that_begin_in_the_same_tick_are_told_apart(
    environment: dict[str, str], tmp_path: Path
) -> None:
    pods: list[Pod] = []

    def two_in_one_tick() -> bool:
        for _ in range(4):
            pods.append(Pod(environment | {"JOB_COMPLETION_INDEX": str(len(pods))}))
        return len({start_time_ticks(pod.pid) for pod in pods}) < len(pods)

    try:
        until(two_in_one_tick, message="two that begin in the same tick")
        supervisor = Supervisor(tmp_path, "k1.example.org")
        found: dict[int, int] = {}

        def all_seen() -> bool:
            for run in supervisor.poll().runs:
                if run.run_id == f"k8s-{environment['COLOSSUS_NAMESPACE']}.train":
                    found.update((rank.rank, rank.pid) for rank in run.ranks if rank.alive)
            return len(found) == len(pods)

        until(all_seen, 15, message="all ranks")
        assert found == {rank: pod.pid for rank, pod in enumerate(pods)}
    finally:
        for pod in pods:
            pod.kill()


def test_long_names_of_jobs_stay_apart() -> None:
    one = placement.kubernetes_run_id("training", "x" * 200 + "-1")
    other = placement.kubernetes_run_id("training", "x" * 200 + "-2")

    assert len(one) == len(other) == placement.RUN_ID_LIMIT
    assert one != other
    assert placement.kubernetes_run_id("training", "llm.10t") == "k8s-training.llm.10t"


def test_a_launchers_rank_wins_over_the_pods_index(environment: dict[str, str]) -> None:
    torchrun = {"RANK": "41", "LOCAL_RANK": "1", "WORLD_SIZE": "64"}

    place = placement.find(environment | torchrun, 1000)

    assert (place.rank, place.local_rank, place.world_size) == (41, 1, 64)
    assert place.folder == f"/dev/shm/colossus-1000/{place.run_id}/3/k1"
