"""What consoles get, built from the hub's parts: the site, runs, nodes and GPUs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.hub.backends.base import Standing
from colossus_tui.hub.events import Events
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.links import Links
from colossus_tui.hub.money.site import SiteCosts
from colossus_tui.hub.nodes import GREY_SECONDS, STALE_SECONDS, NodeRecord, Nodes, freshness
from colossus_tui.hub.runs import summary
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.site.limits import Limits
from colossus_tui.hub.site.power import Power
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import (
    Alert,
    CollectorStatus,
    Freshness,
    Gpu,
    HostInventory,
    IdleView,
    MetricValue,
    MigInstance,
    MissingReason,
    Node,
    NodeDetail,
    Place,
    PowerView,
    ProcessSample,
    Run,
    RunDetail,
    SensorStatus,
    Severity,
    Site,
)
from colossus_tui.wire import from_proto

_REASONS = {
    common_pb2.MissingReason.Value(f"MISSING_REASON_{member.name}"): member
    for member in MissingReason
}
NAMED_NODES = 64
REUSE_SECONDS = 0.25  # what one console was told, the next is told again
LARGE_NODES = 1_000  # of so many one says something new all the time
RANKS_SHOWN = 256  # of one run
ALERT_LIMIT = 200  # nodes whose alerts the site's line carries


class Views:
    """Builds immutable values on demand; holds nothing itself."""

    def __init__(
        self,
        site_name: str,
        store: Store,
        nodes: Nodes,
        links: Links,
        registry: Registry,
        events: Events,
        journal: Journal,
        gpu_figures: RunGpuFigures,
        roll_ups: RollUps,
        limits: Limits,
        power: Power,
        standing: Callable[[str], Standing | None],
        held: Callable[[], Mapping[str, Standing]],
        costs: SiteCosts,
        incident_counts: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site_name = site_name
        self._store = store
        self._nodes = nodes
        self._links = links
        self._registry = registry
        self._events = events
        self._journal = journal
        self._gpu_figures = gpu_figures
        self._roll_ups = roll_ups
        self._limits = limits
        self._costs = costs
        self._power = power
        self._incident_counts = incident_counts
        self._standing = standing
        self._held = held
        self._clock = clock
        self._runs: tuple[Run, ...] = ()  # as of the last question, for all consoles
        self._runs_revision, self._runs_made = -1, -math.inf

    # --- runs ------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run | None:
        """Return one run."""
        return self._registry.get(run_id)

    def runs(self) -> tuple[Run, ...]:
        """Return every run, by class, then name."""
        now, revision = self._clock(), self._registry.revision
        settled = revision == self._runs_revision or len(self._nodes.records) > LARGE_NODES
        if not settled or now - self._runs_made > REUSE_SECONDS:
            runs = sorted(self._registry.all(), key=lambda run: (run.priority_class, run.run_id))
            self._runs, self._runs_revision, self._runs_made = tuple(runs), revision, now
        return self._runs

    def run_detail(self, run_id: str) -> RunDetail | None:
        """Return one run down to its ranks."""
        live = self._registry.runs.get(run_id)
        if live is None:
            return None
        run = self.run(run_id)
        assert run is not None
        place = self._roll_ups.run(run_id)
        is_whole = live.nodes.sums.ranks <= RANKS_SHOWN
        names = live.nodes.names() if is_whole else self._noteworthy(live, place)
        records = [one for name in names if (one := self._nodes.records.get(name)) is not None]
        # What a run that reports no rank holds is known by its processes alone.
        gpus = self.gpus(run_id=run_id) if is_whole else self._gpus_of(records, run_id)
        processes = {
            (record.node_name, process.pid): from_proto(ProcessSample, process)
            for record in records
            for process in record.processes
        }
        ages = self._registry.node_ages(live)
        ranks = summary.ranks(live, live.nodes.ranks_on(names), processes, gpus, ages)
        return RunDetail(
            run=run,
            ranks=ranks,
            spreads=summary.spreads(ranks, gpus) if is_whole else summary.paces(live),
            checkpoints=tuple(live.progress.checkpoints.newest(live.rank_count, 20)),
            gpus=gpus,
            events=self._events.recent(50, run_id=run_id),
            actions=tuple(self._journal.recent(20, run_id)),
            output_tail=live.output_tail,
            place=place,
        )

    def _noteworthy(self, live: LiveRun, place: Place | None) -> list[str]:
        """Return nodes of a large run: those that need a look, then the first."""
        store, rows = self._store, self._gpu_figures.rows(live.run_id)
        slow = np.isin(store.rank_of[rows], live.progress.ranks.stragglers()[:RANKS_SHOWN])
        worst = [
            extreme for roll_up in (place.roll_ups if place else ()) for extreme in roll_up.worst
        ]
        names = dict.fromkeys(
            [
                *(name for name, _ in live.nodes.ended()[:RANKS_SHOWN]),
                *(self._nodes.by_row[row].node_name for row in store.node_of[rows[slow]].tolist()),
                *(extreme.node_name for extreme in worst),
                *self._registry.node_ages(live).older(GREY_SECONDS)[:RANKS_SHOWN],
                *live.nodes.names()[:RANKS_SHOWN],
            ]
        )
        each = max(live.nodes.sums.ranks // max(len(live.nodes), 1), 1)
        return [name for name in names if name in live.nodes][: max(RANKS_SHOWN // each, 1)]

    def _gpus_of(self, records: Iterable[NodeRecord], run_id: str) -> tuple[Gpu, ...]:
        found = (gpu for record in records for gpu in self._gpus_on(record))
        return tuple(gpu for gpu in found if gpu.run_id == run_id)

    # --- nodes -----------------------------------------------------------------------------

    def nodes(self) -> tuple[Node, ...]:
        """Return every node, by name."""
        reported = self._registry.by_node()
        records = sorted(self._nodes.records.items())
        return tuple(self._node(record, reported.get(name, ())) for name, record in records)

    def _node(self, record: NodeRecord, reported: Iterable[str]) -> Node:
        shared, rows = record.shared, record.rows
        age = self._store.age(rows, self._clock())
        fresh = freshness(age)
        host = self._host(record) if fresh is not Freshness.LOST else {}
        values = self._store.gpu_values(rows)
        names = {column.name: i for i, column in enumerate(shared.gpu_columns)}

        def gpu(name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            column = values[:, names[name]] if name in names else np.zeros(0, dtype=np.float32)
            return column[np.isfinite(column)] if fresh is not Freshness.LOST else column[:0]

        standing = self._standing(record.node_name)
        power, heat, use = gpu("power"), gpu("gpu_temperature"), gpu("gpu_utilisation")
        runs = {*record.run_ids, *reported}
        return Node(
            node_name=record.node_name,
            hall=record.hall,
            rack=record.rack,
            freshness=fresh,
            age_seconds=min(age, 1e9),
            linked=self._links.linked(record.node_name),
            gpu_count=rows.gpu_count,
            reporting_gpu_count=int(power.size) if fresh is Freshness.LIVE else 0,
            gpu_power_watts=float(power.sum()) if power.size else None,
            cpu_power_watts=host.get("cpu_power"),
            gpu_temperature_max_celsius=float(heat.max()) if heat.size else None,
            gpu_utilisation_ratio=float(use.mean()) if use.size else None,
            cpu_utilisation_ratio=host.get("cpu_utilisation"),
            memory_used_bytes=host.get("memory_used"),
            memory_total_bytes=host.get("memory_total"),
            load_1m=host.get("load_1m"),
            run_ids=tuple(sorted(runs)),
            failing_sensor_count=len(record.failing),
            agent_version=shared.agent_version,
            alerts=self._node_alerts(record, fresh, age, standing),
            scheduler_state=standing.state[:128] if standing else "",
            scheduler_reason=standing.reason[:256] if standing else "",
            sample_time_unix_ns=int(self._store.sampled[rows.node_row]),
        )

    def _host(self, record: NodeRecord) -> dict[str, float]:
        values = self._store.host_values(record.rows)
        return {
            column.name: float(value)
            for column, value in zip(record.shared.host_columns, values, strict=True)
            if math.isfinite(value)
        }

    def _node_alerts(
        self, record: NodeRecord, fresh: Freshness, age: float, standing: Standing | None
    ) -> tuple[Alert, ...]:
        alerts = []
        if standing is not None and standing.is_cordoned:
            why = f": {standing.reason[:200]}" if standing.reason else ""
            text = f"its scheduler gives it no new work ({standing.state[:64]}){why}"
            alerts.append(Alert(Severity.WARNING, "node.drained", text))
        if fresh in (Freshness.STALE, Freshness.LOST):
            severity = Severity.CRITICAL if fresh is Freshness.LOST else Severity.WARNING
            text = f"no frame for {age:.0f} s" if math.isfinite(age) else "no frame yet"
            alerts.append(Alert(severity, f"node.{fresh}", text))
        lost = sorted(
            {s.gpu_index for s in record.failing if _REASONS.get(s.reason) is MissingReason.LOST}
        )
        alerts += [Alert(Severity.CRITICAL, "gpu.lost", f"GPU {gpu} is lost") for gpu in lost]
        stuck = [s for s in record.failing if _REASONS.get(s.reason) is MissingReason.STUCK]
        alerts += [
            Alert(
                Severity.WARNING,
                "sensor.stuck",
                f"{'host' if s.gpu_index < 0 else f'GPU {s.gpu_index}'} {s.sensor} is stuck",
                s.since_unix_ns,
            )
            for s in stuck
        ]
        return tuple(alerts)

    def node_detail(self, node_name: str) -> NodeDetail | None:
        """Return one node down to its sensors and processes."""
        record = self._nodes.records.get(node_name)
        if record is None:
            return None
        age = self._store.age(record.rows, self._clock())
        report, shared = record.sensor_report, record.shared
        statuses = {(s.gpu_index, s.sensor): s for s in report.sensors}
        host = self._store.host_values(record.rows)
        return NodeDetail(
            node=self._node(record, self._registry.runs_on(node_name)),
            host=from_proto(HostInventory, self._nodes.hello(record).host),
            host_values=tuple(
                _metric(
                    column.name, column.unit, float(value), statuses.get((-1, column.name)), age
                )
                for column, value in zip(shared.host_columns, host, strict=True)
            ),
            gpus=self._gpus_on(record),
            sensors=tuple(from_proto(SensorStatus, s) for s in report.sensors),
            collectors=tuple(from_proto(CollectorStatus, c) for c in report.collectors),
            processes=tuple(from_proto(ProcessSample, p) for p in record.processes),
            events=self._events.recent(50, node_name=node_name),
            gpu_detail=shared.gpu_detail[:1024],
        )

    def gpus(self, node_name: str = "", run_id: str = "") -> tuple[Gpu, ...]:
        """Return GPUs, by node and index."""
        if run_id:
            store = self._store
            found = np.unique(store.node_of[self._gpu_figures.rows(run_id)]).tolist()
            records = [self._nodes.by_row[row] for row in found]
        else:
            records = list(self._nodes.records.values())
        return tuple(
            gpu
            for record in sorted(records, key=lambda record: record.node_name)
            if node_name in ("", record.node_name)
            for gpu in self._gpus_on(record)
            if run_id in ("", gpu.run_id)
        )

    def _gpus_on(self, record: NodeRecord) -> tuple[Gpu, ...]:
        hello = self._nodes.hello(record)
        age = self._store.age(record.rows, self._clock())
        values = self._store.gpu_values(record.rows)
        statuses = {(s.gpu_index, s.sensor): s for s in record.sensor_report.sensors}
        runs = self._store.run_ids(record.rows)
        caps = {run_id: self._cap(run_id, record.node_name) for run_id in set(runs)}
        return tuple(
            Gpu(
                node_name=hello.node_name,
                gpu_index=gpu.gpu_index,
                gpu_uuid=gpu.gpu_uuid,
                product_name=gpu.product_name,
                run_id=runs[row],
                memory_total_bytes=gpu.memory_total_bytes,
                power_limit_watts=caps[runs[row]] or gpu.power_limit_watts,
                values=tuple(
                    _metric(
                        column.name,
                        column.unit,
                        float(values[row, index]),
                        statuses.get((gpu.gpu_index, column.name)),
                        age,
                    )
                    for index, column in enumerate(hello.gpu_columns)
                ),
                missing=MissingReason.LOST if self._is_lost(record, gpu.gpu_index) else None,
                mig_instances=tuple(from_proto(MigInstance, mig) for mig in gpu.mig_instances),
            )
            for row, gpu in enumerate(hello.gpus)
        )

    def _cap(self, run_id: str, node_name: str) -> float:
        """Return the power limit that is put on a run's GPUs on a node, watts; 0 for none."""
        live = self._registry.runs.get(run_id)
        return live.nodes.power_cap(node_name) if live is not None else 0.0

    def _is_lost(self, record: NodeRecord, gpu_index: int) -> bool:
        return any(
            s.gpu_index == gpu_index and _REASONS.get(s.reason) is MissingReason.LOST
            for s in record.failing
        )

    # --- power -----------------------------------------------------------------------------

    def power(self, hall: str = "") -> PowerView:
        """Return the site's power, with the racks of one hall."""
        return self._power.view(hall)

    # --- the site --------------------------------------------------------------------------

    def site(self) -> Site:
        """Return the site in one line, with what its sums cover."""
        store, count = self._store, self._store.hosts.row_count
        ages = store.ages(self._clock())
        live = ages < GREY_SECONDS
        node_of = store.node_of[: store.gpus.row_count]
        is_gpu = node_of >= 0  # rows of GPUs that have gone belong to no node
        watts = store.gpus.column("power")
        known = np.flatnonzero(is_gpu & live[node_of] & np.isfinite(watts))
        cpu = np.where(live, store.hosts.column("cpu_power"), np.nan)
        use = np.where(live, store.hosts.column("cpu_utilisation"), np.nan)
        has_cpu, used = np.isfinite(cpu), use[np.isfinite(use)]
        has_power = has_cpu.copy()
        has_power[node_of[known]] = True
        waiting, critical = self._incident_counts()
        parts = [name for name, some in (("GPUs", known.size), ("CPUs", has_cpu.any())) if some]
        power = watts[known].sum(dtype=np.float64) + cpu[has_cpu].sum(dtype=np.float64)
        return Site(
            site_name=self._site_name,
            node_count=count,
            reporting_node_count=int(np.count_nonzero(live)),
            gpu_count=int(np.count_nonzero(is_gpu)),
            reporting_gpu_count=known.size,
            power_watts=float(power) if parts else None,
            power_basis=" + ".join(parts),
            power_node_count=int(np.count_nonzero(has_power)),
            run_counts=dict(Counter(run.state.value for run in self._registry.runs.values())),
            age_seconds=float(ages[live].max()) if live.any() else 0.0,
            cpu_utilisation_ratio=float(used.mean(dtype=np.float64)) if used.size else None,
            alerts=(
                *self._limits.alerts(),
                *self._power.facility.alerts(),
                *self._site_alerts(ages),
            ),
            limits=self._limits.now(),
            money=self._costs.now(),
            open_incident_count=waiting,
            critical_incident_count=critical,
        )

    def idle(self) -> IdleView:
        """Return GPUs that cost and do no work."""
        return self._costs.idle.view()

    def _site_alerts(self, ages: npt.NDArray[np.float64]) -> tuple[Alert, ...]:
        """Return the alerts of nodes, of at most ALERT_LIMIT of them."""
        rows = np.flatnonzero(ages >= STALE_SECONDS).tolist()
        names = {self._nodes.by_row[row].node_name for row in rows[:ALERT_LIMIT]}
        names |= self._nodes.failing
        names.update(name for name in self._held() if name in self._nodes.records)
        found: list[Alert] = []
        for name in sorted(names)[:ALERT_LIMIT]:
            record = self._nodes.records[name]
            age = float(ages[record.rows.node_row])
            found += self._node_alerts(record, freshness(age), age, self._standing(name))
        return tuple(found)


def brief(run: Run) -> Run:
    """Return the run without all but the first of its node names, and the names' number."""
    return replace(run, node_names=run.node_names[:NAMED_NODES])


def _metric(
    name: str, unit: str, value: float, status: frame_pb2.SensorStatus | None, frame_age: float
) -> MetricValue:
    if math.isfinite(value):
        return MetricValue(name, unit, value, None, frame_age)
    if status is None:
        return MetricValue(name, unit)
    last = status.last_value_unix_ns
    age = (time.time_ns() - last) / 1e9 if last else -1.0
    return MetricValue(name, unit, None, _REASONS.get(status.reason), age)
