"""The manifests in deploy/kubernetes: valid, and no right in them that the backend does not use."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from colossus_hook import placement
from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient
from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.kubernetes.orders import Orders
from colossus_tui.hub.backends.kubernetes.sightings import Whole, is_run
from colossus_tui.hub.backends.kubernetes.watcher import Watcher
from tests.kubernetes import manifests
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.site import QUEUE
from tests.kubernetes.test_kubernetes_objects import SLEEP, Seen, told, watching

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"


def documents(name: str) -> dict[str, Any]:
    """Return the objects of a file by their kind."""
    found = list(yaml.safe_load_all((FOLDER / name).read_text()))
    for body in found:
        assert set(body) >= {"apiVersion", "kind", "metadata"}
    return {body["kind"]: body for body in found}


async def turn(cluster: Cluster, watcher: Watcher, seen: Seen, orders: Orders, name: str) -> Whole:
    """Hold a run and let it go again, as a pause and a resume do."""
    run_id = f"k8s-{cluster.namespace}.{name}"
    await told(watcher, seen, run_id, "running")
    await orders.hold(watcher.wholes[run_id])
    await told(watcher, seen, run_id, "pending")
    await orders.release(watcher.wholes[run_id], 2)
    await told(watcher, seen, run_id, "running")
    return watcher.wholes[run_id]


async def test_the_hubs_role_grants_what_the_backend_does_and_nothing_else(
    cluster: Cluster,
) -> None:
    role = documents("hub-rbac.yaml")["ClusterRole"]
    granted = {
        (verb, group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    pods = manifests.template(SLEEP, [])
    small = manifests.template(SLEEP, [], 1)
    cluster.server.asked.clear()
    async with watching(cluster) as (watcher, seen):
        client = KubernetesClient(KubernetesConfig(kubeconfig=cluster.kubeconfig))
        orders = Orders(client, watcher)
        await asyncio.to_thread(cluster.create, "jobs", manifests.job("plain", pods))
        await asyncio.to_thread(cluster.create, "jobsets", manifests.jobset("set", small, 2))
        await asyncio.to_thread(cluster.create, "jobs", manifests.job("queued", pods, labels=QUEUE))
        plain, jobset, queued = [
            await turn(cluster, watcher, seen, orders, name) for name in ("plain", "set", "queued")
        ]
        await orders.set_queue_class(queued, "high")
        await orders.read(jobset)
        for whole in (plain, jobset):
            await orders.delete(whole)
        await client.close()

    assert cluster.server.asked == granted


def test_the_role_is_bound_to_the_hubs_own_account() -> None:
    found = documents("hub-rbac.yaml")
    (subject,) = found["ClusterRoleBinding"]["subjects"]

    assert (
        found["ClusterRoleBinding"]["roleRef"]["name"] == found["ClusterRole"]["metadata"]["name"]
    )
    assert subject["name"] == found["ServiceAccount"]["metadata"]["name"]
    assert subject["namespace"] == found["ServiceAccount"]["metadata"]["namespace"]


def test_the_agent_sees_all_pods_of_its_node_and_has_no_account() -> None:
    daemon_set = documents("agent.yaml")["DaemonSet"]
    spec = daemon_set["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}

    assert spec["hostPID"]
    assert spec["automountServiceAccountToken"] is False
    assert paths["pages"] == mounts["pages"] == placement.PAGE_ROOT
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert daemon_set["spec"]["selector"]["matchLabels"] == labels


def test_the_jobs_template_is_one_that_can_be_paused() -> None:
    body = documents("job.yaml")["Job"]
    (container,) = body["spec"]["template"]["spec"]["containers"]
    names = {variable["name"] for variable in container["env"]}

    assert is_run(body)
    assert shapes.gives_attempt(body)
    assert names == {"COLOSSUS_NAMESPACE", "COLOSSUS_JOB", "COLOSSUS_NODE", "COLOSSUS_ATTEMPT"}
    assert container["volumeMounts"][0]["mountPath"] == placement.PAGE_ROOT
