"""What the backend relies on in Kubernetes, shown on the recorded server, or on a real one.

Name a kubeconfig in COLOSSUS_TEST_KUBECONFIG to run these against a real cluster: its current
context is used, and Jobs of one busybox pod are made and deleted in the namespace that
COLOSSUS_TEST_NAMESPACE names ("default" otherwise).
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient, KubernetesError
from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.kubernetes.shapes import Object, at
from tests.kubernetes import manifests

REAL = os.environ.get("COLOSSUS_TEST_KUBECONFIG", "")
NOTE = {"spec": {"template": {"metadata": {"annotations": {shapes.ATTEMPT: "2"}}}}}
pytestmark = pytest.mark.timeout(300 if REAL else 60)


class Api:
    """Jobs of one namespace, as any client sees them."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.client = KubernetesClient(KubernetesConfig(kubeconfig=kubeconfig))
        self.jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self.pods = f"/api/v1/namespaces/{namespace}/pods"
        self.names: list[str] = []

    async def create(self) -> str:
        """Submit a Job and wait until its pod runs; return its path."""
        name = f"colossus-{random.SystemRandom().randrange(10**9)}"
        body = manifests.job(name, manifests.template(["sleep", "600"], [], 0, "busybox"))
        await self.client._json("POST", self.jobs, body=body)
        self.names.append(name)
        path = f"{self.jobs}/{name}"
        await self.until(path, lambda job: at(job, "status", "active") == 1)
        await self.until_pods(name, "Running")
        return path

    async def until(self, path: str, holds: Callable[[Object], bool]) -> Object:
        """Wait until an object is so, and return it."""
        async with asyncio.timeout(120):
            while True:
                if holds(found := await self.client.get(path)):
                    return found
                await asyncio.sleep(0.1)

    async def until_pods(self, name: str, *phases: str) -> list[Object]:
        """Wait until a Job has pods in these phases, and no other."""
        async with asyncio.timeout(120):
            while True:
                _, pods = await self.client.list(self.pods, f"job-name={name}")
                if [at(pod, "status", "phase") for pod in pods] == list(phases):
                    return list(pods)
                await asyncio.sleep(0.1)

    async def refused(self, path: str, change: dict[str, Any]) -> KubernetesError:
        """Return why a change is refused."""
        with pytest.raises(KubernetesError) as caught:
            await self.client.patch(path, change)
        return caught.value

    async def close(self) -> None:
        """Delete what was made."""
        for name in self.names:
            try:
                job = await self.client.get(f"{self.jobs}/{name}")
                await self.client.delete(f"{self.jobs}/{name}", shapes.uid(job))
            except KubernetesError:
                continue
        await self.client.close()


@pytest.fixture
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """The recorded server, or the real one that is named."""
    if REAL:
        api = Api(Path(REAL), os.environ.get("COLOSSUS_TEST_NAMESPACE", "default"))
    else:
        cluster = request.getfixturevalue("cluster")
        api = Api(cluster.kubeconfig, cluster.namespace)
    try:
        yield api
    finally:
        await api.close()


async def test_a_suspended_job_loses_its_pods_and_keeps_its_start_time(api: Api) -> None:
    path = await api.create()

    await api.client.patch(path, {"spec": {"suspend": True}})

    await api.until_pods(api.names[-1])
    job = await api.until(path, lambda job: not at(job, "status", "active"))
    assert shapes.conditions(job)["Suspended"].holds
    assert at(job, "status", "startTime")


async def test_a_template_can_be_annotated_once_the_start_time_is_taken_away(api: Api) -> None:
    path = await api.create()
    await api.client.patch(path, {"spec": {"suspend": True}})
    await api.until_pods(api.names[-1])
    if not REAL:  # newer servers than the recorded one let it be changed at once
        refused = await api.refused(path, NOTE)
        assert (refused.status, "field is immutable" in str(refused)) == (422, True)

    await api.client.patch(f"{path}/status", {"status": {"startTime": None}})
    await api.client.patch(path, NOTE)
    await api.client.patch(path, {"spec": {"suspend": False}})

    (pod,) = await api.until_pods(api.names[-1], "Running")
    assert shapes.annotation(pod, shapes.ATTEMPT) == "2"
    assert at(pod, "metadata", "annotations", "batch.kubernetes.io/job-completion-index") == "0"
    assert at(await api.client.get(path), "status", "startTime")


async def test_nothing_of_a_job_that_runs_can_be_annotated_in_its_template(api: Api) -> None:
    path = await api.create()

    template = await api.refused(path, NOTE)
    start = await api.refused(f"{path}/status", {"status": {"startTime": None}})

    assert (template.status, start.status) == (422, 422)
    assert "spec.template" in str(template)
    assert "startTime cannot be removed for unsuspended job" in str(start)


async def test_a_change_of_what_has_changed_meanwhile_is_a_conflict(api: Api) -> None:
    path = await api.create()
    version = at(await api.client.get(path), "metadata", "resourceVersion")
    await api.client.patch(path, {"metadata": {"labels": {"someone": "else"}}})

    refused = await api.refused(
        path, {"metadata": {"resourceVersion": version}, "spec": {"suspend": True}}
    )

    assert refused.status == 409
    assert "the object has been modified" in str(refused)


async def test_a_deleted_job_is_gone_after_its_pods_and_another_is_not_taken_for_it(
    api: Api,
) -> None:
    path = await api.create()
    with pytest.raises(KubernetesError, match="Precondition failed: UID") as caught:
        await api.client.delete(path, "00000000-0000-0000-0000-000000000000")
    assert caught.value.status == 409

    await api.client.delete(path, shapes.uid(await api.client.get(path)))

    await api.until_pods(api.names[-1])
    async with asyncio.timeout(60):
        while True:
            try:
                await api.client.get(path)
            except KubernetesError as error:
                assert error.status == 404  # noqa: PT017 - until then there is none
                break
            await asyncio.sleep(0.1)


async def test_a_watch_from_long_ago_is_refused_with_410(
    api: Api, request: pytest.FixtureRequest
) -> None:
    if not REAL:
        server = request.getfixturevalue("cluster").server
        server.loop.call_soon_threadsafe(server.store.compact)

    watch = api.client.watch(api.jobs, "1", "", 5.0)
    assert await anext(watch) == ("OPENED", {})
    with pytest.raises(KubernetesError, match="too old") as caught:
        await anext(watch)

    assert caught.value.status == 410
