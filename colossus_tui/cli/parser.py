"""The command line's grammar; completion is made from it, too."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from colossus_tui import __version__
from colossus_tui.cli.exit_codes import EXPLAINED
from colossus_tui.cli.filters import METRICS, GpuFilter
from colossus_tui.cli.values import (
    cap_watts,
    count,
    efficiency,
    lasting,
    match,
    metric,
    nodes,
    past,
    port,
    power,
    seconds,
    share,
    span,
    speed,
    stretch,
    theme,
)
from colossus_tui.model import PriorityClass
from colossus_tui.model.match import FIELDS, GPU_FIELDS
from colossus_tui.model.outlook import EFFICIENCY
from colossus_tui.model.shed import WITHIN_SECONDS

VERBS = ("checkpoint", "pause", "freeze", "resume", "reprioritize", "stop", "cap")
CLASSES = [member.value for member in PriorityClass]
MATCH_HELP = f"terms such as class>=P3 or a word; fields: {', '.join(FIELDS)}"
WHERE_HELP = f"such as 'run=10t and temp>85' or a word; fields: {', '.join(GPU_FIELDS)}"
BANDWIDTHS = ("auto", "low", "full")
CONSOLES = (None, "demo", "sim", "serve")  # commands that show a console
PLACES = ("halls", "racks", "runs")
RAW = argparse.RawDescriptionHelpFormatter
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


class _Parser(argparse.ArgumentParser):
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


_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def parse_words(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line says; the environment names a theme where no flag does."""
    root = build()
    arguments = root.parse_args(words)
    named = os.environ.get("COLOSSUS_THEME")
    if arguments.command in CONSOLES and arguments.theme is None and named:
        try:
            arguments.theme = theme(named)
        except argparse.ArgumentTypeError as error:
            root.error(f"COLOSSUS_THEME: {error}")
    return arguments


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
    commands = root.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", parser_class=_Parser
    )
    _looking(commands)
    _acting(commands)
    _recording(commands)
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
    commands: _Commands,
    name: str,
    summary: str,
    *examples: str,
) -> _Parser:
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


def _looking(commands: _Commands) -> None:
    looks = (
        ("status", "the site and all runs", ("status", "status --json --watch")),
        ("runs", "all runs", ("runs", "runs --json")),
        ("bets", "what decides between runs", ("bets", "bets --json")),
        (
            "whatif",
            "what moving nodes between runs would change: modelled, nothing is done",
            ("whatif --from 1t-b --to 10t --nodes 36", "whatif --from P4 --to 10t --json"),
        ),
        ("money", "what runs and idle GPUs cost", ("money", "money --json")),
        (
            "incidents",
            "what is wrong now, grouped by its cause, and what to do next",
            ("incidents", "incidents 17", "incidents --all --json"),
        ),
        (
            "timeline",
            "events, actions and incidents on one clock",
            ("timeline", "timeline --run 10t --last 2h"),
        ),
        ("nodes", "all nodes", ("nodes", "nodes --watch")),
        (
            "gpus",
            "GPUs with their figures",
            (
                "gpus --run 10t",
                "gpus --node n1 --json",
                "gpus --where 'run=10t and temp>85 and age<5'",
                "gpus --order temp --limit 10",
            ),
        ),
        (
            "find",
            "where GPUs are: by node, UUID, rank of a run or any filter",
            ("find node-17", "find GPU-8f3c", "find 10t:17", "find 'xid!=0 and hall=B'"),
        ),
        (
            "places",
            "halls, racks or runs with their roll-ups",
            ("places halls", "places racks --hall B", "places runs --watch"),
        ),
        (
            "power",
            "what site, feeds and halls draw against their limits, and the cooling loops",
            ("power", "power --hall hall-B", "power --json --watch"),
        ),
        ("events", "what happened, newest first", ("events --run 10t", "events --limit 20")),
        ("actions", "who did what and how it ended", ("actions --open", "actions --run 10t")),
        (
            "show",
            "one run, node or action in full",
            ("show 10t", "show node-1 --json", "show 3f0c2a9e"),
        ),
    )
    for name, summary, examples in looks:
        parser = _command(commands, name, summary, *examples)
        parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
        parser.add_argument("--watch", action="store_true", help="again and again until Ctrl-C")
        parser.add_argument(
            "--interval", type=seconds, default=1.0, metavar="S", help="of --watch, default 1"
        )
        _look_options(parser, name)


