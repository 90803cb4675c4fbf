"""From nodes that fail to findings: of which place, with which members, runs and next step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from colossus_tui.hub.incidents.findings import Finding, Key, Spot
from colossus_tui.hub.incidents.grouping import (
    FEED,
    HALL,
    NODE,
    RACK,
    Cluster,
    Layout,
    Rows,
    Standing,
    group,
    lay_out,
)
from colossus_tui.hub.incidents.sources import Failing
from colossus_tui.hub.incidents.words import nodes_title
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.store import APART, Store
from colossus_tui.model import AffectedRun, IncidentScope, NextStep, Severity, Verb
from colossus_tui.model.incident import MEMBERS_KEPT, RUNS_KEPT
from colossus_tui.text import named, ranges

LONE_NODES = 64  # of a larger site one warm node is no news: what it slows is told of the run
LOOK_SECONDS = 10.0  # between two looks at whose ranks are on the same nodes
FEW_NODES = 512  # whose GPUs are looked for node by node
ASKED_NODES = 16  # of which runs without GPUs are asked for one by one
_GROUPED_ONLY = frozenset({"node.hot"})
# Kinds whose severity follows from whether somebody works there.
_BY_USE = frozenset({"node.lost", "gpu.fault", "node.power_brake"})
_SCOPES = {RACK: IncidentScope.RACK, FEED: IncidentScope.FEED, HALL: IncidentScope.HALL}


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Whose ranks were on these nodes when it was last looked."""

    rows: Rows
    runs: tuple[AffectedRun, ...]
    time: float


