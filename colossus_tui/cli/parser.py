"""The command line's grammar; completion is made from it, too."""

from __future__ import annotations

import argparse

from colossus_tui import __version__
from colossus_tui.cli.exit_codes import EXPLAINED
from colossus_tui.model import PriorityClass

CLASSES = [member.value for member in PriorityClass]
RAW = argparse.RawDescriptionHelpFormatter
TOP_EXAMPLES = f"""examples:
  colossus                                   the console on this machine, or on COLOSSUS_HUB
  colossus demo                              seven small real training runs to try it on
  colossus run --name 10t --class P0 --ranks 2 -- python train.py
  colossus pause 10t --dry-run               what it would cost
  colossus pause 10t --reason "feed B" --yes
  colossus runs --json | jq '.runs[] | .run_id'

{EXPLAINED}"""


def build() -> argparse.ArgumentParser:
    """Return the whole command line."""
    root = argparse.ArgumentParser(
        prog="colossus",
        description="See every training run in one terminal, and act on it.",
        epilog=TOP_EXAMPLES,
        formatter_class=RAW,
    )
    root.add_argument("--version", action="version", version=__version__)
    _hub(root)
    root.add_argument("--ascii", action="store_true", help="console without line drawing glyphs")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _looking(commands)
    _acting(commands)
    _serving(commands)
    return root


def _hub(parser: argparse.ArgumentParser, *, suppress: bool = False) -> None:
    parser.add_argument(
        "--hub",
        metavar="ADDRESS",
        default=argparse.SUPPRESS if suppress else None,
        help="unix:/path or HOST:PORT; default: COLOSSUS_HUB, else this machine's own",
    )


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    *examples: str,
) -> argparse.ArgumentParser:
    epilog = "\n".join(["examples:", *(f"  colossus {example}" for example in examples)])
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"{epilog}\n\n{EXPLAINED}" if examples else EXPLAINED,
        formatter_class=RAW,
    )
    _hub(parser, suppress=True)
    return parser


def _looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    looks = (
        ("status", "the site and all runs", ("status", "status --json --watch")),
        ("runs", "all runs", ("runs", "runs --json")),
        ("nodes", "all nodes", ("nodes", "nodes --watch")),
        ("gpus", "GPUs with their figures", ("gpus --run 10t", "gpus --node n1 --json")),
        ("events", "what happened, newest first", ("events --run 10t", "events --limit 20")),
        ("actions", "who did what and how it ended", ("actions", "actions --run 10t --json")),
        ("show", "one run or node in full", ("show 10t", "show node-1 --json")),
    )
    for name, summary, examples in looks:
        parser = _command(commands, name, summary, *examples)
        parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
        parser.add_argument("--watch", action="store_true", help="again and again until Ctrl-C")
        parser.add_argument(
            "--interval", type=_seconds, default=1.0, metavar="S", help="of --watch, default 1"
        )
        if name == "show":
            parser.add_argument("name", metavar="RUN|NODE")
        if name in ("gpus", "events", "actions"):
            parser.add_argument("--run", metavar="RUN", help="only of this run")
        if name in ("gpus", "events"):
            parser.add_argument("--node", metavar="NODE", help="only of this node")
        if name in ("events", "actions"):
            parser.add_argument("--limit", type=_count, default=50, metavar="N", help="default 50")


def _acting(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verbs = (
        ("checkpoint", "save now, keep running", ("checkpoint 10t", "checkpoint 10t --no-wait")),
        ("pause", "save at a step, exit, release the GPUs", ("pause 10t --dry-run", "pause 10t")),
        ("freeze", "stop in place until a resume or the fuse", ("freeze 10t --fuse 30",)),
        ("resume", "undo a pause or a freeze", ("resume 10t",)),
        ("reprioritize", "change the priority class", ("reprioritize 10t P1",)),
        ("stop", "end a run; nothing is saved", ("stop 10t", "stop 10t --force --grace 5")),
    )
    for name, summary, examples in verbs:
        parser = _command(commands, name, summary, *examples)
        parser.add_argument("run", metavar="RUN")
        if name == "reprioritize":
            parser.add_argument("priority_class", metavar="CLASS", choices=CLASSES)
        _action_options(parser)
        if name == "freeze":
            parser.add_argument("--fuse", type=_seconds, metavar="S", help="default 60")
            parser.add_argument(
                "--release-gpus",
                action="store_true",
                help="move its GPU memory to the host; one node; the fuse is then 600 by default",
            )
        if name in ("pause", "stop"):
            parser.add_argument("--force", action="store_true", help="SIGKILL after the grace")
            parser.add_argument("--grace", type=_seconds, metavar="S", help="default 600")
    run = _command(
        commands,
        "run",
        "start a run that outlives this command",
        "run --name 10t --class P0 --ranks 2 -- python train.py",
        "run --name try --env SEED=7 -- ./train.sh",
    )
    run.add_argument("--name", required=True, help="letters, digits, '.', '_', '-'; at most 63")
    run.add_argument("--class", dest="priority_class", choices=CLASSES, default="P2")
    run.add_argument("--ranks", type=_count, default=1, metavar="N", help="default 1")
    run.add_argument("--label", default="", metavar="TEXT", help="shown beside the name")
    run.add_argument("--watchdog", type=_seconds, default=0.0, metavar="S", help="its own, if any")
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--node", metavar="NODE", help="where; needed when several are linked")
    _action_options(run)
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`, with its arguments")
    run.usage = "colossus run [options] --name NAME -- COMMAND [ARGUMENT ...]"


def _action_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the preflight, do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="until it is observed"
    )
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="how long to observe")
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the journal")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from colossus_tui.hub.command import add_arguments  # arguments only, no server

    hub = _command(commands, "hub", "serve agents and consoles", "hub --listen 127.0.0.1:7717")
    add_arguments(hub)
    demo = _command(
        commands,
        "demo",
        "seven small real training runs, and the console on them",
        "demo",
        "demo --keep",
        "demo --headless --for 20 --json",
    )
    demo.add_argument("--headless", action="store_true", help="no console")
    demo.add_argument("--for", dest="seconds", type=_seconds, metavar="S", help="then end")
    demo.add_argument("--json", action="store_true", help="print the runs at the end")
    demo.add_argument("--keep", action="store_true", help="leave the runs running at the end")
    doctor = _command(commands, "doctor", "what works on this machine and what does not", "doctor")
    doctor.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    completion = _command(
        commands,
        "completion",
        "print a completion script",
        "completion bash > /etc/bash_completion.d/colossus",
        "completion zsh > ~/.zfunc/_colossus",
        "completion fish > ~/.config/fish/completions/colossus.fish",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.01 <= value <= 86_400 * 30:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10,000")
    return int(text)
