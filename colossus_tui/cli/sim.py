"""`colossus sim`: a simulated site carried to a hub, or beside a hub of its own and shown."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from colossus_tui.cli.output import note, show
from colossus_tui.embedded import Embedded, EmbeddedError
from colossus_tui.paths import PathError, hub_socket, make_private, state_dir
from colossus_tui.sim import command

SITE_NAME = "simulated site (modelled)"


def sim(arguments: argparse.Namespace) -> int:
    """Run the simulator; returns 0 when it could be shown or carried."""
    from colossus_tui.sim.scenario import ScenarioError

    try:
        plan, _ = command.planned(arguments)
    except (ScenarioError, OSError) as error:
        note(f"colossus sim: {error}")
        return command.USAGE_ERROR
    if arguments.limits:
        show(command.limits(plan, arguments.mqtt).rstrip())
        return 0
    hub = arguments.hub or os.environ.get("COLOSSUS_HUB")
    if hub:
        arguments.lifeline = False
        return command.carry(arguments, hub)
    # Its own folders: the user's own runs are not the simulator's business.
    os.environ["COLOSSUS_STATE_DIR"] = str(state_dir() / "sim")
    os.environ["COLOSSUS_RUNTIME_DIR"] = str(hub_socket().parent / "sim")
    for number in (signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)
    try:
        settings = _settings(command.limits(plan, arguments.mqtt))
        agents = "sim", ("colossus_tui.sim", *command.words(arguments))
        with Embedded(SITE_NAME, settings, agents) as embedded:
            return _shown(embedded, arguments)
    except KeyboardInterrupt:
        return 0
    except (EmbeddedError, PathError) as error:
        note(f"colossus sim: {error}")
        return 1


def _settings(text: str) -> Path:
    path = make_private(state_dir()) / "hub.toml"
    path.write_text(text)
    return path


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)


def _shown(embedded: Embedded, arguments: argparse.Namespace) -> int:
    if not (arguments.headless or not sys.stdout.isatty()):
        from colossus_tui.tui.app import run_console

        return run_console(
            embedded.address,
            ascii_only=arguments.ascii,
            theme=arguments.theme,
            looks_only=arguments.look,
            bandwidth=arguments.bandwidth,
            end_after_seconds=arguments.seconds,
        )
    from colossus_tui.cli import look, output
    from colossus_tui.client import Client

    time.sleep(arguments.seconds or 20.0)
    with Client(embedded.address, timeout=20.0) as client:
        parts, text = look.status(client, argparse.Namespace())
        output.show(output.as_json(**parts) if arguments.json else text)
    return 0
