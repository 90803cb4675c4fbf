"""GPU figures: which NVML call fills which columns, how often, and XID events."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from colossus_agent import nvml
from colossus_agent.collectors.host import Rate
from colossus_agent.nvml import Nvml
from colossus_agent.readings import GPU_COLUMNS, MissingError, MissingReason, SensorEvent
from colossus_agent.sensing import Call, Table

# NVIDIA's XID catalogue, as far as an operator must act: the hardware's, and the application's.
CRITICAL_XIDS = frozenset({48, 79, 95, 119})
WARNING_XIDS = frozenset({13, 31, 94})
SLOW_SECONDS = 10.0
PROCESS_SECONDS = 5.0
EVENT_WAIT_MS = 5_000


class GpuCollector:
    """All GPUs of this node.

    Raises:
        nvml.NvmlAbsentError: There is no NVML here.
    """

    def __init__(self) -> None:
        self._nvml = Nvml()
        self._handles = self._nvml.handles()
        self.driver_version = self._nvml.driver_version()
        self.inventory = tuple(
            self._nvml.inventory(index, handle) for index, handle in enumerate(self._handles)
        )
        self.table = Table(GPU_COLUMNS, len(self._handles))
        self.processes: dict[int, list[tuple[int, int]]] = {}
        self.events: list[SensorEvent] = []
        self._xids: dict[int, float] = {}
        if self._handles:
            threading.Thread(target=self._watch_xids, name="gpu-xid", daemon=True).start()

    def calls(self) -> list[Call]:
        """Return the calls of every GPU."""
        return [
            call
            for index, handle in enumerate(self._handles)
            for call in self._calls_of(index, handle)
        ]

    def _calls_of(self, index: int, handle: Any) -> list[Call]:
        api = self._nvml
        if handle is None:
            return [Call("nvmlDeviceGetHandleByIndex", ("power",), _lost, 30.0, index)]

        def one(name: str, *arguments: Any, scale: float = 1.0) -> Callable[[], Sequence[float]]:
            return lambda: (api.get(name, handle, *arguments) * scale,)

        def utilisation() -> Sequence[float]:
            rates = api.get("nvmlDeviceGetUtilizationRates", handle)
            return (rates.gpu / 100.0, rates.memory / 100.0)

        def remapped() -> Sequence[float]:
            _, _, pending, failed = api.get("nvmlDeviceGetRemappedRows", handle)
            return (float(pending), float(failed))

        def processes() -> Sequence[float]:
            self.processes[index] = api.processes(handle)
            return ()

        nvlink = Rate()
        table: list[tuple[str, tuple[str, ...], Callable[[], Sequence[float]], float]] = [
            (
                "nvmlDeviceGetTemperature",
                ("gpu_temperature",),
                one("nvmlDeviceGetTemperature", nvml.TEMPERATURE_GPU),
                0,
            ),
            (
                "nvmlDeviceGetFieldValues",
                ("memory_temperature",),
                lambda: (api.memory_temperature(handle),),
                0,
            ),
            (
                "nvmlDeviceGetMarginTemperature",
                ("temperature_margin",),
                one("nvmlDeviceGetMarginTemperature"),
                0,
            ),
            *self._power(index, handle),
            (
                "nvmlDeviceGetClockInfo",
                ("sm_clock",),
                one("nvmlDeviceGetClockInfo", nvml.CLOCK_SM),
                0,
            ),
            (
                "nvmlDeviceGetClockInfo",
                ("memory_clock",),
                one("nvmlDeviceGetClockInfo", nvml.CLOCK_MEM),
                0,
            ),
            (
                "nvmlDeviceGetUtilizationRates",
                ("gpu_utilisation", "memory_copy_utilisation"),
                utilisation,
                0,
            ),
            (
                "nvmlDeviceGetMemoryInfo",
                ("memory_used",),
                lambda: (float(api.get("nvmlDeviceGetMemoryInfo", handle).used),),
                0,
            ),
            (
                "nvmlDeviceGetCurrentClocksEventReasons",
                ("clock_event_reasons",),
                lambda: (api.clock_event_reasons(handle),),
                0,
            ),
            ("xid", ("xid",), lambda: (self._xids.get(index, 0.0),), 0),
            (
                "nvmlGpmMetricsGet",
                ("sm_active", "tensor_active", "dram_active"),
                lambda: api.gpm(index, handle),
                0,
            ),
            (
                "nvmlDeviceGetFieldValues nvlink",
                ("nvlink_tx", "nvlink_rx"),
                lambda: nvlink.of(api.nvlink_bytes(handle)),
                SLOW_SECONDS,
            ),
            (
                "nvmlDeviceGetTotalEccErrors",
                ("ecc_sbe_volatile", "ecc_dbe_volatile"),
                lambda: api.ecc_counts(handle),
                SLOW_SECONDS,
            ),
            (
                "nvmlDeviceGetRemappedRows",
                ("row_remap_pending", "row_remap_failed"),
                remapped,
                SLOW_SECONDS,
            ),
            # PCIe counters are measured over 20 ms inside the call.
            (
                "nvmlDeviceGetPcieThroughput",
                ("pcie_tx",),
                one("nvmlDeviceGetPcieThroughput", nvml.PCIE_TX, scale=1024.0),
                SLOW_SECONDS,
            ),
            (
                "nvmlDeviceGetPcieThroughput",
                ("pcie_rx",),
                one("nvmlDeviceGetPcieThroughput", nvml.PCIE_RX, scale=1024.0),
                SLOW_SECONDS,
            ),
            ("nvmlDeviceGetComputeRunningProcesses", (), processes, PROCESS_SECONDS),
        ]
        return [Call(name, columns, read, period, index) for name, columns, read, period in table]

    def _power(
        self, index: int, handle: Any
    ) -> list[tuple[str, tuple[str, ...], Callable[[], Sequence[float]], float]]:
        """Power from the energy counter where there is one, else as the device says it now."""
        api = self._nvml
        if not self.inventory[index].has_energy_counter:
            call = "nvmlDeviceGetPowerUsage"
            return [(call, ("power",), lambda: (api.get(call, handle) / 1000.0,), 0)]
        rate = Rate()
        started: list[float] = []

        def energy() -> Sequence[float]:
            joules = api.get("nvmlDeviceGetTotalEnergyConsumption", handle) / 1000.0
            if not started or joules < started[0]:  # the counter starts anew with the driver
                started[:] = [joules]
            (watts,) = rate.of((joules,))
            return (watts, joules - started[0])

        return [("nvmlDeviceGetTotalEnergyConsumption", ("power", "energy"), energy, 0)]

    def _watch_xids(self) -> None:
        try:
            events, indices = self._nvml.event_set(self._handles)
        except MissingError:
            return
        while True:
            try:
                found = self._nvml.wait_xid(events, EVENT_WAIT_MS)
            except MissingError:
                time.sleep(EVENT_WAIT_MS / 1000)
                continue
            if found is None:
                continue
            index, xid = indices.get(found[0], -1), found[1]
            self._xids[index] = float(xid)
            severity = (
                "critical" if xid in CRITICAL_XIDS else "warning" if xid in WARNING_XIDS else "info"
            )
            self.events.append(
                SensorEvent(time.time_ns(), severity, "gpu.xid", f"XID {xid}", index)
            )


def _lost() -> Sequence[float]:
    raise MissingError(MissingReason.LOST, "the GPU could not be opened")
