"""`colossus hub`: arguments, logging, exit codes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import logging
import resource
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from colossus_tui.hub.arguments import ROLES, add_arguments
from colossus_tui.hub.config import (
    LABEL,
    ConfigError,
    HubConfig,
    parse_advertised,
    parse_listen,
    parse_parents,
    parse_store,
    read_file,
)
from colossus_tui.hub.incidents.rules import AlertsConfig
from colossus_tui.hub.recording.config import RecordingConfig
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.paths import hub_socket, state_dir

USAGE_ERROR = 2
M_ARENA_MAX, ARENAS = -8, 2  # mallopt(3)
# Objects that came and did not go, gc.set_threshold: frames of ten thousand links are no garbage.
COLLECT_AFTER = (50_000, 20, 20)


def configure(arguments: argparse.Namespace, default_listen: str) -> HubConfig:
    """Return the settings.

    Raises:
        ConfigError: One of them is wrong.
    """
    values = read_file(arguments.config) if arguments.config else {}
    tcp_role = arguments.tcp_role or values.get("tcp_role", "viewer")
    if tcp_role not in ROLES:
        raise ConfigError(f"tcp_role {tcp_role!r}: one of {', '.join(ROLES)}")
    relay_name = arguments.relay_name or values.get("relay_name") or socket.gethostname()
    if not isinstance(relay_name, str) or not LABEL.fullmatch(relay_name):
        raise ConfigError(f"relay_name {relay_name!r}: letters, digits, '.', '_' or '-'")
    relay_to = arguments.relay_to or values.get("relay_to", "")
    if not isinstance(relay_to, str):
        raise ConfigError(f"relay_to {relay_to!r}: must be text")
    store = arguments.store or values.get("store", "")
    hub_name = arguments.hub_name or values.get("hub_name") or socket.gethostname()
    if not isinstance(hub_name, str) or not LABEL.fullmatch(hub_name):
        raise ConfigError(f"hub_name {hub_name!r}: letters, digits, '.', '_' or '-'")
    advertise = arguments.advertise or values.get("advertise", "")
    if not isinstance(store, str) or not isinstance(advertise, str):
        raise ConfigError("store and advertise: must be text")
    listen = arguments.listen or [default_listen]
    return HubConfig(
        listen=tuple(parse_listen(address) for address in listen),
        state_dir=Path(arguments.state_dir) if arguments.state_dir else state_dir(),
        site_name=str(arguments.site_name or values.get("site_name", "this machine"))[:64],
        tcp_role=tcp_role,
        port_file=Path(arguments.port_file) if arguments.port_file else None,
        lifeline=arguments.lifeline,
        relay_to=parse_parents(relay_to),
        relay_name=relay_name,
        store=parse_store(store),
        hub_name=hub_name,
        advertise=parse_advertised(advertise),
        runs=values.get("runs", {}),
        rules=values.get("rules", ()),
        limits=values.get("limits", ()),
        shed=values.get("shed", ShedConfig()),
        prices=values.get("prices"),
        feeds=values.get("feeds", ()),
        cooling_loops=values.get("cooling_loops", ()),
        facility=values.get("facility"),
        alerts=values.get("alerts", AlertsConfig()),
        slurm=values.get("slurm"),
        kubernetes=values.get("kubernetes"),
        prometheus=values.get("prometheus"),
        recording=values.get("recording", RecordingConfig()),
    )


def _share_arenas() -> None:
    """Let all threads share two of glibc's heaps: one each would keep what large messages took."""
    with contextlib.suppress(OSError, AttributeError):  # another C library has no such thing
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def _collect_seldom() -> None:
    """Look for cycles once many objects have come: a third of a processor went into it else."""
    gc.freeze()  # what was loaded stays
    gc.set_threshold(*COLLECT_AFTER)


def run(arguments: argparse.Namespace, default_listen: str) -> int:
    """Serve; returns 0 after a signal, 1 after a failure, 2 for a wrong setting."""
    logging.basicConfig(
        level=logging.INFO,
        format="time=%(asctime)s level=%(levelname)s source=%(name)s %(message)s",
    )
    from colossus_tui.hub.app import serve
    from colossus_tui.hub.database import DatabaseError
    from colossus_tui.hub.server import AddressInUseError

    _share_arenas()
    _collect_seldom()
    _allow_many_links()
    try:
        return asyncio.run(serve(configure(arguments, default_listen)))
    except (ConfigError, AddressInUseError, DatabaseError) as error:
        sys.stderr.write(f"colossus hub: {error}\n")
        return USAGE_ERROR


def _allow_many_links() -> None:
    """Let every agent have its descriptor: as many as the system allows this process at most."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a hub from its own command line."""
    parser = argparse.ArgumentParser(prog="colossus hub", description="Serve agents and consoles.")
    add_arguments(parser)
    return run(parser.parse_args(argv), f"unix:{hub_socket()}")
