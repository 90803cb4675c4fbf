"""Write docs/cli.md and docs/json.md from the command line's own help and from the contracts, and
the tables of keys in docs/screens from their registry.

`python docs/generate.py` writes them; `--check` fails when the checked-in ones differ.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import types
import typing
from enum import StrEnum
from pathlib import Path

from colossus_tui import model
from colossus_tui.cli import parser as grammar
from colossus_tui.cli.doctor import Finding
from colossus_tui.cli.output import SCHEMA_VERSION
from colossus_tui.tui.actions import COMMANDS

DOCS = Path(__file__).resolve().parent
PROTOS = DOCS.parent / "protos" / "colossus_protos" / "v1"
KEYS = re.compile(r"(<!-- keys: (\w+) -->)\n.*?(<!-- end of keys)", re.S)
MADE = "<!-- Made by docs/generate.py; edit the source instead. -->"
# What each command prints beside schema_version: part, its type, what it is.
PARTS: dict[str, tuple[tuple[str, object, str], ...]] = {
    "status": (("site", model.Site, "the site"), ("runs", list[model.Run], "all runs")),
    "runs": (("runs", list[model.Run], "all runs"),),
    "bets": (
        ("bets", list[model.Bet], "all runs on what decides between them"),
        ("curves", list[model.Curve], "how they learned"),
    ),
    "whatif": (("what_if", model.WhatIf, "what the move would change; modelled"),),
    "money": (
        ("money", model.SiteMoney, "what the site costs now"),
        ("runs", list[model.Run], "all runs, each with what it costs"),
        ("idle", model.IdleView, "GPUs that cost and do no work"),
    ),
    "incidents": (
        ("incidents", list[model.Incident], "those that count the most first, without members"),
    ),
    "incidents ID, ack, silence": (("incident", model.Incident, "the incident in full"),),
    "timeline": (("timeline", model.Timeline, "what happened, and a plot"),),
    "nodes": (("nodes", list[model.Node], "all nodes"),),
    "gpus": (("gpus", list[model.Gpu], "the GPUs asked for"),),
    "gpus --where, --order or --limit": (
        ("where", str, "the filter that was asked, with --run and --node"),
        ("found", model.Found, "the first GPUs that it meets"),
    ),
    "find": (
        ("where", str, "the filter that the text was taken for"),
        ("found", model.Found, "the GPUs"),
    ),
    "places": (("places", list[model.Place], "halls, racks or runs, by name"),),
    "power": (("power", model.PowerView, "the site's power; with --hall also its racks"),),
    "events": (("events", list[model.Event], "newest first"),),
    "actions": (("actions", list[model.Action], "the journal, newest first"),),
    "show RUN": (("kind", str, '"run"'), ("detail", model.RunDetail, "the run")),
    "show NODE": (("kind", str, '"node"'), ("detail", model.NodeDetail, "the node")),
    "show ACTION": (
        ("kind", str, '"action"'),
        ("detail", model.Action, "the action, with all ranks and nodes that the hub keeps"),
        (
            "parts",
            list[model.Action],
            "what it did to runs; of drain, shed, restore",
        ),
    ),
    "run, checkpoint, pause, freeze, resume, reprioritize, stop, undrain, cancel, approve": (
        ("action", model.Action, "the action as it ended, or as it was left with --no-wait"),
    ),
    "drain, shed, restore": (
        ("action", model.Action, "the action as it ended, or as it was left with --no-wait"),
        ("parts", list[model.Action], "what it did to runs, newest first"),
    ),
    "the same with --dry-run, or when refused beforehand": (
        ("preflight", model.Preflight, "what it would cost, or why not"),
    ),
    "a verb on several runs, or with --match": (
        ("actions", list[model.Action], "each run's own, in the order asked for"),
        ("left_out", list[model.Preflight], "runs that refused it and were left out"),
    ),
    "a verb on several runs with --dry-run, or when nothing was done": (
        ("bulk_preflight", model.BulkPreflight, "what it would cost together, or why not"),
    ),
    "cancel and approve, when refused": (
        ("action", model.Action, "the action as it is now"),
        ("refusal_detail", str, "why it was not taken back, or the approval not counted"),
    ),
    "record": (
        ("file_name", str, "the recording"),
        ("size_bytes", int, "its length"),
        ("start_time_unix_ns", int, "its first instant"),
        ("end_time_unix_ns", int, "its last instant that is whole"),
    ),
    "replay": (
        ("file_name", str, "the recording"),
        ("size_bytes", int, "its length"),
        ("start_time_unix_ns", int, "its first instant"),
        ("end_time_unix_ns", int, "its last instant that is whole"),
        ("damage", str, "where and why it is cut; empty where it is whole"),
    ),
    "doctor": (("findings", list[Finding], "what works here and what does not"),),
    "demo --headless": (("site", model.Site, "the site"), ("runs", list[model.Run], "all runs")),
}
# What no contract says.
ABOUT = {
    ("Bet", ""): "One run as it is compared with others; rates are those of now.",
    ("Bet", "currency"): "Currency of the hub's prices; empty without prices.",
    ("Bet", "tokens_per_money"): "Tokens for one unit of the currency.",
    ("Bet", "tokens_per_megawatt_hour"): "Tokens for a megawatt-hour of its GPUs.",
    ("Bet", "tokens_per_gpu_hour"): "Tokens of one GPU in an hour.",
    ("Bet", "training_flop"): "6 a parameter and token, so far.",
    ("Bet", "progress_ratio"): "Of its target, 0 to 1.",
    ("Bet", "late_seconds"): "Expected end after the planned one; negative is early.",
    ("WhatIf", ""): "What a move of nodes would change. Modelled; see docs/bets.md.",
    ("WhatIf", "source"): "Run or class that gives.",
    ("WhatIf", "target"): "Run or class that takes.",
    ("WhatIf", "node_count"): "Nodes that move.",
    ("WhatIf", "efficiency_ratio"): "Parallel efficiency of a doubling that was assumed.",
    ("WhatIf", "currency"): "Of money.",
    ("WhatIf", "shifts"): "Every run that is not over, before and after.",
    ("WhatIf", "steps"): "What would bring it about, in order. Untrusted text.",
    ("WhatIf", "modelled"): "Always true.",
    ("Shift", ""): "One run before and after a move. Modelled.",
    ("Prospect", ""): "What a run may expect.",
    ("Shift", "before"): "As it is.",
    ("Shift", "after"): "As it would be.",
    ("Prospect", "money_per_day"): "Cost of a day at the present rate.",
    ("Finding", ""): "One line of the doctor's report.",
    ("Finding", "name"): "What was looked at.",
    ("Finding", "verdict"): '"ok", "warn" or "fail".',
    ("Finding", "detail"): "What was found.",
    ("Finding", "remedy"): "What to do about it; empty where nothing is to be done.",
    ("Found", ""): "GPUs that a filter meets.",
    ("Found", "total_count"): "GPUs that it meets.",
    ("Found", "gpus"): "The first of them.",
}
# Whose fields mean what those of the same name do there.
LIKE = {"Bet": "Run", "Prospect": "Run", "Shift": "Run"}
JSON_HEAD = f"""# JSON of the command line

