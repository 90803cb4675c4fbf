"""From Kubernetes' objects to runs: a Job is one, and a JobSet with all its Jobs is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from colossus_hook.placement import kubernetes_run_id
from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.shapes import Object, at, objects
from colossus_tui.model import Job, PriorityClass, RunState

ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class Whole:
    """All that makes one run: the Job or JobSet itself, its pods, and Kueue's Workload for it."""

    run_id: str
    kind: str  # "Job" or "JobSet"
    body: Object
    job_count: int
    pods: tuple[Object, ...]
    workload: Object | None = None

    def with_body(self, body: Object) -> Whole:
        """Return it with its Job or JobSet as it was read since."""
        return replace(self, body=body)

    @property
    def active_pods(self) -> list[Object]:
        """Pods that have not ended, those on their way out among them."""
        return [pod for pod in self.pods if at(pod, "status", "phase") not in ENDED]

    @property
    def suspended(self) -> bool:
        """Whether it is to have no pods."""
        return at(self.body, "spec", "suspend") is True

    @property
    def queued(self) -> bool:
        """Whether Kueue decides when it runs."""
        return self.workload is not None or bool(shapes.label(self.body, shapes.QUEUE_NAME))

    @property
    def held(self) -> bool:
        """Whether nothing but an order would let it run."""
        if self.queued:
            return at(self.workload, "spec", "active") is False
        return self.suspended

    @property
    def attempt(self) -> int:
        """Which start of it this is, or will be the next one's before."""
        given = [shapes.annotation(self.body, shapes.ATTEMPT)]
        given += [
            shapes.annotation(template, shapes.ATTEMPT)
            for template in shapes.pod_templates(self.body)
        ]
        return max((int(word) for word in given if word.isdecimal() and len(word) < 8), default=1)


def gather(
    jobs: Iterable[Object],
    jobsets: Iterable[Object],
    pods: Iterable[Object],
    workloads: Iterable[Object],
) -> dict[str, Whole]:
    """Return every run by its name: what asks for GPUs or has our label."""
    pods_of: dict[str, list[Object]] = defaultdict(list)
    for pod in pods:
        pods_of[shapes.owner(pod, "Job")].append(pod)
    workload_of: dict[str, Object] = {}
    for workload in workloads:
        for kind in ("Job", "JobSet"):
            if owner := shapes.owner(workload, kind):
                workload_of[owner] = workload
    parts: dict[str, list[Object]] = defaultdict(list)
    alone: list[Object] = []
    for job in jobs:
        if set_uid := shapes.owner(job, "JobSet"):
            parts[set_uid].append(job)
        else:
            alone.append(job)
    wholes = {}
    for kind, body, own in [
        *(("Job", job, [job]) for job in alone),
        *(("JobSet", jobset, parts[shapes.uid(jobset)]) for jobset in jobsets),
    ]:
        if not is_run(body):
            continue
        members = [pod for job in own for pod in pods_of[shapes.uid(job)]]
        run_id = kubernetes_run_id(shapes.namespace(body), shapes.name(body))
        queued = workload_of.get(shapes.uid(body))
        wholes[run_id] = Whole(run_id, kind, body, len(own), tuple(members), queued)
    return wholes


def is_run(body: Object) -> bool:
    """Return whether a Job or JobSet is a run."""
    if at(body, "metadata", "labels", shapes.RUN_LABEL) is not None:
        return True
    return any(shapes.gpu_count(at(t, "spec")) for t in shapes.pod_templates(body))


def sighting(whole: Whole, classes: Mapping[str, PriorityClass]) -> Sighting:
    """Return a run as Kubernetes says it is now.

    Args:
        classes: Class of each priority class that has one.
    """
    state, word, why = state_of(whole)
    pods, attempt, name = whole.active_pods, whole.attempt, shapes.name(whole.body)
    quality, priority = _priority(whole)
    job = Job(
        job_id=f"{shapes.namespace(whole.body)}/{name}",
        name=name,
        state=word,
        reason="" if state is RunState.RUNNING else why,
        held=whole.held and state is RunState.PENDING,
        can_requeue=True,
        restart_count=attempt - 1,
        queue=shapes.label(whole.body, shapes.QUEUE_NAME) or shapes.namespace(whole.body),
        quality=quality,
        priority=priority,
        node_names=tuple(sorted({node for pod in pods if (node := node_of(pod))})),
        gpu_count=sum(shapes.gpu_count(at(pod, "spec")) for pod in pods if node_of(pod)),
        part_of=f"JobSet of {whole.job_count} Jobs" if whole.kind == "JobSet" else "",
    )
    return Sighting(
        run_id=whole.run_id,
        job=job,
        state=state,
        why=why,
        attempt=attempt,
        priority_class=classes.get(quality) if quality else None,
        started_unix_ns=shapes.created_unix_ns(whole.body),
        command=shapes.command(whole.body),
    )


def node_of(pod: Object) -> str:
    """Return the node that a pod was given; "" for none yet."""
    return shapes.text(pod, "spec", "nodeName", limit=shapes.NAME_LIMIT)


