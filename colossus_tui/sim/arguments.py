"""The arguments of `colossus sim`; the command line has them without the simulator."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util

NODES, NODE_LIMIT = 1_000, 500_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the simulator's arguments."""
    parser.add_argument("--nodes", type=_nodes, default=NODES, metavar="N", help="default 1000")
    parser.add_argument(
        "--gpus-per-node", type=_gpus, default=4, metavar="N", help="1 to 16, default 4"
    )
    parser.add_argument(
        "--rate", type=_rate, default=1.0, metavar="HZ", help="frames a second, 0.1 to 5, default 1"
    )
    parser.add_argument(
        "--seed", type=_seed, default=7, metavar="N", help="same seed, same site; 7"
    )
    parser.add_argument("--scenario", metavar="FILE", help="TOML, see docs/simulator.md")
    parser.add_argument(
        "--relay-nodes", type=_nodes, default=1_024, metavar="N", help="nodes of a relay, 1024"
    )
    parser.add_argument(
        "--no-failures", action="store_true", help="nodes fail by the scenario only, not by chance"
    )
    parser.add_argument(
        "--limits",
        action="store_true",
        help="print the site's limits, prices and feeds as settings of a hub",
    )
    parser.add_argument(
        "--mqtt",
        type=_broker,
        metavar="HOST:PORT",
        help="tell a broker what a modelled building's meters and cooling loops measure",
    )


def _nodes(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= NODE_LIMIT:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to {NODE_LIMIT}")
    return int(text)


def _gpus(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 16:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to 16")
    return int(text)


def _broker(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 < int(port) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r}: HOST:PORT")
    if importlib.util.find_spec("aiomqtt") is None:
        raise argparse.ArgumentTypeError("needs a library: pip install 'colossus-tui[mqtt]'")
    return host, int(port)


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 0 on")
    return int(text)


def _rate(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0.1 <= (rate := float(text)) <= 5:
            return rate
    raise argparse.ArgumentTypeError(f"{text!r}: 0.1 to 5")