{MADE}

Every command with `--json` prints one JSON object on one line; with `--watch`, one line each time.
`schema_version` is {SCHEMA_VERSION}. It grows when a field is removed or changes its meaning;
fields may be added without notice. `null` is "not available", never 0. Times are Unix nanoseconds,
0 for never. Field names end in their unit. Text that comes from nodes and jobs is passed on as it
came, JSON-escaped: make it harmless before you print it.

| command | field | type | what it is |
|---|---|---|---|
"""


def comments() -> dict[tuple[str, str], str]:
    """Return the comment of each field of each message, from the .proto files."""
    found: dict[tuple[str, str], str] = {}
    for path in sorted(PROTOS.glob("*.proto")):
        message = ""
        lines: list[str] = []
        for raw in path.read_text().splitlines():
            line = raw.strip()
            if start := re.match(r"(?:message|enum) (\w+) {", line):
                found[start[1], ""] = " ".join(lines)
                message, lines = start[1], []
            elif line.startswith("//"):
                lines.append(line.removeprefix("//").strip())
            elif field := re.match(r"(?:optional |repeated )?[\w.<>, ]+ (\w+) = \d+", line):
                found[message, field[1]] = " ".join(lines)
                lines = []
            elif not line.startswith("oneof"):
                lines = []
    return found


def type_name(kind: object) -> str:
    """Return a type as a reader of JSON knows it; objects link to their table."""
    if isinstance(kind, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(kind))
    origin = typing.get_origin(kind)
    if origin in (tuple, list):
        return f"array of {type_name(typing.get_args(kind)[0])}"
    if origin is not None:
        return "object"
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(f'`"{member.value}"`' for member in kind)
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    return names.get(typing.cast("type", kind), "null")


def parts_of(kind: object) -> list[type]:
    """Return the dataclasses that a type is made of."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return [kind]
    return [found for part in typing.get_args(kind) for found in parts_of(part)]


