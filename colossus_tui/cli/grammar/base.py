"""What all commands' grammars are made of: a command with its examples, options that many have."""

from __future__ import annotations

import argparse
from typing import Any, TypeAlias

from colossus_tui.cli.exit_codes import EXPLAINED
from colossus_tui.cli.values import seconds

RAW = argparse.RawDescriptionHelpFormatter


class Parser(argparse.ArgumentParser):
    """A command; one on several runs takes their names also between and after its options."""

    takes_runs = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and check what argparse cannot say: names or an expression, and none twice."""
        if not self.takes_runs:
            return super().parse_known_args(args, namespace)
        self.takes_runs = False  # the other order of parsing comes through here, too
        try:
            found, rest = self.parse_known_intermixed_args(args, namespace)
        finally:
            self.takes_runs = True
        if bool(found.runs) == (found.match is not None):
            self.error("give names of runs, or --match EXPR, and not both")
        if twice := [name for name in found.runs if found.runs.count(name) > 1]:
            self.error(f"RUN: {twice[0]!r} is named twice")
        return found, rest


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_hub(parser: argparse.ArgumentParser, *, suppress: bool = False) -> None:
    """Add the option for the hub's address."""
    parser.add_argument(
        "--hub",
        metavar="ADDRESS",
        default=argparse.SUPPRESS if suppress else None,
        help="unix:/path or HOST:PORT; default: COLOSSUS_HUB, else this machine's own",
    )


def command(
    commands: Commands,
    name: str,
    summary: str,
    *examples: str,
) -> Parser:
    """Return a new command with its summary and examples."""
    epilog = "\n".join(["examples:", *(f"  colossus {example}" for example in examples)])
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"{epilog}\n\n{EXPLAINED}" if examples else EXPLAINED,
        formatter_class=RAW,
    )
    add_hub(parser, suppress=True)
    return parser


def action_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of whatever becomes an action."""
    parser.add_argument("--dry-run", action="store_true", help="show the preflight, do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    waiting(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the journal")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def waiting(parser: argparse.ArgumentParser) -> None:
    """Add the options of whatever waits for an action's end."""
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="until it has ended"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help="how long to observe, and to wait for another operator's approval",
    )
