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
    on = nodes.rows_of(job.node_names)
    on = np.unique(on[on >= 0])
    if not on.size:
        return NONE
    counts = np.array([nodes.by_row[row].rows.gpu_count for row in on.tolist()], dtype=np.intp)
    node = np.repeat(np.arange(on.size), counts)  # which of the job's own each GPU is of
    first = store.first_of[on] - (np.cumsum(counts) - counts)
    rows: Rows = (first[node] + np.arange(node.size)).astype(np.intp)
    given = np.full(on.size, math.ceil(job.gpu_count / len(job.node_names)))
    if code >= 0:
        given -= np.bincount(node[store.run_of[rows] == code], minlength=on.size)
    is_free = free[rows]
    rows, node = rows[is_free], node[is_free]
    earlier = np.arange(rows.size) - np.searchsorted(node, node)  # free ones of its node before it
    return rows[earlier < given[node]]
