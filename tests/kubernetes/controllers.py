"""What Kubernetes', JobSet's and Kueue's controllers do with the recorded server's objects.

Each looks at all objects again and again; where a rule was read is named beside it.
"""

from __future__ import annotations

import copy
from typing import Any

from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.store import (
    WORKLOAD_CLASSES,
    Body,
    Store,
    condition,
    now,
    owned_by,
    owner_reference,
    set_condition,
)

INDEX = "batch.kubernetes.io/job-completion-index"
GPU = "nvidia.com/gpu"
ENDED = ("Succeeded", "Failed")


class Controllers:
    """All of them.

    Args:
        nodes: How many GPUs each node has.
        quota: GPUs that Kueue gives away.
    """

    def __init__(self, store: Store, kubelet: Kubelet, nodes: dict[str, int], quota: int) -> None:
        self._store = store
        self._kubelet = kubelet
        self._nodes = nodes
        self.quota = quota
        self._made = 0

    def look(self) -> None:
        """Do what there is to do now."""
        for jobset in self._store.all("jobsets"):
            self._jobset(copy.deepcopy(jobset))
        self._kueue()
        for job in self._store.all("jobs"):
            self._job(copy.deepcopy(job))
        self._schedule()
        for pod in self._store.all("pods"):
            if pod["spec"].get("nodeName"):
                self._run(copy.deepcopy(pod))
            elif "deletionTimestamp" in pod["metadata"]:
                self._store.remove("pods", pod)
        self._collect()

    def _of(self, plural: str, owner: Body) -> list[Body]:
        return [body for body in self._store.all(plural) if owned_by(body, owner)]

    # --- Job: pkg/controller/job/job_controller.go, syncJob and manageJob ------------------

    def _job(self, job: Body) -> None:
        spec, status = job["spec"], job["status"]
        pods = self._of("pods", job)
        active = [pod for pod in pods if pod["status"].get("phase") not in ENDED]
        living = [pod for pod in active if "deletionTimestamp" not in pod["metadata"]]
        if _is_over(job) or "deletionTimestamp" in job["metadata"]:
            return
        done = {
            pod["metadata"]["annotations"][INDEX]
            for pod in pods
            if pod["status"].get("phase") == "Succeeded"
        }
        failed = [pod for pod in pods if pod["status"].get("phase") == "Failed"]
        if "startTime" not in status and not spec["suspend"]:
            status["startTime"] = now()
        if len(failed) > spec["backoffLimit"]:
            for pod in living:
                self._delete(pod)
            words = "Job has reached the specified backoff limit"
            set_condition(job, "Failed", True, "BackoffLimitExceeded", words)
        elif len(done) >= spec["completions"]:
            set_condition(job, "Complete", True, "CompletionsReached", "Reached expected number")
        elif spec["suspend"]:
            # Active pods are deleted with their grace period; startTime stays as it was.
            for pod in living:
                self._delete(pod)
            living = []
            set_condition(job, "Suspended", True, "JobSuspended", "Job suspended")
        else:
            if condition(job, "Suspended").get("status") == "True":
                status["startTime"] = now()  # "Resumed jobs will always reset StartTime"
                set_condition(job, "Suspended", False, "JobResumed", "Job resumed")
            taken = done | {pod["metadata"]["annotations"][INDEX] for pod in active}
            for index in range(spec["completions"]):
                if str(index) not in taken:
                    self._make_pod(job, index)
                    living.append({})
        status |= {"active": len(living), "succeeded": len(done), "failed": len(failed)}
        status["terminating"] = len(active) - len([pod for pod in living if pod])
        self._store.update("jobs", job)

    def _make_pod(self, job: Body, index: int) -> None:
        """pkg/controller/job/indexed_job_utils.go: index as annotation, label and environment."""
        self._made += 1
        template = copy.deepcopy(job["spec"]["template"])
        about = template.get("metadata", {})
        labels, annotations = about.get("labels", {}), about.get("annotations", {})
        variable = {
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}},
        }
        for container in template["spec"]["containers"]:
            container["env"] = [*container.get("env", []), variable]
        template["spec"].setdefault("priority", 0)  # the Priority admission plugin
        name = job["metadata"]["name"]
        self._store.create(
            "pods",
            {
                "metadata": {
                    "name": f"{name}-{index}-{self._made:05x}",
                    "namespace": job["metadata"]["namespace"],
                    "labels": {**labels, INDEX: str(index)},
                    "annotations": {**annotations, INDEX: str(index)},
                    "ownerReferences": [owner_reference("Job", job)],
                },
                "spec": template["spec"],
                "status": {"phase": "Pending"},
            },
        )

    def _delete(self, pod: Body) -> None:
        self._store.delete("pods", pod["metadata"]["namespace"], pod["metadata"]["name"], {})

    # --- JobSet: kubernetes-sigs/jobset pkg/controllers/jobset_controller.go ---------------

    def _jobset(self, jobset: Body) -> None:
        if "deletionTimestamp" in jobset["metadata"] or condition(jobset, "Completed"):
            return
        suspended = jobset["spec"].get("suspend", False)
        jobs = {job["metadata"]["name"]: job for job in self._of("jobs", jobset)}
        if any(condition(job, "Failed").get("status") == "True" for job in jobs.values()):
            self._fail(jobset, jobs)
            return
        for part in jobset["spec"]["replicatedJobs"]:
            for index in range(part.get("replicas", 1)):
                name = f"{jobset['metadata']['name']}-{part['name']}-{index}"
                if name not in jobs:
                    self._make_job(jobset, part, index, name)
                elif jobs[name]["spec"]["suspend"] != suspended:
                    self._turn(copy.deepcopy(jobs[name]), part, suspended)
        done = [job for job in jobs.values() if condition(job, "Complete").get("status") == "True"]
        if jobs and len(done) == len(jobs):
            words = "jobset completed successfully"
            set_condition(jobset, "Completed", True, "AllJobsCompleted", words)
        reason = "SuspendedJobs" if suspended else "ResumeJobs"
        set_condition(jobset, "Suspended", suspended, reason, "jobset is suspended or resumed")
        self._store.update("jobsets", jobset)

    def _fail(self, jobset: Body, jobs: dict[str, Body]) -> None:
        """Without a failure policy one failed Job is enough, and those that run are deleted.

        pkg/controllers/failure_policy.go, and deleteJobs in the reconciler.
        """
        words = "jobset failed due to one or more job failures"
        set_condition(jobset, "Failed", True, "FailedJobs", words)
        self._store.update("jobsets", jobset)
        for name, job in jobs.items():
            if not _is_over(job) and "deletionTimestamp" not in job["metadata"]:
                options = {"propagationPolicy": "Foreground"}
                self._store.delete("jobs", job["metadata"]["namespace"], name, options)

    def _make_job(self, jobset: Body, part: Body, index: int, name: str) -> None:
        labels = {
            "jobset.sigs.k8s.io/jobset-name": jobset["metadata"]["name"],
            "jobset.sigs.k8s.io/replicatedjob-name": part["name"],
            "jobset.sigs.k8s.io/job-index": str(index),
            "jobset.sigs.k8s.io/job-global-index": str(index),
        }
        spec = copy.deepcopy(part["template"]["spec"])
        spec["suspend"] = jobset["spec"].get("suspend", False)
        about = spec["template"].setdefault("metadata", {})
        about["labels"] = {**about.get("labels", {}), **labels}
        self._store.create(
            "jobs",
            {
                "metadata": {
                    "name": name,
                    "namespace": jobset["metadata"]["namespace"],
                    "labels": labels,
                    "ownerReferences": [owner_reference("JobSet", jobset)],
                },
                "spec": spec,
            },
        )

    def _turn(self, job: Body, part: Body, suspended: bool) -> None:
        """suspendJobs, and resumeJob, which takes the start time away to change the template."""
        if not suspended:
            job["status"].pop("startTime", None)
            about = part["template"]["spec"]["template"].get("metadata", {})
            own = job["spec"]["template"].setdefault("metadata", {})
            for name in ("labels", "annotations"):
                own[name] = {**own.get(name, {}), **about.get(name, {})}
        job["spec"]["suspend"] = suspended
        self._store.update("jobs", job)

    # --- Kueue: kubernetes-sigs/kueue pkg/controller/jobframework/reconciler.go -------------

    def _kueue(self) -> None:
        for plural in ("jobs", "jobsets"):
            for body in self._store.all(plural):
                if "kueue.x-k8s.io/queue-name" in body["metadata"].get("labels", {}):
                    self._queued(plural, copy.deepcopy(body))

    def _queued(self, plural: str, body: Body) -> None:
        found = self._of("workloads", body)
        if _is_over(body) or "deletionTimestamp" in body["metadata"]:
            return
        workload = copy.deepcopy(found[0]) if found else self._make_workload(plural, body)
        name = body["metadata"]["labels"].get("kueue.x-k8s.io/priority-class")
        if name:  # UpdateWorkloadPriority
            workload["spec"]["priorityClassRef"] = {
                "group": "kueue.x-k8s.io",
                "kind": "WorkloadPriorityClass",
                "name": name,
            }
            workload["spec"]["priority"] = WORKLOAD_CLASSES[name]
        admitted = condition(workload, "Admitted").get("status") == "True"
        if not workload["spec"]["active"]:
            self._evict(plural, body, workload)
        elif admitted:
            self._start(plural, body)
        else:
            self._admit(workload, _gpus(body))
        self._store.update("workloads", workload)

    def _make_workload(self, plural: str, body: Body) -> Body:
        kind = {"jobs": "Job", "jobsets": "JobSet"}[plural]
        templates = _templates(body)
        return self._store.create(
            "workloads",
            {
                "metadata": {
                    "name": f"{kind.lower()}-{body['metadata']['name']}-{self._made:05x}",
                    "namespace": body["metadata"]["namespace"],
                    "ownerReferences": [owner_reference(kind, body)],
                },
                "spec": {
                    "active": True,
                    "queueName": body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"],
                    "podSets": copy.deepcopy(templates),
                    "priority": 0,
                },
            },
        )

    def _admit(self, workload: Body, wanted: int) -> None:
        used = sum(
            int(other["metadata"]["annotations"]["gpus"])
            for other in self._store.all("workloads")
            if condition(other, "QuotaReserved").get("status") == "True"
        )
        workload["metadata"].setdefault("annotations", {})["gpus"] = str(wanted)
        if used + wanted > self.quota:
            missing = used + wanted - self.quota
            # pkg/scheduler/flavorassigner/flavorassigner.go.
            words = (
                "couldn't assign flavors to pod set main: insufficient unused quota for "
                f"{GPU} in flavor default, {missing} more needed"
            )
            set_condition(workload, "QuotaReserved", False, "WaitingForQuota", words)
            return
        set_condition(workload, "QuotaReserved", True, "QuotaReserved", "Quota reserved in main")
        set_condition(workload, "Admitted", True, "Admitted", "The workload is admitted")
        set_condition(workload, "Evicted", False, "QuotaReserved", "Previously: deactivated")

    def _start(self, plural: str, body: Body) -> None:
        """RunWithPodSetsInfo."""
        if body["spec"]["suspend"]:
            body["spec"]["suspend"] = False
            self._store.update(plural, body)

    def _evict(self, plural: str, body: Body, workload: Body) -> None:
        """pkg/controller/jobs/job/job_controller.go Stop: suspended, unstarted, template as before.

        The template's annotations are put back to what they were when the Workload was made.
        """
        words = "The workload is deactivated"
        set_condition(workload, "Evicted", True, "Deactivated", words)
        if not body["spec"]["suspend"]:
            body["spec"]["suspend"] = True
            body["status"].pop("startTime", None)
            for template, kept in zip(_templates(body), workload["spec"]["podSets"], strict=True):
                before = kept.get("metadata", {}).get("annotations", {})
                template.setdefault("metadata", {})["annotations"] = copy.deepcopy(before)
            self._store.update(plural, body)
        elif not body["status"].get("active"):
            set_condition(workload, "QuotaReserved", False, "Pending", words)
            set_condition(workload, "Admitted", False, "NoReservation", "no reservation")

    # --- scheduler and kubelet -------------------------------------------------------------

    def _schedule(self) -> None:
        """The node with the most room, as NodeResourcesFit's LeastAllocated scores them.

        pkg/scheduler/framework/types.go words a failure.
        """
        for pod in self._store.all("pods"):
            if pod["spec"].get("nodeName") or "deletionTimestamp" in pod["metadata"]:
                continue
            pod, wanted = copy.deepcopy(pod), _pod_gpus(pod["spec"])
            free = {name: gpus - self._used(name) for name, gpus in self._nodes.items()}
            node = min(free, key=lambda name: (-free[name], name))
            if free[node] >= wanted:
                pod["spec"]["nodeName"] = node
                set_condition(pod, "PodScheduled", True, "", "")
            else:
                count = len(self._nodes)
                words = (
                    f"0/{count} nodes are available: {count} Insufficient {GPU}. preemption: "
                    f"0/{count} nodes are available: {count} No preemption victims found for "
                    "incoming pod."
                )
                set_condition(pod, "PodScheduled", False, "Unschedulable", words)
            self._store.update("pods", pod)

    def _used(self, node: str) -> int:
        return sum(
            _pod_gpus(pod["spec"])
            for pod in self._store.all("pods")
            if pod["spec"].get("nodeName") == node and pod["status"]["phase"] not in ENDED
        )

    def _run(self, pod: Body) -> None:
        phase = pod["status"]["phase"]
        if "deletionTimestamp" in pod["metadata"]:
            if self._kubelet.is_ended(pod):
                self._store.remove("pods", pod)
            return
        image = pod["spec"]["containers"][0]["image"]
        if phase == "Pending" and image.startswith("missing/"):
            # pkg/kubelet/images/image_manager.go.
            words = f'Back-off pulling image "{image}"'
            waiting = {"reason": "ImagePullBackOff", "message": words}
            pod["status"]["containerStatuses"] = [{"name": "main", "state": {"waiting": waiting}}]
        elif phase == "Pending":
            self._kubelet.start(pod)
            pod["status"]["phase"] = "Running"
        elif phase == "Running" and (code := self._kubelet.exit_code(pod)) is not None:
            pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
        self._store.update("pods", pod)

    def _collect(self) -> None:
        """pkg/controller/garbagecollector: dependents first, then who waited for them."""
        for plural, below in (("jobs", "pods"), ("jobsets", "jobs")):
            for body in self._store.all(plural):
                if "deletionTimestamp" not in body["metadata"]:
                    continue
                dependents = self._of(below, body)
                for one in dependents:
                    if "deletionTimestamp" not in one["metadata"]:
                        about = one["metadata"]
                        options = {"propagationPolicy": "Foreground"}
                        self._store.delete(below, about["namespace"], about["name"], options)
                if not dependents:
                    for workload in self._of("workloads", body):
                        self._store.remove("workloads", workload)
                    self._store.remove(plural, body)


def _is_over(body: Body) -> bool:
    kinds = ("Complete", "Completed", "Failed")
    return any(condition(body, kind).get("status") == "True" for kind in kinds)


def _templates(body: Body) -> list[Any]:
    parts = body["spec"].get("replicatedJobs")
    if parts is None:
        return [body["spec"]["template"]]
    return [part["template"]["spec"]["template"] for part in parts]


def _gpus(body: Body) -> int:
    parts = body["spec"].get("replicatedJobs")
    if parts is None:
        return int(body["spec"]["parallelism"]) * _pod_gpus(body["spec"]["template"]["spec"])
    return sum(
        part.get("replicas", 1)
        * part["template"]["spec"].get("parallelism", 1)
        * _pod_gpus(part["template"]["spec"]["template"]["spec"])
        for part in parts
    )


def _pod_gpus(spec: Body) -> int:
    return sum(
        int(container.get("resources", {}).get("limits", {}).get(GPU, 0))
        for container in spec["containers"]
    )
