"""The gRPC server: addresses, limits, health and reflection."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from colossus_protos.v1 import (
    action_pb2,
    action_pb2_grpc,
    agent_link_pb2,
    agent_link_pb2_grpc,
    console_pb2,
    console_pb2_grpc,
    incident_pb2,
    incident_pb2_grpc,
    recording_pb2,
    recording_pb2_grpc,
    relay_link_pb2,
    relay_link_pb2_grpc,
)
from colossus_tui.hub.config import HubConfig

OPTIONS = (
    # A whole hall links in the same second after a restart; the defaults refuse part of it.
    ("grpc.server.max_pending_requests", 20_000),
    ("grpc.server.max_pending_requests_hard_limit", 40_000),
    ("grpc.max_concurrent_streams", 20_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # Who writes faster than the hub reads must wait, and say what is newest then: what waits inside
    # the library would be old news, and hundreds of megabytes of it.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 128 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
)


class AddressInUseError(Exception):
    """Another hub listens there; the message names the address and the remedy."""


async def make_server(
    config: HubConfig,
    agents: agent_link_pb2_grpc.AgentLinkServicer,
    relays: relay_link_pb2_grpc.RelayLinkServicer,
    console: console_pb2_grpc.ConsoleServicer,
    actions: action_pb2_grpc.ActionsServicer,
    incidents: incident_pb2_grpc.IncidentsServicer,
    recorder: recording_pb2_grpc.RecorderServicer,
) -> tuple[grpc.aio.Server, int]:
    """Return a serving server and the TCP port it got; 0 where it has none.

    Raises:
        AddressInUseError: It cannot listen on an address.
    """
    server = grpc.aio.server(options=OPTIONS)
    agent_link_pb2_grpc.add_AgentLinkServicer_to_server(agents, server)
    relay_link_pb2_grpc.add_RelayLinkServicer_to_server(relays, server)
    console_pb2_grpc.add_ConsoleServicer_to_server(console, server)
    action_pb2_grpc.add_ActionsServicer_to_server(actions, server)
    incident_pb2_grpc.add_IncidentsServicer_to_server(incidents, server)
    recording_pb2_grpc.add_RecorderServicer_to_server(recorder, server)
    names = [
        agent_link_pb2.DESCRIPTOR.services_by_name["AgentLink"].full_name,
        relay_link_pb2.DESCRIPTOR.services_by_name["RelayLink"].full_name,
        console_pb2.DESCRIPTOR.services_by_name["Console"].full_name,
        action_pb2.DESCRIPTOR.services_by_name["Actions"].full_name,
        incident_pb2.DESCRIPTOR.services_by_name["Incidents"].full_name,
        recording_pb2.DESCRIPTOR.services_by_name["Recorder"].full_name,
    ]
    checks = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", *names):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection(
        [*names, reflection.SERVICE_NAME, health.SERVICE_NAME], server
    )
    port = 0
    for address in config.listen:
        port = _bind(server, address) or port
    await server.start()
    return server, port


def _bind(server: grpc.aio.Server, address: str) -> int:
    if address.startswith("unix:"):
        prepare_socket(Path(address.removeprefix("unix:")))
    try:
        bound = server.add_insecure_port(address)
    except RuntimeError:
        bound = 0
    if not bound:
        raise AddressInUseError(f"listen {address}: cannot be bound; is another program there?")
    if address.startswith("unix:"):
        os.chmod(address.removeprefix("unix:"), 0o600)
        return 0
    return bound


def prepare_socket(path: Path) -> None:
    """Make the socket's folder, its owner's alone, and remove a socket that nobody serves.

    Raises:
        AddressInUseError: A hub answers there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise AddressInUseError(f"listen unix:{path}: a hub already answers there; use it with --hub")
