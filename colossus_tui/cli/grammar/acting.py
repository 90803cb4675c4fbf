"""Commands that act on runs, nodes, the site, incidents and actions."""

from __future__ import annotations

from colossus_tui.cli.grammar.base import Commands, action_options, command, waiting
from colossus_tui.cli.values import (
    cap_watts,
    count,
    match,
    power,
    seconds,
    share,
    span,
    span_or_zero,
)
from colossus_tui.model import PriorityClass
from colossus_tui.model.match import FIELDS
from colossus_tui.model.shed import WITHIN_SECONDS

VERBS = ("checkpoint", "pause", "freeze", "resume", "reprioritize", "stop", "cap")
CLASSES = [member.value for member in PriorityClass]
MATCH_HELP = f"terms such as class>=P3 or a word; fields: {', '.join(FIELDS)}"


def acting(commands: Commands) -> None:
    """Add them."""
    _verbs(commands)
    _on_nodes(commands)
    _on_site(commands)
    _on_actions(commands)
    _on_incidents(commands)
    _starting(commands)


def _verbs(commands: Commands) -> None:
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
        parser = command(commands, name, summary, *examples)
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
        action_options(parser)
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


def _on_nodes(commands: Commands) -> None:
    verbs = (
        (
            "drain",
            "take a node out of use: no new work, its runs save and go on elsewhere",
            ("drain node-17 --dry-run", 'drain node-17 --reason "XID 79"'),
        ),
        ("undrain", "give a drained node back to its scheduler", ("undrain node-17",)),
    )
    for name, summary, examples in verbs:
        parser = command(commands, name, summary, *examples)
        parser.add_argument("node", metavar="NODE")
        action_options(parser)


def _on_incidents(commands: Commands) -> None:
    ack = command(commands, "ack", "say that you look after an incident", "ack 17")
    silence = command(
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
        type=span_or_zero,
        default=3_600.0,
        metavar="TIME",
        help="such as 30m or 2d; default 1h; 0 ends a silence",
    )


def _on_site(commands: Commands) -> None:
    shed = command(
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
        type=span,
        metavar="TIME",
        help="then the hub restores it by itself, as in 3h; until colossus restore",
    )
    shed.add_argument(
        "--within",
        type=span,
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
    action_options(shed)
    restore = command(
        commands,
        "restore",
        "undo a shed in reverse order, as far as it is still as the shed left it",
        "restore",
        "restore 3f0c2a9e --dry-run",
    )
    restore.add_argument(
        "action", nargs="?", metavar="ACTION", help="the shed, by 8 characters; the newest"
    )
    action_options(restore)


def _on_actions(commands: Commands) -> None:
    verbs = (
        ("cancel", "take an action back while nothing of it is final", ("cancel 3f0c2a9e",)),
        ("approve", "approve an action that waits for another operator", ("approve 3f0c2a9e",)),
    )
    for name, summary, examples in verbs:
        parser = command(commands, name, summary, *examples)
        parser.add_argument("action", metavar="ACTION", help="at least 8 characters of its id")
        parser.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
        waiting(parser)
        if name == "approve":
            parser.add_argument("--yes", action="store_true", help="do not ask")


def _starting(commands: Commands) -> None:
    run = command(
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
    action_options(run)
    run.add_argument("argv", nargs="+", metavar="COMMAND", help="after `--`, with its arguments")
    run.usage = "colossus run [options] --name NAME -- COMMAND [ARGUMENT ...]"
