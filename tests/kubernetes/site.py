"""The whole product on a recorded Kubernetes: a hub with its settings, an agent for every node."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.product import Product
from tests.kubernetes import manifests
from tests.kubernetes.cluster import Cluster
from tests.support import until

CLASSES = """\
[kubernetes.classes.P1]
kueue = "high"
[kubernetes.classes.P4]
kueue = "low"
pods = "scavenger"
"""
QUEUE = {"kueue.x-k8s.io/queue-name": "main", "kueue.x-k8s.io/priority-class": "low"}


class KubernetesSite(Product):
    """Hub and agents; the cluster is its own."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self.settings = folder / "hub.toml"
        self.write_settings()

    def write_settings(self, more: str = "") -> None:
        """Write the hub's settings; it reads them when it starts."""
        own = f'[kubernetes]\nkubeconfig = "{self.cluster.kubeconfig}"\npoll_seconds = 1\n'
        self.settings.write_text(f"{own}{more}{CLASSES}")

    def start(self, program: Sequence[str] = ("colossus_tui.hub",)) -> None:
        """Start hub and agents and wait until all are linked."""
        self.start_hub("--config", str(self.settings), program=program)
        for name in self.cluster.node_names:
            self.start_agent_of(name)
        until(
            lambda: len(self.linked_nodes()) == 3,
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

    def run_id(self, name: str) -> str:
        """Return the run that a Job or JobSet is."""
        return f"k8s-{self.cluster.namespace}.{name}"

    def submit(
        self,
        name: str,
        pods: int = 2,
        steps: int = manifests.ENDLESS,
        gpus: int = 4,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Submit a small real training, one pod a node; return its run."""
        argv = manifests.training(name, self.folder / "checkpoints" / name, steps)
        env = manifests.variables(pods, "batch.kubernetes.io/job-name")
        body = manifests.job(name, manifests.template(argv, env, gpus), pods, labels)
        self.cluster.create("jobs", body)
        return self.run_id(name)

    def submit_sleep(
        self,
        name: str,
        gpus: int = 4,
        image: str = "busybox",
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Submit a Job without a hook; return its run."""
        pods = manifests.template(["sleep", "600"], [], gpus, image)
        self.cluster.create("jobs", manifests.job(name, pods, labels=labels))
        return self.run_id(name)

    def wait_running(self, run_id: str, step: int = 1) -> None:
        """Wait until a run steps and Kubernetes has said that it runs."""
        self.wait_step(run_id, step)
        self.wait_state(run_id, "running")
        until(lambda: self.job_of(run_id)["state"] == "Running", 20, message="Kubernetes' word")

    def wait_reason(self, run_id: str, words: str) -> None:
        """Wait until a run's reason has these words."""
        until(lambda: words in self.job_of(run_id).get("reason", ""), 20, message=words)

    def job_of(self, run_id: str) -> dict[str, Any]:
        """Return what the hub shows of a run's Job."""
        job: dict[str, Any] = self.run_of(run_id).get("job") or {}
        return job

    def close(self) -> None:
        """End agents and hub."""
        for process in self.agents.values():
            if process.poll() is None:
                process.terminate()
                process.wait(15)
        super().close()
