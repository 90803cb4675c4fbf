"""The agent as a process: what it streams, what it survives, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from colossus_agent import VERSION
from colossus_agent.control.process import ProcessId, find, send
from colossus_protos.v1 import directive_pb2, run_pb2
from tests.fakes.fake_hub import FakeHub
from tests.support import until

ROOT = Path(__file__).resolve().parents[2]


class Node:
    """A folder, a fake hub and agents of one node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hub = FakeHub(f"unix:{folder}/hub.sock")
        self.agents: list[subprocess.Popen[bytes]] = []
        self.environment = dict(os.environ)

    def agent(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """Start an agent; its output is in agent.out."""
        with (self.folder / "agent.out").open("ab") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "colossus_agent", "--hub", self.hub.address),
                    *("--node-name", "n1", "--state-dir", str(self.folder / "state"), *arguments),
                ],
                cwd=ROOT,
                env=self.environment | more,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
            )
        self.agents.append(process)
        return process

    def output(self) -> str:
        return (self.folder / "agent.out").read_text(errors="replace")

    def order(self, identity: str, run_id: str = "r", **order: object) -> None:
        directive = directive_pb2.Directive(directive_id=identity, run_id=run_id, **order)  # type: ignore[arg-type]
        self.hub.order(directive)

    def start_run(self, identity: str, run_id: str = "r", rank_count: int = 1) -> None:
        spec = run_pb2.RunSpec(
            run_id=run_id,
            argv=[sys.executable, "-m", "tests.agent.loops", "steps"],
            working_directory=str(ROOT),
            environment=self.environment,
            rank_count=rank_count,
        )
        self.order(identity, run_id, start_run=directive_pb2.StartRun(spec=spec, attempt=1))

    def steps(self, run_id: str = "r") -> list[int]:
        """Return every step that the hub got of rank 0, in the order of coming."""
        batches = [message.step_batch for message in self.hub.bodies("step_batch")]
        return [
            step for b in batches if b.run_id == run_id and b.rank == 0 for step in list(b.steps)
        ]

    def run(self, run_id: str = "r") -> run_pb2.LocalRun | None:
        """Return the run as last reported."""
        reports = self.hub.bodies("run_report")
        runs = reports[-1].run_report.runs if reports else []
        return next((run for run in runs if run.run_id == run_id), None)

    def close(self) -> None:
        for agent in self.agents:
            if agent.poll() is None:
                agent.kill()
            agent.wait()
            assert agent.stdin is not None
            agent.stdin.close()
        self.hub.stop()
        runs = self.folder / "state" / "agent" / "runs"
        for record in runs.glob("*/attempt-*/rank-*.json"):
            if identity := read_identity(record):
                send(identity, signal.SIGKILL)
        for record in runs.glob("*/attempt-*/keeper.json"):  # it still writes the ends down
            if identity := read_identity(record):
                until(partial(is_gone, identity))


def is_gone(identity: ProcessId) -> bool:
    return find(identity) is None


def read_identity(record: Path) -> ProcessId | None:
    value = json.loads(record.read_text())
    return ProcessId(value["pid"], value["start_time_ticks"]) if value.get("pid") else None


@pytest.fixture
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        node = Node(Path(folder))
        try:
            yield node
        finally:
            node.close()


@pytest.fixture
def linked(node: Node) -> Node:
    """A node whose agent has sent its first frame."""
    node.hub.start()
    node.agent()
    until(lambda: node.hub.bodies("frame"))
    return node


def ended(process: subprocess.Popen[bytes], seconds: float = 2.0) -> int:
    return process.wait(seconds)


def test_one_frame_a_second_near_the_whole_second(linked: Node) -> None:
    until(lambda: len(linked.hub.bodies("frame")) >= 5)
    times = [m.frame.sample_time_unix_ns / 1e9 for m in linked.hub.bodies("frame")[1:5]]
    hello = linked.hub.hellos[0]

    assert [after - before for before, after in pairwise(times)] == (
        pytest.approx([1.0, 1.0, 1.0], abs=0.3)
    )
    assert all(moment % 1.0 < 0.5 for moment in times)
    assert hello.node_name == "n1"
    assert hello.agent_version == VERSION == version("colossus-agent")
    frame = linked.hub.bodies("frame")[0].frame
    assert len(frame.host_values) == 4 * len(hello.host_columns)
    assert len(frame.gpu_values) == 4 * len(hello.gpu_columns) * len(hello.gpus)


