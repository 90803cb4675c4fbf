"""The blocking client: the asyncio client on an event loop in a thread, one for all of a process.

Every method takes and returns what the one of the same name in AsyncClient does; a test holds that.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from colossus_tui.client._async import AsyncClient
from colossus_tui.client._connection import settle
from colossus_tui.client._sync_incidents import SyncIncidentCalls
from colossus_tui.client._sync_verbs import SyncVerbs
from colossus_tui.client.errors import ColossusError
from colossus_tui.model import (
    Action,
    ActionParameters,
    BulkPreflight,
    Curve,
    Event,
    Found,
    Gpu,
    Hub,
    IdleView,
    MapRequest,
    Mark,
    Node,
    NodeDetail,
    Place,
    PlaceKind,
    Playback,
    PowerView,
    Preflight,
    Run,
    RunDetail,
    Series,
    Site,
    SiteMap,
    Verb,
    View,
)

CLOSED = "the client is closed"
T = TypeVar("T")


class _Thread:
    """The event loop of all blocking clients that are open, in a thread of its own.

    One, because grpc wakes all loops of a process through one socket, and a loop that ends may take
    the word that was for another with it (grpc/grpc#25364).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None

    def begin(self) -> asyncio.AbstractEventLoop:
        """Return the loop, for one more client."""
        with self._lock:
            if self._running is None:
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=loop.run_forever, name="colossus-client", daemon=True
                )
                thread.start()
                self._running = loop, thread
            self._users += 1
            return self._running[0]

    def end(self) -> None:
        """Let go of the loop; it ends with its last client."""
        with self._lock:
            self._users -= 1
            if self._users or self._running is None:
                return
            (loop, thread), self._running = self._running, None
            asyncio.run_coroutine_threadsafe(settle(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


_THREAD = _Thread()


class Client(SyncVerbs, SyncIncidentCalls):
    """Talks to one hub, blocking; use it as a context manager, or close it.

    Args:
        address: unix:/path or HOST:PORT; default COLOSSUS_HUB, else this user's own hub.
        timeout: Deadline of every call, seconds.
        operator: Who is named in the journal; default the user's name.
    """

    def __init__(
        self, address: str | None = None, *, timeout: float = 5.0, operator: str | None = None
    ) -> None:
        self._loop = _THREAD.begin()
        self._is_open = True
        try:
            self._client = self._run(_make(address, timeout, operator))
        except BaseException:
            _THREAD.end()
            raise
        self.address = self._client.address

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        if not self._is_open:
            return
        self._is_open = False
        try:
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        finally:
            _THREAD.end()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._is_open:
            work.close()
            raise ColossusError(CLOSED)
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ColossusError(CLOSED) from None
        except BaseException:
            future.cancel()
            raise

    def _iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        end = object()

        async def following() -> T | object:
            return await anext(source, end)

        try:
            while (value := self._run(following())) is not end:
                yield value  # type: ignore[misc]  # `end` is the only other object
        finally:
            close = getattr(source, "aclose", None)
            if close is not None and self._is_open:
                self._run(close())

    def runs(self) -> tuple[Run, ...]:
        """Return every run, by class, then name."""
        return self._run(self._client.runs())

    def site(self) -> Site:
        """Return the site in one line."""
        return self._run(self._client.site())

    def run(self, run_id: str) -> RunDetail:
        """Return one run down to its ranks."""
        return self._run(self._client.run(run_id))

    def nodes(self) -> tuple[Node, ...]:
        """Return every node, by name."""
        return self._run(self._client.nodes())

    def node(self, node_name: str) -> NodeDetail:
        """Return one node down to its sensors and processes."""
        return self._run(self._client.node(node_name))

    def gpus(self, *, node_name: str = "", run_id: str = "") -> tuple[Gpu, ...]:
        """Return GPUs, of all nodes or of one, of all runs or of one."""
        return self._run(self._client.gpus(node_name=node_name, run_id=run_id))

    def events(
        self, *, run_id: str = "", node_name: str = "", limit: int = 0, after_event_id: int = 0
    ) -> tuple[Event, ...]:
        """Return events, newest first."""
        return self._run(
            self._client.events(
                run_id=run_id, node_name=node_name, limit=limit, after_event_id=after_event_id
            )
        )

    def history(
        self, run_id: str, series: Sequence[str], *, max_points: int = 0, since_unix_ns: int = 0
    ) -> tuple[Series, ...]:
        """Return series of a run, in the order asked for."""
        return self._run(
            self._client.history(run_id, series, max_points=max_points, since_unix_ns=since_unix_ns)
        )

    def curves(self, run_ids: Sequence[str] = ()) -> tuple[Curve, ...]:
        """Return how runs learned over their whole lives, of all runs or of these."""
        return self._run(self._client.curves(run_ids))

    def place_history(
        self,
        kind: PlaceKind,
        name: str,
        series: Sequence[str],
        *,
        max_points: int = 0,
        since_unix_ns: int = 0,
    ) -> tuple[Series, ...]:
        """Return series of the site, a hall or a run's GPUs, such as "power.sum"."""
        return self._run(
            self._client.place_history(
                kind, name, series, max_points=max_points, since_unix_ns=since_unix_ns
            )
        )

    def site_map(self, request: MapRequest) -> SiteMap:
        """Return a map of the site, a hall or a rack, with its layout."""
        return self._run(self._client.site_map(request))

    def hub(self) -> Hub:
        """Return how the hub itself fares."""
        return self._run(self._client.hub())

    def idle(self) -> IdleView:
        """Return GPUs that cost and do no work, by owner and hall."""
        return self._run(self._client.idle())

    def find_gpus(self, where: str = "", *, limit: int = 100, order: str = "") -> Found:
        """Return the first GPUs that a filter meets, and how many there are."""
        return self._run(self._client.find_gpus(where, limit=limit, order=order))

    def places(self, kind: PlaceKind, *, hall: str = "", name: str = "") -> tuple[Place, ...]:
        """Return places or runs with their roll-ups, by name."""
        return self._run(self._client.places(kind, hall=hall, name=name))

    def power(self, *, hall: str = "") -> PowerView:
        """Return the site's power against its limits, and its cooling loops."""
        return self._run(self._client.power(hall=hall))

    def watch(
        self,
        *,
        runs: bool = True,
        nodes: bool = False,
        run_id: str = "",
        node_name: str = "",
        events: bool = False,
        series: Sequence[str] = (),
        max_points: int = 0,
        period: float = 1.0,
        map: MapRequest | None = None,
        incidents: bool = False,
        idle: bool = False,
        curves: bool = False,
        span: float = 0.0,
        power: bool = False,
        power_hall: str = "",
    ) -> Iterator[View]:
        """Yield the view each time it changes, at most once a period, until the hub goes away."""
        return self._iterate(
            self._client.watch(
                runs=runs,
                nodes=nodes,
                run_id=run_id,
                node_name=node_name,
                events=events,
                series=series,
                max_points=max_points,
                period=period,
                map=map,
                incidents=incidents,
                idle=idle,
                curves=curves,
                span=span,
                power=power,
                power_hall=power_hall,
            )
        )

    def export_recording(self, path: Path, last_seconds: float = 0.0) -> int:
        """Write the last seconds of the hub's own recording; 0 is all. Returns its size, bytes."""
        return self._run(self._client.export_recording(path, last_seconds))

    def record(self, path: Path, seconds: float | None = None) -> int:
        """Record what this client may see, until interrupted or for so long."""
        return self._run(self._client.record(path, seconds))

    def playback(self) -> Playback | None:
        """Return where the replay stands; None of a hub, which is none."""
        return self._run(self._client.playback())

    def seek(self, time_unix_ns: int) -> Playback:
        """Move a replay to an instant."""
        return self._run(self._client.seek(time_unix_ns))

    def step(self, seconds: float) -> Playback:
        """Move a replay forward so many seconds, or back."""
        return self._run(self._client.step(seconds))

    def set_pace(self, *, speed: float | None = None, paused: bool | None = None) -> Playback:
        """Change a replay's speed, let it stand still, or go on."""
        return self._run(self._client.set_pace(speed=speed, paused=paused))

    def next_alert(self) -> Mark | None:
        """Move a replay to the next alert, where it stands still; None where none comes."""
        return self._run(self._client.next_alert())

    def actions(
        self,
        *,
        run_id: str = "",
        limit: int = 0,
        open_only: bool = False,
        action_id_prefix: str = "",
        parent_action_id: str = "",
    ) -> tuple[Action, ...]:
        """Return actions, newest first."""
        return self._run(
            self._client.actions(
                run_id=run_id,
                limit=limit,
                open_only=open_only,
                action_id_prefix=action_id_prefix,
                parent_action_id=parent_action_id,
            )
        )

    def preview(
        self, verb: Verb | str, run_id: str, parameters: ActionParameters | None = None
    ) -> Preflight:
        """Return what an action would cost; changes nothing."""
        return self._run(self._client.preview(verb, run_id, parameters))

    def preview_bulk(
        self,
        verb: Verb | str,
        run_ids: Sequence[str],
        parameters: ActionParameters | None = None,
    ) -> BulkPreflight:
        """Return what one verb on several runs would cost; changes nothing."""
        return self._run(self._client.preview_bulk(verb, run_ids, parameters))

    def submit(
        self,
        verb: Verb | str,
        run_id: str,
        parameters: ActionParameters | None = None,
        *,
        reason: str = "",
        expected_generation: int = 0,
        action_id: str | None = None,
    ) -> Action:
        """Ask for an action and return it as the hub took it: accepted or refused."""
        return self._run(
            self._client.submit(
                verb,
                run_id,
                parameters,
                reason=reason,
                expected_generation=expected_generation,
                action_id=action_id,
            )
        )

    def cancel(self, action_id: str) -> Action:
        """Take an action back while nothing of it is final."""
        return self._run(self._client.cancel(action_id))

    def approve(self, action_id: str) -> Action:
        """Approve an action that needs more than one operator."""
        return self._run(self._client.approve(action_id))

    def follow(self, action_id: str) -> Iterator[Action]:
        """Yield an action each time it changes, until it has ended."""
        return self._iterate(self._client.follow(action_id))

    def follow_all(
        self, action_ids: Sequence[str], *, approval_timeout: float | None = None
    ) -> Iterator[Action]:
        """Yield any of these actions each time it changes, until all have ended."""
        return self._iterate(self._client.follow_all(action_ids, approval_timeout=approval_timeout))

    def wait(self, action_id: str, timeout: float | None = None) -> Action:
        """Return the action once it has ended."""
        return self._run(self._client.wait(action_id, timeout))


async def _make(address: str | None, timeout: float, operator: str | None) -> AsyncClient:
    return AsyncClient(address, timeout=timeout, operator=operator)
