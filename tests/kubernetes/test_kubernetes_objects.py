"""What the hub makes of Kubernetes' objects and of its API server's answers, without a product."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient, KubernetesError
from colossus_tui.hub.backends.kubernetes.config import (
    KubernetesConfig,
    KubernetesConfigError,
    parse,
)
from colossus_tui.hub.backends.kubernetes.shapes import gpu_count
from colossus_tui.hub.backends.kubernetes.sightings import gather, sighting
from colossus_tui.hub.backends.kubernetes.watcher import Watcher
from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.model import Event, PriorityClass, RunState
from tests.kubernetes import manifests
from tests.kubernetes.cluster import Cluster

SLEEP = ["sleep", "600"]


class Seen:
    """What a watcher told."""

    def __init__(self) -> None:
        self.runs: dict[str, Sighting] = {}
        self.events: list[str] = []

    def take_sightings(self, backend: str, sightings: Mapping[str, Sighting]) -> None:
        """Take all runs."""
        assert backend == "kubernetes"
        self.runs = dict(sightings)

    def lose_sight(self, backend: str, why: str) -> None:
        """Nothing more to know."""

    def add(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event.kind)


@asynccontextmanager
async def watching(cluster: Cluster, **settings: object) -> AsyncIterator[tuple[Watcher, Seen]]:
    """Follow a cluster for a while."""
    config = parse({"kubeconfig": str(cluster.kubeconfig), "poll_seconds": 1, **settings})
    seen = Seen()
    watcher = Watcher(config, KubernetesClient(config), seen, seen)
    task = asyncio.create_task(watcher.run())
    try:
        yield watcher, seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def told(watcher: Watcher, seen: Seen, run_id: str, state: str) -> Sighting:
    """Wait until a run was told to be in a state."""
    async with asyncio.timeout(20):
        while run_id not in seen.runs or seen.runs[run_id].state != state:
            await watcher.next_change(1.0)
    return seen.runs[run_id]


async def create(
    cluster: Cluster, name: str, gpus: int = 4, labels: Mapping[str, str] | None = None
) -> str:
    """Submit a Job without blocking the loop; return its run."""
    body = manifests.job(name, manifests.template(SLEEP, [], gpus), labels=labels)
    await asyncio.to_thread(cluster.create, "jobs", body)
    return f"k8s-{cluster.namespace}.{name}"


async def test_a_watch_whose_version_is_too_old_is_begun_anew(cluster: Cluster) -> None:
    async with watching(cluster) as (watcher, seen):
        await told(watcher, seen, await create(cluster, "before"), "running")
        cluster.server.stop()
        cluster.server.loop.call_soon_threadsafe(cluster.server.store.compact)
        after = await create(cluster, "after")
        cluster.server.start()

        await told(watcher, seen, after, "running")  # no event tells of it any more


async def test_a_kind_that_is_taken_away_is_no_outage(cluster: Cluster) -> None:
    body = manifests.jobset("set", manifests.template(SLEEP, [], 1), 1)
    async with watching(cluster) as (watcher, seen):
        await asyncio.to_thread(cluster.create, "jobsets", body)
        run_id = f"k8s-{cluster.namespace}.set"
        await told(watcher, seen, run_id, "running")
        try:
            cluster.server.groups.remove("jobset.x-k8s.io")
            await asyncio.to_thread(cluster.server.stop)
            await asyncio.to_thread(cluster.server.start)

            await told(watcher, seen, run_id, "stopped")
        finally:
            cluster.server.groups.append("jobset.x-k8s.io")
        job = await create(cluster, "after")
        await told(watcher, seen, job, "running")


async def test_an_idle_cluster_is_asked_about_once_a_second_beside_the_watches(
    cluster: Cluster,
) -> None:
    async with watching(cluster) as (watcher, seen):
        await told(watcher, seen, await create(cluster, "idle"), "running")
        first = len(cluster.server.calls)
        await asyncio.sleep(4)  # what is counted is a rate
        asked = cluster.server.calls[first:]

    assert len(asked) <= 5, asked
    assert {path for _, path in asked} == {"/version"}


async def test_a_job_that_somebody_deletes_was_stopped_and_is_not_lost(cluster: Cluster) -> None:
    async with watching(cluster) as (watcher, seen):
        run_id = await create(cluster, "deleted")
        await told(watcher, seen, run_id, "running")
        await asyncio.to_thread(cluster.clear)

        ended = await told(watcher, seen, run_id, "stopped")

    assert (ended.job.state, ended.why) == ("Deleted", "it was deleted")


async def test_our_label_makes_a_run_of_what_asks_for_no_gpu(cluster: Cluster) -> None:
    async with watching(cluster) as (watcher, seen):
        run_id = await create(cluster, "small", 0, {"colossus-tui/run": ""})

        await told(watcher, seen, run_id, "running")


async def test_only_what_the_selector_matches_is_a_run(cluster: Cluster) -> None:
    async with watching(cluster, label_selector="team=a") as (watcher, seen):
        await create(cluster, "theirs", labels={"team": "b"})
        ours = await create(cluster, "ours", labels={"team": "a"})

        await told(watcher, seen, ours, "running")

        assert list(seen.runs) == [ours]


async def test_an_unknown_account_is_told_in_the_servers_word(cluster: Cluster) -> None:
    config = parse({"kubeconfig": str(cluster.kubeconfig)})
    client = KubernetesClient(config)
    cluster.server.token = "another"
    try:
        with pytest.raises(KubernetesError, match="Unauthorized") as caught:
            await client.get("/version")
        assert caught.value.denied
    finally:
        cluster.server.token = "token-of-the-hub"
    assert await client.get("/version")  # a token that is right again is looked up again
    await client.close()


@pytest.mark.parametrize("text", ["{", "[]", "clusters: 3\ncurrent-context: x", "\t:"])
async def test_a_kubeconfig_that_cannot_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(text)

    with pytest.raises(KubernetesError, match=f"kubeconfig {file}"):
        await KubernetesClient(KubernetesConfig(kubeconfig=file)).get("/version")


def test_hostile_objects_are_harmless() -> None:
    evil = "\x1b[2J\u202egnp.exe"
    pods = manifests.template([evil], [])
    body = manifests.job("job", pods)
    body["metadata"] |= {"namespace": "team", "uid": "1", "creationTimestamp": 7}
    body["status"] = {
        "conditions": [
            None,
            {"type": "Failed", "status": "True", "reason": evil, "message": "x" * 9_999},
        ]
    }
    body["metadata"]["annotations"] = {"colossus-tui/attempt": "9" * 99}

    (whole,) = gather([body], [], [{"metadata": {"ownerReferences": "no"}}], [{}]).values()
    seen = sighting(whole, {})

    assert (seen.state, seen.attempt) == (RunState.FAILED, 1)
    for text in (seen.why, seen.command, seen.job.reason):
        assert text.isprintable()
        assert "\u202e" not in text
    assert len(seen.why) < 3_000
    assert gpu_count({"containers": [{"resources": {"limits": {"nvidia.com/gpu": "many"}}}]}) == 0


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("kubernetes = 1", "kubernetes must be a table"),
        ("[kubernetes]\ncolour = 1", "kubernetes.colour is no setting"),
        ("[kubernetes]", "kubernetes.kubeconfig is missing"),
        ('[kubernetes]\nkubeconfig = "/no/such"', "kubernetes.kubeconfig '/no/such'"),
        ("[kubernetes]\nnamespaces = 'a'\nkubeconfig = '{file}'", "kubernetes.namespaces"),
        ("[kubernetes]\nnamespaces = ['A']\nkubeconfig = '{file}'", "kubernetes.namespaces"),
        ("[kubernetes]\nlabel_selector = 3\nkubeconfig = '{file}'", "kubernetes.label_selector"),
        ("[kubernetes]\npoll_seconds = 0\nkubeconfig = '{file}'", "kubernetes.poll_seconds"),
        ("[kubernetes]\nresync_seconds = true\nkubeconfig = '{file}'", "resync_seconds"),
        ("[kubernetes.classes.P9]\npods = 'x'", "kubernetes.classes.P9"),
        ("[kubernetes.classes.P1]\nnice = 1", "kubernetes.classes.P1 may have"),
        ("[kubernetes.classes.P1]\nkueue = 1", "kubernetes.classes.P1.kueue"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(text.format(file=path))

    with pytest.raises(ConfigError, match=named):
        read_file(str(path))


def test_settings_name_classes_of_pods_and_of_kueue(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("{}")

    config = parse(
        {
            "kubeconfig": str(file),
            "namespaces": ["a", "b", "a"],
            "classes": {"P0": {"pods": "critical", "kueue": "top"}},
        }
    )

    assert config.namespaces == ("a", "b")
    assert config.class_of_name == {"critical": PriorityClass.P0, "top": PriorityClass.P0}
    assert config.queue == {PriorityClass.P0: "top"}
    assert isinstance(config, KubernetesConfig)


def test_a_missing_client_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes_asyncio", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(KubernetesConfigError, match=r"colossus-tui\[kubernetes\]"):
        parse({})
