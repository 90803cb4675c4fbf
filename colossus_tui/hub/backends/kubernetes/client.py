"""The API server over HTTP: objects as plain mappings; what goes wrong in the server's own words.

The one place that knows the client library, which finds the server and proves who we are. Its
generated models are left aside: a pod as a model costs many times what it costs as it came.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import aiohttp
from kubernetes_asyncio.client.api_client import ApiClient
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config
from yaml import YAMLError

from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.kubernetes.shapes import Object, at, objects
from colossus_tui.text import safe

TIMEOUT_SECONDS = 20.0
QUIET_SECONDS = 90.0  # a watch that says nothing for so long, not even a bookmark, is dead
ANSWER = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
WATCH = aiohttp.ClientTimeout(connect=TIMEOUT_SECONDS, sock_read=QUIET_SECONDS)
PAGE_SIZE = 500
BODY_LIMIT = 256 * 1024 * 1024
WORDS_LIMIT = 400
# A kubeconfig is what somebody has written: it may be anything.
_UNREADABLE = (
    ConfigException,
    YAMLError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


class KubernetesError(Exception):
    """A question was not answered as hoped; the message is the API server's.

    Attributes:
        status: HTTP status; 0 where nothing answered.
    """

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(safe(text, WORDS_LIMIT))
        self.status = status

    @property
    def denied(self) -> bool:
        """Whether it does not know us, or we may not do this."""
        return self.status in (401, 403)

    @property
    def away(self) -> bool:
        """Whether nobody answered, or somebody who cannot now."""
        return self.status in (0, 429) or self.status >= 500


class KubernetesClient:
    """One API server."""

    def __init__(self, config: KubernetesConfig) -> None:
        self._config = config
        self._api: ApiClient | None = None

    async def close(self) -> None:
        """Let go of all connections; the next question makes new ones and looks anew who we are."""
        api, self._api = self._api, None
        if api is not None:
            await api.close()

    async def get(self, path: str) -> Object:
        """Return one object.

        Raises:
            KubernetesError: There is none, or the server did not answer.
        """
        return await self._json("GET", path)

    async def list(self, path: str, selector: str = "") -> tuple[str, Sequence[Object]]:
        """Return the version of a list and all that is in it, read in pages.

        Raises:
            KubernetesError: The server did not answer.
        """
        items: list[Object] = []
        more = ""
        while True:
            query = [("limit", str(PAGE_SIZE)), *_given(labelSelector=selector)]
            # "continue" is a keyword of Python's, so it cannot be named like the others.
            page = await self._json("GET", path, [*query, *([("continue", more)] if more else [])])
            items += objects(page.get("items"))
            more = str(at(page, "metadata", "continue") or "")
            if not more:
                return str(at(page, "metadata", "resourceVersion") or ""), items

    async def watch(
        self, path: str, version: str, selector: str, seconds: float
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield OPENED, then what happens: ADDED, MODIFIED, DELETED or BOOKMARK with its object.

        Ends when the server ends it after so many seconds.

        Raises:
            KubernetesError: It broke; with status 410 when the version is too old.
        """
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(int(seconds))),
            *_given(labelSelector=selector),
        ]
        try:
            response = await self._open("GET", path, query, WATCH)
            async with response:
                await self._raise_for(response)
                yield "OPENED", {}
                while line := await response.content.readline():
                    yield _event(line)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise KubernetesError(_words(error)) from None

    async def patch(self, path: str, change: Object) -> Object:
        """Merge a change into an object and return what it is then.

        Raises:
            KubernetesError: It was refused; with status 409 when it is no longer as it was read.
        """
        return await self._json("PATCH", path, body=change)

    async def delete(self, path: str, uid: str) -> None:
        """Delete exactly this object once all that belongs to it is gone.

        Raises:
            KubernetesError: It was refused.
        """
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        await self._json("DELETE", path, body=body)

    async def _json(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]] = (),
        body: Object | None = None,
    ) -> Object:
        try:
            response = await self._open(method, path, query, ANSWER, body)
            async with response:
                await self._raise_for(response)
                value = json.loads(await _read(response))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise KubernetesError(_words(error)) from None
        if not isinstance(value, dict):
            raise KubernetesError(f"{path} gave no object", 500)
        return value

    async def _open(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        limits: aiohttp.ClientTimeout,
        body: Object | None = None,
    ) -> aiohttp.ClientResponse:
        api = self._api or await self._connect()
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        response = await api.call_api(
            path,
            method,
            query_params=list(query),
            header_params={"Accept": "application/json", "Content-Type": kind},
            body=body,
            auth_settings=["BearerToken"],
            _preload_content=False,
            _request_timeout=limits,
        )
        assert isinstance(response, aiohttp.ClientResponse)
        return response

    async def _connect(self) -> ApiClient:
        settings = Configuration()
        file, context = self._config.kubeconfig, self._config.context
        try:
            if file is None:
                load_incluster_config(settings)
            else:
                await load_kube_config(str(file), context or None, settings, persist_config=False)
        except _UNREADABLE as error:
            where = f"kubeconfig {file}" if file else "the account of the hub's pod"
            raise KubernetesError(f"{where}: {_words(error)}") from None
        self._api = ApiClient(settings)
        return self._api

    async def _raise_for(self, response: aiohttp.ClientResponse) -> None:
        if response.status < 300:
            return
        if response.status == 401:
            await self.close()  # a token has run out: the file or the pod may have a newer one
        text = await _read(response)
        try:
            words = json.loads(text).get("message")
        except (ValueError, AttributeError):
            words = text.decode("utf-8", "replace")[:WORDS_LIMIT]
        raise KubernetesError(str(words or response.reason or "no reason given"), response.status)


def _given(**values: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in values.items() if value]


async def _read(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > BODY_LIMIT:
            raise ValueError(f"an answer of over {BODY_LIMIT} bytes")
    return b"".join(chunks)


def _event(line: bytes) -> tuple[str, Object]:
    event = json.loads(line)
    found = event.get("object") if isinstance(event, dict) else None
    if not isinstance(found, dict):
        raise ValueError("a watch gave no object")
    kind = event.get("type")
    if kind == "ERROR":
        code = found.get("code")
        message = str(found.get("message") or "the watch broke")
        raise KubernetesError(message, code if isinstance(code, int) else 500)
    return str(kind), found


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} s"
    return str(error) or type(error).__name__
