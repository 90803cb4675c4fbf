"""Commands that look."""

from __future__ import annotations

import argparse

from colossus_tui.cli.filters import METRICS, GpuFilter
from colossus_tui.cli.grammar.base import Commands, command
from colossus_tui.cli.values import count, efficiency, metric, nodes, past, seconds
from colossus_tui.model.match import GPU_FIELDS
from colossus_tui.model.outlook import EFFICIENCY

WHERE_HELP = f"such as 'run=10t and temp>85' or a word; fields: {', '.join(GPU_FIELDS)}"
PLACES = ("halls", "racks", "runs")


def looking(commands: Commands) -> None:
    """Add them."""
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
        parser = command(commands, name, summary, *examples)
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
