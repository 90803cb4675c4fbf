"""What consoles get, built from the hub's parts: the site, runs, nodes and GPUs."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from colossus_protos.v1 import common_pb2, frame_pb2
from colossus_tui.hub.backends.base import Standing
from colossus_tui.hub.events import Events
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.links import Links
from colossus_tui.hub.nodes import NodeRecord, Nodes, freshness
from colossus_tui.hub.runs import summary
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.store import Store
from colossus_tui.model import (
    Alert,
    CollectorStatus,
    Freshness,
    Gpu,
    HostInventory,
    MetricValue,
    MigInstance,
    MissingReason,
    Node,
    NodeDetail,
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
_FAILING = frozenset({MissingReason.STUCK, MissingReason.FAILED, MissingReason.LOST})


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
        standing: Callable[[str], Standing | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site_name = site_name
        self._store = store
        self._nodes = nodes
        self._links = links
        self._registry = registry
        self._events = events
        self._journal = journal
        self._standing = standing
        self._clock = clock

    # --- runs ------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run | None:
        """Return one run."""
        return self._registry.get(run_id)

    def runs(self) -> tuple[Run, ...]:
        """Return every run, by class, then name."""
        return tuple(sorted(self._registry.all(), key=lambda run: (run.priority_class, run.run_id)))

    def run_detail(self, run_id: str) -> RunDetail | None:
        """Return one run down to its ranks."""
        live = self._registry.runs.get(run_id)
        if live is None:
            return None
        run = self.run(run_id)
        assert run is not None
        gpus = self.gpus(run_id=run_id)
        processes = {
            (name, process.pid): from_proto(ProcessSample, process)
            for name in live.nodes
            if (record := self._nodes.records.get(name)) is not None
            for process in record.processes
        }
        ranks = summary.ranks(live, processes, gpus, self._registry.node_ages(live))
        return RunDetail(
            run=run,
            ranks=ranks,
            spreads=summary.spreads(ranks, gpus),
            checkpoints=tuple(live.progress.checkpoints(live.rank_count, 20)),
            gpus=gpus,
            events=self._events.recent(50, run_id=run_id),
            actions=tuple(self._journal.recent(20, run_id)),
            output_tail=live.output_tail,
        )

    # --- nodes -----------------------------------------------------------------------------

    def nodes(self) -> tuple[Node, ...]:
        """Return every node, by name."""
        reported = self._registry.by_node()
        records = sorted(self._nodes.records.items())
        return tuple(self._node(record, reported.get(name, ())) for name, record in records)

    def _node(self, record: NodeRecord, reported: Iterable[str]) -> Node:
        hello, rows = record.hello, record.rows
        age = self._store.age(rows, self._clock())
        fresh = freshness(age)
        host = self._host(record) if fresh is not Freshness.LOST else {}
        values = self._store.gpu_values(rows)
        names = {column.name: i for i, column in enumerate(hello.gpu_columns)}

        def gpu(name: str) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
            column = values[:, names[name]] if name in names else np.zeros(0, dtype=np.float32)
            return column[np.isfinite(column)] if fresh is not Freshness.LOST else column[:0]

        standing = self._standing(hello.node_name)
        power, heat, use = gpu("power"), gpu("gpu_temperature"), gpu("gpu_utilisation")
        runs = {process.run_id for process in record.processes if process.run_id}
        runs.update(reported)
        return Node(
            node_name=hello.node_name,
            hall=hello.hall,
            rack=hello.rack,
            freshness=fresh,
            age_seconds=min(age, 1e9),
            linked=self._links.linked(hello.node_name),
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
            failing_sensor_count=sum(_REASONS.get(s.reason) in _FAILING for s in record.sensors),
            agent_version=hello.agent_version,
            alerts=self._node_alerts(record, fresh, age, standing),
            scheduler_state=standing.state[:128] if standing else "",
            scheduler_reason=standing.reason[:256] if standing else "",
        )

    def _host(self, record: NodeRecord) -> dict[str, float]:
        values = self._store.host_values(record.rows)
        return {
            column.name: float(value)
            for column, value in zip(record.hello.host_columns, values, strict=True)
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
            alerts.append(Alert(severity, f"node.{fresh}", f"no frame for {min(age, 1e9):.0f} s"))
        lost = sorted(
            {s.gpu_index for s in record.sensors if _REASONS.get(s.reason) is MissingReason.LOST}
        )
        alerts += [Alert(Severity.CRITICAL, "gpu.lost", f"GPU {gpu} is lost") for gpu in lost]
        stuck = [s for s in record.sensors if _REASONS.get(s.reason) is MissingReason.STUCK]
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
        statuses = {(s.gpu_index, s.sensor): s for s in record.sensors}
        host = self._store.host_values(record.rows)
        return NodeDetail(
            node=self._node(record, self._registry.by_node().get(node_name, ())),
            host=from_proto(HostInventory, record.hello.host),
            host_values=tuple(
                _metric(
                    column.name, column.unit, float(value), statuses.get((-1, column.name)), age
                )
                for column, value in zip(record.hello.host_columns, host, strict=True)
            ),
            gpus=self._gpus_on(record),
            sensors=tuple(from_proto(SensorStatus, s) for s in record.sensors),
            collectors=tuple(from_proto(CollectorStatus, c) for c in record.collectors),
            processes=tuple(from_proto(ProcessSample, p) for p in record.processes),
            events=self._events.recent(50, node_name=node_name),
            gpu_detail=record.hello.gpu_detail[:1024],
        )

    def gpus(self, node_name: str = "", run_id: str = "") -> tuple[Gpu, ...]:
        """Return GPUs, by node and index."""
        return tuple(
            gpu
            for name, record in sorted(self._nodes.records.items())
            if node_name in ("", name) and (not run_id or run_id in record.held)
            for gpu in self._gpus_on(record)
            if run_id in ("", gpu.run_id)
        )

    def _gpus_on(self, record: NodeRecord) -> tuple[Gpu, ...]:
        hello = record.hello
        age = self._store.age(record.rows, self._clock())
        values = self._store.gpu_values(record.rows)
        statuses = {(s.gpu_index, s.sensor): s for s in record.sensors}
        return tuple(
            Gpu(
                node_name=hello.node_name,
                gpu_index=gpu.gpu_index,
                gpu_uuid=gpu.gpu_uuid,
                product_name=gpu.product_name,
                run_id=record.gpu_runs.get(gpu.gpu_index, ""),
                memory_total_bytes=gpu.memory_total_bytes,
                power_limit_watts=gpu.power_limit_watts,
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

    def _is_lost(self, record: NodeRecord, gpu_index: int) -> bool:
        return any(
            s.gpu_index == gpu_index and _REASONS.get(s.reason) is MissingReason.LOST
            for s in record.sensors
        )

    # --- the site --------------------------------------------------------------------------

    def site(self) -> Site:
        """Return the site in one line, with what its sums cover."""
        nodes = self.nodes()
        live = [node for node in nodes if node.freshness is Freshness.LIVE]
        gpu = [node.gpu_power_watts for node in live if node.gpu_power_watts is not None]
        cpu = [node.cpu_power_watts for node in live if node.cpu_power_watts is not None]
        use = [n.cpu_utilisation_ratio for n in live if n.cpu_utilisation_ratio is not None]
        parts = [name for name, known in (("GPUs", gpu), ("CPUs", cpu)) if known]
        return Site(
            site_name=self._site_name,
            node_count=len(nodes),
            reporting_node_count=len(live),
            gpu_count=sum(node.gpu_count for node in nodes),
            reporting_gpu_count=sum(node.reporting_gpu_count for node in live),
            power_watts=sum(gpu) + sum(cpu) if parts else None,
            power_basis=" + ".join(parts),
            power_node_count=sum(
                n.gpu_power_watts is not None or n.cpu_power_watts is not None for n in live
            ),
            run_counts=dict(Counter(run.state.value for run in self._registry.runs.values())),
            age_seconds=max((node.age_seconds for node in live), default=0.0),
            cpu_utilisation_ratio=sum(use) / len(use) if use else None,
            alerts=tuple(alert for node in nodes for alert in node.alerts),
        )


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
