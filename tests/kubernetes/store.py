"""The recorded API server's objects: versions, events of watches, and what may be changed.

What each rule was taken from is named beside it, as paths in kubernetes/kubernetes unless said
otherwise. Nothing here decides what Kubernetes ought to do, only what it was read to do.
"""

from __future__ import annotations

import copy
import datetime
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]
ALWAYS = "everything"


@dataclass(frozen=True)
class Kind:
    """One kind of object that is served."""

    plural: str
    kind: str
    group: str
    version: str
    namespaced: bool = True

    @property
    def prefix(self) -> str:
        """Path of its API."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def api_version(self) -> str:
        """What its objects carry as apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """What errors call it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


KINDS = {
    kind.plural: kind
    for kind in (
        Kind("jobs", "Job", "batch", "v1"),
        Kind("pods", "Pod", "", "v1"),
        Kind("jobsets", "JobSet", "jobset.x-k8s.io", "v1alpha2"),
        Kind("workloads", "Workload", "kueue.x-k8s.io", "v1beta2"),
    )
}
WORKLOAD_CLASSES = {"low": 10, "high": 1_000}  # WorkloadPriorityClasses that Kueue knows


class StatusError(Exception):
    """An answer other than success, as a Status object has it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    def body(self) -> Body:
        """Return the Status; apimachinery/pkg/apis/meta/v1/types.go."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


@dataclass
class Event:
    """One change, as a watch tells it."""

    version: int
    plural: str
    kind: str
    body: Body


@dataclass
class Store:
    """All objects; used from one thread, the server's."""

    objects: dict[str, dict[tuple[str, str], Body]] = field(
        default_factory=lambda: {plural: {} for plural in KINDS}
    )
    version: int = 1_000
    events: list[Event] = field(default_factory=list)
    compacted: int = 0
    changed: Callable[[], None] = lambda: None

    def all(self, plural: str) -> list[Body]:
        """Return every object of a kind; to be looked at, not to be changed."""
        return list(self.objects[plural].values())

    def get(self, plural: str, namespace: str, name: str) -> Body:
        """Return one; staging/src/k8s.io/apimachinery/pkg/api/errors NewNotFound words a miss."""
        try:
            return self.objects[plural][namespace, name]
        except KeyError:
            kind = KINDS[plural]
            raise StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found') from None

    def create(self, plural: str, body: Body) -> Body:
        """Add an object."""
        body, kind = copy.deepcopy(body), KINDS[plural]
        about = body.setdefault("metadata", {})
        key = (about.setdefault("namespace", "default"), about["name"])
        if key in self.objects[plural]:
            raise StatusError(
                409, "AlreadyExists", f'{kind.qualified} "{about["name"]}" already exists'
            )
        about |= {"uid": str(uuid.uuid4()), "creationTimestamp": now()}
        about["managedFields"] = [{"manager": "test", "operation": "Update"}]
        body |= {"apiVersion": kind.api_version, "kind": kind.kind}
        body.setdefault("status", {})
        _default(plural, body)
        self._put(plural, key, body, "ADDED")
        return copy.deepcopy(body)

    def patch(self, plural: str, namespace: str, name: str, change: Body, *, part: str) -> Body:
        """Merge a change; `part` is "status" for that subresource, "" for the object.

        A change that names a version which is no longer the newest is refused:
        staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go, OptimisticLockErrorMsg.
        """
        old, kind = self.get(plural, namespace, name), KINDS[plural]
        wanted = (change.get("metadata") or {}).get("resourceVersion")
        if wanted is not None and wanted != old["metadata"]["resourceVersion"]:
            raise StatusError(
                409,
                "Conflict",
                f'Operation cannot be fulfilled on {kind.qualified} "{name}": the object has been '
                "modified; please apply your changes to the latest version and try again",
            )
        new = merged(old, change)
        # Outside its subresource a status cannot be changed, and inside it nothing else.
        if part == "status":
            new["spec"] = old["spec"]
        else:
            new["status"] = old["status"]
        validate(plural, old, new)
        return self.update(plural, new)

    def update(self, plural: str, body: Body) -> Body:
        """Put an object as its controller wants it; without a change there is no event."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        if self.objects[plural].get(key) == body:
            return body
        body = copy.deepcopy(body)
        self._put(plural, key, body, "MODIFIED")
        return body

    def delete(self, plural: str, namespace: str, name: str, options: Body) -> Body:
        """Mark an object as one to be deleted; a Job's dependents go first when it is so wanted.

        pkg/controller/garbagecollector: with Foreground it stays, with a finalizer, until they are
        gone. A pod stays until its node has ended it (the kubelet's grace period).
        """
        body = copy.deepcopy(self.get(plural, namespace, name))
        uid = (options.get("preconditions") or {}).get("uid")
        if uid is not None and uid != body["metadata"]["uid"]:
            raise StatusError(
                409,
                "Conflict",
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
                f"{body['metadata']['uid']}",
            )
        if "deletionTimestamp" not in body["metadata"]:
            body["metadata"]["deletionTimestamp"] = now()
            if plural == "pods":
                grace = body["spec"].get("terminationGracePeriodSeconds", 30)
                body["metadata"]["deletionGracePeriodSeconds"] = grace
            elif options.get("propagationPolicy") == "Foreground":
                body["metadata"]["finalizers"] = ["foregroundDeletion"]
        return self.update(plural, body)

    def remove(self, plural: str, body: Body) -> None:
        """Take an object away for good."""
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        last = copy.deepcopy(self.objects[plural].pop(key))
        self._note(plural, last, "DELETED")

    def compact(self) -> None:
        """Forget old events, as etcd does every five minutes."""
        self.events.clear()
        self.compacted = self.version

    def since(self, plural: str, version: int) -> Iterator[Event]:
        """Yield the events after a version.

        staging/src/k8s.io/apiserver/pkg/storage/etcd3: a version before the oldest kept is gone.
        """
        if version < self.compacted:
            raise StatusError(
                410, "Expired", f"too old resource version: {version} ({self.compacted})"
            )
        for event in list(self.events):
            if event.version > version and event.plural == plural:
                yield event

    def _put(self, plural: str, key: tuple[str, str], body: Body, kind: str) -> None:
        self.objects[plural][key] = body
        self._note(plural, body, kind)

    def _note(self, plural: str, body: Body, kind: str) -> None:
        self.version += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.events.append(Event(self.version, plural, kind, copy.deepcopy(body)))
        self.changed()


def now() -> str:
    """Return the time as Kubernetes writes it."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merged(value: Any, change: Any) -> Any:
    """Return RFC 7386's merge: null removes, a list replaces."""
    if not isinstance(change, Mapping):
        return copy.deepcopy(change)
    result: Body = dict(copy.deepcopy(value)) if isinstance(value, Mapping) else {}
    for name, part in change.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), part)
    return result


