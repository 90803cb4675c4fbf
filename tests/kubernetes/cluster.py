"""One recorded Kubernetes: its API server, its controllers and its nodes."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from pathlib import Path

from colossus_hook import placement
from tests.kubernetes.apiserver import ApiServer
from tests.kubernetes.controllers import Controllers
from tests.kubernetes.kubelet import Kubelet
from tests.kubernetes.store import Body
from tests.support import until

NODE_COUNT = 3
LOOK_SECONDS = 0.05
KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "{url}"}}}}]
contexts: [{{name: test, context: {{cluster: test, user: hub}}}}]
users: [{{name: hub, user: {{token: {token}}}}}]
"""


class Cluster:
    """Ends all that it started.

    Its namespace and nodes have names of its own: agents of another cluster on this machine, in a
    test that runs beside, would see its ranks otherwise.

    Args:
        gpus: How many GPUs each of its nodes has.
        quota: How many of all these Kueue gives away.
    """

    def __init__(self, folder: Path, gpus: int = 8, quota: int = 8) -> None:
        self.folder = folder
        mark = f"{random.SystemRandom().randrange(10**9):09}"
        self.namespace = f"team-{mark}"
        self.node_names = [f"k{index}-{mark}.example.org" for index in range(1, NODE_COUNT + 1)]
        self.server = ApiServer()
        self._kubelet = Kubelet(folder)
        nodes = dict.fromkeys(self.node_names, gpus)
        self.controllers = Controllers(self.server.store, self._kubelet, nodes, quota)
        self._stopped = asyncio.Event()
        self._looking = asyncio.run_coroutine_threadsafe(self._look(), self.server.loop)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(KUBECONFIG.format(url=self.server.url, token=self.server.token))

    async def _look(self) -> None:
        while not self._stopped.is_set():
            self.controllers.look()
            await asyncio.sleep(LOOK_SECONDS)

    def create(self, plural: str, body: Body) -> None:
        """Submit an object, as `kubectl create` would."""
        body["metadata"]["namespace"] = self.namespace

        async def create() -> None:
            self.server.store.create(plural, body)

        self.server.run(create())

    def get(self, plural: str, name: str) -> Body:
        """Return an object; an empty one when it is gone."""
        return self.server.store.objects[plural].get((self.namespace, name), {})

    def pods(self, name: str) -> list[Body]:
        """Return the pods of a Job, or of all Jobs of a JobSet."""
        keys = ("job-name", "jobset.sigs.k8s.io/jobset-name")
        return [
            pod
            for pod in self.server.store.all("pods")
            if pod["metadata"]["namespace"] == self.namespace
            and name in [pod["metadata"]["labels"].get(key) for key in keys]
        ]

    def change(self, plural: str, name: str, change: Body) -> None:
        """Change an object as somebody else would, with `kubectl patch`."""

        async def patch() -> None:
            self.server.store.patch(plural, self.namespace, name, change, part="")

        self.server.run(patch())

    def delete(self, plural: str, name: str) -> None:
        """Delete an object and what depends on it, as `kubectl delete` does; once is enough."""

        async def delete() -> None:
            if (self.namespace, name) in self.server.store.objects[plural]:
                options = {"propagationPolicy": "Foreground"}
                self.server.store.delete(plural, self.namespace, name, options)

        self.server.run(delete())

    def clear(self) -> None:
        """Delete everything and wait until it is gone."""
        server, store = self.server, self.server.store
        server.forbidden.clear()
        server.conflicts = 0

        async def delete() -> None:
            for plural in ("jobs", "jobsets"):
                for body in store.all(plural):
                    name, options = body["metadata"]["name"], {"propagationPolicy": "Foreground"}
                    store.delete(plural, body["metadata"]["namespace"], name, options)

        server.run(delete())
        until(lambda: not any(store.objects.values()), 15, message="an empty cluster")

    def close(self) -> None:
        """End controllers, pods and server."""
        self.server.loop.call_soon_threadsafe(self._stopped.set)
        try:
            self._looking.result(10)
        finally:
            self._kubelet.close()
            self.server.close()
            pages = Path(placement.PAGE_ROOT) / f"colossus-{os.getuid()}"
            for folder in pages.glob(f"k8s-{self.namespace}.*"):
                shutil.rmtree(folder, ignore_errors=True)
