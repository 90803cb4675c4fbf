"""When GPUs begin to be held back, as events: by run, and not each flicker of each of thousands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from colossus_tui.hub.incidents.grouping import Rows, Seconds
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.store import Store
from colossus_tui.model import Event
from colossus_tui.text import counted

QUIET_SECONDS = 60.0  # a node that was held back within it has not begun anew
PERIOD_SECONDS = 60.0  # between two events of a run and a reason
NAMED = 3
KIND = "gpu.throttle"
WHY = {"node.hot": "throttled for heat", "node.power_brake": "held back by a power brake"}


class Throttles:
    """Remembers which nodes were held back, and tells of those that begin to be."""

    def __init__(self, store: Store, nodes: Nodes, tell: Callable[[Event], None]) -> None:
        self._store = store
        self._nodes = nodes
        self._tell = tell
        self._last: dict[str, Seconds] = {}  # by reason, then by row of a node
        self._told: dict[tuple[str, str], float] = {}  # by reason and run
        # Not yet told of: how many GPUs, and the rows of their nodes.
        self._waiting: dict[tuple[str, str], tuple[int, dict[int, None]]] = {}

    def look(self, kind: str, gpus: Rows, now: float) -> None:
        """Take the rows of all GPUs that are held back for a reason now."""
        store = self._store
        nodes = store.node_of[gpus]
        last = np.full(store.hosts.row_count, -np.inf)
        if (known := self._last.get(kind)) is not None:
            last[: known.size] = known
        begun = gpus[now - last[nodes] > QUIET_SECONDS]
        last[nodes] = now
        self._last[kind] = last
        codes = store.run_of[begun]
        for code in np.unique(codes).tolist():
            of_run = begun[codes == code]
            key = kind, store.runs.names[code] if code >= 0 else ""
            count, rows = self._waiting.get(key, (0, {}))
            rows |= dict.fromkeys(store.node_of[of_run].tolist())
            self._waiting[key] = count + of_run.size, rows
        self._say(now)

    def _say(self, now: float) -> None:
        for key, (count, rows) in tuple(self._waiting.items()):
            if now - self._told.get(key, -np.inf) < PERIOD_SECONDS:
                continue
            kind, run_id = key
            self._told[key] = now
            del self._waiting[key]
            first = [self._nodes.by_row[row].node_name for row in list(rows)[:NAMED]]
            more = f" and {len(rows) - NAMED:,} more" if len(rows) > NAMED else ""
            where = f"{counted(count, 'GPU')} of {counted(len(rows), 'node')}"
            text = f"{WHY[kind]}: {where}: {', '.join(first)}{more}"
            node_name = first[0] if len(rows) == 1 else ""
            self._tell(Event(kind=KIND, message=text, run_id=run_id, node_name=node_name))
