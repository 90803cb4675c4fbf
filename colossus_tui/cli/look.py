"""Commands that only look: status, runs, nodes, gpus, find, places, power, events and more."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from colossus_tui.cli import action, cards, exit_codes, facility, filters, sites, tables
from colossus_tui.cli.output import as_json, note, show
from colossus_tui.model import Found, PlaceKind
from colossus_tui.text import show_as_of

if TYPE_CHECKING:
    from colossus_tui.client import Client

FOUND_LIMIT = 100
Parts = tuple[dict[str, Any], str]  # for JSON, for people


def status(client: Client, arguments: argparse.Namespace) -> Parts:
    """The site and all runs."""
    del arguments
    site, runs = client.site(), client.runs()
    text = tables.site_lines(site) + ("\n\n" + tables.runs_table(runs) if runs else "")
    return {"site": site, "runs": runs}, text


def runs(client: Client, arguments: argparse.Namespace) -> Parts:
    """All runs."""
    del arguments
    found = client.runs()
    return {"runs": found}, tables.runs_table(found) if found else "no runs"


def nodes(client: Client, arguments: argparse.Namespace) -> Parts:
    """All nodes."""
    del arguments
    found = client.nodes()
    return {"nodes": found}, tables.nodes_table(found) if found else "no nodes"


def gpus(client: Client, arguments: argparse.Namespace) -> Parts:
    """GPUs of all nodes, of one node, of one run, or those that a filter meets."""
    if arguments.where is not None or arguments.limit is not None or arguments.order:
        return _found_gpus(client, arguments)
    found = client.gpus(node_name=arguments.node or "", run_id=arguments.run or "")
    return {"gpus": found}, tables.gpus_table(found) if found else "no GPUs"


def _found_gpus(client: Client, arguments: argparse.Namespace) -> Parts:
    where = filters.combined(
        arguments.where or "", run_id=arguments.run or "", node_name=arguments.node or ""
    )
    limit = arguments.limit or FOUND_LIMIT
    found = client.find_gpus(where, limit=limit, order=arguments.order or "")
    return {"where": where, "found": found}, sites.found_table(found, arguments.order or "")


def find(client: Client, arguments: argparse.Namespace) -> Parts:
    """Where one or more GPUs are, and what they do."""
    from colossus_tui.client import NotFoundError

    where, found = "", Found(0, ())
    for where in filters.meanings(arguments.text):
        found = client.find_gpus(where, limit=arguments.limit or FOUND_LIMIT)
        if found.total_count:
            return {"where": where, "found": found}, sites.found_places(found)
    nothing = f"no GPU is found by {arguments.text!r}"
    if not arguments.watch:
        raise NotFoundError(nothing)
    return {"where": where, "found": found}, nothing


def places(client: Client, arguments: argparse.Namespace) -> Parts:
    """Halls, racks or runs with their roll-ups."""
    kind = PlaceKind(arguments.kind.removesuffix("s"))
    found = client.places(kind, hall=arguments.hall or "", name=arguments.name or "")
    text = sites.places_table(found) if found else f"no {arguments.kind}"
    return {"places": found}, text


def power(client: Client, arguments: argparse.Namespace) -> Parts:
    """What places draw against their limits, and the cooling loops."""
    from colossus_tui.client import NotFoundError

    hall = arguments.hall or ""
    found = client.power(hall=hall)
    if hall and not any(one.name == hall and one.kind is PlaceKind.HALL for one in found.places):
        raise NotFoundError(f"there is no hall {hall!r}")
    return {"power": found}, facility.power_text(found)


def events(client: Client, arguments: argparse.Namespace) -> Parts:
    """Events, newest first."""
    found = client.events(
        run_id=arguments.run or "", node_name=arguments.node or "", limit=arguments.limit
    )
    return {"events": found}, tables.events_table(found) if found else "no events"


def actions(client: Client, arguments: argparse.Namespace) -> Parts:
    """The journal of actions, newest first."""
    found = client.actions(
        run_id=arguments.run or "", limit=arguments.limit, open_only=arguments.open
    )
    return {"actions": found}, cards.actions_table(found) if found else "no actions"


def show_one(client: Client, arguments: argparse.Namespace) -> Parts:
    """One run, one node or one action."""
    from colossus_tui.client import NotFoundError

    name = arguments.name
    with contextlib.suppress(NotFoundError):
        run = client.run(name)
        return {"kind": "run", "detail": run}, tables.run_text(run)
    with contextlib.suppress(NotFoundError):
        node = client.node(name)
        return {"kind": "node", "detail": node}, tables.node_text(node)
    if len(name) >= action.PREFIX_LENGTH:
        with contextlib.suppress(NotFoundError):
            return action.shown(client, name)
    raise NotFoundError(f"there is no run, node or action {name!r}")


def look(
    client: Client,
    arguments: argparse.Namespace,
    command: Callable[[Client, argparse.Namespace], Parts],
) -> int:
    """Print once, or with --watch once a second until interrupted."""
    first = True
    while True:
        playback = client.playback()
        show_as_of(playback.position_time_unix_ns if playback is not None else None)
        parts, text = command(client, arguments)
        if arguments.json:
            show(as_json(**parts))
        else:
            if arguments.watch and not first:
                show("\x1b[H\x1b[2J" if sys.stdout.isatty() else "")
            show(text)
        if not arguments.watch:
            return exit_codes.OBSERVED
        first = False
        time.sleep(arguments.interval)


def await_first_frame(client: Client, seconds: float = 10.0) -> None:
    """Wait until a node reports: hub and agent may have been started a moment ago."""
    deadline = time.monotonic() + seconds
    while not any(node.linked and node.age_seconds < 5 for node in client.nodes()):
        if time.monotonic() > deadline:
            note("no node reports yet; going on with what there is")
            return
        time.sleep(0.05)
