"""The arguments of `colossus hub`; the command line has them without the hub's settings."""

from __future__ import annotations

import argparse

ROLES = ("viewer", "operator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the hub's arguments."""
    parser.add_argument(
        "--listen",
        action="append",
        metavar="ADDRESS",
        help="unix:/path or 127.0.0.1:PORT; may be repeated; default: the private Unix socket",
    )
    parser.add_argument("--state-dir", metavar="DIR", help="default: ~/.local/state/colossus")
    parser.add_argument("--site-name", metavar="NAME", help='shown in the header; "this machine"')
    parser.add_argument("--config", metavar="FILE", help="TOML, see docs/hub.md")
    parser.add_argument("--tcp-role", choices=ROLES, help="what TCP callers may do: viewer")
    parser.add_argument(
        "--relay-to",
        metavar="ADDRESS",
        help="hand everything on to this hub; several with commas, in the order to try them",
    )
    parser.add_argument("--relay-name", metavar="NAME", help="for the parent; this machine's name")
    parser.add_argument(
        "--store",
        metavar="ADDRESS",
        help="postgresql://USER@HOST/DATABASE, shared with other hubs; a file of this hub's own",
    )
    parser.add_argument("--hub-name", metavar="NAME", help="among hubs; this machine's name")
    parser.add_argument(
        "--advertise", metavar="ADDRESS", help="where other hubs reach this one; as it listens"
    )
    parser.add_argument("--port-file", metavar="FILE", help="write the TCP port there once up")
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