def test_reports_come_once_and_then_only_on_a_change(linked: Node) -> None:
    until(lambda: len(linked.hub.bodies("frame")) >= 4)
    assert len(linked.hub.bodies("run_report")) == 1
    reports = [m.sensor_report for m in linked.hub.bodies("sensor_report")]
    for before, after in pairwise(reports):
        assert [s.sensor for s in before.sensors] != [s.sensor for s in after.sensors]

    linked.start_run("a")
    until(lambda: len(linked.steps()) > 50)

    runs = [m.run_report.runs for m in linked.hub.bodies("run_report")]
    assert len(runs) < 8  # steps do not make a report
    assert linked.steps() == sorted(set(linked.steps()))


def test_the_agent_killed_training_goes_on_and_orders_are_not_repeated(linked: Node) -> None:
    linked.start_run("a", rank_count=2)
    until(lambda: linked.hub.answers("a"))
    until(lambda: len(linked.steps()) > 20)
    linked.agents[0].kill()
    linked.agents[0].wait()
    run = linked.run()
    assert run is not None
    last = linked.steps()[-1]

    linked.agent()
    until(lambda: len(linked.hub.hellos) == 2)
    until(lambda: linked.steps()[-1] > last + 20)
    linked.start_run("a", rank_count=2)
    again = until(lambda: linked.hub.answers("a")[1:])[0]

    assert again.repeated_answer
    assert again.outcome == directive_pb2.DIRECTIVE_OUTCOME_DONE
    after = linked.run()
    assert after is not None
    assert [rank.pid for rank in after.ranks] == [rank.pid for rank in run.ranks]
    assert sorted(set(linked.steps())) == list(range(1, max(linked.steps()) + 1))
    assert linked.hub.hellos[0].instance_id != linked.hub.hellos[1].instance_id


def test_the_hub_gone_for_a_while_gets_every_step_and_the_frames_in_between(linked: Node) -> None:
    linked.start_run("a")
    until(lambda: len(linked.steps()) > 20)
    linked.hub.stop()
    began = time.time_ns()
    gone = linked.steps()[-1]
    page = linked.folder / "state/agent/runs/r/attempt-1/rank-0.page"
    until(lambda: time.time_ns() > began + 3.2e9)
    assert page.exists()
    linked.hub.start()
    until(lambda: linked.steps()[-1] > gone + 350, 20)

    def waited() -> list[Any]:
        return [message for message in linked.hub.bodies("frame") if message.replayed]

    until(lambda: len(waited()) >= 2, message="the frames in between")
    steps = linked.steps()
    assert steps == list(range(1, len(steps) + 1))
    assert all(message.frame.sample_time_unix_ns > began - 2e9 for message in waited())


def test_after_an_order_changes_are_told_at_once(linked: Node) -> None:
    linked.start_run("a")
    until(lambda: len(linked.steps()) > 5)
    ordered = time.monotonic()
    end = directive_pb2.Terminate(grace_seconds=1, force=True)
    linked.order("b", terminate=end)

    until(lambda: (run := linked.run()) and run.state == run_pb2.LOCAL_RUN_STATE_ENDED)

    assert time.monotonic() - ordered < 0.9  # a tick alone would often take longer
    run = linked.run()
    assert run is not None
    assert run.ranks[0].exit.exit_signal == signal.SIGTERM


def test_a_thaw_by_the_fuse_is_an_event(linked: Node) -> None:
    linked.start_run("a")
    until(lambda: len(linked.steps()) > 5)
    linked.order("b", freeze=directive_pb2.Freeze(fuse_seconds=1.5))
    until(lambda: (run := linked.run()) and run.state == run_pb2.LOCAL_RUN_STATE_FROZEN)

    until(lambda: [m for m in linked.hub.bodies("event") if m.event.kind == "run.thawed"])

    until(lambda: (run := linked.run()) and run.state == run_pb2.LOCAL_RUN_STATE_RUNNING)


