"""The recorded API server: real HTTP on loopback, objects as the store has them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from aiohttp import web

from tests.kubernetes.store import KINDS, Body, Kind, StatusError, Store

T = TypeVar("T")
USER = "system:serviceaccount:colossus:hub"
BOOKMARK_SECONDS = 1.0  # the real one sends them about once a minute
TOKEN = "token-of-the-hub"


class ApiServer:
    """One API server on a thread of its own.

    Attributes:
        forbidden: What the hub's account may not do, as (verb, resource).
        calls: Every (method, path) that was asked, watches among them.
        asked: Every (verb, group, resource) of these.
        conflicts: So many changes to come are refused as if somebody had come in between.
        token: What the hub must prove itself with.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.forbidden: set[tuple[str, str]] = set()
        self.calls: list[tuple[str, str]] = []
        self.asked: set[tuple[str, str, str]] = set()
        self.conflicts = 0
        self.token = TOKEN
        self.port = 0
        self.groups = ["batch", "jobset.x-k8s.io", "kueue.x-k8s.io"]
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Event()
        self._going = asyncio.Event()
        self._going.set()
        self.store.changed = self._wake
        self._thread.start()
        self.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def start(self) -> None:
        """Listen, on the same port as before."""
        self.run(self._start())

    def stop(self) -> None:
        """Break every connection and listen no more."""
        self.run(self._stop())

    def stall(self) -> None:
        """Take what is asked and answer none of it until `go_on`."""
        self.loop.call_soon_threadsafe(self._going.clear)

    def go_on(self) -> None:
        """Answer again, first what was asked meanwhile."""
        self.loop.call_soon_threadsafe(self._going.set)

    def close(self) -> None:
        """End the thread, too."""
        self.stop()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            self._wake()
            await runner.cleanup()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # --- answering -------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((request.method, request.path))
        await self._going.wait()
        try:
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                raise StatusError(401, "Unauthorized", "Unauthorized")
            if request.path == "/version":
                return web.json_response({"major": "1", "minor": "36"})
            if request.path == "/apis":
                return web.json_response(self._group_list())
            return await self._resource(request)
        except StatusError as error:
            return web.json_response(error.body(), status=error.code)

    def _group_list(self) -> Body:
        groups = []
        for kind in KINDS.values():
            if kind.group and kind.group in self.groups:
                version = {"groupVersion": kind.api_version, "version": kind.version}
                groups.append(
                    {"name": kind.group, "versions": [version], "preferredVersion": version}
                )
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}

    async def _resource(self, request: web.Request) -> web.StreamResponse:
        kind, namespace, name, part = _parse(request.path)
        if kind is None or (kind.group and kind.group not in self.groups):
            raise StatusError(404, "NotFound", "the server could not find the requested resource")
        watching = request.query.get("watch") == "true"
        verb = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}.get(request.method, "get")
        if not name and verb == "get":
            verb = "watch" if watching else "list"
        self._authorise(verb, kind, namespace, name, part)
        if verb == "watch":
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            with contextlib.suppress(ConnectionResetError):  # who watched has gone
                await self._watch(request, response, kind, namespace)
            return response
        if verb == "list":
            return web.json_response(self._list(request, kind, namespace))
        if verb == "get":
            return web.json_response(self.store.get(kind.plural, namespace, name))
        body = await request.json()
        if verb == "create":
            body.setdefault("metadata", {})["namespace"] = namespace
            return web.json_response(self.store.create(kind.plural, body), status=201)
        if verb == "delete":
            return web.json_response(self.store.delete(kind.plural, namespace, name, body))
        if request.content_type != "application/merge-patch+json":
            raise StatusError(415, "UnsupportedMediaType", "the body of the request was in an ...")
        return web.json_response(self._patch(kind, namespace, name, part, body))

    def _patch(self, kind: Kind, namespace: str, name: str, part: str, body: Body) -> Body:
        if self.conflicts:
            self.conflicts -= 1
            touched = self.store.get(kind.plural, namespace, name)
            touched["metadata"].setdefault("annotations", {})["touched"] = str(self.conflicts)
            self.store.version += 1
            touched["metadata"]["resourceVersion"] = str(self.store.version)
        return self.store.patch(kind.plural, namespace, name, body, part=part)

    def _authorise(self, verb: str, kind: Kind, namespace: str, name: str, part: str) -> None:
        # staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters, ForbiddenMessage.
        resource = f"{kind.plural}/{part}" if part else kind.plural
        self.asked.add((verb, kind.group, resource))
        if (verb, resource) not in self.forbidden:
            return
        subject = f'{kind.qualified} "{name}"' if name else kind.qualified
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        raise StatusError(
            403,
            "Forbidden",
            f'{subject} is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API '
            f'group "{kind.group}" {where}',
        )

    def _list(self, request: web.Request, kind: Kind, namespace: str) -> Body:
        items = [
            body
            for body in self.store.all(kind.plural)
            if _matches(body, namespace, request.query.get("labelSelector", ""))
        ]
        first = int(request.query.get("continue", "0"))
        limit = int(request.query.get("limit", "0")) or len(items)
        about = {"resourceVersion": str(self.store.version)}
        if first + limit < len(items):
            about["continue"] = str(first + limit)
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": about,
            "items": items[first : first + limit],
        }

    async def _watch(
        self, request: web.Request, response: web.StreamResponse, kind: Kind, namespace: str
    ) -> None:
        """Send events until the time is over; a version too old is an event of its own.

        staging/src/k8s.io/apiserver/pkg/endpoints/handlers/watch.go.
        """
        version = int(request.query["resourceVersion"])
        selector = request.query.get("labelSelector", "")
        until = self.loop.time() + float(request.query.get("timeoutSeconds", "60"))
        marked = self.loop.time()
        while self._runner is not None and self.loop.time() < until:
            changed = self._changed
            await self._going.wait()
            try:
                for event in self.store.since(kind.plural, version):
                    version = event.version
                    if _matches(event.body, namespace, selector):
                        await _send(response, event.kind, event.body)
            except StatusError as error:
                await _send(response, "ERROR", error.body())
                return
            if self.loop.time() - marked > BOOKMARK_SECONDS:
                marked, version = self.loop.time(), self.store.version
                about = {"resourceVersion": str(version)}
                mark = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": about}
                await _send(response, "BOOKMARK", mark)
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                continue


async def _send(response: web.StreamResponse, kind: str, body: Body) -> None:
    await response.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")


def _parse(path: str) -> tuple[Kind | None, str, str, str]:
    """Return kind, namespace, name and subresource of a path."""
    for kind in KINDS.values():
        if not path.startswith(f"{kind.prefix}/"):
            continue
        words = path.removeprefix(f"{kind.prefix}/").split("/")
        namespace = ""
        if words[0] == "namespaces" and len(words) > 2:
            namespace, words = words[1], words[2:]
        if words[0] == kind.plural:
            name, part = [*words[1:], "", ""][:2]
            return kind, namespace, name, part
    return None, "", "", ""


def _matches(body: Body, namespace: str, selector: str) -> bool:
    """Return whether an object is of a namespace and has the labels, given as "a,b=c"."""
    about = body["metadata"]
    if namespace and about["namespace"] != namespace:
        return False
    labels = about.get("labels", {})
    for wanted in filter(None, selector.split(",")):
        key, equals, value = wanted.partition("=")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True