class Places:
    """Knows where nodes are, and whose ranks are on them.

    Args:
        runs_on: Returns the runs that have ranks on a node and are not over.
        can_drain: Whether a scheduler of this hub owns nodes.
        feeds: Feeds of power; the first that supplies a rack by its name counts.
    """

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        runs_on: Callable[[str], Iterable[str]],
        *,
        can_drain: bool,
        feeds: Sequence[FeedConfig],
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._runs_on = runs_on
        self._can_drain = can_drain
        self._feeds = feeds
        self._feed_names = [feed.name for feed in feeds]
        self._revision = (-1, -1)
        self._layout: Layout | None = None
        self._gpu_counts: Rows = np.zeros(0, dtype=np.intp)
        self._known: dict[Key, _Known] = {}

    def find(self, failing: Failing, standing: Iterable[Key], now: float) -> list[Finding]:
        """Return these failing nodes as findings, each node in exactly one.

        Args:
            standing: What incidents of this kind are open of.
            now: Unix seconds.
        """
        layout = self._laid_out()
        clusters = group(failing.rows, failing.since, layout, self._standing(standing))
        lone = layout.node_count <= LONE_NODES or failing.kind not in _GROUPED_ONLY
        found = [
            self._finding(failing, cluster, now)
            for cluster in clusters
            if lone or cluster.level != NODE
        ]
        keys = {finding.key for finding in found}
        self._known = {
            key: one for key, one in self._known.items() if key[0] != failing.kind or key in keys
        }
        return found

    def size(self, spot: Spot) -> int:
        """Return how many nodes a place has, as far as this hub knows them."""
        if spot.scope is IncidentScope.NODE:
            return int(spot.node_name in self._nodes.records)
        layout, store = self._laid_out(), self._store
        match spot.scope:
            case IncidentScope.RACK:
                code = store.racks.known(f"{spot.hall}{APART}{spot.rack}")
                return int(np.count_nonzero(layout.rack_of == code)) if code >= 0 else 0
            case IncidentScope.HALL:
                code = store.halls.known(spot.hall)
                return int(np.count_nonzero(layout.hall_of == code)) if code >= 0 else 0
        return layout.node_count

    def _laid_out(self) -> Layout:
        store = self._store
        revision = store.place_revision, store.hosts.row_count
        if self._layout is None or self._revision != revision:
            count = store.hosts.row_count
            feeds = np.full(len(store.racks.names), -1, dtype=np.int32)
            for code, name in enumerate(store.racks.names if self._feeds else ()):
                hall, _, rack = name.rpartition(APART)
                if feed := self._feed(hall, rack):
                    feeds[code] = self._feed_names.index(feed)
            self._layout = lay_out(
                store.rack_of[:count].copy(), store.hall_of[:count].copy(), feeds
            )
            node_of = store.node_of[: store.gpus.row_count]
            counts = np.bincount(node_of[node_of >= 0], minlength=count)
            self._gpu_counts = counts.astype(np.intp)
            self._revision = revision
        return self._layout

    def _standing(self, keys: Iterable[Key]) -> Standing:
        spots = [spot for _, spot in keys]

        def of(scope: IncidentScope) -> list[Spot]:
            return [spot for spot in spots if spot.scope is scope]

        racks = {
            self._store.racks.known(f"{one.hall}{APART}{one.rack}")
            for one in of(IncidentScope.RACK)
        }
        halls = {self._store.halls.known(one.hall) for one in of(IncidentScope.HALL)}
        names = self._feed_names
        feeds = {names.index(o.subject) for o in of(IncidentScope.FEED) if o.subject in names}
        return Standing(racks, feeds, halls, bool(of(IncidentScope.SITE)))

    # --- one finding -------------------------------------------------------------------------

    def _finding(self, failing: Failing, cluster: Cluster, now: float) -> Finding:
        spot = self._spot(cluster)
        before = self._known.get((failing.kind, spot))
        rows = cluster.rows
        is_same = before is not None and np.array_equal(before.rows, rows)
        if before is not None and is_same and now - before.time < LOOK_SECONDS:
            runs = before.runs
        else:
            runs = self._affected(rows)
            self._known[failing.kind, spot] = _Known(rows, runs, now)
        used = bool(runs) or failing.kind not in _BY_USE
        is_grave = failing.kind in _BY_USE and used
        gpu_count, node_count = self._gpus(failing, rows), self.size(spot)
        return Finding(
            kind=failing.kind,
            spot=spot,
            severity=Severity.CRITICAL if is_grave else Severity.WARNING,
            since=cluster.since,
            first=cluster.first,
            title=nodes_title(failing.kind, spot, rows.size, gpu_count),
            reason=self._reason(failing, cluster, node_count),
            member_count=rows.size,
            node_count=node_count,
            gpu_count=gpu_count,
            members=tuple(self._nodes.by_row[row].node_name for row in rows[:MEMBERS_KEPT]),
            runs=runs[:RUNS_KEPT],
            run_ids=frozenset(run.run_id for run in runs),
            next_step=self._step(failing.kind, spot),
        )

    def _spot(self, cluster: Cluster) -> Spot:
        store = self._store
        if cluster.level == NODE:
            record = self._nodes.by_row[cluster.code]
            feed = self._feed(record.hall, record.rack)
            return Spot(
                IncidentScope.NODE,
                record.hall,
                record.rack,
                record.node_name,
                subject=feed,
            )
        if cluster.level == RACK:
            hall, _, rack = store.racks.names[cluster.code].rpartition(APART)
            feed = self._feed(hall, rack)
            return Spot(IncidentScope.RACK, hall, rack, subject=feed)
        if cluster.level == FEED:
            return Spot(IncidentScope.FEED, subject=self._feed_names[cluster.code])
        if cluster.level == HALL:
            return Spot(IncidentScope.HALL, store.halls.names[cluster.code])
        return Spot(IncidentScope.SITE)

    def _feed(self, hall: str, rack: str) -> str:
        supplying = (feed.name for feed in self._feeds if feed.supplies_rack(hall, rack))
        return next(supplying, "") if rack else ""

    def _gpus(self, failing: Failing, rows: Rows) -> int:
        if failing.gpus is not None:
            return int(failing.gpus[np.searchsorted(failing.rows, rows)].sum())
        return int(self._gpu_counts[rows].sum())

    def _reason(self, failing: Failing, cluster: Cluster, node_count: int) -> str:
        rows = cluster.rows
        said = [
            f"{self._nodes.by_row[row].node_name}: {failing.details[row]}"
            for row in rows[:RUNS_KEPT].tolist()
            if row in failing.details
        ]
        if said:
            return named(said, 3)
        if failing.kind == "node.lost":
            whose = "it" if cluster.level == NODE else f"{rows.size:,} of its {node_count:,} nodes"
            return f"no frame comes from {whose}: power, network or agent"
        if failing.kind == "node.hot":
            return "clocks are held back: software or hardware thermal slowdown"
        return "clocks are halved: the board's power brake is asserted from outside"

    def _step(self, kind: str, spot: Spot) -> NextStep:
        if spot.scope is IncidentScope.NODE:
            if kind == "node.drained":
                return NextStep(Verb.UNDRAIN, subject=spot.node_name)
            if self._can_drain and kind != "node.sensor_stuck":
                return NextStep(Verb.DRAIN, subject=spot.node_name)
        return NextStep(screen="map", subject="/".join(filter(None, (spot.hall, spot.rack))))

    # --- whose ranks are there ---------------------------------------------------------------

    def _gpus_on(self, rows: Rows) -> Rows:
        """Return the rows of all GPUs of these nodes."""
        store = self._store
        if rows.size <= FEW_NODES:
            firsts, counts = store.first_of[rows].tolist(), self._gpu_counts[rows].tolist()
            parts = [np.arange(f, f + n) for f, n in zip(firsts, counts, strict=True)]
            return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)
        is_member = np.zeros(store.hosts.row_count + 1, dtype=np.bool_)
        is_member[rows] = True
        # -1 is the last, which is no node.
        return np.flatnonzero(is_member[store.node_of[: store.gpus.row_count]])

    def _affected(self, rows: Rows) -> tuple[AffectedRun, ...]:
        """Return the runs with ranks on these nodes, the one with the most first."""
        store, gpus = self._store, self._gpus_on(rows)
        codes, ranks = store.run_of[gpus], store.rank_of[gpus]
        found: dict[str, AffectedRun] = {}
        for code in np.unique(codes[codes >= 0]).tolist():
            own = np.unique(ranks[(codes == code) & (ranks >= 0)])
            name = store.runs.names[code]
            found[name] = AffectedRun(name, int(own.size), ranges(own.tolist()))
        without: Counter[str] = Counter()
        for row in rows[:MEMBERS_KEPT].tolist():
            without.update(self._nodes.by_row[row].run_ids)
        for row in rows[:ASKED_NODES].tolist():
            without.update(self._runs_on(self._nodes.by_row[row].node_name))
        for name in without:
            found.setdefault(name, AffectedRun(name))
        return tuple(sorted(found.values(), key=lambda run: (-run.rank_count, run.run_id)))
