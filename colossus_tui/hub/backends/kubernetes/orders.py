"""Changes to one run's objects: each on the object as it was just read, and read back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient, KubernetesError
from colossus_tui.hub.backends.kubernetes.shapes import Object, at, objects
from colossus_tui.hub.backends.kubernetes.sightings import Whole
from colossus_tui.hub.backends.kubernetes.watcher import Watcher

TRIES = 5
CONFLICT, INVALID, MISSING = 409, 422, 404

Change = Callable[[Object], dict[str, Any] | None]


class Orders:
    """What the verbs change."""

    def __init__(self, client: KubernetesClient, watcher: Watcher) -> None:
        self._client = client
        self._watcher = watcher

    async def read(self, whole: Whole) -> Object | None:
        """Return the Job or JobSet as it is now; None when it is gone, or another of its name.

        Raises:
            KubernetesError: Kubernetes does not say.
        """
        try:
            body = await self._client.get(self._path(whole))
        except KubernetesError as error:
            if error.status == MISSING:
                return None
            raise
        return body if shapes.uid(body) == shapes.uid(whole.body) else None

    async def hold(self, whole: Whole) -> None:
        """Let it have no pods until it is released."""
        if whole.workload is not None:
            await self._change(self._workload_path(whole.workload), _set_active(False))
        else:
            await self._change(self._path(whole), _set_suspend)

    async def release(self, whole: Whole, attempt: int) -> None:
        """Let it have pods again, which learn that they are this attempt.

        Kubernetes lets a suspended Job's template be annotated only as long as the Job has not
        begun; taking its start time away, as Kueue and JobSet do, makes it one that has not.
        """
        path = self._path(whole)
        plain = whole.workload is None
        try:
            await self._change(path, lambda body: _released(body, attempt, plain))
        except KubernetesError as error:
            if error.status != INVALID or whole.kind != "Job":
                raise
            await self._change(f"{path}/status", lambda body: {"status": {"startTime": None}}, path)
            await self._change(path, lambda body: _released(body, attempt, plain))
        if whole.workload is not None:
            await self._change(self._workload_path(whole.workload), _set_active(True))

    async def set_queue_class(self, whole: Whole, name: str) -> None:
        """Name another of Kueue's priority classes."""
        label = {"metadata": {"labels": {shapes.QUEUE_CLASS: name}}}
        await self._change(self._path(whole), lambda body: label)

    async def delete(self, whole: Whole) -> None:
        """Delete it with all its pods; one that is gone is deleted."""
        try:
            await self._client.delete(self._path(whole), shapes.uid(whole.body))
        except KubernetesError as error:
            if error.status not in (MISSING, CONFLICT):  # CONFLICT: another one of its name
                raise

    async def _change(self, path: str, change: Change, source: str = "") -> None:
        """Change an object as it is now; when somebody else did meanwhile, look again and retry."""
        for number in range(TRIES):
            body = await self._client.get(source or path)
            wanted = change(body)
            if wanted is None:
                return
            wanted.setdefault("metadata", {})
            version = at(body, "metadata", "resourceVersion")
            wanted["metadata"] = {**wanted["metadata"], "resourceVersion": version}
            try:
                await self._client.patch(path, wanted)
            except KubernetesError as error:
                if error.status != CONFLICT or number == TRIES - 1:
                    raise
            else:
                return

    def _path(self, whole: Whole) -> str:
        kind = "jobs" if whole.kind == "Job" else "jobsets"
        return self._join(kind, whole.body)

    def _workload_path(self, workload: Object) -> str:
        return self._join("workloads", workload)

    def _join(self, kind: str, body: Object) -> str:
        prefix, space = self._watcher.prefixes[kind], shapes.namespace(body)
        return f"{prefix}/namespaces/{space}/{kind}/{shapes.name(body)}"


def _set_suspend(body: Object) -> dict[str, Any] | None:
    return None if at(body, "spec", "suspend") is True else {"spec": {"suspend": True}}


def _set_active(active: bool) -> Change:
    def change(body: Object) -> dict[str, Any] | None:
        is_active = at(body, "spec", "active") is not False
        return None if is_active is active else {"spec": {"active": active}}

    return change


def _released(body: Object, attempt: int, plain: bool) -> dict[str, Any] | None:
    """Return the annotations of an attempt, and without Kueue the end of the suspension."""
    if at(body, "spec", "suspend") is not True:
        return None  # it was released by a hub before this one, or by somebody else
    note = {"annotations": {shapes.ATTEMPT: str(attempt)}}
    spec: dict[str, Any] = {"suspend": False} if plain else {}
    if jobs := objects(at(body, "spec", "replicatedJobs")):
        # A merge replaces a list as a whole.
        spec["replicatedJobs"] = [_annotated(job, note) for job in jobs]
    else:
        spec["template"] = {"metadata": note}
    return {"metadata": dict(note), "spec": spec}


def _annotated(job: Object, note: dict[str, dict[str, str]]) -> Object:
    pod = job["template"]["spec"]["template"]
    about = pod.get("metadata") or {}
    annotations = {**(about.get("annotations") or {}), **note["annotations"]}
    pod = {**pod, "metadata": {**about, "annotations": annotations}}
    spec = {**job["template"]["spec"], "template": pod}
    return {**job, "template": {**job["template"], "spec": spec}}
