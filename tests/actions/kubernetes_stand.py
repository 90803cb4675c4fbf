"""The matrix on a recorded Kubernetes: three nodes, pods that are real processes, gangs of two."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from colossus_tui.model import ActionParameters, PriorityClass, Run
from tests.actions.stand import MAKES, VERBS, Cell, Facts, Stand, whole_steps, with_environment
from tests.kubernetes import manifests
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.site import QUEUE, KubernetesSite
from tests.support import until

RANKS = {"reprioritize": 1, "stop": 1}  # else 2
QUEUE_CLASSES = {"P1": "high", "P4": "low"}
MARK = "MATRIX_RUN"  # in the environment of every process of a run


class KubernetesStand(Stand):
    """Hub, agents and a recorded Kubernetes."""

    name = "kubernetes"
    rest = "pending"
    stride = 5
    absent: ClassVar[dict[str, str]] = {
        "start": "a run of Kubernetes begins with kubectl apply; the hub starts none",
        "freeze": "the kubelet would take stopped processes for dead and start them again",
        "thaw": "nothing is frozen",
        "cap": "no node has a GPU; it goes the same way on every backend, by the agents alone",
    }
    kind: ClassVar[str] = "jobs"
    queued: ClassVar[frozenset[str]] = frozenset({"reprioritize"})  # only Kueue has a class
    without_a_rank: ClassVar[dict[str, tuple[str, ...]]] = {
        "checkpoint": ("failed",),
        "pause": ("failed",),
        "resume": ("failed",),
        # Kueue does not look at a Job any more that has ended before it does.
        "reprioritize": ("observed", "failed"),
    }

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.site = KubernetesSite(folder, cluster)
        self.cluster = cluster
        self._numbers = itertools.count(1)
        self._hooked: set[str] = set()
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
        for name in self.cluster.node_names:
            self.site.kill_agent_of(name)
        for name in self.cluster.node_names:
            self.site.start_agent_of(name)

    def stall(self) -> None:
        """Let neither agents nor Kubernetes answer."""
        super().stall()
        self.cluster.server.stall()

    def go_on(self) -> None:
        """Let all answer again."""
        self.cluster.server.go_on()
        super().go_on()

    def fresh(self, case: str, *, hooked: bool) -> str:
        """Submit a Job; one without the hook that is to be resumed is held."""
        name = f"{case}-{next(self._numbers)}"
        run_id, count = self.site.run_id(name), RANKS.get(case, 2) if hooked else 1
        argv, env = ["sleep", "600"], [{"name": MARK, "value": run_id}]
        if hooked:
            self._hooked.add(run_id)
            argv = manifests.training(name, self._folder(run_id), 1_000_000)
            env += self._variables(count)
        body = self._body(name, manifests.template(argv, env), count)
        body["metadata"]["labels"] = QUEUE if case in self.queued else {}
        held = not hooked and self.needs.get(case) == "paused"
        body["spec"]["suspend"] = held
        self.cluster.create(self.kind, body)
        if held and case in self.queued:
            workload = until(lambda: self._workload(run_id), message="its Workload")
            change = {"spec": {"active": False}}
            self.cluster.change("workloads", workload["metadata"]["name"], change)
        until(lambda: self._is_there(run_id, held=held), 60, message=f"{run_id}")
        return run_id

    def _variables(self, count: int) -> list[dict[str, Any]]:
        return manifests.variables(count, "batch.kubernetes.io/job-name")

    def _body(self, name: str, pods: dict[str, Any], count: int) -> dict[str, Any]:
        return manifests.job(name, pods, count)

    def _is_there(self, run_id: str, *, held: bool) -> bool:
        """Whether it waits, held, or runs and steps where it can."""
        if self.state(run_id) != ("pending" if held else "running"):
            return False
        run = self.run(run_id)
        if held:
            return run.job is not None and run.job.held
        return run_id not in self._hooked or bool(run.step)

    def parameters(self, case: str, run_id: str) -> ActionParameters:
        """A class that the run does not have yet."""
        if case == "reprioritize":
            low = self.run(run_id).priority_class == "P4"
            return ActionParameters(priority_class=PriorityClass.P1 if low else PriorityClass.P4)
        return super().parameters(case, run_id)

    def _folder(self, run_id: str) -> Path:
        return self.site.folder / "checkpoints" / run_id

    def processes(self, run_id: str) -> list[int]:
        """Everything of the pods but what made their namespaces."""
        return [pid for pid in with_environment(f"{MARK}={run_id}") if _name(pid) != "unshare"]

    def facts(self, case: str, run_id: str) -> Facts:
        """The attempt, what is saved, and what Kubernetes has."""
        saved = whole_steps(self._folder(run_id), RANKS.get(case, 2))
        pods = {pod["metadata"]["uid"] for pod in self.cluster.pods(_name_of(run_id))}
        return Facts(self.run(run_id).attempt, saved, {"pods": pods})

    def effect(self, cell: Cell) -> str:
        """Compare the state, pods, processes and saves with what the verb promises."""
        run, before = self.run(cell.run_id), cell.before
        if cell.rank_killed and run.state == "failed":
            return ""  # what was done to it has not outlived it
        hooked, now = cell.run_id in self._hooked, self.facts(cell.case, cell.run_id)
        state = MAKES.get(cell.case, "running")
        if run.state != state:
            return f"the run is {run.state}, not {state}"
        if now.attempt != before.attempt + (cell.case == "resume" and hooked):
            return f"attempt {now.attempt} after {before.attempt}"
        saved = now.saved_steps - before.saved_steps
        if len(saved) != (cell.case in ("checkpoint", "pause")):
            return f"it has saved {sorted(saved)}"
        pids = self.processes(cell.run_id)
        wanted = (RANKS.get(cell.case, 2) if hooked else 1) if state == "running" else 0
        if not cell.rank_killed and len(pids) != wanted:
            return f"it has processes {pids}"
        if len(now.more["pods"]) != wanted:
            return f"it has {len(now.more['pods'])} pods"
        if cell.case in ("checkpoint", "reprioritize") and now.more != before.more:
            return "its pods are others than before"
        return self._spec(cell)

    def _spec(self, cell: Cell) -> str:
        """Return what of the object or its Workload is not as the verb promises."""
        body = self.cluster.get(self.kind, _name_of(cell.run_id))
        if cell.case == "stop":
            return "it is still there" if body else ""
        if body["spec"]["suspend"] != (cell.case == "pause"):
            return f"suspend is {body['spec']['suspend']}"
        workload = self._workload(cell.run_id)
        if workload and workload["spec"]["active"] != (cell.case != "pause"):
            return f"active is {workload['spec']['active']}"
        if cell.case != "reprioritize":
            return ""
        wanted = cell.parameters.priority_class
        assert wanted is not None
        name = workload["spec"]["priorityClassRef"]["name"]
        return "" if name == QUEUE_CLASSES[wanted] else f"Kueue's class is {name}"

    def _workload(self, run_id: str) -> dict[str, Any]:
        """Return Kueue's object of a run; an empty one where it has none."""
        name = _name_of(run_id)
        for workload in self.cluster.server.store.all("workloads"):
            if workload["metadata"]["ownerReferences"][0]["name"] == name:
                return workload
        return {}

    def next_verb(self, run: Run) -> str:
        """What runs saves where it can; what rests is resumed; what is over has no next."""
        if run.state == "paused":
            return "resume"
        if run.state.is_over:
            return ""
        return "checkpoint" if run.state == "running" and run.hooked else "stop"


class JobSetStand(KubernetesStand):
    """The same with JobSets instead of Jobs, all of them queued by Kueue."""

    name = "jobset"
    stride = 6
    kind = "jobsets"
    queued = frozenset(VERBS)

    def _variables(self, count: int) -> list[dict[str, Any]]:
        return [
            *manifests.variables(count, "jobset.sigs.k8s.io/jobset-name"),
            manifests.field("COLOSSUS_RANK", "metadata.labels['jobset.sigs.k8s.io/job-index']"),
        ]

    def _body(self, name: str, pods: dict[str, Any], count: int) -> dict[str, Any]:
        return manifests.jobset(name, pods, count)


def _name_of(run_id: str) -> str:
    return run_id.rpartition(".")[2]


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
