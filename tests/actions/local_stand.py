"""The matrix on the local backend: one agent, runs of two ranks on it."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from colossus_tui.model import ActionParameters, Run, RunSpec
from tests.actions.stand import MAKES, Cell, Facts, Stand, whole_steps, with_environment
from tests.e2e.product import Product
from tests.fakes.fake_nvml import FakeNvml
from tests.support import until

RANKS = 2
NICE = {"P2": 5, "P4": 19}
GROUPS = "/sys/fs/cgroup"


class LocalStand(Stand):
    """Hub and agent of this machine."""

    name = "local"
    rest = "stopped"
    without_a_rank: ClassVar[dict[str, tuple[str, ...]]] = {
        "checkpoint": ("failed",),
        "pause": ("failed",),
        "resume": ("failed",),
        "start": ("failed",),
        # Its other rank ends by itself when it misses the first, maybe before it is stopped.
        "freeze": ("observed", "failed"),
        "cap": ("observed", "failed"),
        "thaw": ("observed", "failed"),
    }

    def __init__(self, folder: Path) -> None:
        product = Product(folder)
        self._driver = FakeNvml(folder, gpu_count=RANKS)
        product.environment = {**self._driver.environment, **product.environment}
        self._numbers = itertools.count(1)
        self._watts = itertools.count(300)  # of caps, each its own
        self._mark = os.urandom(2).hex()  # control groups of an earlier test may still be there
        product.start_hub(program=("tests.actions.crashing_hub", str(folder / "die.json")))
        product.start_agent()
        super().__init__(product)

    def start_hub(self) -> None:
        """Start the hub anew."""
        self.product.start_hub(program=("tests.actions.crashing_hub", str(self.armed)))

    def agents(self) -> Iterable[int]:
        """The one."""
        assert self.product.agent is not None
        return [self.product.agent.pid]

    def restart_agents(self) -> None:
        """Kill the agent and start another."""
        self.product.kill("agent")
        self.product.start_agent()

    def fresh(self, case: str, *, hooked: bool) -> str:
        """Return a new run."""
        run_id = f"{case}-{self._mark}-{next(self._numbers)}"
        if case != "start":
            self.act("start", run_id, self._spec(run_id, hooked=hooked))
            if hooked:
                until(lambda: (self.run(run_id).step or 0) >= 1, 30, message="a step")
            self.wait_state(run_id, "running")
        return run_id

    def parameters(self, case: str, run_id: str) -> ActionParameters:
        """What a start needs beside the others."""
        if case == "start":
            return self._spec(run_id, hooked=True)
        if case == "cap":
            return ActionParameters(cap_watts=next(self._watts))
        return super().parameters(case, run_id)

    def _spec(self, run_id: str, *, hooked: bool) -> ActionParameters:
        argv: tuple[str, ...] = (sys.executable, "-c", "import time; time.sleep(600)")
        if hooked:
            argv = (
                *(sys.executable, "-m", "colossus_tui.demo.train", "--name", run_id),
                *("--checkpoint-dir", str(self._folder(run_id)), "--checkpoint-seconds", "100000"),
                *("--steps-per-second", "5"),
            )
        return ActionParameters(spec=RunSpec(run_id, argv, rank_count=RANKS))

    def _folder(self, run_id: str) -> Path:
        return self.product.folder / "checkpoints" / run_id

    def processes(self, run_id: str) -> list[int]:
        """The ranks and all that they started."""
        return with_environment(f"COLOSSUS_RUN={run_id}")

    def frozen_groups(self) -> list[str]:
        """Every group of ours that the kernel holds frozen or was told to."""
        groups = (Path(folder) for folder, _, _ in os.walk(GROUPS) if "/colossus/" in folder)
        files = (group / "cgroup.freeze" for group in groups)
        return [str(file) for file in files if file.exists() and file.read_text() == "1\n"]

    def facts(self, case: str, run_id: str) -> Facts:
        """The attempt and what is saved, and that each rank lives once."""
        if case == "start":
            return Facts(0, frozenset())
        if case == "cap":
            self._hold(run_id)
        return Facts(self.run(run_id).attempt, whole_steps(self._folder(run_id), RANKS))

    def _hold(self, run_id: str) -> None:
        """Let each rank of a run hold a GPU."""
        pids = [rank.pid for rank in self.detail(run_id).ranks if rank.alive]
        lines = [f"{gpu} process {pid} 1000000000 compute" for gpu, pid in enumerate(pids)]
        self._driver.have("* set memory_used 0", *lines)
        until(lambda: self.run(run_id).gpu_count == RANKS, 20, message="GPUs held")

    def effect(self, cell: Cell) -> str:
        """Compare the state, processes, attempts and saves with what the verb promises."""
        run, before = self.run(cell.run_id), cell.before
        if cell.rank_killed and run.state in ("failed", "starting", "resuming"):
            return ""  # what was done to it has not outlived it, or the other waits for its peer
        saved = whole_steps(self._folder(cell.run_id), RANKS) - before.saved_steps
        attempt = before.attempt + (cell.case in ("resume", "start"))
        pids = self.processes(cell.run_id)
        state = MAKES.get(cell.case, "running")
        if run.state != state:
            return f"the run is {run.state}, not {state}"
        if run.attempt != attempt:
            return f"attempt {run.attempt}, not {attempt}"
        if len(saved) != (cell.case in ("checkpoint", "pause")):
            return f"it has saved {sorted(saved)}"
        if not cell.rank_killed and len(pids) != (0 if state in ("paused", "stopped") else RANKS):
            return f"it has processes {pids}"
        nice = {os.getpriority(os.PRIO_PROCESS, pid) for pid in pids}
        if cell.case == "reprioritize" and nice != {NICE["P4"]}:
            return f"its nice values are {nice}"
        limits, wanted = self._driver.limits_watts(), [cell.parameters.cap_watts] * RANKS
        if cell.case == "cap" and not cell.rank_killed and limits != wanted:
            return f"the limits of its GPUs are {limits}"
        return self._begun_twice(cell)

    def _begun_twice(self, cell: Cell) -> str:
        """Return which directive of the action an agent has answered more than once."""
        journal = self.product.folder / "state" / "agent" / "directives.jsonl"
        answered: list[str] = []
        for line in journal.read_text().splitlines():
            entry = json.loads(line)
            if str(entry.get("directive_id", "")).startswith(cell.action_id):
                answered.append(entry["directive_id"])
        twice = {name for name in answered if answered.count(name) > 1}
        return f"carried out twice: {twice}" if twice else ""

    def next_verb(self, run: Run) -> str:
        """A run that is whole saves, one that is not is stopped, one without ranks is resumed."""
        if run.state in ("running", "starting", "resuming"):
            whole = run.hooked and run.alive_rank_count == RANKS
            return "checkpoint" if whole else "stop"
        return "resume"
