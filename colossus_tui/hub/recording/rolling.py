"""Records what this hub shows, as if it were a console of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from colossus_protos.v1 import action_pb2_grpc, console_pb2, console_pb2_grpc
from colossus_tui.hub.events import Events
from colossus_tui.hub.recording.config import RecordingConfig
from colossus_tui.hub.recording.segments import Segments
from colossus_tui.model import Event, Severity
from colossus_tui.recording.format import RecordingError
from colossus_tui.recording.recorder import Recorder
from colossus_tui.recording.writer import Writer

LOG = logging.getLogger(__name__)
RETRY_SECONDS = 60.0
T = TypeVar("T")


class NotAnsweredError(Exception):
    """A service has no answer, such as for what is gone."""


class Caller:
    """What a service asks of who calls it: it is this hub itself, which may see everything."""

    def peer(self) -> str:
        """Return where the call comes from."""
        return "unix:"

    async def abort(self, code: grpc.StatusCode, details: str = "") -> NoReturn:
        """Give a call up.

        Raises:
            NotAnsweredError: Always.
        """
        raise NotAnsweredError(f"{code.name}: {details}")

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return what came along with the call."""
        return ()


class OwnServices:
    """The hub's own services as a source."""

    def __init__(
        self, console: console_pb2_grpc.ConsoleServicer, actions: action_pb2_grpc.ActionsServicer
    ) -> None:
        self._console: Any = console
        self._actions: Any = actions
        self._caller = cast("grpc.aio.ServicerContext[Any, Any]", Caller())

    async def view(self, request: console_pb2.WatchViewRequest) -> Message | None:
        """Return a view as it is now; None where there is none."""
        try:
            async with aclosing(self._console.WatchView(request, self._caller)) as views:
                return cast("Message", await anext(views))
        except NotAnsweredError:
            return None

    async def call(self, name: str, request: Message) -> Message | None:
        """Return the answer of a call; None where there is none."""
        service = self._console if hasattr(self._console, name) else self._actions
        try:
            return cast("Message", await getattr(service, name)(request, self._caller))
        except NotAnsweredError:
            return None


class Rolling:
    """The hub's last minutes on disk.

    Args:
        folder: Where the files are.
        events: Told when nothing can be recorded any more.
    """

    def __init__(self, config: RecordingConfig, folder: Path, events: Events) -> None:
        self._enabled = config.enabled
        self._segments = Segments(folder, config)
        self._events = events
        self._thread = ThreadPoolExecutor(1, "recording")
        self._writer: Writer | None = None
        self._told = False

    async def run(
        self, console: console_pb2_grpc.ConsoleServicer, actions: action_pb2_grpc.ActionsServicer
    ) -> None:
        """Record until cancelled; a full disk ends the recording for a while, never the hub."""
        if not self._enabled:
            return
        source = OwnServices(console, actions)
        while True:
            self._writer = Writer(self._segments)
            recorder = Recorder(source, self._writer, self._in_thread, time.thread_time)
            began = time.monotonic()
            try:
                await recorder.run()
            except asyncio.CancelledError:
                await self._close()
                raise
            except (OSError, RecordingError) as error:
                self._tell(error, began)
            except Exception as error:  # whatever is wrong with a view must not end the hub
                LOG.exception("recording=failed")
                self._tell(error, began)
            self._writer = None
            await self._in_thread(self._segments.abandon)
            await asyncio.sleep(RETRY_SECONDS)

    def _tell(self, error: Exception, began: float) -> None:
        """Say once that nothing is recorded, and again after it was for a while."""
        if time.monotonic() - began > RETRY_SECONDS:
            self._told = False
        detail = (isinstance(error, OSError) and error.strerror) or str(error)
        LOG.warning("recording=ended detail=%r", detail)
        if not self._told:
            text = f"nothing is recorded: {detail}; tried again each minute"
            self._events.add(
                Event(severity=Severity.WARNING, kind="recording.failed", message=text)
            )
        self._told = True

    async def _close(self) -> None:
        writer, self._writer = self._writer, None

        def close() -> None:
            try:
                if writer is not None:
                    writer.close()
            except (OSError, RecordingError) as error:
                LOG.warning("recording=cut detail=%s", error)

        # Without the loop, whose tasks are being cancelled.
        self._thread.submit(close).result()
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def export(self, last_seconds: float) -> AsyncIterator[bytes]:
        """Yield the last seconds, or all there is for 0, as one recording.

        Raises:
            RecordingError: There is nothing.
        """
        if not self._enabled:
            raise RecordingError("this hub records nothing: recording.enabled is false")
        since = time.time_ns() - int(last_seconds * 1e9) if last_seconds else 0
        writer = self._writer
        if writer is not None:
            with suppress(OSError):  # what is on disk is there all the same
                await self._in_thread(writer.flush)
        chunks: Iterator[bytes] = self._segments.export(since)
        end = b""
        while chunk := await self._in_thread(lambda: next(chunks, end)):
            yield chunk
