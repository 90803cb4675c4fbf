"""Completion scripts for bash, zsh and fish, made from the parser; names are asked for live."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from colossus_tui.cli import parser as grammar
from colossus_tui.cli.exit_codes import OBSERVED
from colossus_tui.cli.output import show

if TYPE_CHECKING:
    from colossus_tui.client import Client

HIDDEN = "__complete"  # `colossus __complete runs nodes` prints names, one a line
KINDS = {
    "RUN": "runs",
    "NODE": "nodes",
    "ACTION": "actions",
    "ID": "incidents",
}  # by what stands in the usage
ACTION_COUNT = 50
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # bash expands what it completes


def print_names(kinds: Sequence[str]) -> int:
    """Print the names of these kinds for a shell; silent when no hub answers."""
    from colossus_tui.client import Client, ColossusError

    with contextlib.suppress(ColossusError), Client(timeout=1.0) as client:
        for name in (name for kind in kinds for name in _names(client, kind)):
            if _HARMLESS.fullmatch(name):
                show(name)
    return OBSERVED


def _names(client: Client, kind: str) -> list[str]:
    if kind == "runs":
        return [run.run_id for run in client.runs()]
    if kind == "nodes":
        return [node.node_name for node in client.nodes()]
    if kind == "incidents":
        return [str(one.incident_id) for one in client.incidents() if not one.is_closed]
    return [action.action_id for action in client.actions(limit=ACTION_COUNT)]


def script(shell: str) -> str:
    """Return the completion script of one shell."""
    commands = _commands()
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def _commands() -> dict[str, argparse.ArgumentParser]:
    root = grammar.build()
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    raise AssertionError("the parser has commands")


def _options(parser: argparse.ArgumentParser) -> list[str]:
    return sorted(
        option
        for action in parser._actions
        for option in action.option_strings
        if option.startswith("--")
    )


def _words(parser: argparse.ArgumentParser) -> list[str]:
    """Return the fixed words that may stand for the positional arguments."""
    return [
        str(choice)
        for action in parser._actions
        if not action.option_strings
        for choice in action.choices or ()
    ]


def _question(parser: argparse.ArgumentParser) -> str:
    """Return the command that prints the names which may stand there; "" where none may."""
    kinds = [
        KINDS[word]
        for action in parser._actions
        if not action.option_strings and isinstance(action.metavar, str)
        for word in action.metavar.split("|")
        if word in KINDS
    ]
    return f"colossus {HIDDEN} {' '.join(kinds)} 2>/dev/null" if kinds else ""


def _bash(commands: dict[str, argparse.ArgumentParser]) -> str:
    cases = []
    for name, parser in commands.items():
        fixed = " ".join([*_options(parser), *_words(parser)])
        dynamic = f" $({question})" if (question := _question(parser)) else ""
        cases.append(f'        {name}) words="{fixed}{dynamic}" ;;')
    joined = "\n".join(cases)
    return f"""# bash completion of colossus
_colossus() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" command="" word words
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$word" in -*) ;; *) command="$word"; break ;; esac
    done
    case "$command" in
{joined}
        *) words="{" ".join(commands)} --hub --help --version" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _colossus colossus
"""


def _zsh(commands: dict[str, argparse.ArgumentParser]) -> str:
    cases = []
    for name, parser in commands.items():
        fixed = " ".join([*_options(parser), *_words(parser)])
        dynamic = f' ${{(f)"$({question})"}}' if (question := _question(parser)) else ""
        cases.append(f"        {name}) words=({fixed}{dynamic}) ;;")
    joined = "\n".join(cases)
    return f"""#compdef colossus
_colossus() {{
    local command="" word
    local -a words_before
    words_before=(${{words[2,CURRENT-1]}})
    for word in $words_before; do
        case "$word" in (-*) ;; (*) command="$word"; break ;; esac
    done
    local -a words
    case "$command" in
{joined}
        *) words=({" ".join(commands)} --hub --help --version) ;;
    esac
    compadd -a words
}}
compdef _colossus colossus
"""


def _fish(commands: dict[str, argparse.ArgumentParser]) -> str:
    lines = ["# fish completion of colossus", "complete -c colossus -f"]
    for name, parser in commands.items():
        about = shlex.quote(parser.description or name)
        lines.append(f"complete -c colossus -n __fish_use_subcommand -a {name} -d {about}")
        here = f"-n '__fish_seen_subcommand_from {name}'"
        lines += [f"complete -c colossus {here} -l {option[2:]}" for option in _options(parser)]
        if question := _question(parser):
            lines.append(f"complete -c colossus {here} -a '({question})'")
        if fixed := " ".join(_words(parser)):
            lines.append(f"complete -c colossus {here} -a '{fixed}'")
    return "\n".join(lines) + "\n"
