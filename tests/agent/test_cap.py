"""Power limits through the real ctypes path: set, read back, kept over deaths and given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from colossus_agent.control.cap import CHECK_SECONDS, Caps
from colossus_agent.readings import GpuInventory, MissingError, MissingReason, PowerLimits
from tests.fakes.fake_nvml import FakeNvml
from tests.support import until

DONE, FAILED, REFUSED = (f"DIRECTIVE_OUTCOME_{word}" for word in ("DONE", "FAILED", "REFUSED"))
GPUS = 4


class Node:
    """A node with four GPUs, and runs whose processes hold some of them.

    Attributes:
        trouble: Further lines for the driver's control file.
    """

    def __init__(self, folder: Path) -> None:
        self.driver = FakeNvml(folder, GPUS)
        self.state = folder / "agent"
        self.trouble: tuple[str, ...] = ()
        self.held: dict[str, tuple[int, ...]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._agent: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        """Start the agent's part."""
        self._agent = subprocess.Popen(
            [sys.executable, "-m", "tests.agent.capping", str(self.state)],
            env=self.driver.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._agent is not None
        self._agent.kill()
        self._agent.communicate()

    def threads(self) -> int:
        """Return how many threads the agent's part has."""
        assert self._agent is not None
        return len(os.listdir(f"/proc/{self._agent.pid}/task"))

    def close(self) -> None:
        """End everything."""
        self.kill()
        for process in self._processes.values():
            process.kill()
            process.wait()

    def hold(self, run_id: str, *gpus: int) -> None:
        """Let a process of a run hold GPUs, none for none any more; return once it is seen."""
        if run_id not in self._processes:
            environment = {**os.environ, "COLOSSUS_RUN": run_id}
            self._processes[run_id] = subprocess.Popen(["sleep", "600"], env=environment)
        self.held[run_id] = gpus
        self.drive()
        self.wait(lambda said: all((run_id in said["holders"].get(str(g), [])) for g in gpus))

    def drive(self, *trouble: str) -> None:
        """Let the driver behave so."""
        self.trouble = trouble or self.trouble
        lines = [
            f"{gpu} process {self._processes[run].pid} 1000000 compute"
            for run, gpus in self.held.items()
            for gpu in gpus
        ]
        self.driver.have(*lines, *self.trouble)

    def say(self, **order: Any) -> dict[str, Any]:
        """Say one line and return the answer."""
        assert self._agent is not None
        assert self._agent.stdin is not None
        assert self._agent.stdout is not None
        self._agent.stdin.write(json.dumps(order) + "\n")
        self._agent.stdin.flush()
        answer: dict[str, Any] = json.loads(self._agent.stdout.readline())
        return answer

    def cap(self, identity: str, watts: float, run_id: str = "r") -> dict[str, Any]:
        """Carry out a directive."""
        return self.say(id=identity, run=run_id, watts=watts)

    def look(self) -> dict[str, Any]:
        """Return what has ended, and the cap of the run."""
        return self.say(runs=["r"])

    def wait(self, holds: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Look until something holds."""
        found: list[dict[str, Any]] = []

        def looked() -> bool:
            found.append(self.look())
            return bool(holds(found[-1]))

        until(looked, 20)
        return found[-1]

    def set_by_hand(self, gpu: int, watts: float) -> None:
        """Set a limit as `nvidia-smi -pl` does."""
        file = self.state.parent / "nvml-control.limits"
        kept = array("I", file.read_bytes())
        kept[gpu] = round(watts * 1000)
        with file.open("r+b") as out:
            out.write(kept.tobytes())


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    try:
        yield node
    finally:
        node.close()


def test_every_gpu_of_the_run_reads_back_the_limit_and_no_other(node: Node) -> None:
    node.hold("r", 0, 1)
    node.hold("other", 2)

    answer = node.cap("a/cap", 300)

    assert answer["outcome"] == DONE, answer
    assert answer["detail"] == "2 GPUs read back 300 W"
    read = [(gpu["gpu_index"], gpu["watts"], gpu["ok"]) for gpu in answer["gpu_power_limits"]]
    assert read == [(0, 300, True), (1, 300, True)]
    assert node.driver.limits_watts() == [300, 300, 700, 700]
    assert node.look()["caps"] == {"r": 300}


def test_the_same_id_is_answered_as_before_and_does_nothing(node: Node) -> None:
    node.hold("r", 0)
    first = node.cap("a/cap", 300)
    node.cap("b/cap", 400)

    again = node.cap("a/cap", 300)

    assert again["repeated_answer"]
    assert again["gpu_power_limits"] == first["gpu_power_limits"]
    assert node.driver.limits_watts()[0] == 400


def test_zero_gives_back_the_limit_that_was_before_the_first_cap(node: Node) -> None:
    node.hold("r", 0, 1)
    node.set_by_hand(1, 650)
    node.cap("a/cap", 300)
    node.cap("b/cap", 400)

    answer = node.cap("c/cap", 0)

    assert answer["outcome"] == DONE, answer
    assert node.driver.limits_watts() == [700, 650, 700, 700]
    assert node.look()["caps"] == {"r": 0}


@pytest.mark.parametrize("watts", [199, 701])
def test_a_limit_that_a_gpu_does_not_take_is_refused_before_anything_is_done(
    node: Node, watts: float
) -> None:
    node.hold("r", 0, 1)

    answer = node.cap("a/cap", watts)

    assert answer["outcome"] == REFUSED
    assert answer["detail"] == f"watts {watts}: GPU 0 takes 200 to 700 W"
    assert node.driver.limits_watts() == [700] * GPUS


def test_a_cap_never_raises_a_limit_that_somebody_has_set(node: Node) -> None:
    node.hold("r", 0)
    node.set_by_hand(0, 500)

    answer = node.cap("a/cap", 600)

    assert (answer["outcome"], answer["detail"]) == (REFUSED, "watts 600: GPU 0 takes 200 to 500 W")
    assert node.driver.limits_watts()[0] == 500


@pytest.mark.parametrize("watts", [-1.0, float("nan"), float("inf")])
def test_what_is_no_limit_is_refused_by_its_name(node: Node, watts: float) -> None:
    answer = node.cap("a/cap", watts)

    assert answer["outcome"] == REFUSED
    assert answer["detail"].startswith("set_power_limit.watts")


def test_a_run_without_a_gpu_here_is_refused(node: Node) -> None:
    node.hold("other", 0)

    answer = node.cap("a/cap", 300)

    assert answer["outcome"] == REFUSED
    assert "not seen on a GPU" in answer["detail"]


def test_a_driver_that_denies_it_is_told_with_the_remedy(node: Node) -> None:
    node.hold("r", 0, 1)
    node.drive("* error nvmlDeviceSetPowerManagementLimit 4")

    answer = node.cap("a/cap", 300)

    assert answer["outcome"] == FAILED
    assert "denied" in answer["detail"]
    assert "root" in answer["detail"]
    assert answer["detail"].endswith("and 1 more GPUs")
    assert node.look()["caps"] == {"r": 0}, "what was not done is not kept"


def test_a_lost_gpu_is_named_and_the_others_have_the_limit(node: Node) -> None:
    node.hold("r", 0, 1, 2)
    node.drive("1 lost")

    answer = node.cap("a/cap", 300)

    assert answer["outcome"] == FAILED
    assert answer["detail"].startswith("GPU 1:")
    assert [gpu["ok"] for gpu in answer["gpu_power_limits"]].count(True) == 2
    assert node.driver.limits_watts() == [300, 700, 300, 700]


def test_an_agent_that_dies_does_not_forget_what_it_has_to_give_back(node: Node) -> None:
    node.hold("r", 0, 1)
    node.cap("a/cap", 300)

    node.kill()
    node.start()

    node.wait(lambda said: "r" in said["holders"].get("0", []))
    assert node.look()["caps"] == {"r": 300}
    assert node.driver.limits_watts() == [300, 300, 700, 700]
    assert node.cap("b/cap", 0)["outcome"] == DONE
    assert node.driver.limits_watts() == [700] * GPUS


def test_gpus_that_the_run_has_left_have_their_limit_again(node: Node) -> None:
    node.hold("r", 0, 1)
    node.cap("a/cap", 300)

    node.hold("r", 1)  # one of the two

    said = node.wait(lambda said: said["ended"])
    assert said["ended"] == {"r": "the run has left GPU 0, whose limit is 700 W again"}
    assert node.driver.limits_watts() == [700, 300, 700, 700]
    assert said["caps"] == {"r": 300}


def test_gpus_that_were_left_while_no_agent_ran_have_their_limit_again(node: Node) -> None:
    node.hold("r", 0)
    node.cap("a/cap", 300)
    node.kill()
    node.held["r"] = ()
    node.drive()

    node.start()

    node.wait(lambda said: said["ended"])
    assert node.driver.limits_watts() == [700] * GPUS


def test_a_limit_that_somebody_has_set_meanwhile_stays_and_is_told(node: Node) -> None:
    node.hold("r", 0)
    node.cap("a/cap", 300)

    node.set_by_hand(0, 450)

    said = node.wait(lambda said: said["ended"])
    assert "450 W" in said["ended"]["r"]
    assert said["caps"] == {"r": 0}
    assert node.driver.limits_watts()[0] == 450


def test_a_damaged_record_ends_nothing(node: Node) -> None:
    node.kill()
    node.state.mkdir(exist_ok=True)
    (node.state / "power_limits.json").write_text('{"gpus": {"GPU-1": {"run_id": 7}}}')
    node.start()
    node.hold("r", 0)

    assert node.cap("a/cap", 300)["outcome"] == DONE


def test_of_a_driver_that_hangs_one_thread_is_left_behind_and_no_more(node: Node) -> None:
    node.hold("r", 0)
    before = node.threads()
    node.drive("0 hang nvmlDeviceGetPowerManagementLimit")

    first = node.cap("a/cap", 300)
    more = [node.cap(f"{number}/cap", 300) for number in range(2)]

    assert "has not returned for 5 s" in first["detail"]
    assert {answer["detail"] for answer in more} == {"GPU 0: not asked, since power limit hangs"}
    assert node.threads() == before + 1
    node.drive("0 set temperature_c 50")
    until(lambda: node.threads() == before, 20)
    assert node.cap("b/cap", 300)["outcome"] == DONE


class SlowGpus:
    """Eight GPUs of which every answer takes five seconds, or never comes within them.

    Attributes:
        asked: The GPUs that were asked, in order.
        limit_watts: What they tell; None while they hang.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[int] = []
        self.limit_watts: float | None = 700.0
        self.seconds = 0.0
        self.runs = frozenset({"r"})

    def gpu_inventory(self) -> tuple[GpuInventory, ...]:
        return tuple(GpuInventory(index, f"GPU-{index}", "a GPU") for index in range(8))

    def gpu_holders(self) -> dict[int, frozenset[str]]:
        return dict.fromkeys(range(8), self.runs)

    def power_limits(self, index: int) -> PowerLimits:
        self.asked.append(index)
        self.now += self.seconds
        if self.limit_watts is None:
            raise MissingError(MissingReason.STUCK, "it has not returned for 5 s")
        return PowerLimits(self.limit_watts, 200.0, 700.0)

    def set_power_limit(self, index: int, watts: float) -> None:
        del index
        self.limit_watts = watts


@pytest.fixture
def slow(tmp_path: Path) -> tuple[SlowGpus, Caps]:
    """Eight capped GPUs that have become slow since."""
    gpus = SlowGpus()
    caps = Caps(tmp_path / "power_limits.json", gpus, lambda: gpus.now)
    assert caps.set("r", 300).kind == "done"
    gpus.asked.clear()
    gpus.seconds = 5.0
    return gpus, caps


@pytest.mark.parametrize("limit_watts", [None, 300.0])
def test_slow_gpus_hold_up_a_look_for_one_answer_and_each_has_its_turn(
    slow: tuple[SlowGpus, Caps], limit_watts: float | None
) -> None:
    gpus, caps = slow
    gpus.limit_watts = limit_watts

    for _ in range(9):
        gpus.now += CHECK_SECONDS
        began = gpus.now
        assert caps.poll() == {}
        assert gpus.now - began <= 5.0

    assert gpus.asked == [*range(8), 0]


def test_what_the_run_has_left_is_given_back_one_turn_after_another(
    slow: tuple[SlowGpus, Caps],
) -> None:
    gpus, caps = slow
    gpus.limit_watts, gpus.runs = None, frozenset({"other"})

    for _ in range(8):
        began = gpus.now
        assert caps.poll() == {}
        assert gpus.now - began <= 5.0

    assert gpus.asked == [*range(8)]


def test_what_the_last_look_had_no_time_for_is_told_by_the_next(
    slow: tuple[SlowGpus, Caps],
) -> None:
    gpus, caps = slow
    gpus.now += CHECK_SECONDS
    caps.poll()
    gpus.seconds, gpus.limit_watts = 0.0, 450.0

    gpus.now += CHECK_SECONDS

    assert "GPU 1 has a limit of 450 W: somebody has set it" in caps.poll()["r"]
    assert caps.watts("r") == 0.0
