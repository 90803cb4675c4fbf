"""Who calls, as far as the transport tells."""

from __future__ import annotations

from typing import Any

import grpc.aio


def role(context: grpc.aio.ServicerContext[Any, Any], tcp_role: str) -> str:
    """Return "operator" for the Unix socket, whose folder is its owner's alone, else `tcp_role`."""
    return "operator" if context.peer().startswith("unix:") else tcp_role
