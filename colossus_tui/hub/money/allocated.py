"""Which GPUs a scheduler has given to a run though no process of it is on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.store import Rows, Store

if TYPE_CHECKING:
    from colossus_tui.hub.money.idle import Flags
    from colossus_tui.hub.runs.live import LiveRun

NONE: Rows = np.zeros(0, dtype=np.intp)


def without_process(store: Store, nodes: Nodes, run: LiveRun, free: Flags) -> Rows:
    """Return rows of free GPUs, on each of the job's nodes as many as its processes leave unused.

    A scheduler says how many GPUs a job has on its nodes, seldom which: the first that are free are
    taken for the job's.

    Args:
        free: By row: whether no run's process is on the GPU and it does no work.
    """
    if run.scheduled is None:
        return NONE
    code, job = store.runs.known(run.run_id), run.scheduled.sighting.job
    held = store.run_of[: free.size] == code if code >= 0 else np.zeros(free.size, dtype=np.bool_)
    on = nodes.rows_of(job.node_names)
    on = np.sort(on[on >= 0])
    if not on.size:
        return NONE
    given = np.zeros(store.hosts.row_count, dtype=np.int64)  # by node
    given[on] = math.ceil(job.gpu_count / len(job.node_names))
    given -= np.bincount(store.node_of[: free.size][held], minlength=given.size)
    rows = np.flatnonzero(free & (given[store.node_of[: free.size]] > 0))
    node = store.node_of[rows]
    order = np.argsort(node, kind="stable")  # a node's rows lie together, nodes in any order
    rows, node = rows[order], node[order]
    first = np.searchsorted(node, node)  # where each node's rows begin
    taken: Rows = rows[np.arange(rows.size) - first < given[node]]
    return taken
