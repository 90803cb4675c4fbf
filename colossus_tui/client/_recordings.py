"""Recordings: a hub's own, one of what this client may see, and the replay of one."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from colossus_protos.v1 import console_pb2, recording_pb2
from colossus_tui.client._looking import Looking
from colossus_tui.client.errors import (
    ColossusError,
    HubUnreachableError,
    InvalidRequestError,
    from_rpc,
)
from colossus_tui.model import Mark, Playback
from colossus_tui.recording import FileSink, RecordingError, Writer
from colossus_tui.recording.format import SUFFIX
from colossus_tui.recording.recorder import Recorder
from colossus_tui.recording.writer import new_file
from colossus_tui.wire import from_proto

AWAY_SECONDS = 0.5  # between two attempts while the hub is away


def recording_path() -> Path:
    """Return where a recording goes that nobody has named: here, by the time of day."""
    return Path(time.strftime(f"colossus-%Y%m%d-%H%M%S{SUFFIX}"))


class RecordingCalls(Looking):
    """Records, fetches what the hub has recorded, and moves a replay."""

    async def export_recording(self, path: Path, last_seconds: float = 0.0) -> int:
        """Write the last seconds of the hub's own recording; 0 is all. Returns its size, bytes.

        Raises:
            InvalidRequestError: The file is there already, or cannot be made.
            ColossusError: The hub records nothing.
        """
        request = recording_pb2.ExportRecordingRequest(last_seconds=last_seconds)
        answers = self._recorder.ExportRecording(request)
        size = 0
        try:
            first = await answers.read()  # before there is a file
            with new_file(path) as file:
                answer = first
                while isinstance(answer, recording_pb2.ExportRecordingResponse):
                    size += file.write(answer.chunk)
                    answer = await answers.read()
        except grpc.aio.AioRpcError as error:
            raise _explained(error, self.address, self.timeout) from None
        except RecordingError as error:
            raise InvalidRequestError(str(error)) from None
        except OSError as error:
            raise ColossusError(f"{path}: {error.strerror}") from None
        return size

    async def record(self, path: Path, seconds: float | None = None) -> int:
        """Record what this client may see, until cancelled or for so long. Returns its size, bytes.

        While the hub is away nothing comes; it goes on when it is back.

        Raises:
            InvalidRequestError: The file is there already, or cannot be made.
            HubUnreachableError: The hub was never there.
        """
        await self.site()  # a hub that is not there leaves no file behind
        try:
            sink = FileSink(path)
        except RecordingError as error:
            raise InvalidRequestError(str(error)) from None
        writer = Writer(sink)
        try:
            async with asyncio.timeout(seconds):
                await self._record_all(writer)
        except TimeoutError:
            pass
        except (OSError, RecordingError) as error:
            raise ColossusError(f"{path}: the recording ends here: {error}") from None
        finally:
            writer.close()
        return sink.size

    async def _record_all(self, writer: Writer) -> None:
        while True:
            try:
                await Recorder(_Asking(self), writer).run()
            except HubUnreachableError:
                await asyncio.sleep(AWAY_SECONDS)

    # --- a replay ------------------------------------------------------------------------------

    async def playback(self) -> Playback | None:
        """Return where the replay stands; None of a hub, which is none."""
        try:
            request = recording_pb2.GetPlaybackRequest()
            answer = await self._replay.GetPlayback(request, timeout=self.timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise from_rpc(error, self.address, self.timeout) from None
        return from_proto(Playback, answer.playback)

    async def seek(self, time_unix_ns: int) -> Playback:
        """Move a replay to an instant."""
        request = recording_pb2.SeekRequest(position_time_unix_ns=time_unix_ns)
        return from_proto(Playback, (await self._call(self._replay.Seek, request)).playback)

    async def step(self, seconds: float) -> Playback:
        """Move a replay forward so many seconds, or back."""
        request = recording_pb2.SeekRequest(step_seconds=seconds)
        return from_proto(Playback, (await self._call(self._replay.Seek, request)).playback)

    async def set_pace(self, *, speed: float | None = None, paused: bool | None = None) -> Playback:
        """Change a replay's speed, let it stand still, or go on."""
        request = recording_pb2.SetPaceRequest(speed=speed, paused=paused)
        return from_proto(Playback, (await self._call(self._replay.SetPace, request)).playback)

    async def next_alert(self) -> Mark | None:
        """Move a replay to the next alert, where it stands still; None where none comes."""
        request = recording_pb2.NextAlertRequest()
        answer = await self._call(self._replay.NextAlert, request)
        return from_proto(Mark, answer.mark) if answer.HasField("mark") else None


class _Asking:
    """A hub over its channel as a source."""

    def __init__(self, client: RecordingCalls) -> None:
        self._client = client

    async def view(self, request: console_pb2.WatchViewRequest) -> Message | None:
        """Return a view as it is now, the first of a stream; None where there is none."""
        client = self._client
        views = client._console.WatchView(request, timeout=client.timeout)
        try:
            first = await views.read()
        except grpc.aio.AioRpcError as error:
            _check_away(from_rpc(error, client.address, client.timeout))
            return None
        finally:
            views.cancel()
        return first if isinstance(first, console_pb2.WatchViewResponse) else None

    async def call(self, name: str, request: Message) -> Message | None:
        """Return the answer of a call; None where there is none, as of what is gone."""
        client = self._client
        method = getattr(client._console, name, None) or getattr(client._actions, name)
        try:
            return cast("Message", await client._call(method, request))
        except ColossusError as error:
            _check_away(error)
            return None


def _check_away(error: ColossusError) -> None:
    """Let an error pass for no answer, unless nobody is there to give one.

    Raises:
        HubUnreachableError: The hub is away.
    """
    if isinstance(error, HubUnreachableError):
        raise error


def _explained(error: grpc.aio.AioRpcError, address: str, timeout: float) -> ColossusError:
    code = error.code()
    if code is grpc.StatusCode.FAILED_PRECONDITION:
        return ColossusError(error.details() or "")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return ColossusError(f"the hub at {address} has no recording: it is a replay, or older")
    return from_rpc(error, address, timeout)
