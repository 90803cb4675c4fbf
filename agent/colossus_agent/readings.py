"""What the sensors yield: columns, inventories, statuses and samples; plain immutable values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class MissingReason(StrEnum):
    """Why a value is not available."""

    UNSUPPORTED = "unsupported"
    NOT_PERMITTED = "not_permitted"
    FAILED = "failed"
    STUCK = "stuck"
    LOST = "lost"


class MissingError(Exception):
    """A sensor has no value now."""

    def __init__(self, reason: MissingReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


Value: TypeAlias = float | MissingError  # NaN: none yet, without a reason


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame; ids below 10000 are DCGM field ids."""

    field_id: int
    name: str
    unit: str


GPU_COLUMNS = (
    Column(150, "gpu_temperature", "C"),
    Column(140, "memory_temperature", "C"),
    Column(153, "temperature_margin", "C"),
    Column(155, "power", "W"),
    Column(156, "energy", "J"),
    Column(100, "sm_clock", "MHz"),
    Column(101, "memory_clock", "MHz"),
    Column(203, "gpu_utilisation", "ratio"),
    Column(204, "memory_copy_utilisation", "ratio"),
    Column(252, "memory_used", "B"),
    Column(112, "clock_event_reasons", "mask"),
    Column(230, "xid", "code"),
    Column(1002, "sm_active", "ratio"),
    Column(1004, "tensor_active", "ratio"),
    Column(1005, "dram_active", "ratio"),
    Column(1009, "pcie_tx", "B/s"),
    Column(1010, "pcie_rx", "B/s"),
    Column(1011, "nvlink_tx", "B/s"),
    Column(1012, "nvlink_rx", "B/s"),
    Column(310, "ecc_sbe_volatile", "count"),
    Column(311, "ecc_dbe_volatile", "count"),
    Column(395, "row_remap_pending", "count"),
    Column(394, "row_remap_failed", "count"),
)

HOST_COLUMNS = (
    Column(10000, "cpu_utilisation", "ratio"),
    Column(10001, "memory_used", "B"),
    Column(10002, "memory_total", "B"),
    Column(10003, "load_1m", "count"),
    Column(10004, "disk_read", "B/s"),
    Column(10005, "disk_write", "B/s"),
    Column(10006, "disk_used_ratio", "ratio"),
    Column(10007, "network_rx", "B/s"),
    Column(10008, "network_tx", "B/s"),
    Column(10009, "cpu_power", "W"),
    Column(10010, "board_power", "W"),
)


@dataclass(frozen=True, slots=True)
class MigInstance:
    """One MIG instance of a GPU."""

    uuid: str
    profile: str
    memory_total_bytes: int


@dataclass(frozen=True, slots=True)
class GpuInventory:
    """What does not change about one GPU; 0 is not available."""

    gpu_index: int
    gpu_uuid: str
    product_name: str
    memory_total_bytes: int = 0
    power_limit_watts: float = 0.0
    pci_bus_id: str = ""
    has_energy_counter: bool = False
    peak_bf16_flops: float = 0.0
    mig_instances: tuple[MigInstance, ...] = ()
    power_limit_lowest_watts: float = 0.0
    power_limit_highest_watts: float = 0.0


@dataclass(frozen=True, slots=True)
class PowerLimits:
    """A GPU's power limit now, and the lowest and highest that it takes."""

    watts: float
    lowest_watts: float
    highest_watts: float


@dataclass(frozen=True, slots=True)
class HostInventory:
    """What does not change about the node."""

    operating_system: str
    kernel_release: str
    cpu_model: str
    cpu_count: int
    memory_total_bytes: int
    boot_id: str
    driver_version: str = ""


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """One sensor that gives no value now; gpu_index -1 is the host."""

    gpu_index: int
    sensor: str
    reason: MissingReason
    since_unix_ns: int
    last_value_unix_ns: int
    detail: str


@dataclass(frozen=True, slots=True)
class CollectorStatus:
    """How one collector fares."""

    name: str
    duration_seconds: float
    success: bool
    last_success_unix_ns: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """One process that belongs to a run or holds a GPU; -1 is not known."""

    pid: int
    start_time_ticks: int
    name: str
    command: str
    user: str
    run_id: str
    run_source: str
    rank: int
    cpu_ratio: float
    resident_bytes: int
    state: str
    gpu_indices: tuple[int, ...] = ()
    gpu_memory_bytes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SensorEvent:
    """Something a sensor saw happen; severity is "info", "warning" or "critical"."""

    time_unix_ns: int
    severity: str
    kind: str
    message: str
    gpu_index: int = -1


@dataclass(frozen=True, slots=True)
class Sample:
    """One tick: float32 little-endian values, and what changed beside them.

    Attributes:
        gpu_values: Matrix [GPU, GPU_COLUMNS], NaN where there is no value.
        host_values: Vector [HOST_COLUMNS].
        sensors: All sensors without a value.
    """

    unix_ns: int
    gpu_values: bytes
    host_values: bytes
    sensors: tuple[SensorStatus, ...]
    collectors: tuple[CollectorStatus, ...]
    processes: tuple[ProcessSample, ...]
    events: tuple[SensorEvent, ...]
