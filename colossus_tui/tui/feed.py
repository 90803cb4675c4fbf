"""The one part that talks to the hub: a thread with its own event loop; it only posts messages."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from colossus_tui.model import ActionParameters, Verb
from colossus_tui.tui.messages import (
    ActionChanged,
    ActionFailed,
    LinkChanged,
    PreflightReceived,
    ViewReceived,
)

if TYPE_CHECKING:
    from textual.message import Message

    from colossus_tui.client import AsyncClient

RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the screen shows, so what the hub must send."""

    nodes: bool = False
    run_id: str = ""
    node_name: str = ""
    series: tuple[str, ...] = ()
    max_points: int = 0


class Feed:
    """Reads the view that is wanted and carries out requests, off the drawing thread.

    Args:
        address: Hub, or None for this user's own.
        post: Thread-safe; takes messages.
    """

    def __init__(self, address: str | None, post: Callable[[Message], object]) -> None:
        self._address = address
        self._post = post
        self._wanted = Wanted()
        self._loop = asyncio.new_event_loop()
        self._client: AsyncClient | None = None
        self._watching: asyncio.Task[None] | None = None
        self._main_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
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

    def preview(self, verb: Verb, run_id: str, parameters: ActionParameters) -> None:
        """Ask for a preflight; the answer comes as a message."""
        self._call(lambda: self._spawn(self._preview(verb, run_id, parameters)))

    def submit(
        self, verb: Verb, run_id: str, parameters: ActionParameters, generation: int
    ) -> None:
        """Ask for an action; all its stages come as messages."""
        self._call(lambda: self._spawn(self._submit(verb, run_id, parameters, generation)))

    # --- in the feed's thread ----------------------------------------------------------------

    def _call(self, work: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the app is ending
            self._loop.call_soon_threadsafe(work)

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
            async with AsyncClient(self._address) as client:
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

        try:
            async for view in client.watch(
                runs=True,
                nodes=wanted.nodes,
                run_id=wanted.run_id,
                node_name=wanted.node_name,
                events=True,
                series=wanted.series,
                max_points=wanted.max_points,
            ):
                self._post(LinkChanged(True))
                self._post(ViewReceived(view))
            self._post(LinkChanged(False, "the hub closed the view"))
        except ColossusError as error:
            self._post(LinkChanged(False, str(error)))
        await asyncio.sleep(RETRY_SECONDS)

    async def _preview(self, verb: Verb, run_id: str, parameters: ActionParameters) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        try:
            preflight = await self._client.preview(verb, run_id, parameters)
        except ColossusError as error:
            self._post(ActionFailed(verb, run_id, str(error)))
            return
        self._post(PreflightReceived(preflight))

    async def _submit(
        self, verb: Verb, run_id: str, parameters: ActionParameters, generation: int
    ) -> None:
        from colossus_tui.client import ColossusError

        assert self._client is not None
        try:
            action = await self._client.submit(
                verb, run_id, parameters, expected_generation=generation, reason="console"
            )
            self._post(ActionChanged(action))
            if not action.state.is_end:
                async for newer in self._client.follow(action.action_id):
                    self._post(ActionChanged(newer))
        except ColossusError as error:
            self._post(ActionFailed(verb, run_id, str(error)))