def test_a_flood_of_unknown_orders_does_not_stop_the_frames(linked: Node) -> None:
    before = len(linked.hub.bodies("frame"))
    for number in range(2000):
        linked.order(f"flood-{number}")
    until(lambda: len(linked.hub.bodies("directive_result")) == 2000, 20)

    until(lambda: len(linked.hub.bodies("frame")) >= before + 3)
    results = [m.directive_result for m in linked.hub.bodies("directive_result")]
    assert {r.outcome for r in results} == {directive_pb2.DIRECTIVE_OUTCOME_REFUSED}
    assert linked.agents[0].poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_zero_and_runs_live_on(linked: Node, number: signal.Signals) -> None:
    linked.start_run("a")
    until(lambda: len(linked.steps()) > 5)
    run = linked.run()
    assert run is not None

    linked.agents[0].send_signal(number)

    assert ended(linked.agents[0]) == 0
    os.kill(run.ranks[0].pid, 0)


def test_the_lifeline_ends_it(node: Node) -> None:
    node.hub.start()
    agent = node.agent("--lifeline")
    until(lambda: node.hub.bodies("frame"))
    assert agent.stdin is not None

    agent.stdin.close()

    assert ended(agent) == 0


def test_without_a_hub_it_samples_and_ends_all_the_same(node: Node) -> None:
    agent = node.agent("--sample-seconds", "0.1")
    until(lambda: (node.folder / "state/agent/lock").exists())
    until(lambda: "link=lost" in node.output())

    agent.terminate()

    assert ended(agent) == 0


def test_two_agents_do_not_share_a_state(linked: Node) -> None:
    second = linked.agent()

    assert ended(second, 10) == 1
    assert f"pid '{linked.agents[0].pid}'" in linked.output()
    assert linked.agents[0].poll() is None


def test_systemd_is_told_ready_alive_and_stopping(node: Node) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(node.folder / "notify"))
        manager.settimeout(5)
        agent = node.agent(NOTIFY_SOCKET=str(node.folder / "notify"), WATCHDOG_USEC="5000000")

        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        assert manager.recv(100) == b"WATCHDOG=1"
        agent.terminate()
        received = b""
        while received in (b"", b"WATCHDOG=1"):
            received = manager.recv(100)
        assert received == b"STOPPING=1"


def test_the_environment_of_a_rank_shows_nothing_of_how_the_agent_loads_grpc(linked: Node) -> None:
    environment = Path(f"/proc/{linked.agents[0].pid}/environ").read_bytes()
    assert b"GRPC_EXPERIMENTS" not in environment
    spec = run_pb2.RunSpec(run_id="r", argv=[sys.executable, "-c", PRINT_GRPC], rank_count=1)
    linked.order("a", start_run=directive_pb2.StartRun(spec=spec, attempt=1))
    log = linked.folder / "state/agent/runs/r/attempt-1/rank-0.log"

    until(lambda: log.exists() and "done" in log.read_text())

    assert "GRPC_EXPERIMENTS" not in log.read_text()


PRINT_GRPC = "import os; print([name for name in os.environ if 'GRPC' in name], 'done')"


def test_the_log_file_is_bounded_to_one_line_a_record(node: Node) -> None:
    node.hub.start()
    agent = node.agent("--log-file", str(node.folder / "log" / "agent.log"))
    until(lambda: node.hub.bodies("frame"))
    spec = run_pb2.RunSpec(run_id="r", argv=["x"])
    order = directive_pb2.StartRun(spec=spec, attempt=1)
    node.order("evil\x1b[31m\nlevel=CRITICAL", start_run=order)
    until(lambda: node.hub.bodies("directive_result"))
    agent.terminate()
    ended(agent)

    text = (node.folder / "log" / "agent.log").read_text()

    assert "evil" in text
    assert "\x1b" not in text
    assert all(line.startswith("time=") for line in text.splitlines())
