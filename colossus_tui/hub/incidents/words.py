"""What incidents are called: titles, reasons and names of members, from counts and places."""

from __future__ import annotations

from colossus_tui.hub.incidents.findings import Spot
from colossus_tui.model import AffectedRun, IncidentScope
from colossus_tui.text import counted

# Of one node; of the nodes of a place, after their number.
_NODES = {
    "node.lost": ("lost", "lost"),
    "gpu.fault": ("has failed GPUs", "with failed GPUs"),
    "node.hot": ("throttles for heat", "throttle for heat"),
    "node.power_brake": ("held back by its power supply", "held back by their power supply"),
    "node.sensor_stuck": ("has stuck sensors", "with stuck sensors"),
    "node.drained": ("takes no new work", "take no new work"),
}
_RUNS = {
    "run.failed": "failed",
    "run.lost": "lost",
    "run.rank_ended": "a rank ended, the others go on",
    "run.collective_hang": "a collective hangs",
    "run.hang": "no step comes",
    "run.node_lost": "nodes silent",
    "run.xid": "XID errors of its own",
    "run.straggler": "waits for slow ranks",
    "run.slower": "steps are slower",
    "run.unwatched": "nodes without a hook",
    "run.checkpoint_age": "its checkpoint is late",
    "run.work_at_risk": "much work at risk",
    "run.ettr": "low ETTR",
}
_BUILDING = {
    "cooling.leak": "leak",
    "cooling.supply": "supply too warm",
    "facility.stale": "nothing new from the building",
    "facility.quality": "values of the building",
    "facility.away": "does not answer",
}


def place_name(spot: Spot) -> str:
    """Return what it is of, such as "rack hall-A/A-r040"."""
    match spot.scope:
        case IncidentScope.HALL:
            return f"hall {spot.hall}"
        case IncidentScope.FEED:
            return f"feed {spot.subject}"
        case IncidentScope.RACK:
            return f"rack {spot.hall}/{spot.rack}" if spot.hall else f"rack {spot.rack}"
        case IncidentScope.NODE:
            return f"node {spot.node_name}"
        case IncidentScope.RUN:
            return f"run {spot.run_id}"
    return "site"


def nodes_title(kind: str, spot: Spot, node_count: int, gpu_count: int) -> str:
    """Return the title of nodes that fail together."""
    one, many = _NODES[kind]
    gpus = f" ({counted(gpu_count, 'GPU')})" if gpu_count else ""
    if spot.scope is IncidentScope.NODE:
        return f"{place_name(spot)}: {one}{gpus}"
    return f"{place_name(spot)}: {counted(node_count, 'node')} {many}{gpus}"


def run_title(kind: str, spot: Spot, affected: AffectedRun | None = None) -> str:
    """Return the title of what is wrong with a run, or with some ranks of it."""
    if kind == "run.straggler" and affected is not None and affected.ranks:
        ranks = "rank" if affected.rank_count == 1 else "ranks"
        return f"{place_name(spot)}: waits for {ranks} {affected.ranks}"
    return f"{place_name(spot)}: {_RUNS[kind]}"


def building_title(kind: str, subject: str) -> str:
    """Return the title of what is wrong with a loop, a sensor or a source of the building's."""
    return f"{subject}: {_BUILDING[kind]}"
