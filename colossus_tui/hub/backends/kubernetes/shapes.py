"""Parts of Kubernetes' objects, read from plain mappings of which nothing is taken for granted."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from colossus_tui.text import safe

Object = Mapping[str, Any]

RUN_LABEL = "colossus-tui/run"  # a Job or JobSet that has it is a run also without a GPU
ATTEMPT = "colossus-tui/attempt"  # annotation of the object and of its pods
JOB_NAME = "batch.kubernetes.io/job-name"
JOB_NAMES = (JOB_NAME, "job-name")  # before 1.27 the second alone
JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"
QUEUE_NAME = "kueue.x-k8s.io/queue-name"
QUEUE_CLASS = "kueue.x-k8s.io/priority-class"
GPU = "nvidia.com/gpu"
TEXT_LIMIT = 1_024
NAME_LIMIT = 253
KEPT_INTEGER = 2**31


@dataclass(frozen=True, slots=True)
class Condition:
    """One of an object's conditions."""

    kind: str
    holds: bool
    reason: str
    message: str


def at(value: Any, *names: str) -> Any:
    """Return what lies at the end of a path; None where it breaks off."""
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def objects(value: Any) -> list[Object]:
    """Return the mappings of a list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def text(value: Any, *names: str, limit: int = TEXT_LIMIT) -> str:
    """Return a text without anything that a terminal would obey; "" for anything else."""
    found = at(value, *names)
    return safe(found, limit) if isinstance(found, str) else ""


def number(value: Any, *names: str) -> int | None:
    """Return a whole number, also one given as a text; None for anything else."""
    found = at(value, *names)
    if isinstance(found, str) and found.isdecimal() and len(found) < 10:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or abs(found) >= KEPT_INTEGER:
        return None
    return found


def name(value: Object) -> str:
    """Return an object's name."""
    return text(value, "metadata", "name", limit=NAME_LIMIT)


def namespace(value: Object) -> str:
    """Return the namespace that an object is in."""
    return text(value, "metadata", "namespace", limit=NAME_LIMIT)


def uid(value: Object) -> str:
    """Return an object's identity for good."""
    return text(value, "metadata", "uid", limit=64)


def label(value: Object, key: str) -> str:
    """Return one of an object's labels; "" where it has none."""
    return text(value, "metadata", "labels", key, limit=NAME_LIMIT)


def annotation(value: Any, key: str) -> str:
    """Return one of an object's annotations; "" where it has none."""
    return text(value, "metadata", "annotations", key)


def owner(value: Object, kind: str) -> str:
    """Return the identity of the controller of that kind which owns an object; "" for none."""
    for reference in objects(at(value, "metadata", "ownerReferences")):
        if reference.get("controller") is True and reference.get("kind") == kind:
            return text(reference, "uid", limit=64)
    return ""


def is_deleted(value: Object) -> bool:
    """Return whether an object is on its way out."""
    return bool(at(value, "metadata", "deletionTimestamp"))


def conditions(value: Object) -> dict[str, Condition]:
    """Return an object's conditions by their kind."""
    found = {}
    for item in objects(at(value, "status", "conditions")):
        kind = text(item, "type", limit=64)
        found[kind] = Condition(
            kind, item.get("status") == "True", text(item, "reason"), text(item, "message")
        )
    return found


def created_unix_ns(value: Object) -> int:
    """Return when an object was made; 0 where that cannot be read."""
    try:
        stamp = time.strptime(str(at(value, "metadata", "creationTimestamp")), "%Y-%m-%dT%H:%M:%SZ")
    except ValueError:
        return 0
    return calendar.timegm(stamp) * 10**9


def pod_templates(value: Object) -> list[Object]:
    """Return the pod templates of a Job or a JobSet."""
    jobs = objects(at(value, "spec", "replicatedJobs"))
    templates = [at(job, "template", "spec", "template") for job in jobs]
    return objects(templates if jobs else [at(value, "spec", "template")])


def gpu_count(pod_spec: Any) -> int:
    """Return the GPUs that a pod asks for: a limit that is given is the request, too."""
    total = 0
    for container in objects(at(pod_spec, "containers")):
        asked = number(container, "resources", "limits", GPU)
        asked = number(container, "resources", "requests", GPU) if asked is None else asked
        total += max(asked or 0, 0)
    return total


def command(value: Object) -> str:
    """Return what the first container of an object's pods runs."""
    for template in pod_templates(value):
        for container in objects(at(template, "spec", "containers")):
            words = [*_texts(container.get("command")), *_texts(container.get("args"))]
            return safe(" ".join(words))
    return ""


def gives_attempt(value: Object) -> bool:
    """Return whether all its pods learn from an annotation which attempt they are."""
    path = f"metadata.annotations['{ATTEMPT}']"
    templates = pod_templates(value)
    return bool(templates) and all(
        any(
            at(variable, "valueFrom", "fieldRef", "fieldPath") == path
            for container in objects(at(template, "spec", "containers"))
            for variable in objects(container.get("env"))
            if variable.get("name") == "COLOSSUS_ATTEMPT"
        )
        for template in templates
    )


def _texts(values: Any) -> Iterable[str]:
    return (item for item in values if isinstance(item, str)) if isinstance(values, list) else ()
