"""The command line's grammar; completion is made from it, too."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from colossus_tui import __version__
from colossus_tui.cli.exit_codes import EXPLAINED
from colossus_tui.cli.grammar.acting import acting
from colossus_tui.cli.grammar.base import RAW, Parser, add_hub
from colossus_tui.cli.grammar.looking import looking
from colossus_tui.cli.grammar.serving import recording, serving
from colossus_tui.cli.values import theme

BANDWIDTHS = ("auto", "low", "full")
CONSOLES = (None, "demo", "sim", "serve")  # commands that show a console
TOP_EXAMPLES = f"""examples:
  colossus                                   the console on this machine, or on COLOSSUS_HUB
  colossus demo                              seven small real training runs to try it on
  colossus run --name 10t --class P0 --ranks 2 -- python train.py
  colossus pause 10t --dry-run               what it would cost
  colossus pause 10t --reason "feed B" --yes
  colossus pause --match 'class>=P3 state=running'
  colossus drain node-17 --reason "XID 79"
  colossus find 10t:17                       where rank 17 of it is
  colossus gpus --where 'run=10t and temp>85'
  colossus runs --json | jq '.runs[] | .run_id'
  colossus record --last 15m                 what happened, for whoever was not there

{EXPLAINED}"""


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says; the environment names a theme where no flag does."""
    root = build(with_commands=bool(words))
    arguments = root.parse_args(words)
    named = os.environ.get("COLOSSUS_THEME")
    if arguments.command in CONSOLES and arguments.theme is None and named:
        try:
            arguments.theme = theme(named)
        except argparse.ArgumentTypeError as error:
            root.error(f"COLOSSUS_THEME: {error}")
    return arguments


def build(with_commands: bool = True) -> argparse.ArgumentParser:
    """Return the whole command line; without commands where none was said, for a quick start."""
    root = argparse.ArgumentParser(
        prog="colossus",
        description="See every training run in one terminal, and act on it.",
        epilog=TOP_EXAMPLES,
        formatter_class=RAW,
    )
    root.add_argument("--version", action="version", version=__version__)
    add_hub(root)
    root.add_argument("--ascii", action="store_true", help="console without line drawing glyphs")
    root.add_argument(
        "--theme",
        type=theme,
        metavar="NAME",
        help="look of the console; default: COLOSSUS_THEME, else what its key T chose last",
    )
    root.add_argument(
        "--look", action="store_true", help="console that only looks: the hub refuses its actions"
    )
    root.add_argument(
        "--bandwidth",
        choices=BANDWIDTHS,
        default="auto",
        help="what the console sends: auto measures the terminal's link, low is for a slow one, "
        "full for one that must not be asked",
    )
    root.set_defaults(command=None)
    if not with_commands:
        return root
    commands = root.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=Parser
    )
    looking(commands)
    acting(commands)
    recording(commands)
    serving(commands)
    return root
