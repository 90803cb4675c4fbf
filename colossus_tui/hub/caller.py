"""Who calls, as far as the transport tells."""

from __future__ import annotations

from typing import Any

import grpc.aio

from colossus_tui.wire.roles import LOOKS_ONLY


def role(context: grpc.aio.ServicerContext[Any, Any], tcp_role: str) -> str:
    """Return "operator" for the Unix socket, whose folder is its owner's alone, else `tcp_role`.

    Who says that he only looks is a viewer everywhere.
    """
    said = dict(context.invocation_metadata() or ()).get("user-agent", "")
    if str(said).startswith(LOOKS_ONLY):
        return "viewer"
    return "operator" if context.peer().startswith("unix:") else tcp_role
