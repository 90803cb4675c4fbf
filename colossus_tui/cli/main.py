"""From the command line to a command, and from what happened to an exit code."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from colossus_tui.cli import exit_codes, parser
from colossus_tui.cli.grammar.acting import VERBS
from colossus_tui.cli.output import note, show
from colossus_tui.text import safe

if TYPE_CHECKING:
    from colossus_tui.client import Client

# What acts, and the module and function that do it; imported when asked for.
ACTS = {
    **dict.fromkeys(VERBS, ("act", "act")),
    **dict.fromkeys(("drain", "undrain"), ("act", "on_node")),
    **{name: ("shed", name) for name in ("shed", "restore")},
    "run": ("act", "start"),
    "cancel": ("action", "cancel"),
    "approve": ("action", "approve"),
    "record": ("record", "record"),
    "ack": ("incidents", "acknowledge"),
    "silence": ("incidents", "silence"),
}
LOOKS = ("status", "runs", "nodes", "gpus", "find", "places", "power", "events", "actions")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        # Whoever read us has gone; say nothing, also not at the interpreter's exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exit_codes.OTHER


def _dispatch(words: list[str]) -> int:
    from colossus_tui.cli import completion

    if words[:1] == [completion.HIDDEN]:
        return completion.print_names(words[1:])
    arguments = parser.parse_words(words)
    match arguments.command:
        case "completion":
            show(completion.script(arguments.shell).rstrip())
            return exit_codes.OBSERVED
        case "hub":
            from colossus_tui.hub.command import run
            from colossus_tui.paths import hub_socket

            return run(arguments, f"unix:{hub_socket()}")
        case "demo":
            from colossus_tui.cli.demo import demo

            return demo(arguments)
        case "replay":
            from colossus_tui.cli.replay import replay

            return replay(arguments)
        case "serve":
            from colossus_tui.cli.serve import serve

            return serve(arguments)
        case "sim":
            from colossus_tui.cli.sim import sim

            return sim(arguments)
    return _with_errors(arguments)


def _with_errors(arguments: argparse.Namespace) -> int:
    """Run a command that needs a hub; its problems become one line and an exit code."""
    from colossus_tui.client import (
        ColossusError,
        InvalidRequestError,
        NotPermittedError,
        RefusedError,
    )
    from colossus_tui.embedded import EmbeddedError
    from colossus_tui.paths import PathError

    try:
        return _with_hub(arguments)
    except RefusedError as error:
        note(f"colossus: {safe(str(error))}")
        return exit_codes.of_action(error.action)
    except NotPermittedError as error:
        note(f"colossus: {safe(str(error))}")
        return exit_codes.POLICY
    except InvalidRequestError as error:
        note(f"colossus: {safe(str(error))}")
        return exit_codes.USAGE
    except (ColossusError, EmbeddedError, PathError) as error:
        note("colossus: " + "\n".join(safe(line) for line in str(error).splitlines()))
        return exit_codes.OTHER


def _with_hub(arguments: argparse.Namespace) -> int:
    if arguments.command is None and sys.stdout.isatty():
        return _console(arguments)
    if arguments.command == "doctor":
        from colossus_tui.cli.doctor import doctor

        return doctor(arguments)
    with _client(arguments) as client:
        if arguments.command in ACTS:
            module, function = ACTS[arguments.command]
            command = getattr(importlib.import_module(f"colossus_tui.cli.{module}"), function)
            return int(command(client, arguments))
        from colossus_tui.cli import bets, incidents, look, money

        commands = {name: getattr(look, name) for name in LOOKS}
        commands |= {"show": look.show_one, "money": money.costs}
        commands |= {"bets": bets.bets, "whatif": bets.whatif}
        commands |= {"incidents": incidents.incidents, "timeline": incidents.timeline}
        if arguments.command is None:
            arguments.json = arguments.watch = False
        return look.look(client, arguments, commands[arguments.command or "status"])


@contextlib.contextmanager
def _client(arguments: argparse.Namespace) -> Iterator[Client]:
    """Yield a client of the hub asked for, or of one started for this command alone."""
    from colossus_tui.cli.look import await_first_frame
    from colossus_tui.client import Client
    from colossus_tui.client.address import configured
    from colossus_tui.embedded import Embedded

    address = configured(arguments.hub)
    if address is not None:
        with Client(address) as client:
            yield client
        return
    with Embedded() as embedded, Client(embedded.address) as client:
        if embedded.is_own or arguments.command in ACTS:  # nothing can act without its agent
            await_first_frame(client)
        yield client


def _console(arguments: argparse.Namespace) -> int:
    from colossus_tui.client.address import configured
    from colossus_tui.tui import quickstart

    quickstart.begin()
    from colossus_tui.tui.app import run_console

    return run_console(
        configured(arguments.hub),
        ascii_only=arguments.ascii,
        theme=arguments.theme,
        looks_only=arguments.look,
        bandwidth=arguments.bandwidth,
    )