def owned_by(body: Body, owner: Body) -> bool:
    """Return whether `owner` is the controller of `body`."""
    uid = owner["metadata"]["uid"]
    references = body["metadata"].get("ownerReferences", [])
    return any(reference["uid"] == uid and reference["controller"] for reference in references)


def owner_reference(kind: str, owner: Body) -> Body:
    """Return what makes `owner` the controller of an object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(body: Body, kind: str) -> Body:
    """Return one condition; an empty one where there is none."""
    found = [item for item in body["status"].get("conditions", []) if item["type"] == kind]
    return found[0] if found else {}


def set_condition(body: Body, kind: str, holds: bool, reason: str, message: str) -> None:
    """Set a condition; its time stays while nothing changes."""
    wanted = {
        "type": kind,
        "status": "True" if holds else "False",
        "reason": reason,
        "message": message,
    }
    before = condition(body, kind)
    if {**before, **wanted} == before:
        return
    others = [item for item in body["status"].get("conditions", []) if item["type"] != kind]
    body["status"]["conditions"] = [*others, {**wanted, "lastTransitionTime": now()}]


def _default(plural: str, body: Body) -> None:
    spec = body.setdefault("spec", {})
    if plural == "jobs":
        # pkg/apis/batch/v1/defaults.go, and the labels of pkg/registry/batch/job/strategy.go.
        spec.setdefault("parallelism", 1)
        spec.setdefault("completions", spec["parallelism"])
        spec.setdefault("backoffLimit", 6)
        spec.setdefault("suspend", False)
        labels = spec["template"].setdefault("metadata", {}).setdefault("labels", {})
        for key in ("job-name", "batch.kubernetes.io/job-name"):
            labels[key] = body["metadata"]["name"]
        labels["batch.kubernetes.io/controller-uid"] = body["metadata"]["uid"]
    queue = body["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name")
    if plural in ("jobs", "jobsets") and queue:
        # kubernetes-sigs/kueue pkg/controller/jobframework/defaults.go, ApplyDefaultForSuspend.
        spec["suspend"] = True


_MUTABLE = ("annotations", "labels")
_MUTABLE_SPEC = ("nodeSelector", "tolerations", "schedulingGates")


def validate(plural: str, old: Body, new: Body) -> None:
    """Return when an object may become another.

    Raises:
        StatusError: It may not.
    """
    if plural == "jobs":
        _validate_job(old, new)
    elif plural == "jobsets":
        _validate_jobset(old, new)
    if plural in ("jobs", "jobsets"):
        _validate_queue_class(old, new)


def _validate_job(old: Body, new: Body) -> None:
    # pkg/registry/batch/job/strategy.go, validationOptionsForJob: only for a suspended job that
    # never started (status.startTime is null) may the template's scheduling directives change,
    # and these are annotations, labels, node selector, tolerations and scheduling gates
    # (pkg/apis/batch/validation/validation.go, validatePodTemplateUpdate).
    name = new["metadata"]["name"]
    may = old["spec"].get("suspend") is True and "startTime" not in old["status"]
    before, after = old["spec"]["template"], new["spec"]["template"]
    if may:
        before = _with_directives(before, after)
    if before != after:
        raise _invalid("Job.batch", name, "spec.template: Invalid value: {}: field is immutable")
    for part in ("completions", "selector", "completionMode"):
        if old["spec"].get(part) != new["spec"].get(part):
            raise _invalid("Job.batch", name, f"spec.{part}: Invalid value: field is immutable")
    # ... ValidateJobUpdateStatus with RejectStartTimeUpdateForUnsuspendedJob.
    removed = "startTime" in old["status"] and "startTime" not in new["status"]
    if removed and not new["spec"].get("suspend"):
        words = "status.startTime: Required value: startTime cannot be removed for unsuspended job"
        raise _invalid("Job.batch", name, words)


def _validate_jobset(old: Body, new: Body) -> None:
    # kubernetes-sigs/jobset pkg/webhooks/jobset_webhook.go, ValidateUpdate: templates of one that
    # is suspended, or is being suspended, may change in the same fields; a denial is a webhook's.
    may = old["spec"].get("suspend") or new["spec"].get("suspend")
    for before, after in zip(
        old["spec"]["replicatedJobs"], new["spec"]["replicatedJobs"], strict=True
    ):
        left, right = copy.deepcopy(before), copy.deepcopy(after)
        if may:
            spec = left["template"]["spec"]
            spec["template"] = _with_directives(
                spec["template"], right["template"]["spec"]["template"]
            )
        if left != right:
            raise StatusError(
                403,
                "Forbidden",
                'admission webhook "vjobset.kb.io" denied the request: spec.replicatedJobs: '
                "Invalid value: field is immutable",
            )


def _validate_queue_class(old: Body, new: Body) -> None:
    # kubernetes-sigs/kueue pkg/controller/jobframework/validation.go,
    # ValidateUpdateForWorkloadPriorityClassName.
    key = "kueue.x-k8s.io/priority-class"
    before = old["metadata"].get("labels", {}).get(key, "")
    after = new["metadata"].get("labels", {}).get(key, "")
    words = ""
    if not new["spec"].get("suspend") and not before and after:
        words = "WorkloadPriorityClass cannot be added to a non-suspended workload"
    elif before and not after:
        words = "WorkloadPriorityClass cannot be removed from a workload"
    if words:
        raise StatusError(
            403,
            "Forbidden",
            f'admission webhook "vjob.kb.io" denied the request: metadata.labels[{key}]: '
            f'Invalid value: "{after}": {words}',
        )


def _with_directives(before: Body, after: Body) -> Body:
    result = copy.deepcopy(before)
    for part, names in (("metadata", _MUTABLE), ("spec", _MUTABLE_SPEC)):
        for name in names:
            result.setdefault(part, {}).pop(name, None)
            if name in after.get(part, {}):
                result[part][name] = copy.deepcopy(after[part][name])
    return result


def _invalid(kind: str, name: str, words: str) -> StatusError:
    return StatusError(422, "Invalid", f'{kind} "{name}" is invalid: {words}')
