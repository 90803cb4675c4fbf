"""The one part that talks to the hub: a thread with its own event loop; it only posts messages."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colossus_tui.model import Action, ActionParameters, Found, MapRequest, Verb, View
from colossus_tui.tui.messages import (
    ActionAnswered,
    ActionChanged,
    ActionFailed,
    BulkChanged,
    BulkPreflightReceived,
    FoundReceived,
    IncidentAnswered,
    JournalReceived,
    LinkChanged,
    Noted,
    PreflightReceived,
    ViewReceived,
)
from colossus_tui.tui.readers import IncidentReader

if TYPE_CHECKING:
    from textual.message import Message

    from colossus_tui.client import AsyncClient

RETRY_SECONDS = 0.5
BULK_PERIOD_SECONDS = 0.5  # how often the hub is asked how the actions of a bulk stand
BULK_CALLS = 16  # at once
END_SECONDS = 2.0  # for the hub to tell how an action ended
JOURNAL_LIMIT, OPEN_LIMIT = 200, 500
FOUND_LIMIT = 20  # GPUs that a list shows
JOURNAL_SECONDS = 10.0  # the journal is read again also when nothing new is known of it


@dataclass(frozen=True, slots=True)
class TimelineWanted:
    """Which timeline: of a run, or of the site; to `end_unix_ns`, or to now where that is 0."""

    run_id: str = ""
    seconds: float = 900.0
    end_unix_ns: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the screen shows, so what the hub must send."""

    nodes: bool = False
    run_id: str = ""
    node_name: str = ""
    series: tuple[str, ...] = ()
    max_points: int = 0
    journal: bool = False  # of the run, if one is named
    map: MapRequest | None = None
    curves: bool = False
    span_seconds: float = 0.0  # that the series reach back; 0 for what the finest level holds
    idle: bool = False
    incidents: bool = False
    incident_id: int = 0  # in full
    timeline: TimelineWanted | None = None
    power: bool = False
    power_hall: str = ""  # whose racks are opened


@dataclass(frozen=True, slots=True)
class Order:
    """One action to ask for; the id is the console's own, so that it knows what it hears of it."""

    action_id: str
    verb: Verb
    subject: str
    parameters: ActionParameters
    generation: int

    @property
    def run_id(self) -> str:
        """Name of the run; "" for a verb on a node, which its parameters name, or on the site."""
        return self.subject if self.verb.is_on_run else ""


