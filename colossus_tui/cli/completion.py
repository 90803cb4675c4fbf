"""Completion scripts for bash, zsh and fish, made from the parser; run names are asked for live."""

from __future__ import annotations

import argparse
import shlex

from colossus_tui.cli import parser as grammar

HIDDEN = "__complete"  # `colossus __complete runs` prints names, one a line


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
    """Return what may stand for the positional arguments; "" where a run's name may."""
    words: list[str] = []
    for action in parser._actions:
        if action.option_strings:
            continue
        if action.choices:
            words += [str(choice) for choice in action.choices]
        elif action.metavar in ("RUN", "RUN|NODE"):
            words.append("")
    return words


def _bash(commands: dict[str, argparse.ArgumentParser]) -> str:
    cases = []
    for name, parser in commands.items():
        words = _words(parser)
        fixed = " ".join([*_options(parser), *(word for word in words if word)])
        dynamic = f" $(colossus {HIDDEN} runs 2>/dev/null)" if "" in words else ""
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
        words = _words(parser)
        fixed = " ".join([*_options(parser), *(word for word in words if word)])
        dynamic = f' ${{(f)"$(colossus {HIDDEN} runs 2>/dev/null)"}}' if "" in words else ""
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
        words = _words(parser)
        if "" in words:
            lines.append(f"complete -c colossus {here} -a '(colossus {HIDDEN} runs 2>/dev/null)'")
        fixed = " ".join(word for word in words if word)
        if fixed:
            lines.append(f"complete -c colossus {here} -a '{fixed}'")
    return "\n".join(lines) + "\n"
