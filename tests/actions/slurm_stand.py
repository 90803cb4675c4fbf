"""The matrix on a real Slurm: three nodes on this machine, gangs over two of them."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from colossus_tui.model import Run
from tests.actions.stand import MAKES, Cell, Facts, Stand, whole_steps, with_environment
from tests.slurm.cluster import SlurmCluster
from tests.slurm.site import SlurmSite
from tests.support import until

RANKS = {"reprioritize": 1, "stop": 1}  # else 2


class SlurmStand(Stand):
    """Hub, agents and a Slurm."""

    name = "slurm"
    rest = "pending"
    stride = 5
    absent: ClassVar[dict[str, str]] = {
        "start": "a run of Slurm begins with sbatch; the hub starts none",
        "cap": "no node has a GPU; it goes the same way on every backend, by the agents alone",
    }
    # The priority of a job that runs is its quality of service, which needs accounting.
    needs: ClassVar[dict[str, str]] = Stand.needs | {"reprioritize": "paused"}
    makes: ClassVar[dict[str, str]] = MAKES | {"reprioritize": "paused"}
    without_a_rank: ClassVar[dict[str, tuple[str, ...]]] = {
        # An agent that was held up may answer too late.
        "checkpoint": ("failed", "unconfirmed"),
        "pause": ("failed", "unconfirmed"),
        "resume": ("failed",),
        # Its other rank ends by itself when it misses the first, maybe before it is stopped.
        "freeze": ("observed", "failed"),
        "thaw": ("observed", "failed"),
    }

    def __init__(self, folder: Path, slurm: SlurmCluster) -> None:
        self.site = SlurmSite(folder, slurm)
        self._numbers = itertools.count(1)
        self._folders: dict[str, Path] = {}  # of the runs that have a hook
        self.site.start(program=("tests.actions.crashing_hub", str(folder / "die.json")))
        super().__init__(self.site)

    def start_hub(self) -> None:
        """Start the hub anew."""
        program = ("tests.actions.crashing_hub", str(self.armed))
        self.site.start_hub("--config", str(self.site.settings), program=program)

    def agents(self) -> Iterable[int]:
        """One a node."""
        return [agent.pid for agent in self.site.agents.values()]

    def restart_agents(self) -> None:
        """Kill every agent and start another."""
        for name in self.site.slurm.node_names:
            self.site.kill_agent_of(name)
        for name in self.site.slurm.node_names:
            self.site.start_agent_of(name)

    def stall(self) -> None:
        """Let neither agents nor Slurm answer."""
        super().stall()
        os.kill(self.site.slurm.controller_pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let all answer again."""
        os.kill(self.site.slurm.controller_pid, signal.SIGCONT)
        super().go_on()

    def fresh(self, case: str, *, hooked: bool) -> str:
        """Submit a job; one without the hook that is to be resumed waits held in the queue."""
        name = f"{case}-{next(self._numbers)}"
        if not hooked:
            held = ["--hold"] if self.needs.get(case) == "paused" else []
            job = self.site.slurm.submit("exec srun sleep 600", "--nodes=1", *held)
            self.wait_state(f"slurm-{job}", "pending" if held else "running")
            return f"slurm-{job}"
        # Without that srun waits for ever for ranks that wait for the one that has ended.
        strict = "--export=ALL,SLURM_KILL_BAD_EXIT=1"
        run_id = self.site.submit_training(name, strict, ranks=RANKS.get(case, 2))
        until(lambda: self.state(run_id) == "running" and self.run(run_id).step, 60)
        self._folders[run_id] = self.site.folder / "checkpoints" / name
        return run_id

    def processes(self, run_id: str) -> list[int]:
        """Everything of the job but what Slurm itself started for it."""
        found = with_environment(f"SLURM_JOB_ID={run_id.removeprefix('slurm-')}")
        return [pid for pid in found if _name(pid) not in ("srun", "slurmstepd", "scontrol")]

    def kill_new_rank(self, cell: Cell) -> None:
        """Kill a rank of the attempt that begins."""
        pids = until(lambda: self._ranks(cell.run_id), 30, message="a rank")
        os.kill(pids[0], signal.SIGKILL)

    def _ranks(self, run_id: str) -> list[int]:
        return [pid for pid in self.processes(run_id) if _name(pid).startswith("python")]

    def facts(self, case: str, run_id: str) -> Facts:
        """The attempt, what is saved, and what Slurm counts."""
        run, job = self.run(run_id), run_id.removeprefix("slurm-")
        more = {"restarts": int(self.site.slurm.field(job, "Restarts") or 0)}
        return Facts(run.attempt, self._saved(case, run_id), more)

    def _saved(self, case: str, run_id: str) -> frozenset[int]:
        folder = self._folders.get(run_id)
        return whole_steps(folder, RANKS.get(case, 2)) if folder else frozenset()

    def effect(self, cell: Cell) -> str:
        """Compare the state, Slurm's counts, processes and saves with what the verb promises."""
        run, before = self.run(cell.run_id), cell.before
        if cell.rank_killed and run.state == "failed":
            return ""  # what was done to it has not outlived it
        hooked = cell.run_id in self._folders
        state = self.makes.get(cell.case, "running")
        if not hooked and cell.case == "reprioritize":
            state = "pending"
        now = self.facts(cell.case, cell.run_id)
        if run.state != state:
            return f"the run is {run.state}, not {state}"
        if hooked and now.attempt != before.attempt + (cell.case == "resume"):
            return f"attempt {now.attempt} after {before.attempt}"
        if now.more["restarts"] != before.more["restarts"] + (cell.case == "pause"):
            return f"Slurm counts {now.more['restarts']} restarts"
        saved = now.saved_steps - before.saved_steps
        if len(saved) != (cell.case in ("checkpoint", "pause")):
            return f"it has saved {sorted(saved)}"
        ranks = self._ranks(cell.run_id)
        wanted = RANKS.get(cell.case, 2) if hooked and state in ("running", "frozen") else 0
        if not cell.rank_killed and len(ranks) != wanted:
            return f"it has ranks {ranks}"
        return self._nice(cell)

    def _nice(self, cell: Cell) -> str:
        if cell.case != "reprioritize":
            return ""
        job = cell.run_id.removeprefix("slurm-")
        nice, priority = (self.site.slurm.field(job, name) for name in ("Nice", "Priority"))
        return "" if (nice, priority) == ("10000", "0") else f"nice {nice}, priority {priority}"

    def next_verb(self, run: Run) -> str:
        """What runs saves where it can; what rests is resumed; what is over has no next."""
        if run.state in ("paused", "frozen"):
            return "resume"
        if run.state.is_over:
            return ""
        return "checkpoint" if run.state == "running" and run.hooked else "stop"


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
