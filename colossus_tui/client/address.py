"""Where the hub is: given, from the environment, or this user's own socket."""

from __future__ import annotations

import ipaddress
import os

from colossus_tui.client.errors import InvalidRequestError
from colossus_tui.paths import hub_socket


def configured(given: str | None = None) -> str | None:
    """Return the hub that was asked for, by argument or COLOSSUS_HUB; None for the own one."""
    address = given or os.environ.get("COLOSSUS_HUB")
    return parse(address) if address else None


def resolve(given: str | None = None) -> str:
    """Return the hub to talk to."""
    return configured(given) or f"unix:{hub_socket()}"


def parse(address: str) -> str:
    """Return the address as gRPC wants it.

    Raises:
        InvalidRequestError: It is malformed, or leaves this machine, which needs TLS.
    """
    if address.startswith("unix:"):
        if not address.removeprefix("unix:").startswith("/"):
            raise InvalidRequestError(f"hub {address!r}: an absolute path must follow 'unix:'")
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InvalidRequestError(f"hub {address!r}: give unix:/path or HOST:PORT")
    bare = host.strip("[]")
    try:
        is_loopback = bare == "localhost" or ipaddress.ip_address(bare).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise InvalidRequestError(
            f"hub {address!r}: TLS is not configured, so only unix:/path, localhost, 127.0.0.1 and "
            "[::1] are allowed; forward a port with ssh -L"
        )
    return address
