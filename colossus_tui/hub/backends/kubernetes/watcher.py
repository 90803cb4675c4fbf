"""What one Kubernetes holds of runs, kept by watches that slow down when nobody answers."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace

from colossus_tui.hub.actions.ports import EventLog
from colossus_tui.hub.backends.base import RunSightings, Sighting
from colossus_tui.hub.backends.kubernetes import shapes
from colossus_tui.hub.backends.kubernetes.client import KubernetesClient, KubernetesError
from colossus_tui.hub.backends.kubernetes.config import KubernetesConfig
from colossus_tui.hub.backends.kubernetes.shapes import Object
from colossus_tui.hub.backends.kubernetes.sightings import Whole, gather, sighting
from colossus_tui.model import Event, RunState, Severity

LOG = logging.getLogger(__name__)
CALL_SECONDS = 1.0  # between two questions of one watch
BACKOFF_SECONDS = 30.0
SETTLE_SECONDS = 0.1  # changes come in flocks: they are told once
GONE_SECONDS = 60.0
POD_SELECTOR = "job-name"
GROUPS = {"jobset.x-k8s.io": "jobsets", "kueue.x-k8s.io": "workloads"}


class Stream:
    """One kind of object in one namespace, or in all: what it is now, by identity."""

    def __init__(self, kind: str, prefix: str, namespace: str, selector: str) -> None:
        self.kind = kind
        self.prefix = prefix
        self.selector = selector
        self.path = f"{prefix}/namespaces/{namespace}/{kind}" if namespace else f"{prefix}/{kind}"
        self.version = ""  # that a watch goes on from; "" for a list
        self.is_read = False
        self.objects: dict[str, Object] = {}

    def take(self, version: str, items: list[Object]) -> None:
        """Take a list in place of all that was known."""
        self.objects = {shapes.uid(item): _kept(item) for item in items}
        self.version, self.is_read = version, True

    def apply(self, change: str, item: Object) -> bool:
        """Take one event of a watch; return whether it changed anything."""
        self.version = shapes.text(item, "metadata", "resourceVersion") or self.version
        if change == "DELETED":
            return self.objects.pop(shapes.uid(item), None) is not None
        if change not in ("ADDED", "MODIFIED"):
            return False
        self.objects[shapes.uid(item)] = _kept(item)
        return True


class Watcher:
    """Follows one Kubernetes and tells the registry what has changed.

    Attributes:
        wholes: All that makes each run, by its name.
        is_told: Whether they were told at least once: before, who is not among them may come yet.
        prefixes: Path of the API that has each kind.
        away_since: Hub's monotonic clock since Kubernetes does not answer; 0 while it does.
        why_away: What it last said instead.
    """

    def __init__(
        self,
        config: KubernetesConfig,
        client: KubernetesClient,
        registry: RunSightings,
        events: EventLog,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._client = client
        self._registry = registry
        self._events = events
        self._clock = clock
        self._streams: list[Stream] = []
        self._errors: dict[str, str] = {}
        self._dirty = asyncio.Event()
        self._round: asyncio.Future[None] | None = None
        self._told: dict[str, Sighting] = {}
        self._gone: dict[str, tuple[float, Sighting]] = {}
        self.wholes: Mapping[str, Whole] = {}
        self.is_told = False
        self.prefixes = {"jobs": "/apis/batch/v1", "pods": "/api/v1"}
        self.away_since = 0.0
        self.why_away = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell())
                await self._beat(tasks)
        finally:
            await self._client.close()

    async def next_change(self, seconds: float) -> None:
        """Return once something was told anew, or after so many seconds."""
        if self._round is None or self._round.done():
            self._round = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._round)
        except TimeoutError:
            return

    # --- asking ----------------------------------------------------------------------------

    async def _beat(self, tasks: asyncio.TaskGroup) -> None:
        """Ask now and then whether it is there, and seldom which kinds it has."""
        failures, due = 0, 0.0
        while True:
            try:
                if self._clock() >= due:
                    await self._find_kinds(tasks)
                    due = self._clock() + self._config.resync_seconds
                else:
                    await self._client.get("/version")
            except KubernetesError as error:
                failures += 1
                self._fail("server", str(error))
            else:
                failures = 0
                self._clear("server")
                self._dirty.set()  # what is unchanged is not old either
            await asyncio.sleep(_backoff(failures) if failures else self._config.poll_seconds)

    async def _find_kinds(self, tasks: asyncio.TaskGroup) -> None:
        found = await self._client.get("/apis")
        for group in shapes.objects(found.get("groups")):
            kind = GROUPS.get(shapes.text(group, "name"))
            version = shapes.text(group, "preferredVersion", "groupVersion")
            if kind is not None and version:
                self.prefixes[kind] = f"/apis/{version}"
        followed = {stream.kind for stream in self._streams}
        wanted = self._config.label_selector
        selectors = {
            "pods": (POD_SELECTOR,),
            # A JobSet's Jobs need not have the labels of the JobSet.
            "jobs": (wanted, shapes.JOBSET_NAME) if wanted else ("",),
            "jobsets": (wanted,),
            "workloads": ("",),
        }
        for kind, prefix in self.prefixes.items():
            for namespace in self._config.namespaces or ("",):
                for selector in selectors[kind] if kind not in followed else ():
                    stream = Stream(kind, prefix, namespace, selector)
                    self._streams.append(stream)
                    tasks.create_task(self._follow(stream))

    async def _follow(self, stream: Stream) -> None:
        failures = 0
        relist = self._clock() + self._config.resync_seconds
        while True:
            started = self._clock()
            try:
                if not stream.version or started >= relist:
                    stream.take(*await self._list(stream))
                    self._dirty.set()
                    relist = self._clock() + self._config.resync_seconds
                await self._watch(stream, max(relist - self._clock(), CALL_SECONDS))
                failures = 0
            except KubernetesError as error:
                if error.status == 410:
                    stream.version = ""  # too old to go on from
                elif error.status == 404:
                    failures = 5  # the kind itself was taken away, and may come back
                    stream.take("", [])
                    self._clear(stream.path)
                    self._dirty.set()
                else:
                    failures += 1
                    self._fail(stream.path, str(error))
            pause = _backoff(failures) if failures else started + CALL_SECONDS - self._clock()
            await asyncio.sleep(max(pause, 0.0))

    async def _list(self, stream: Stream) -> tuple[str, list[Object]]:
        version, items = await self._client.list(stream.path, stream.selector)
        return version, list(items)

    async def _watch(self, stream: Stream, seconds: float) -> None:
        watch = self._client.watch(stream.path, stream.version, stream.selector, seconds)
        async for change, item in watch:
            if change == "OPENED":
                self._clear(stream.path)
            elif stream.apply(change, item):
                self._dirty.set()

    # --- telling ---------------------------------------------------------------------------

    async def _tell(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._dirty.clear()
            is_read = bool(self._streams) and all(stream.is_read for stream in self._streams)
            if is_read and not self._errors:
                self._publish()
            waiting, self._round = self._round, None
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _publish(self) -> None:
        kinds: dict[str, dict[str, Object]] = defaultdict(dict)
        for stream in self._streams:
            kinds[stream.kind].update(stream.objects)
        names = ("jobs", "jobsets", "pods", "workloads")
        self.wholes = gather(*(kinds[name].values() for name in names))
        told = {
            run_id: sighting(whole, self._config.class_of_name)
            for run_id, whole in self.wholes.items()
        }
        self._told, before = told, self._told
        self._registry.take_sightings("kubernetes", {**self._deleted(before, told), **told})
        self.is_told = True

    def _deleted(
        self, before: Mapping[str, Sighting], told: Mapping[str, Sighting]
    ) -> dict[str, Sighting]:
        """Return runs whose objects are gone since a short while: somebody has ended them."""
        now = self._clock()
        for run_id, last in before.items():
            if run_id not in told and not last.state.is_over:
                job = replace(last.job, state="Deleted", reason="", held=False, node_names=())
                ended = replace(last, state=RunState.STOPPED, why="it was deleted", job=job)
                self._gone[run_id] = now + GONE_SECONDS, ended
        self._gone = {r: found for r, found in self._gone.items() if now < found[0]}
        return {run_id: ended for run_id, (_, ended) in self._gone.items()}

    def _fail(self, what: str, why: str) -> None:
        self._errors[what] = why
        self.why_away = why
        if not self.away_since:
            self.away_since = self._clock()
            text = f"Kubernetes does not answer: {why}; what is shown of its runs grows old"
            self._events.add(Event(severity=Severity.WARNING, kind="kubernetes.away", message=text))
            LOG.warning("kubernetes=away detail=%r", why)
        self._registry.lose_sight("kubernetes", why)

    def _clear(self, what: str) -> None:
        self._errors.pop(what, None)
        if self._errors or not self.away_since:
            return
        seconds = self._clock() - self.away_since
        text = f"Kubernetes answers again after {seconds:.0f} s"
        self._events.add(Event(severity=Severity.INFO, kind="kubernetes.back", message=text))
        self.away_since, self.why_away = 0.0, ""
        self._dirty.set()


def _backoff(failures: int) -> float:
    return min(CALL_SECONDS * 2.0**failures, BACKOFF_SECONDS) * random.uniform(0.5, 1.0)


def _kept(item: Object) -> Object:
    """Return an object without the record of who set which field, often half of it."""
    about = item.get("metadata")
    if not isinstance(about, dict) or "managedFields" not in about:
        return item
    kept = {key: value for key, value in about.items() if key != "managedFields"}
    return {**item, "metadata": kept}
