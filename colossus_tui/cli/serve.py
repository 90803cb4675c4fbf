"""`colossus serve`: the console in a browser of this machine."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys

from colossus_tui.cli import exit_codes
from colossus_tui.cli.output import note, show
from colossus_tui.client.address import configured
from colossus_tui.embedded import Embedded, EmbeddedError

TUNNEL = "from elsewhere take a tunnel: ssh -L 8000:127.0.0.1:8000 HOST"


def serve(arguments: argparse.Namespace) -> int:
    """Serve until it is interrupted."""
    try:
        from colossus_tui.web.server import ConsoleServer, is_loopback
        from colossus_tui.web.server import serve as run
    except ImportError:
        note("colossus serve: it needs more: pip install 'colossus-tui[serve]'")
        return exit_codes.USAGE
    if not is_loopback(arguments.host):
        note(f"colossus serve: --host {arguments.host!r} is not loopback; {TUNNEL}")
        return exit_codes.USAGE
    try:
        with contextlib.ExitStack() as stack:
            hub = configured(arguments.hub) or stack.enter_context(Embedded()).address
            server = ConsoleServer(_command(hub, arguments), arguments.host, arguments.port)
            role = "operator: it acts" if arguments.operator else "viewer: it changes nothing"
            run(server, lambda: show(f"{server.address}\nwho opens it is a {role}; Ctrl-C ends"))
    except EmbeddedError as error:
        note(f"colossus serve: {error}")
        return exit_codes.OTHER
    except OSError as error:
        note(f"colossus serve: {arguments.host}:{arguments.port}: {error.strerror}; try --port")
        return exit_codes.OTHER
    return exit_codes.OBSERVED


def _command(hub: str, arguments: argparse.Namespace) -> str:
    words = [sys.executable, "-m", "colossus_tui.web.console", "--hub", hub]
    words += ["--theme", arguments.theme] if arguments.theme else []
    words += ["--operator"] if arguments.operator else []
    return shlex.join(words)