def _look_options(parser: argparse.ArgumentParser, name: str) -> None:
    if name == "whatif":
        parser.add_argument(
            "--from", dest="source", required=True, metavar="RUN|CLASS", help="who gives nodes"
        )
        parser.add_argument(
            "--to", dest="target", required=True, metavar="RUN|CLASS", help="who takes them"
        )
        parser.add_argument("--nodes", type=nodes, metavar="N", help="default all that it has")
        parser.add_argument(
            "--efficiency",
            type=efficiency,
            default=EFFICIENCY,
            metavar="RATIO",
            help=f"parallel efficiency of a doubling, 0.5 to 1; default {EFFICIENCY}",
        )
    if name == "show":
        parser.add_argument(
            "name", metavar="RUN|NODE|ACTION", help="an action by at least 8 characters of its id"
        )
    if name == "actions":
        parser.add_argument("--open", action="store_true", help="only those that go on")
    if name == "incidents":
        parser.add_argument(
            "incident", nargs="?", type=count, metavar="ID", help="this one in full"
        )
        parser.add_argument("--all", action="store_true", help="also those that are closed")
    if name == "timeline":
        parser.add_argument(
            "--last",
            type=past,
            default=900.0,
            metavar="TIME",
            help="such as 15m, the default",
        )
    if name in ("gpus", "events", "actions", "timeline"):
        parser.add_argument("--run", metavar="RUN", help="only of this run")
    if name in ("gpus", "events"):
        parser.add_argument("--node", metavar="NODE", help="only of this node")
    if name in ("events", "actions"):
        parser.add_argument("--limit", type=count, default=50, metavar="N", help="default 50")
    if name == "gpus":
        parser.add_argument(
            "--where", action=GpuFilter, metavar="EXPR", help=f"only those it meets: {WHERE_HELP}"
        )
        parser.add_argument(
            "--order", type=metric, metavar="METRIC", help=f"worst first: {', '.join(METRICS)}"
        )
    if name == "find":
        parser.add_argument(
            "text", nargs="+", action=GpuFilter, metavar="NODE|UUID|RUN:RANK|EXPR", help=WHERE_HELP
        )
    if name in ("gpus", "find"):
        when = " with --where or --order" if name == "gpus" else ""
        parser.add_argument(
            "--limit", type=count, metavar="N", help=f"at most so many; default 100{when}"
        )
    if name == "power":
        parser.add_argument("--hall", metavar="HALL", help="also the racks of this hall")
    if name == "places":
        parser.add_argument("kind", choices=PLACES, help="what to list")
        parser.add_argument("--hall", metavar="HALL", help="only of this hall")
        parser.add_argument("--name", metavar="NAME", help="only this one; a rack with its worst")


def _acting(commands: _Commands) -> None:
    _verbs(commands)
    _on_nodes(commands)
    _on_site(commands)
    _on_actions(commands)
    _on_incidents(commands)
    _starting(commands)


