"""One channel to one hub: its deadline, its errors, and its end."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from colossus_protos.v1 import (
    action_pb2_grpc,
    console_pb2_grpc,
    incident_pb2_grpc,
    recording_pb2_grpc,
)
from colossus_tui.client import address as addresses
from colossus_tui.client.errors import from_rpc
from colossus_tui.wire.roles import LOOKS_ONLY

T = TypeVar("T")
SETTLE_SECONDS = 1.0
OPTIONS = (
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class Connection:
    """Talks to one hub; knows none of its questions.

    Args:
        address: unix:/path or HOST:PORT; default COLOSSUS_HUB, else this user's own hub.
        timeout: Deadline of every call, seconds.
        operator: Who is named in the journal; default the user's name.
        looks_only: Whether the hub must refuse whatever would change something.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float = 5.0,
        operator: str | None = None,
        looks_only: bool = False,
    ) -> None:
        self.address = addresses.resolve(address)
        self.timeout = timeout
        self.operator = operator or _user()
        options = [*OPTIONS, *((("grpc.primary_user_agent", LOOKS_ONLY),) if looks_only else ())]
        self._channel = grpc.aio.insecure_channel(self.address, options=options)
        self._console = console_pb2_grpc.ConsoleStub(self._channel)
        self._actions = action_pb2_grpc.ActionsStub(self._channel)
        self._incidents = incident_pb2_grpc.IncidentsStub(self._channel)
        self._recorder = recording_pb2_grpc.RecorderStub(self._channel)
        self._replay = recording_pb2_grpc.ReplayStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self._channel.close(None)

    async def _call(self, method: Callable[..., Awaitable[T]], request: Any) -> T:
        try:
            return await method(request, timeout=self.timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error, self.address, self.timeout) from None


async def settle() -> None:
    """Wait until grpc has nothing under way on this loop; before a loop of one's own is closed.

    An answer to a call whose loop is closed is an error on the terminal of whoever calls next.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    if tasks:
        await asyncio.wait(tasks, timeout=SETTLE_SECONDS)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