def _priority(whole: Whole) -> tuple[str, int | None]:
    """Return the name and value of the priority: Kueue's where it decides, else the pods'."""
    workload = whole.workload
    if workload is not None:
        reference = shapes.text(workload, "spec", "priorityClassRef", "name", limit=253)
        quality = reference or shapes.text(workload, "spec", "priorityClassName", limit=253)
        return quality, shapes.number(workload, "spec", "priority")
    template = next(iter(shapes.pod_templates(whole.body)), {})
    priorities = [shapes.number(pod, "spec", "priority") for pod in whole.pods]
    quality = shapes.text(template, "spec", "priorityClassName", limit=253)
    return quality, next((value for value in priorities if value is not None), None)


def state_of(whole: Whole) -> tuple[RunState, str, str]:
    """Return the run's state, Kubernetes' word for it, and why."""
    found = shapes.conditions(whole.body)
    if shapes.is_deleted(whole.body):
        return RunState.STOPPING, "Terminating", "it is being deleted"
    for kind in ("Complete", "Completed"):
        if kind in found and found[kind].holds:
            return RunState.COMPLETED, kind, "every pod ended with exit code 0"
    if "Failed" in found and found["Failed"].holds:
        reason, message = found["Failed"].reason, found["Failed"].message
        return RunState.FAILED, "Failed", f"{reason}: {message}" if message else reason
    if whole.suspended:
        return _suspended(whole)
    return _unsuspended(whole)


def _suspended(whole: Whole) -> tuple[RunState, str, str]:
    if whole.active_pods:
        count = len(whole.active_pods)
        return RunState.STOPPING, "Suspended", f"{count} pods of it are ending"
    if not whole.queued:
        return RunState.PENDING, "Suspended", "Suspended: it has no pods until it is resumed"
    if whole.workload is None:
        return RunState.PENDING, "Suspended", "Kueue has made no Workload for it yet"
    return RunState.PENDING, "Suspended", why_queued(whole.workload)


def _unsuspended(whole: Whole) -> tuple[RunState, str, str]:
    pods = [pod for pod in whole.active_pods if not shapes.is_deleted(pod)]
    leaving = len(whole.active_pods) - len(pods)
    ready = [pod for pod in pods if at(pod, "status", "phase") == "Running"]
    ended = [pod for pod in whole.pods if at(pod, "status", "phase") == "Succeeded"]
    waits = [why for pod in pods if (why := why_pending(pod))]
    if waits:  # a gang is where its slowest pod is
        return RunState.PENDING, "Pending", waits[0]
    if (ready or ended) and len(ready) == len(pods) and not leaving:
        return RunState.RUNNING, "Running", "Kubernetes runs it"
    count = f"{len(ready)}/{len(pods)} pods run" if pods else "its pods are being made"
    return RunState.STARTING, "Pending", count


# Why a run waits, in a sentence; Kubernetes' and Kueue's own words stay in front of it.
_REASONS = {
    "Unschedulable": "no node has room for it as it asks",
    "SchedulingGated": "something has not let its pods be scheduled yet",
    "ErrImagePull": "its image cannot be fetched",
    "ImagePullBackOff": "its image cannot be fetched; it is tried again, ever more seldom",
    "InvalidImageName": "its image's name cannot be read",
    "CreateContainerConfigError": "a secret or config map that it needs is missing",
    "CreateContainerError": "its container cannot be made",
    "CrashLoopBackOff": "its container ends again and again, and is started ever more seldom",
    "RunContainerError": "its container does not start",
    "Inadmissible": "its queue does not take it as it is",
    "WaitingForQuota": "its queue has no free quota yet",
    "ExceedsMaxQuota": "it asks for more than its queue could ever give",
    "Preempted": "runs of higher priority took its place",
    "Deactivated": "it is held until it is made active again",
    "PodsReadyTimeout": "its pods were not ready in time",
    "AdmissionCheck": "a check before its admission has not passed",
}


def explain(reason: str, message: str) -> str:
    """Return Kubernetes' reason and words, with what they mean."""
    said = f"{reason}: {message}" if message and message != reason else reason
    meaning = _REASONS.get(reason)
    return f"{said} ({meaning})" if meaning else said


def why_queued(workload: Object) -> str:
    """Return why Kueue has not let a run go yet."""
    found = shapes.conditions(workload)
    if at(workload, "spec", "active") is False:
        return explain("Deactivated", "the Workload is not active")
    evicted, quota = found.get("Evicted"), found.get("QuotaReserved")
    if quota is not None and not quota.holds and quota.message:
        return explain(quota.reason, quota.message)
    if evicted is not None and evicted.holds:
        return explain(evicted.reason, evicted.message)
    admitted = found.get("Admitted")
    if quota is not None and quota.holds and (admitted is None or not admitted.holds):
        return explain("AdmissionCheck", admitted.message if admitted else "")
    return "Kueue has not looked at it yet" if not found else "Kueue is about to let it go"


def why_pending(pod: Object) -> str:
    """Return why a pod does not run; "" where it does, or is on a good way to."""
    for container in objects(at(pod, "status", "containerStatuses")):
        reason = shapes.text(container, "state", "waiting", "reason")
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return explain(reason, shapes.text(container, "state", "waiting", "message"))
    scheduled = shapes.conditions(pod).get("PodScheduled")
    if scheduled is not None and not scheduled.holds and scheduled.reason:
        return explain(scheduled.reason, scheduled.message)
    return ""