def _verbs(commands: _Commands) -> None:
    verbs = (
        ("checkpoint", "save now, keep running", ("checkpoint 10t", "checkpoint 10t --no-wait")),
        (
            "pause",
            "save at a step, exit, release the GPUs",
            ("pause 10t --dry-run", "pause 1t-a 1t-b", "pause --match 'class>=P3 state=running'"),
        ),
        ("freeze", "stop in place until a resume or the fuse", ("freeze 10t --fuse 30",)),
        ("resume", "undo a pause or a freeze", ("resume 10t", "resume --match state=paused")),
        (
            "reprioritize",
            "change the priority class",
            ("reprioritize 10t P1", "reprioritize --match 'user=eve gpus<64' P4"),
        ),
        ("stop", "end a run; nothing is saved", ("stop 10t", "stop 10t --force --grace 5")),
        (
            "cap",
            "limit the power of each of a run's GPUs, or take the limit off",
            (
                "cap 10t --watts 600 --dry-run",
                "cap --match 'class>=P3' --watts 500",
                "cap 10t --default",
            ),
        ),
    )
    for name, summary, examples in verbs:
        parser = _command(commands, name, summary, *examples)
        parser.takes_runs = True
        parser.add_argument("runs", nargs="*", metavar="RUN", help="one or several")
        if name == "reprioritize":
            parser.add_argument("priority_class", metavar="CLASS", choices=CLASSES)
        parser.add_argument(
            "--match", type=match, metavar="EXPR", help=f"runs by what they are: {MATCH_HELP}"
        )
        parser.add_argument(
            "--skip-refused",
            action="store_true",
            help="with --yes: act on the others when some runs refuse it; else nothing is done",
        )
        _action_options(parser)
        if name == "freeze":
            parser.add_argument("--fuse", type=seconds, metavar="S", help="default 60")
            parser.add_argument(
                "--release-gpus",
                action="store_true",
                help="move its GPU memory to the host; one node; the fuse is then 600 by default",
            )
        if name == "cap":
            limit = parser.add_mutually_exclusive_group(required=True)
            limit.add_argument("--watts", type=cap_watts, metavar="W", help="of each GPU")
            limit.add_argument(
                "--default",
                dest="watts",
                action="store_const",
                const=0.0,
                help="back to the limit before the cap, as a rule the device's default",
            )
        if name in ("pause", "stop"):
            parser.add_argument("--force", action="store_true", help="SIGKILL after the grace")
            parser.add_argument("--grace", type=seconds, metavar="S", help="default 600")


def _on_nodes(commands: _Commands) -> None:
    verbs = (
        (
            "drain",
            "take a node out of use: no new work, its runs save and go on elsewhere",
            ("drain node-17 --dry-run", 'drain node-17 --reason "XID 79"'),
        ),
        ("undrain", "give a drained node back to its scheduler", ("undrain node-17",)),
    )
    for name, summary, examples in verbs:
        parser = _command(commands, name, summary, *examples)
        parser.add_argument("node", metavar="NODE")
        _action_options(parser)


def _on_incidents(commands: _Commands) -> None:
    ack = _command(commands, "ack", "say that you look after an incident", "ack 17")
    silence = _command(
        commands,
        "silence",
        "let an incident count nowhere for a time, also when it comes back",
        "silence 17 --for 1h",
        "silence 17 --for 0",
    )
    for parser in (ack, silence):
        parser.add_argument("incident", type=count, metavar="ID", help="as incidents shows it")
        parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    silence.add_argument(
        "--for",
        dest="seconds",
        type=span,
        default=3_600.0,
        metavar="TIME",
        help="such as 30m or 2d; default 1h; 0 ends a silence",
    )


def _on_site(commands: _Commands) -> None:
    shed = _command(
        commands,
        "shed",
        "bring the site under a power, by power limits and pauses with least work at risk",
        "shed --to 150MW --for 3h --within 5m --dry-run",
        'shed --by 20% --for 1h --reason "grid event"',
    )
    amount = shed.add_mutually_exclusive_group(required=True)
    amount.add_argument("--to", type=power, metavar="POWER", help="such as 150MW")
    amount.add_argument("--by", type=share, metavar="SHARE", help="draw so much less: 20%%")
    shed.add_argument(
        "--for",
        dest="duration",
        type=lasting,
        metavar="TIME",
        help="then the hub restores it by itself, as in 3h; until colossus restore",
    )
    shed.add_argument(
        "--within",
        type=lasting,
        default=WITHIN_SECONDS,
        metavar="TIME",
        help="default 5m",
    )
    shed.add_argument(
        "--no-restore",
        dest="auto_restore",
        action="store_false",
        help="with --for: leave it to colossus restore all the same",
    )
    _action_options(shed)
    restore = _command(
        commands,
        "restore",
        "undo a shed in reverse order, as far as it is still as the shed left it",
        "restore",
        "restore 3f0c2a9e --dry-run",
    )
    restore.add_argument(
        "action", nargs="?", metavar="ACTION", help="the shed, by 8 characters; the newest"
    )
    _action_options(restore)


def _on_actions(commands: _Commands) -> None:
    verbs = (
        ("cancel", "take an action back while nothing of it is final", ("cancel 3f0c2a9e",)),
        ("approve", "approve an action that waits for another operator", ("approve 3f0c2a9e",)),
    )
    for name, summary, examples in verbs:
        parser = _command(commands, name, summary, *examples)
        parser.add_argument("action", metavar="ACTION", help="at least 8 characters of its id")
        parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
        _waiting(parser)
        if name == "approve":
            parser.add_argument("--yes", action="store_true", help="do not ask")


