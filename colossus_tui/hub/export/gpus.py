"""Every GPU as the store has it at one instant, its labels, and the sums of racks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.export.family import Family, Outgoing, thing_labels
from colossus_tui.hub.export.names import gpu_names, rack_names
from colossus_tui.hub.export.write_request import label, raw_label
from colossus_tui.hub.nodes import GREY_SECONDS, Nodes
from colossus_tui.hub.site.columns import NodeNames
from colossus_tui.hub.store import APART, Floats, Store

Codes = npt.NDArray[np.int32]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Identities:
    """What the labels of GPUs are made of: codes by row, and the names that they stand for.

    The lists of names only grow, so that another thread may read them.
    """

    node: Codes
    gpu: Codes
    hall: Codes
    rack: Codes
    run: Codes
    uuids: npt.NDArray[np.bytes_]
    node_names: Sequence[str]
    hall_names: Sequence[str]
    rack_names: Sequence[str]
    run_names: Sequence[str]

    @property
    def codes(self) -> Codes:
        """All codes of each GPU; where there is no node, the GPU has gone."""
        return np.stack((self.node, self.gpu, self.hall, self.rack, self.run))


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """The store at one instant, for another thread.

    Attributes:
        values: [metric, GPU]; NaN where the value is not available or not fresh.
        rack: Rack of each GPU.
        identities: None where they are as they were, or nobody needs them.
    """

    values: Floats
    rack: Codes
    rack_names: Sequence[str]
    identities: Identities | None


class Eye:
    """Takes sights of the store; what does not change is not copied again."""

    def __init__(
        self, store: Store, nodes: Nodes, metrics: Sequence[str], *, names_gpus: bool
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._metrics = metrics
        self._names = NodeNames(nodes)
        self._names_gpus = names_gpus
        self._revision = (-1, -1)

    def forget(self) -> None:
        """Let the next sight have everything: the last one may not have come to anything."""
        self._revision = (-1, -1)

    def sight(self, now: float) -> Sight:
        """Return how everything is; on the event loop, some milliseconds for a whole site."""
        store = self._store
        count = store.gpus.row_count
        node = store.node_of[:count]
        fresh = np.append(store.ages(now) < GREY_SECONDS, False)  # the last is that of no node
        values = np.stack([store.gpus.column(metric) for metric in self._metrics])
        if not fresh[:-1].all() or (node < 0).any():
            values[:, ~fresh[node]] = np.nan
        rack = np.append(store.rack_of[: store.hosts.row_count], np.int32(-1))[node]
        revision = store.revision, self._nodes.revision
        is_known = not self._names_gpus or revision == self._revision
        identities = None if is_known else self._identities(node, rack)
        self._revision = revision
        return Sight(values, rack, store.racks.names, identities)

    def _identities(self, node: Codes, rack: Codes) -> Identities:
        store, count = self._store, node.size
        hosts = store.hosts.row_count
        return Identities(
            node=node.copy(),
            gpu=(np.arange(count) - store.first_of[node]).astype(np.int32),
            hall=np.append(store.hall_of[:hosts], np.int32(-1))[node],
            rack=rack,
            run=store.run_of[:count].copy(),
            uuids=store.uuids[:count].copy(),
            node_names=self._names.get(),
            hall_names=store.halls.names,
            rack_names=store.racks.names,
            run_names=store.runs.names,
        )


class GpuSeries:
    """The series of all GPUs."""

    def __init__(self, metrics: Sequence[str], extra: Mapping[str, str]) -> None:
        self._family = Family(gpu_names(metrics), {})
        self._extra = {name: label(name, text) for name, text in extra.items()}
        self._codes: Codes = np.zeros((5, 0), dtype=np.int32)
        self._uuids: npt.NDArray[np.bytes_] = np.zeros(0, dtype="S1")

    def advance(self, sight: Sight, unix_ms: int) -> Outgoing:
        """Return the samples of now."""
        if sight.identities is not None:
            self._relabel(sight.identities)
        return self._family.advance(sight.values, unix_ms)

    def _relabel(self, now: Identities) -> None:
        codes, known = now.codes, self._uuids.size
        changed = np.ones(now.uuids.size, dtype=np.bool_)
        same_codes = (codes[:, :known] == self._codes).all(axis=0)
        changed[:known] = ~(same_codes & (now.uuids[:known] == self._uuids))
        things = np.flatnonzero(changed)
        self._codes, self._uuids = codes, now.uuids
        if things.size:
            self._family.relabel(things, self._labels(now, things))

    def _labels(self, now: Identities, things: npt.NDArray[np.intp]) -> list[bytes]:
        """Return the labels of some GPUs, in the order of the labels' names."""
        count = things.size
        racks = [name.rpartition(APART)[2] for name in now.rack_names]
        highest = int(now.gpu[things].max(initial=0))
        columns: dict[str, Iterable[bytes]] = {
            "gpu": _named("gpu", [str(number) for number in range(highest + 1)], now.gpu[things]),
            "hall": _named("hall", now.hall_names, now.hall[things]),
            "node": _named("node", now.node_names, now.node[things]),
            "rack": _named("rack", racks, now.rack[things]),
            "run": _named("run", now.run_names, now.run[things]),
            "uuid": [raw_label("uuid", uuid) for uuid in now.uuids[things].tolist()],
        }
        columns |= {name: [encoded] * count for name, encoded in self._extra.items()}
        return list(map(b"".join, zip(*(columns[name] for name in sorted(columns)), strict=True)))


def _named(name: str, texts: Sequence[str], codes: Codes) -> list[bytes]:
    """Return each code's label; nothing for code -1."""
    encoded = {code: label(name, texts[code]) for code in np.unique(codes).tolist() if code >= 0}
    encoded[-1] = b""
    return list(map(encoded.__getitem__, codes.tolist()))


class RackSeries:
    """The series of all racks: sums and maxima of what is rolled up."""

    def __init__(
        self, metrics: Sequence[str], rolled: Sequence[str], extra: Mapping[str, str]
    ) -> None:
        self._rows = [metrics.index(metric) for metric in rolled]
        self._extra = extra
        self._family = Family(rack_names(rolled), extra)

    def advance(self, sight: Sight, unix_ms: int) -> Outgoing:
        """Return the samples of now."""
        count = len(sight.rack_names)
        new = range(self._family.count, count)
        self._family.relabel(
            np.arange(new.start, new.stop), [self._labels(sight.rack_names[code]) for code in new]
        )
        return self._family.advance(self._values(sight, count), unix_ms)

    def _labels(self, name: str) -> bytes:
        hall, _, rack = name.rpartition(APART)
        return thing_labels({"hall": hall, "rack": rack}, self._extra)

    def _values(self, sight: Sight, count: int) -> Reals:
        """Return [GPUs, those reporting, then sum and maximum by metric; rack]."""
        known = np.flatnonzero(sight.rack >= 0)
        rack = sight.rack[known]
        gpus = np.bincount(rack, minlength=count).astype(np.float64)
        reporting = np.zeros(count)
        figures: list[Reals] = []
        for row in self._rows:
            values = sight.values[row, known].astype(np.float64)
            there = np.isfinite(values)
            at, values = rack[there], values[there]
            counted = np.bincount(at, minlength=count)
            highest = np.full(count, -np.inf)
            np.maximum.at(highest, at, values)
            figures.append(np.where(counted, np.bincount(at, values, count), np.nan))
            figures.append(np.where(counted, highest, np.nan))
            reporting = np.maximum(reporting, counted)
        reporting[gpus == 0] = np.nan
        gpus[gpus == 0] = np.nan
        return np.stack((gpus, reporting, *figures))
