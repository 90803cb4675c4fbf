"""Every key of the console in one place: footer, help, palette and bindings are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from colossus_tui.model import Verb


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that an operator can ask for.

    Attributes:
        name: Method `action_NAME` of the app or the screen.
        keys: Textual's names, comma separated; the first is shown.
        shown: The key as it is written on the screen.
        label: Word in the footer.
        help: Sentence in help and palette.
        scope: Screens that offer it: "all", "overview", "run", "nodes", "node", "actions",
            "action", "card", "map", "found", "money", "incidents", "incident", "timeline", "bets",
            "power";
            "replay" where a recording is shown.
        verb: Verb of an action on what is under the cursor, if it is one.
    """

    name: str
    keys: str
    shown: str
    label: str
    help: str
    scope: tuple[str, ...]
    verb: Verb | None = None


INCIDENTS = ("incidents", "incident")
RUNS = ("overview", "run", "money", "bets", *INCIDENTS)
NODES, ACTIONS = ("nodes", "node", *INCIDENTS), ("actions", "action")
MAP, PLOTS, REPLAY = ("map",), ("timeline", "bets", "run"), ("replay",)
ORDERED = ("overview", "money", "bets")
# What a map's metrics are called on the screen, by the digits that choose them.
MAP_NAMES = {
    "power": "power",
    "gpu_temperature": "temperature",
    "gpu_utilisation": "utilisation",
    "tensor_active": "tensor activity",
    "sm_clock": "SM clock",
    "memory_used": "memory",
    "age": "age",
    "health": "health",
}
COMMANDS = (
    Command(
        "open",
        "enter",
        "enter",
        "open",
        "Open it in full; on the map one level deeper",
        (
            *("overview", "money", "bets", "nodes", "actions", "card", "map", "found"),
            *("incidents", "timeline", "power"),
        ),
    ),
    Command("acknowledge", "A", "A", "ack", "Say that you look after the incident", INCIDENTS),
    Command("silence", "u", "u", "silence", "Let the incident not count for a time", INCIDENTS),
    Command(
        "what_if",
        "M",
        "M",
        "what if",
        "What moving nodes to another run would change",
        ("bets",),
    ),
    Command("axis", "x,tab", "x", "axis", "Plot against FLOP, tokens or wall time", ("bets",)),
    Command("other_table", "tab", "tab", "table", "To the other table", ("money",)),
    Command(
        "act('pause')",
        "p",
        "p",
        "pause",
        "Save at a step, exit, release the GPUs",
        RUNS,
        Verb.PAUSE,
    ),
    Command("act('resume')", "r", "r", "resume", "Undo a pause or a freeze", RUNS, Verb.RESUME),
    Command("act('checkpoint')", "c", "c", "ckpt", "Save now, keep running", RUNS, Verb.CHECKPOINT),
    Command(
        "act('freeze')",
        "f",
        "f",
        "freeze",
        "Stop in place until a resume or the fuse",
        RUNS,
        Verb.FREEZE,
    ),
    Command(
        "act('reprioritize')",
        "e",
        "e",
        "class",
        "Change the priority class",
        RUNS,
        Verb.REPRIORITIZE,
    ),
    Command("act('stop')", "S", "S", "stop", "End the run; nothing is saved", RUNS, Verb.STOP),
    Command("act('cap')", "C", "C", "cap", "Limit the power of each of its GPUs", RUNS, Verb.CAP),
    Command(
        "mark", "space", "space", "mark", "Mark the run: verbs act on all marked", ("overview",)
    ),
    Command("mark_all", "asterisk", "*", "mark all", "Mark all runs that are shown", ("overview",)),
    Command(
        "act('drain')",
        "D",
        "D",
        "drain",
        "Take the node out of use; its runs move on",
        NODES,
        Verb.DRAIN,
    ),
    Command(
        "act('undrain')",
        "U",
        "U",
        "undrain",
        "Give a drained node back to its scheduler",
        NODES,
        Verb.UNDRAIN,
    ),
    Command("approve", "A", "A", "approve", "Approve an action that waits for it", ACTIONS),
    Command(
        "cancel",
        "x",
        "x",
        "cancel",
        "Take an action back while nothing is final",
        (*ACTIONS, "card"),
    ),
    Command(
        "incidents",
        "i",
        "i",
        "incidents",
        "What is wrong now, grouped by its cause",
        (
            *("overview", "run", "money", "bets", "nodes", "node", "actions"),
            *("map", "timeline", "power"),
        ),
    ),
    Command(
        "timeline",
        "t",
        "t",
        "timeline",
        "What happened, on one clock: of the run, else of the site",
        ("overview", "run", *INCIDENTS),
    ),
    Command("nodes", "n", "n", "nodes", "All nodes", (*RUNS, "power")),
    Command(
        "act('shed')",
        "s",
        "s",
        "shed",
        "Bring the site under a power: a plan of power limits and pauses",
        ("power", "overview"),
        Verb.SHED,
    ),
    Command(
        "act('restore')",
        "R",
        "R",
        "restore",
        "Undo the newest shed in reverse order",
        ("power", "overview"),
        Verb.RESTORE,
    ),
    Command(
        "map",
        "m",
        "m",
        "map",
        "Map of the site; of a run or a hall, where it is",
        (*RUNS, "nodes", "power"),
    ),
    Command(
        "power",
        "w",
        "w",
        "power",
        "What site, feeds, halls and racks draw against their limits",
        (*RUNS, *NODES, *INCIDENTS, "map", "money"),
    ),
    Command(
        "actions",
        "a",
        "a",
        "actions",
        "Actions: of the run, else of all",
        (*RUNS, *NODES, "power"),
    ),
    Command(
        "bets",
        "b",
        "b",
        "bets",
        "Compare all runs: curves, tokens per cost, ETAs",
        ("overview", "run", "money"),
    ),
    Command(
        "money",
        "dollar_sign",
        "$",
        "money",
        "What runs cost, and idle GPUs",
        ("overview", "run", "bets", "map", "power", *NODES),
    ),
    Command("next_gpu", "g", "g", "next GPU", "Show the next GPU in full", ("node",)),
    Command(
        "back",
        "escape",
        "esc",
        "back",
        "Back to the screen before",
        (
            *("run", *NODES, "timeline", "actions", "action", "help", "map", "found"),
            *("money", "bets", "power"),
        ),
    ),
    Command(
        "filter",
        "slash",
        "/",
        "filter",
        "Filter by words, or as class>=P3, temp>85, state!=live",
        ("overview", "bets", "map", "nodes", "actions"),
    ),
    Command("find", "F", "F", "find", "Find a node, a GPU, RUN:RANK, a filter", MAP),
    Command("digits", "d", "d", "digits", "Digits on a map too dense for them, or not", MAP),
    Command("metric(1)", "v", "v", "metric", "Colour the map by the next metric", MAP),
    Command(
        "outlier(1)",
        "right_square_bracket",
        "]",
        "outlier",
        "To the worst cell, then to the next worse",
        MAP,
    ),
    Command("metric(-1)", "V", "V", "metric-", "Colour the map by the metric before", MAP),
    Command(
        "outlier(-1)",
        "left_square_bracket",
        "[",
        "outlier-",
        "To the outlier before this one",
        MAP,
    ),
    Command("zoom(1)", "plus", "+", "zoom in", "Show a shorter part of it", PLOTS),
    Command("zoom(-1)", "minus", "-", "zoom out", "Show a longer part of it", PLOTS),
    Command("pan(-1)", "less_than_sign", "<", "before", "Show what was before", PLOTS),
    Command("pan(1)", "greater_than_sign", ">", "after", "Show what was after", PLOTS),
    Command("whole", "0", "0", "whole", "Show the whole of it again", PLOTS),
    Command("order", "o", "o", "order", "Order by the next column", ORDERED),
    Command("order_again", "equals_sign", "=", "sort", "Order by the values of now", ORDERED),
    Command("reverse", "O", "O", "reverse", "Turn the order around", ORDERED),
    *(
        Command(
            f"choose({index})",
            str(index + 1),
            str(index + 1),
            name,
            f"Colour the map by {name}",
            MAP,
        )
        for index, name in enumerate(MAP_NAMES.values())
    ),
    Command("hold", "z", "z", "hold", "Let the screen stand still, or go on", ("all",)),
    Command("save", "W", "W", "save", "Keep this screen under a name", ("all",)),
    Command("saved", "apostrophe", "'", "saved", "Open a screen that was kept", ("all",)),
    Command("export", "E", "E", "export", "Write it as picture, JSON and CSV", ("all",)),
    Command("copy", "y", "y", "copy", "Copy the name of what is under the cursor", ("all",)),
    Command("copy_all", "Y", "Y", "copy all", "Copy the whole screen as text", ("all",)),
    Command("theme", "T", "T", "theme", "Show it in the next theme", ("all",)),
    Command("play", "P", "P", "play", "Play, or stand still", REPLAY),
    Command(
        "alert", "exclamation_mark", "!", "alert", "To the next alert, and stand still", REPLAY
    ),
    Command("step(-10)", "comma", ",", "-10s", "Back 10 seconds", REPLAY),
    Command("step(10)", "full_stop", ".", "+10s", "Forward 10 seconds", REPLAY),
    Command("step(-60)", "left_curly_bracket", "{", "-1m", "Back a minute", REPLAY),
    Command("step(60)", "right_curly_bracket", "}", "+1m", "Forward a minute", REPLAY),
    Command("pace(-1)", "left_parenthesis", "(", "slower", "Play slower", REPLAY),
    Command("pace(1)", "right_parenthesis", ")", "faster", "Play faster", REPLAY),
    Command("command_palette", "ctrl+p", "^p", "palette", "Find any command by its name", ("all",)),
    Command("record", "K", "K", "record", "Record into a file; again to end it", ("all",)),
    Command("help", "question_mark", "?", "help", "All keys", ("all",)),
    Command("quit", "q,ctrl+c", "q", "quit", "Leave; runs go on", ("all",)),
)


def offered(scope: str, *, replaying: bool = False) -> list[Command]:
    """Return the commands of a screen, its own first; of a replay its keys, and no verbs."""
    own = [command for command in COMMANDS if scope in command.scope]
    if replaying:
        kept = [command for command in own if command.verb is None]
        own = [command for command in COMMANDS if command.scope == REPLAY] + kept
    return own + [command for command in COMMANDS if "all" in command.scope]


def key_of(name: str) -> str:
    """Return a command's key as it is written on the screen."""
    return next(command.shown for command in COMMANDS if command.name == name)