def _starting(commands: _Commands) -> None:
    run = _command(
        commands,
        "run",
        "start a run that outlives this command",
        "run --name 10t --class P0 --ranks 2 -- python train.py",
        "run --name try --env SEED=7 -- ./train.sh",
    )
    run.add_argument("--name", required=True, help="letters, digits, '.', '_', '-'; at most 63")
    run.add_argument("--class", dest="priority_class", choices=CLASSES, default="P2")
    run.add_argument("--ranks", type=count, default=1, metavar="N", help="default 1")
    run.add_argument("--label", default="", metavar="TEXT", help="shown beside the name")
    run.add_argument("--watchdog", type=seconds, default=0.0, metavar="S", help="its own, if any")
    run.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    run.add_argument("--node", metavar="NODE", help="where; needed when several are linked")
    _action_options(run)
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`, with its arguments")
    run.usage = "colossus run [options] --name NAME -- COMMAND [ARGUMENT ...]"


def _action_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show the preflight, do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    _waiting(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", help="for the journal")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _waiting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--wait", action=argparse.BooleanOptionalAction, default=True, help="until it has ended"
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        metavar="S",
        help="how long to observe, and to wait for another operator's approval",
    )


def _recording(commands: _Commands) -> None:
    record = _command(
        commands,
        "record",
        "write what the hub shows into one file: its last minutes, or from now on",
        "record --last 15m",
        "record --for 10m -o night.clrec",
    )
    when = record.add_mutually_exclusive_group()
    when.add_argument(
        "--last", type=stretch, metavar="SPAN", help="the hub's own recording, such as 15m"
    )
    when.add_argument(
        "--for", dest="seconds", type=stretch, metavar="SPAN", help="from now on; until Ctrl-C"
    )
    record.add_argument("-o", "--output", metavar="FILE", help="a new file; named by the time")
    record.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    replay = _command(
        commands,
        "replay",
        "the whole console on a recording",
        "replay night.clrec",
        "replay night.clrec --at 14:03 --speed 8",
        "replay night.clrec --info",
        "replay night.clrec --listen unix:/tmp/night.sock",
    )
    replay.add_argument("file", metavar="FILE")
    replay.add_argument("--at", metavar="TIME", help="begin at 14:03, 14:03:22, +90s or end-2m")
    replay.add_argument("--speed", type=speed, default=1.0, metavar="N", help="0.1 to 600; 1")
    replay.add_argument("--info", action="store_true", help="tell what it holds and what is whole")
    replay.add_argument("--json", action="store_true", help="the same as one JSON object")
    replay.add_argument(
        "--listen", metavar="ADDRESS", help="serve it as if it were a hub; no console"
    )


def _serving(commands: _Commands) -> None:
    from colossus_tui.hub.command import add_arguments  # arguments only, no server
    from colossus_tui.sim.command import add_arguments as add_sim_arguments

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
    demo.add_argument("--for", dest="seconds", type=seconds, metavar="S", help="then end")
    demo.add_argument("--json", action="store_true", help="print the runs at the end")
    demo.add_argument("--keep", action="store_true", help="leave the runs running at the end")
    sim = _command(
        commands,
        "sim",
        "a simulated site with seven giant runs, and the console on it",
        "sim",
        "sim --nodes 137500 --scenario faults.toml",
        "sim --hub 127.0.0.1:7717 --nodes 5000",
        "sim --headless --for 30 --json",
    )
    add_sim_arguments(sim)
    sim.add_argument("--headless", action="store_true", help="no console")
    sim.add_argument("--for", dest="seconds", type=seconds, metavar="S", help="then end")
    sim.add_argument("--json", action="store_true", help="print the runs at the end")
    serve = _command(
        commands,
        "serve",
        "the console in a browser of this machine",
        "serve",
        "serve --port 8080 --operator",
    )
    serve.add_argument("--host", default="127.0.0.1", help="a loopback address; 127.0.0.1")
    serve.add_argument("--port", type=port, default=8000, metavar="N", help="default 8000")
    serve.add_argument(
        "--operator", action="store_true", help="who opens it may act; else it only looks"
    )
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
