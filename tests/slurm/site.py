"""The whole product on a real Slurm: a hub with its settings, and an agent for every slurmd."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.product import Product
from tests.slurm.cluster import SlurmCluster
from tests.support import until

ENDLESS = 1_000_000  # steps


class SlurmSite(Product):
    """Hub and agents; the cluster outlives it, its jobs do not."""

    def __init__(self, folder: Path, slurm: SlurmCluster) -> None:
        super().__init__(folder)
        self.slurm = slurm
        self.environment |= slurm.environment | self.environment
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = folder / "hub.toml"
        self.write_settings()

    def write_settings(self, more: str = "") -> None:
        """Write the hub's settings; it reads them when it starts."""
        conf = f'[slurm]\nconf = "{self.slurm.conf}"\njob_seconds = 2\nnode_seconds = 3\n'
        self.settings.write_text(f"{conf}{more}")

    def start(self, program: Sequence[str] = ("colossus_tui.hub",)) -> None:
        """Start hub and agents and wait until all are linked."""
        self.start_hub("--config", str(self.settings), program=program)
        for name in self.slurm.node_names:
            self.start_agent_of(name)
        until(
            lambda: self.linked_nodes() == self.slurm.node_names,
            30,
            message="linked agents",
        )

    def start_agent_of(self, name: str) -> None:
        """Start the agent of one node."""
        self.agents[name] = self._spawn(
            f"agent-{name}",
            "colossus_agent",
            *("--hub", self.address, "--node-name", name),
            *("--state-dir", str(self.folder / f"agent-{name}")),
        )

    def kill_agent_of(self, name: str) -> None:
        """End one node's agent as a crash would."""
        self.agents[name].kill()
        self.agents[name].wait()

    def train(
        self,
        run_id: str,
        *arguments: str,
        ranks: int = 2,
        priority: str = "",
        steps: int = ENDLESS,
    ) -> str:
        """Submit a small real training, one rank a node; return its run once it has stepped.

        Args:
            run_id: The job's name; Slurm's number makes the run's.
            arguments: Options of sbatch.
            priority: Quality of service, where not the default one.
        """
        quality = [f"--qos={priority}"] if priority else []
        name = self.submit_training(run_id, *quality, *arguments, ranks=ranks, steps=steps)
        self.wait_step(name, 1)
        self.wait_state(name, "running")
        until(lambda: self.job_of(name)["state"] == "RUNNING", 20, message="Slurm's word")
        return name

    def submit_training(
        self, name: str, *options: str, ranks: int = 2, steps: int = ENDLESS
    ) -> str:
        """Submit a small real training; return its run."""
        folder = self.folder / "checkpoints" / name
        pace = 5 if steps == ENDLESS else 10  # many that wait cost what the machine has
        script = (
            f"exec srun {sys.executable} -m colossus_tui.demo.train --name {name} "
            f"--checkpoint-dir {folder} --seed 7 --steps-per-second {pace} --max-steps {steps} "
            "--checkpoint-seconds 1000"
        )
        job = self.slurm.submit(
            script,
            f"--job-name={name}",
            f"--nodes={ranks}",
            f"--ntasks={ranks}",
            "--cpus-per-task=1",
            *options,
        )
        return f"slurm-{job}"

    def job_of(self, run_id: str) -> dict[str, Any]:
        """Return what the hub shows of a run's job."""
        job: dict[str, Any] = self.run_of(run_id).get("job") or {}
        return job

    def close(self) -> None:
        """End the site's jobs, then its processes."""
        try:
            self._end_jobs()
        finally:
            for process in self.agents.values():
                if process.poll() is None:
                    process.terminate()
                    process.wait(15)
            super().close()

    def _end_jobs(self) -> None:
        for job in self.slurm.run("squeue", "--noheader", "--format=%A").stdout.split():
            self.slurm.run("scancel", "--signal=KILL", "--full", job)
            self.slurm.run("scancel", job)
        until(lambda: self.slurm.idle_nodes() == self.slurm.node_names, 30, message="idle nodes")
