"""Tell systemd how the agent is, when it runs under it (sd_notify's datagram protocol)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify(message: str) -> None:
    """Send a state such as "READY=1"; nothing happens without NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as link,
    ):
        link.connect(address)
        link.sendall(message.encode())


def watchdog_wanted() -> bool:
    """Return whether systemd's watchdog watches this very process."""
    return bool(os.environ.get("WATCHDOG_USEC")) and os.environ.get("WATCHDOG_PID", "") in (
        "",
        str(os.getpid()),
    )
