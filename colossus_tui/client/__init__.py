"""The Python client: `Client` blocks, `AsyncClient` is for asyncio; both give model values.

Names are loaded when they are asked for: who needs an error or an address needs no gRPC.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
_ELSEWHERE = {
    "AsyncClient": "_async",
    "Client": "_sync",
    "recording_path": "_recordings",
    "settle": "_connection",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_ELSEWHERE.get(name, 'errors')}")
    return getattr(module, name)
