"""Serve one recording: `python -m colossus_tui.replay FILE --listen ADDRESS`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc.aio

from colossus_protos.v1 import action_pb2, console_pb2, incident_pb2, recording_pb2_grpc
from colossus_tui.lifeline import watch_lifeline
from colossus_tui.recording import Recording, RecordingError
from colossus_tui.replay.answering import Answering, answering
from colossus_tui.replay.console import ReplayConsole
from colossus_tui.replay.control import ReplayControl
from colossus_tui.replay.player import Player
from colossus_tui.replay.refusing import Refusing, ReplayActions

USAGE_ERROR = 2
STOP_GRACE_SECONDS = 0.2
VERIFY_BYTES = 64 * 1024 * 1024


async def serve(player: Player, address: str, *, lifeline: bool) -> int:
    """Serve until a signal; returns 2 where the address cannot be had."""
    server = grpc.aio.server()
    parts: tuple[tuple[Any, str, Answering], ...] = (
        (console_pb2, "Console", ReplayConsole(player)),
        (action_pb2, "Actions", ReplayActions(player)),
        (incident_pb2, "Incidents", Refusing()),
    )
    services = [(module.DESCRIPTOR.services_by_name[name], part) for module, name, part in parts]
    server.add_generic_rpc_handlers(tuple(answering(*service) for service in services))
    recording_pb2_grpc.add_ReplayServicer_to_server(ReplayControl(player), server)
    try:
        server.add_insecure_port(address)
    except RuntimeError:
        sys.stderr.write(f"colossus replay: {address} cannot be bound; is another program there?\n")
        return USAGE_ERROR
    if address.startswith("unix:"):
        os.chmod(address.removeprefix("unix:"), 0o600)
    await server.start()
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    if lifeline:
        watch_lifeline(lambda: loop.call_soon_threadsafe(ending.set))
    looking = asyncio.create_task(_look_for_damage(player))
    await ending.wait()
    looking.cancel()
    await server.stop(STOP_GRACE_SECONDS)
    return 0


async def _look_for_damage(player: Player) -> None:
    """Read all of the file meanwhile: the scrubber must not promise what cannot be shown."""
    player.cut_at(await asyncio.to_thread(player.recording.first_damage))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve a recording from its own command line."""
    parser = argparse.ArgumentParser(prog="colossus replay", description="Serve a recording.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--listen", required=True, metavar="ADDRESS")
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--at", type=int, default=0, metavar="UNIX_NS")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args(argv)
    try:
        with Recording(arguments.file) as recording:
            if recording.size <= VERIFY_BYTES:
                recording.verify()  # takes a moment; a larger one is looked at while it plays

            async def run() -> int:
                player = Player(recording, arguments.speed)
                if arguments.at:
                    player.seek(arguments.at)
                return await serve(player, arguments.listen, lifeline=arguments.lifeline)

            return asyncio.run(run())
    except RecordingError as error:
        sys.stderr.write(f"colossus replay: {error}\n")
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main())
