"""Commands that record, replay, serve and simulate."""

from __future__ import annotations

from colossus_tui.cli.grammar.base import Commands, command
from colossus_tui.cli.values import port, seconds, span, speed
from colossus_tui.hub import arguments as hub_arguments
from colossus_tui.sim import arguments as sim_arguments


def recording(commands: Commands) -> None:
    """Add those of recordings."""
    record = command(
        commands,
        "record",
        "write what the hub shows into one file: its last minutes, or from now on",
        "record --last 15m",
        "record --for 10m -o night.clrec",
    )
    when = record.add_mutually_exclusive_group()
    when.add_argument(
        "--last", type=span, metavar="SPAN", help="the hub's own recording, such as 15m"
    )
    when.add_argument(
        "--for", dest="seconds", type=span, metavar="SPAN", help="from now on; until Ctrl-C"
    )
    record.add_argument("-o", "--output", metavar="FILE", help="a new file; named by the time")
    record.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    replay = command(
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


def serving(commands: Commands) -> None:
    """Add those that start something that serves, and those about this machine."""
    hub = command(commands, "hub", "serve agents and consoles", "hub --listen 127.0.0.1:7717")
    hub_arguments.add_arguments(hub)
    demo = command(
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
    sim = command(
        commands,
        "sim",
        "a simulated site with seven giant runs, and the console on it",
        "sim",
        "sim --nodes 137500 --scenario faults.toml",
        "sim --hub 127.0.0.1:7717 --nodes 5000",
        "sim --headless --for 30 --json",
    )
    sim_arguments.add_arguments(sim)
    sim.add_argument("--headless", action="store_true", help="no console")
    sim.add_argument("--for", dest="seconds", type=seconds, metavar="S", help="then end")
    sim.add_argument("--json", action="store_true", help="print the runs at the end")
    serve = command(
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
    doctor = command(commands, "doctor", "what works on this machine and what does not", "doctor")
    doctor.add_argument("--json", action="store_true", help="one JSON object (docs/json.md)")
    completion = command(
        commands,
        "completion",
        "print a completion script",
        "completion bash > /etc/bash_completion.d/colossus",
        "completion zsh > ~/.zfunc/_colossus",
        "completion fish > ~/.config/fish/completions/colossus.fish",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
