"""The replay's own service: where it stands, and how it goes on."""

from __future__ import annotations

import math
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import recording_pb2, recording_pb2_grpc
from colossus_tui.replay.player import MAX_SPEED, MIN_SPEED, Player

_Context = grpc.aio.ServicerContext[Any, Any]


class ReplayControl(recording_pb2_grpc.ReplayServicer):
    """Moves the player for everybody who watches."""

    def __init__(self, player: Player) -> None:
        self._player = player

    async def GetPlayback(
        self, request: recording_pb2.GetPlaybackRequest, context: _Context
    ) -> recording_pb2.GetPlaybackResponse:
        """Where it stands."""
        return recording_pb2.GetPlaybackResponse(playback=self._player.playback())

    async def Seek(
        self, request: recording_pb2.SeekRequest, context: _Context
    ) -> recording_pb2.SeekResponse:
        """Go to an instant, or a step."""
        if not math.isfinite(request.step_seconds) or abs(request.step_seconds) > 1e9:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "step_seconds: must be a number of seconds"
            )
        if request.position_time_unix_ns:
            self._player.seek(request.position_time_unix_ns)
        else:
            self._player.step(request.step_seconds)
        return recording_pb2.SeekResponse(playback=self._player.playback())

    async def SetPace(
        self, request: recording_pb2.SetPaceRequest, context: _Context
    ) -> recording_pb2.SetPaceResponse:
        """Play, stand still, or change the speed."""
        speed = request.speed if request.HasField("speed") else None
        if speed is not None and not MIN_SPEED <= speed <= MAX_SPEED:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"speed: must be {MIN_SPEED:g} to {MAX_SPEED:g}"
            )
        self._player.set_pace(speed, request.paused if request.HasField("paused") else None)
        return recording_pb2.SetPaceResponse(playback=self._player.playback())

    async def NextAlert(
        self, request: recording_pb2.NextAlertRequest, context: _Context
    ) -> recording_pb2.NextAlertResponse:
        """Go to the next alert."""
        mark = self._player.next_alert()
        return recording_pb2.NextAlertResponse(playback=self._player.playback(), mark=mark)