class Feed:
    """Reads the view that is wanted and carries out requests, off the drawing thread.

    Args:
        address: Hub, or None for this user's own.
        post: Thread-safe; takes messages.
        looks_only: Whether the hub must refuse whatever would change something.
    """

    def __init__(
        self,
        address: str | None,
        post: Callable[[Message], object],
        *,
        looks_only: bool = False,
    ) -> None:
        self._address = address
        self._looks_only = looks_only
        self._post = post
        self._wanted = Wanted()
        self._loop = asyncio.new_event_loop()
        self._client: AsyncClient | None = None
        self._watching: asyncio.Task[None] | None = None
        self._main_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._recording: asyncio.Task[None] | None = None
        self._replay_turn = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin; the client's libraries are loaded in the feed's own thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._cancel)
        self._thread.join(2.0)

    def show(self, wanted: Wanted) -> None:
        """Change what the hub sends; takes effect at once."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._call(self._rewatch)

    def preview(self, verb: Verb, subject: str, parameters: ActionParameters) -> None:
        """Ask for a preflight; the answer comes as a message."""
        self._start(lambda: self._preview(verb, subject, parameters))

    def preview_bulk(
        self, verb: Verb, run_ids: Sequence[str], parameters: ActionParameters
    ) -> None:
        """Ask for one preflight for several runs; the answer comes as a message."""
        self._start(lambda: self._preview_bulk(verb, run_ids, parameters))

    def submit(self, order: Order) -> None:
        """Ask for an action; all its stages come as messages."""
        self._start(lambda: self._submit(order))

    def submit_all(self, bulk_id: str, orders: Sequence[Order]) -> None:
        """Ask for several actions; how they stand comes as messages until all have ended."""
        self._start(lambda: self._submit_all(bulk_id, orders))

    def cancel(self, action_id: str) -> None:
        """Take an action back; the hub's answer comes as a message."""
        self._start(lambda: self._answer(action_id, "cancel"))

    def approve(self, action_id: str) -> None:
        """Approve an action; the hub's answer comes as a message."""
        self._start(lambda: self._answer(action_id, "approve"))

    def acknowledge(self, incident_id: int) -> None:
        """Say that this operator looks after an incident; the answer comes as a message."""
        self._start(lambda: self._say(incident_id, None))

    def silence(self, incident_id: int, seconds: float) -> None:
        """Silence an incident, 0 s for no longer; the answer comes as a message."""
        self._start(lambda: self._say(incident_id, seconds))

    def find(self, text: str, wheres: Sequence[str]) -> None:
        """Look for GPUs by the first of these filters that meets any; they come as a message."""
        self._start(lambda: self._find(text, wheres))

    def step(self, seconds: float) -> None:
        """Move a replay forward, or back."""
        self._start(lambda: self._replay(lambda client: client.step(seconds)))

    def set_pace(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        """Change a replay's speed, let it stand still, or go on."""
        self._start(
            lambda: self._replay(lambda client: client.set_pace(speed=speed, paused=paused))
        )

    def next_alert(self) -> None:
        """Move a replay to the next alert; that there is none comes as a message."""
        self._start(self._next_alert)

    def record(self) -> None:
        """Begin to record into a file, or end it; where it is comes as a message."""
        self._call(self._toggle_recording)

    # --- in the feed's thread ----------------------------------------------------------------

    def _call(self, work: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the app is ending
            self._loop.call_soon_threadsafe(work)

    def _start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._call(lambda: self._spawn(work()))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._main_task = self._loop.create_task(self._main())
        try:
            with contextlib.suppress(asyncio.CancelledError):
                self._loop.run_until_complete(self._main_task)
        finally:
            self._loop.close()

    def _cancel(self) -> None:
        if self._main_task is not None:
            self._main_task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _rewatch(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    async def _main(self) -> None:
        from colossus_tui.client import AsyncClient, settle

        try:
            async with AsyncClient(self._address, looks_only=self._looks_only) as client:
                self._client = client
                await self._watch_all(client)
        finally:
            for task in (self._watching, *self._tasks):
                if task is not None:
                    task.cancel()
            await settle()

    async def _watch_all(self, client: AsyncClient) -> None:
        """Watch what is wanted; when that changes, this watch is cancelled for the next one."""
        while True:
            self._watching = asyncio.ensure_future(self._watch(client, self._wanted))
            try:
                await self._watching
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise

    async def _watch(self, client: AsyncClient, wanted: Wanted) -> None:
        from colossus_tui.client import ColossusError

        journal = _Journal(client, wanted, self._post)
        incidents = IncidentReader(client, wanted.incident_id, wanted.timeline, self._post)
        try:
            async for view in client.watch(
                runs=True,
                nodes=wanted.nodes,
                run_id="" if wanted.journal else wanted.run_id,
                node_name=wanted.node_name,
                events=True,
                series=wanted.series,
                max_points=wanted.max_points,
                map=wanted.map,
                curves=wanted.curves,
                span=wanted.span_seconds,
                idle=wanted.idle,
                incidents=wanted.incidents,
                power=wanted.power,
                power_hall=wanted.power_hall,
            ):
                self._post(LinkChanged(True))
                self._post(ViewReceived(view))
                await journal.follow(view)
                await incidents.follow(view)
            self._post(LinkChanged(False, "the hub closed the view"))
        except ColossusError as error:
            self._post(LinkChanged(False, str(error)))
        await asyncio.sleep(RETRY_SECONDS)

    async def _preview(self, verb: Verb, subject: str, parameters: ActionParameters) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        run_id = subject if verb.is_on_run else ""
        try:
            preflight = await self._client.preview(verb, run_id, parameters)
        except ColossusError as error:
            self._post(ActionFailed(verb, subject, str(error)))
            return
        self._post(PreflightReceived(subject, preflight))

    async def _preview_bulk(
        self, verb: Verb, run_ids: Sequence[str], parameters: ActionParameters
    ) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        try:
            preflight = await self._client.preview_bulk(verb, run_ids, parameters)
        except ColossusError as error:
            self._post(ActionFailed(verb, "", str(error)))
            return
        self._post(BulkPreflightReceived(preflight))

    async def _say(self, incident_id: int, seconds: float | None) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        word = "acknowledge" if seconds is None else "silence"
        try:
            if seconds is None:
                incident = await self._client.acknowledge(incident_id)
            else:
                incident = await self._client.silence(incident_id, seconds)
        except ColossusError as error:
            self._post(IncidentAnswered(incident_id, word, None, str(error)))
            return
        self._post(IncidentAnswered(incident_id, word, incident))

    async def _find(self, text: str, wheres: Sequence[str]) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        found: Found | None = None
        try:
            for where in wheres:
                if (found := await self._client.find_gpus(where, limit=FOUND_LIMIT)).gpus:
                    break
        except ColossusError as error:
            self._post(FoundReceived(text, None, str(error)))
        else:
            self._post(FoundReceived(text, found))

    async def _asked(self, order: Order) -> Action:
        assert self._client is not None
        return await self._client.submit(
            order.verb,
            order.run_id,
            order.parameters,
            expected_generation=order.generation,
            reason="from the console",
            action_id=order.action_id,
        )

    async def _submit(self, order: Order) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        try:
            action = await self._asked(order)
            self._post(ActionChanged(action))
            if not action.state.is_end:
                async for newer in self._client.follow(action.action_id):
                    self._post(ActionChanged(newer))
        except ColossusError as error:
            self._post(ActionFailed(order.verb, order.subject, str(error)))

    async def _submit_all(self, bulk_id: str, orders: Sequence[Order]) -> None:
        """Ask for each, then ask the hub how all stand: one call, not a stream for each."""
        from colossus_tui.client import ColossusError

        assert self._client is not None
        actions: dict[str, Action] = {}
        gate = asyncio.Semaphore(BULK_CALLS)

        async def ask(order: Order) -> None:
            try:
                async with gate:
                    action = await self._asked(order)
            except ColossusError as error:
                self._post(ActionFailed(order.verb, order.subject, str(error)))
                return
            actions[action.action_id] = action

        async with asyncio.TaskGroup() as tasks:
            for order in orders:
                tasks.create_task(ask(order))
        while True:
            self._post(BulkChanged(bulk_id, list(actions.values())))
            going = [action for action in actions.values() if not action.state.is_end]
            if not going:
                return
            await asyncio.sleep(BULK_PERIOD_SECONDS)
            with contextlib.suppress(ColossusError):  # it is asked again; the header says it
                async for action in self._newer(going):
                    actions[action.action_id] = action

    async def _newer(self, going: Sequence[Action]) -> AsyncIterator[Action]:
        """Yield these actions as they are now; one that is listed as open no more has ended."""
        assert self._client is not None
        listed = await self._client.actions(open_only=True, limit=OPEN_LIMIT)
        still = {action.action_id: action for action in listed}
        for action in going:
            action_id = action.action_id
            yield still.get(action_id) or await self._client.wait(action_id, END_SECONDS)

    async def _answer(self, action_id: str, word: str) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        call = self._client.cancel if word == "cancel" else self._client.approve
        try:
            await call(action_id)
        except ColossusError as error:
            self._post(ActionAnswered(action_id, word, str(error)))
            return
        self._post(ActionAnswered(action_id, word, ""))

    async def _replay(self, call: Callable[[AsyncClient], Awaitable[object]]) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        try:
            async with self._replay_turn:  # one key after the other, as they were pressed
                await call(self._client)
        except ColossusError as error:
            self._post(Noted("replay", str(error), good=False))

    async def _next_alert(self) -> None:
        async def go(client: AsyncClient) -> None:
            if await client.next_alert() is None:
                self._post(Noted("replay", "nothing more goes wrong in this recording"))

        await self._replay(go)

    def _toggle_recording(self) -> None:
        if self._recording is not None and not self._recording.done():
            self._recording.cancel()
            return
        self._recording = self._loop.create_task(self._record())
        self._tasks.add(self._recording)
        self._recording.add_done_callback(self._tasks.discard)

    async def _record(self) -> None:
        """Record until cancelled."""
        from colossus_tui.client import ColossusError, recording_path

        assert self._client is not None
        path = recording_path().absolute()
        self._post(Noted("recording", f"the same key ends it; it goes into {path}"))
        try:
            await self._client.record(path)
        except ColossusError as error:
            self._post(Noted("recording", str(error), good=False))
        except asyncio.CancelledError:
            self._post(Noted("recorded", f"colossus replay {path}"))
            raise


class _Journal:
    """Reads the actions that a screen wants, when the view says that one has changed."""

    def __init__(
        self, client: AsyncClient, wanted: Wanted, post: Callable[[Message], object]
    ) -> None:
        self._client, self._wanted, self._post = client, wanted, post
        self._seen: tuple[tuple[str, int], ...] | None = None
        self._read = 0.0

    async def follow(self, view: View) -> None:
        """Read the journal again, if need be."""
        if not self._wanted.journal:
            return
        now = asyncio.get_running_loop().time()
        seen = tuple((action.action_id, action.updated_time_unix_ns) for action in view.actions)
        if seen == self._seen and now - self._read < JOURNAL_SECONDS:
            return
        run_id = self._wanted.run_id
        newest = await self._client.actions(run_id=run_id, limit=JOURNAL_LIMIT)
        still = await self._client.actions(run_id=run_id, limit=OPEN_LIMIT, open_only=True)
        both = {action.action_id: action for action in (*newest, *still)}
        self._seen, self._read = seen, now
        self._post(JournalReceived(list(both.values())))
