"""The whole product as real processes in folders of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from colossus_tui.client import Client, ColossusError
from colossus_tui.plain import plain
from tests import forks
from tests.support import until

BIN = Path(sys.executable).parent
NICE = -10  # where it may be set: hub and agents are not starved by whatever else a test starts
T = TypeVar("T")


class Product:
    """Hub, agent and command line on one Unix socket; ends all that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "hub.sock"
        self.hub: forks.Process | None = None
        self.agent: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        self.environment = os.environ | {
            "COLOSSUS_STATE_DIR": str(folder / "state"),
            "COLOSSUS_RUNTIME_DIR": str(folder),
            "COLOSSUS_HUB": f"unix:{self.socket}",
        }

    @property
    def address(self) -> str:
        """Where the hub listens."""
        return f"unix:{self.socket}"

    def _spawn(self, name: str, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                start_new_session=True,
            )
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        return process

    def _fork(self, name: str, *argv: str) -> forks.Process:
        with (self.folder / f"{name}.out").open("ab") as output:
            process = forks.start(argv, self.environment, output.fileno())
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        return process

    def start_hub(self, *arguments: str, program: Sequence[str] = ("colossus_tui.hub",)) -> None:
        """Start the hub and wait until it answers."""
        self.hub = self._fork("hub", *program, "--listen", self.address, *arguments)
        until(self.answers, 20, message="the hub")

    def answers(self) -> bool:
        """Return whether the hub answers."""
        try:
            self.ask(Client.site)
        except ColossusError:
            return False
        return True

    def start_agent(self, hubs: str = "") -> None:
        """Start the agent, linked here or to other hubs, and wait until its node reports."""
        self.agent = self._spawn(
            "agent", "colossus_agent", "--hub", hubs or self.address, "--node-name", "node-1"
        )
        until(
            lambda: any(
                node.freshness == "live" and node.linked for node in self.ask(Client.nodes)
            ),
            20,
            message="the agent's first frame",
        )

    def kill(self, name: str) -> None:
        """Send SIGKILL to "hub" or "agent" and reap it."""
        process: forks.Process | subprocess.Popen[bytes] = getattr(self, name)
        process.kill()
        process.wait()

    def cli(self, *arguments: str, timeout: float = 50) -> subprocess.CompletedProcess[str]:
        """Run the `colossus` command."""
        return forks.run(("colossus_tui", *arguments), self.environment, timeout)

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run the command with --json and return its object."""
        result = self.cli(*arguments, "--json")
        assert result.returncode == 0, result.stderr
        value: dict[str, Any] = json.loads(result.stdout)
        return value

    def ask(self, question: Callable[[Client], T]) -> T:
        """Ask the hub as a program does; much cheaper than the command where it is asked often."""
        client = self._client = self._client or Client(self.address)
        try:
            return question(client)
        except ColossusError:
            self.hang_up()  # the next hub is asked anew, without what gRPC waits after a failure
            raise

    def hang_up(self) -> None:
        """Let go of the connection that `ask` keeps."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def run_of(self, run_id: str) -> dict[str, Any]:
        """Return one run as `colossus runs --json` shows it."""
        runs: list[dict[str, Any]] = plain(self.ask(Client.runs))
        return next((run for run in runs if run["run_id"] == run_id), {})

    def linked_nodes(self) -> list[str]:
        """Return the nodes whose agents are linked."""
        return [node.node_name for node in self.ask(Client.nodes) if node.linked]

    def ranks(self, run_id: str) -> list[dict[str, Any]]:
        """Return the ranks of a run as `colossus show` gives them."""
        ranks: list[dict[str, Any]] = plain(self.ask(lambda client: client.run(run_id).ranks))
        return ranks

    def train(self, run_id: str, *arguments: str, ranks: int = 1, priority: str = "P2") -> str:
        """Start a small real training as a run, wait for its first step, return its name."""
        result = self.cli(
            *("run", "--name", run_id, "--class", priority, "--ranks", str(ranks), "--"),
            *(sys.executable, "-m", "colossus_tui.demo.train", "--name", run_id),
            *("--checkpoint-dir", str(self.folder / "checkpoints" / run_id)),
            *("--seed", "7", "--steps-per-second", "20", *arguments),
        )
        assert result.returncode == 0, result.stderr
        self.wait_step(run_id, 1)
        return run_id

    def wait_step(self, run_id: str, step: int, timeout: float = 30) -> None:
        """Wait until every rank of the run finished `step`."""
        until(
            lambda: (self.run_of(run_id).get("step") or 0) >= step,
            timeout,
            message=f"step {step} of {run_id}",
        )

    def wait_state(self, run_id: str, state: str, timeout: float = 30) -> None:
        """Wait until the hub shows the run in `state`."""
        try:
            until(
                lambda: self.run_of(run_id).get("state") == state,
                timeout,
                message=f"{run_id} to be {state}",
            )
        except AssertionError as error:
            said = (self.folder / "hub.out").read_text(errors="replace").splitlines()[-20:]
            error.add_note("\n".join([str(self.run_of(run_id)), *said]))
            raise

    def close(self) -> None:
        """End every run, then agent and hub."""
        self.hang_up()
        for record in (self.folder / "state" / "agent" / "runs").glob("*/attempt-*/*.json"):
            if record.name.startswith(("rank-", "keeper", "fuse")):
                _end(json.loads(record.read_text()))
        for process in (self.agent, self.hub):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def process_state(pid: int) -> str:
    """Return the kernel's state letter of a process; "" when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def start_time_ticks(pid: int) -> int:
    """Return a process's start time in kernel ticks; -1 when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return -1
    return int(stat.rpartition(")")[2].split()[19])


def _end(record: dict[str, Any]) -> None:
    pid, ticks = record.get("pid", 0), record.get("start_time_ticks", 0)
    if pid and start_time_ticks(pid) == ticks:
        os.kill(pid, signal.SIGKILL)
