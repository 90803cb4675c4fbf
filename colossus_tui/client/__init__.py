"""The Python client: `Client` blocks, `AsyncClient` is for asyncio; both give model values."""

from colossus_tui.client._async import AsyncClient
from colossus_tui.client._connection import settle
from colossus_tui.client._recordings import recording_path
from colossus_tui.client._sync import Client
from colossus_tui.client.errors import (
    ColossusError,
    DeadlineError,
    HubUnreachableError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    RefusedError,
)

__all__ = [
    "AsyncClient",
    "Client",
    "ColossusError",
    "DeadlineError",
    "HubUnreachableError",
    "InvalidRequestError",
    "NotFoundError",
    "NotPermittedError",
    "RefusedError",
    "recording_path",
    "settle",
]
