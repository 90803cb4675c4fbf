"""The recording's service: hands out the last minutes; whoever may look may have them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import recording_pb2, recording_pb2_grpc
from colossus_tui.hub.recording.rolling import Rolling
from colossus_tui.recording.format import RecordingError


class RecorderService(recording_pb2_grpc.RecorderServicer):
    """Serves the hub's own recording."""

    def __init__(self, rolling: Rolling) -> None:
        self._rolling = rolling

    async def ExportRecording(
        self,
        request: recording_pb2.ExportRecordingRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[recording_pb2.ExportRecordingResponse]:
        """The last minutes as one file."""
        seconds = request.last_seconds
        if not math.isfinite(seconds) or seconds < 0:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "last_seconds: must be 0 or a number of seconds"
            )
        try:
            async for chunk in self._rolling.export(seconds):
                yield recording_pb2.ExportRecordingResponse(chunk=chunk)
        except RecordingError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