def json_page() -> str:
    """Return docs/json.md."""
    known, text = comments(), JSON_HEAD
    known |= ABOUT
    waiting: list[type] = []
    for command, parts in PARTS.items():
        for name, kind, about in parts:
            text += f"| `{command}` | `{name}` | {type_name(kind)} | {about} |\n"
            waiting += parts_of(kind)
    done: set[type] = set()
    while waiting:
        kind = waiting.pop(0)
        if kind in done:
            continue
        done.add(kind)
        hints = typing.get_type_hints(kind)
        text += f"\n## {kind.__name__}\n\n{known.get((kind.__name__, ''), '')}\n\n"
        text += "| field | type | what it is |\n|---|---|---|\n"
        for field in dataclasses.fields(kind):
            like = LIKE.get(kind.__name__, kind.__name__)
            about = known.get((kind.__name__, field.name)) or known.get((like, field.name), "")
            about = about.replace("|", "\\|")
            text += f"| `{field.name}` | {type_name(hints[field.name])} | {about} |\n"
            waiting += parts_of(hints[field.name])
    return text


def cli_page() -> str:
    """Return docs/cli.md."""
    os.environ["COLUMNS"] = "88"
    root = grammar.build()
    text = f"# The command line\n\n{MADE}\n\n```\n{root.format_help()}```\n"
    for action in root._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, parser in action.choices.items():
                text += f"\n## colossus {name}\n\n```\n{parser.format_help()}```\n"
    return text


def screen_pages() -> dict[str, str]:
    """Return the pages of docs/screens, each with the keys of its screen as they are."""
    return {
        str(path.relative_to(DOCS)): KEYS.sub(_keys, path.read_text("utf-8"))
        for path in sorted((DOCS / "screens").glob("*.md"))
    }


def _keys(found: re.Match[str]) -> str:
    """Return a table of keys, between the same lines as before."""
    begin, scope, end = found.groups()
    rows = "".join(
        "| `{}` | {} |\n".format(*(text.replace("|", "\\|") for text in (one.shown, one.help)))
        for one in COMMANDS
        if scope in one.scope
    )
    return f"{begin}\n| Key | What it does |\n| --- | --- |\n{rows}{end}"


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on a difference")
    arguments = parser.parse_args()
    wrong = 0
    for name, text in {"cli.md": cli_page(), "json.md": json_page(), **screen_pages()}.items():
        path = DOCS / name
        if not arguments.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"docs/{name} is old; run python docs/generate.py\n")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
