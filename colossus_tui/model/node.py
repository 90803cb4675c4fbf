"""Nodes, GPUs, their sensors and processes."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.event import Alert, Event


class MissingReason(StrEnum):
    """Why a value is not available."""

    UNSUPPORTED = "unsupported"
    NOT_PERMITTED = "not_permitted"
    FAILED = "failed"
    STUCK = "stuck"
    LOST = "lost"


class Freshness(StrEnum):
    """How fresh a node's figures are: live < 5 s, grey < 15 s, stale < 60 s, else lost."""

    LIVE = "live"
    GREY = "grey"
    STALE = "stale"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One value with its unit, or the reason it has none; age -1 means never."""

    name: str
    unit: str
    value: float | None = None
    missing: MissingReason | None = None
    age_seconds: float = -1.0


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One MIG instance of a GPU."""

    uuid: str
    profile: str
    memory_total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `values` are in the order of its agent's columns."""

    node_name: str
    gpu_index: int
    gpu_uuid: str = ""
    product_name: str = ""
    run_id: str = ""
    memory_total_bytes: int = 0
    power_limit_watts: float = 0.0
    values: tuple[MetricValue, ...] = ()
    missing: MissingReason | None = None
    mig_instances: tuple[MigInstance, ...] = ()

    def metric(self, name: str) -> MetricValue | None:
        """Return the value of one metric, or None where the agent has no such column."""
        return next((value for value in self.values if value.name == name), None)


# Bits of the metric "clock_event_reasons" (nvml.h: nvmlClocksEventReason...).
CLOCK_EVENT_REASONS = {
    0x1: "idle",
    0x2: "clocks set",
    0x4: "power cap",
    0x8: "hw slowdown",
    0x10: "sync boost",
    0x20: "sw thermal",
    0x40: "hw thermal",
    0x80: "power brake",
    0x100: "display",
}


def clock_event_reasons(mask: int) -> str:
    """Return why a GPU's clocks are below their best, in words; bits without a name as a number."""
    names = [name for bit, name in CLOCK_EVENT_REASONS.items() if mask & bit]
    unnamed = mask & ~sum(CLOCK_EVENT_REASONS)
    return ", ".join([*names, *([f"0x{unnamed:x}"] if unnamed else [])]) or "none"


@dataclass(frozen=True, slots=True)
class HostInventory:
    """What does not change about a node."""

    operating_system: str = ""
    kernel_release: str = ""
    cpu_model: str = ""
    cpu_count: int = 0
    memory_total_bytes: int = 0
    boot_id: str = ""
    driver_version: str = ""


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """One sensor that gives no value now; gpu_index -1 is the host."""

    gpu_index: int
    sensor: str
    reason: MissingReason | None = None
    since_unix_ns: int = 0
    last_value_unix_ns: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """How one collector of the agent fares."""

    name: str
    duration_seconds: float = 0.0
    success: bool = True
    last_success_unix_ns: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process that belongs to a run or holds a GPU. Name and command are untrusted."""

    pid: int
    start_time_ticks: int = 0
    name: str = ""
    command: str = ""
    user: str = ""
    run_id: str = ""
    run_source: str = ""
    rank: int = -1
    cpu_ratio: float = 0.0
    resident_bytes: int = 0
    state: str = ""
    gpu_indices: tuple[int, ...] = ()
    gpu_memory_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """One node, as the list of nodes shows it."""

    node_name: str
    hall: str = ""
    rack: str = ""
    freshness: Freshness = Freshness.LOST
    age_seconds: float = 0.0
    linked: bool = False
    gpu_count: int = 0
    reporting_gpu_count: int = 0
    gpu_power_watts: float | None = None
    cpu_power_watts: float | None = None
    gpu_temperature_max_celsius: float | None = None
    gpu_utilisation_ratio: float | None = None
    cpu_utilisation_ratio: float | None = None
    memory_used_bytes: float | None = None
    memory_total_bytes: float | None = None
    load_1m: float | None = None
    run_ids: tuple[str, ...] = ()
    failing_sensor_count: int = 0
    agent_version: str = ""
    alerts: tuple[Alert, ...] = ()
    scheduler_state: str = ""
    scheduler_reason: str = ""
    sample_time_unix_ns: int = 0


WHOLE = 4  # so many sensors of one GPU without a value for one reason are shown as one


@dataclass(frozen=True, slots=True)
class NodeDetail:
    """One node down to its sensors and processes."""

    node: Node
    host: HostInventory
    host_values: tuple[MetricValue, ...] = ()
    gpus: tuple[Gpu, ...] = ()
    sensors: tuple[SensorStatus, ...] = ()
    collectors: tuple[CollectorStatus, ...] = ()
    processes: tuple[ProcessSample, ...] = ()
    events: tuple[Event, ...] = ()
    gpu_detail: str = ""

    def failing_sensors(self) -> list[SensorStatus]:
        """Return what should have a value and has none; a GPU that fails whole is one entry."""
        groups: dict[tuple[int, MissingReason | None], list[SensorStatus]] = {}
        for sensor in self.sensors:
            if sensor.reason is not MissingReason.UNSUPPORTED:
                groups.setdefault((sensor.gpu_index, sensor.reason), []).append(sensor)
        shown: list[SensorStatus] = []
        for group in groups.values():
            if len(group) < WHOLE or group[0].gpu_index < 0:
                shown += group
                continue
            first = min(group, key=lambda sensor: sensor.since_unix_ns)
            shown.append(replace(first, sensor=f"{len(group)} sensors"))
        return shown
