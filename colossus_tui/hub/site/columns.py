"""The store as columns for filters: every GPU at one instant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.nodes import GREY_SECONDS, LOST_SECONDS, STALE_SECONDS, Nodes
from colossus_tui.hub.store import APART, Store
from colossus_tui.model import Freshness
from colossus_tui.model.match import GPU_FIELDS, NumberField

States = npt.NDArray[np.int8]
_STATES = (Freshness.LIVE, Freshness.GREY, Freshness.STALE, Freshness.LOST)


class NodeNames:
    """The names of all nodes, by row; made again only when one came."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._names: tuple[str, ...] = ()

    def get(self) -> tuple[str, ...]:
        """Return them."""
        if len(self._names) != len(self._nodes.by_row):
            self._names = tuple(record.node_name for record in self._nodes.by_row)
        return self._names


class StoreColumns:
    """What is known of all GPUs now; taken at once, so that it may be read in another thread.

    Args:
        classes: Class of each run that there is.
    """

    def __init__(
        self,
        store: Store,
        node_names: Sequence[str],
        classes: Mapping[str, str],
        now: float,
    ) -> None:
        self.count = store.gpus.row_count
        self._store = store
        self._node_names = node_names
        self._classes = classes
        self.node_of = store.node_of[: self.count].copy()
        self.ages = np.append(store.ages(now), np.inf)  # the last is that of no node
        self._values = store.gpus.values
        self._metrics = dict(store.gpus.names)
        self._run_of = store.run_of[: self.count].copy()
        self._rank_of = store.rank_of[: self.count]
        self._first_of = store.first_of
        self._uuids = store.uuids[: self.count]
        self._halls = np.append(store.hall_of[: store.hosts.row_count], -1)
        self._racks = np.append(store.rack_of[: store.hosts.row_count], -1)
        self._products = store.product_of[: self.count]

    def numbers(self, field: str) -> npt.NDArray[np.float32] | npt.NDArray[np.float64]:
        """Return a number field in its first unit; NaN is not available."""
        match field:
            case "age":
                return np.where(self.node_of >= 0, self.ages[self.node_of], np.nan)
            case "rank":
                return np.where(self._rank_of >= 0, self._rank_of, np.nan).astype(np.float64)
            case "gpu":
                return (np.arange(self.count) - self._first_of[self.node_of]).astype(np.float64)
        column = GPU_FIELDS[field]
        metric = column.metric if isinstance(column, NumberField) else ""
        index = self._metrics.get(metric)
        if index is None:
            return np.full(self.count, np.nan, dtype=np.float32)
        return self._values[index, : self.count]

    def texts(self, field: str) -> tuple[npt.NDArray[np.integer[Any]], Sequence[str]]:
        """Return each GPU's place among the distinct names, -1 for none, and those names."""
        columns: dict[str, Callable[[], tuple[npt.NDArray[Any], Sequence[str]]]] = {
            "run": lambda: (self._run_of, self._store.runs.names),
            "class": self._class_column,
            "node": lambda: (self.node_of, self._node_names),
            "hall": lambda: (self._halls[self.node_of], self._store.halls.names),
            "rack": lambda: (
                self._racks[self.node_of],
                [name.rpartition(APART)[2] for name in self._store.racks.names],
            ),
            "product": lambda: (self._products, self._store.products.names),
            "health": lambda: (states(self.ages)[self.node_of] - 1, _STATES),
        }
        return columns[field]()

    def _class_column(self) -> tuple[npt.NDArray[Any], Sequence[str]]:
        names = sorted(set(self._classes.values()))
        codes = [
            names.index(self._classes[run]) if run in self._classes else -1
            for run in self._store.runs.names
        ]
        return np.array([*codes, -1], dtype=np.int32)[self._run_of], names

    def uuids(self) -> npt.NDArray[np.bytes_]:
        """Return the UUIDs, of one width; empty is not available."""
        return self._uuids


def states(ages: npt.NDArray[np.float64]) -> States:
    """Return 1 live, 2 grey, 3 stale or 4 lost for each age."""
    edges = (GREY_SECONDS, STALE_SECONDS, LOST_SECONDS)
    found: States = (np.searchsorted(edges, ages, side="right") + 1).astype(np.int8)
    return found
