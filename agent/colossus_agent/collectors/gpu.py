"""GPU figures: which NVML call fills which columns, and how often."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from colossus_agent import nvml
from colossus_agent.collectors.rate import Rate
from colossus_agent.collectors.xids import Xids
from colossus_agent.nvml import Nvml, NvmlAbsentError, Read
from colossus_agent.readings import (
    GPU_COLUMNS,
    CollectorStatus,
    GpuInventory,
    MissingError,
    MissingReason,
    PowerLimits,
    SensorEvent,
    Value,
)
from colossus_agent.sensing import Apart, Call, Table, Worker

T = TypeVar("T")
SLOW_SECONDS = 10.0
PROCESS_SECONDS = 5.0
PROCESS_CALL = "nvmlDeviceGetComputeRunningProcesses"
LIMIT_SECONDS = 5.0  # to set a power limit, which takes the driver longer than to read one
REOPEN_SECONDS = 60.0  # a driver may be loaded, or replaced, while the agent runs


class GpuSource:
    """Opens NVML in a thread of its own, since even that may hang; again later when it failed.

    Args:
        deadline_seconds: How long one call may take.

    Attributes:
        collector: The GPUs; None while there are none.
        detail: Why there are none; "" when there are some.
    """

    def __init__(self, deadline_seconds: float) -> None:
        self.collector: GpuCollector | None = None
        self.detail = "NVML has not answered yet"
        self._deadline = deadline_seconds
        self._fails = False
        self._closed = threading.Event()
        self._asked = time.monotonic()
        self._answered = threading.Event()
        threading.Thread(target=self._open, name="gpu-open", daemon=True).start()
        self._answered.wait(deadline_seconds)

    @property
    def is_stuck(self) -> bool:
        """Whether a thread is inside a call that does not return."""
        if self.collector is not None:
            return self.collector.worker.is_stuck
        return not self._answered.is_set() and time.monotonic() - self._asked > self._deadline

    def status(self) -> CollectorStatus | None:
        """Return how the GPUs fare; None where there is no NVML, which is no fault."""
        if self.collector is not None:
            return self.collector.worker.status
        if self.is_stuck or self._fails:
            return CollectorStatus("gpu", 0.0, False, 0, self.detail)
        return None

    def close(self) -> None:
        """Let the threads end; returns at once."""
        self._closed.set()
        if self.collector is not None:
            self.collector.close()

    def _open(self) -> None:
        while not self._closed.is_set():
            self._answered.clear()
            self._asked = time.monotonic()
            try:
                self.collector = GpuCollector(Nvml(), self._deadline)
                self.detail = ""
            except NvmlAbsentError as error:
                self.detail, self._fails = str(error), False
            except MissingError as error:
                self.detail, self._fails = str(error), True
            self._answered.set()
            if self.collector is not None:
                return
            self._closed.wait(REOPEN_SECONDS)


class GpuCollector:
    """All GPUs of this node; each is opened by its worker, so one that hangs holds up no other.

    Args:
        nvml: Initialised.
        deadline_seconds: How long one call may take.

    Raises:
        MissingError: NVML does not even say how many GPUs there are.
    """

    def __init__(self, nvml: Nvml, deadline_seconds: float) -> None:
        self._nvml = nvml
        self.driver_version = nvml.driver_version()
        count = nvml.gpu_count()
        self.inventory = tuple(
            GpuInventory(index, f"unknown-{index}", "unknown GPU") for index in range(count)
        )
        self.table = Table(GPU_COLUMNS, count)
        self._processes: dict[int, list[tuple[int, int]]] = {}
        self._handles: dict[int, Any] = {}
        self._xids = Xids(nvml)
        self._apart = Apart()
        names = tuple(column.name for column in GPU_COLUMNS)
        opening = [
            Call("nvmlDeviceGetHandleByIndex", names, self._opener(index), math.inf, index)
            for index in range(count)
        ]
        self.worker = Worker("gpu", opening, self.table, deadline_seconds)

    def processes(self) -> dict[int, list[tuple[int, int]]]:
        """Return (pid, bytes) of the processes on each GPU that tells them."""
        return {
            index: found
            for index, found in list(self._processes.items())
            if (index, PROCESS_CALL) not in self.table.missing
        }

    def power_limits(self, index: int) -> PowerLimits:
        """Return a GPU's power limit, as the device says it now.

        Raises:
            MissingError: It does not tell.
        """
        return self._limit(index, "power limit", self._nvml.power_limits)

    def set_power_limit(self, index: int, watts: float) -> None:
        """Set a GPU's power limit.

        Raises:
            MissingError: The driver did not.
        """
        self._limit(index, "set power limit", lambda gpu: self._nvml.set_power_limit(gpu, watts))

    def _limit(self, index: int, name: str, call: Callable[[Any], T]) -> T:
        handle = self._handles.get(index)
        if handle is None:
            raise MissingError(MissingReason.LOST, f"GPU {index} does not answer")
        return self._apart.within(LIMIT_SECONDS, index, name, lambda: call(handle))

    def take_events(self) -> list[SensorEvent]:
        """Return the XID events since the last time."""
        return self._xids.take()

    def close(self) -> None:
        """Let the threads end; returns at once."""
        self.worker.close()
        self._xids.close()

    def _opener(self, index: int) -> Callable[[], Sequence[Value]]:
        def open_gpu() -> Sequence[Value]:
            handle = self._nvml.handle(index)
            found = self._nvml.inventory(index, handle)
            self._handles[index] = handle
            self._xids.register(index, handle)
            self.inventory = (*self.inventory[:index], found, *self.inventory[index + 1 :])
            self.worker.add(self._calls(found, handle))
            return ()

        return open_gpu

    def _calls(self, gpu: GpuInventory, handle: Any) -> list[Call]:
        api, index = self._nvml, gpu.gpu_index

        def call(name: str, columns: str, read: Read, period_seconds: float = 0.0) -> Call:
            return Call(name, tuple(columns.split()), read, period_seconds, index)

        def number(name: str, column: str, *arguments: int) -> Call:
            return call(name, column, api.number(name, handle, *arguments))

        return [
            number("nvmlDeviceGetTemperature", "gpu_temperature", nvml.TEMPERATURE_GPU),
            call("memory temperature", "memory_temperature", api.memory_temperature(handle)),
            call(
                "nvmlDeviceGetMarginTemperature",
                "temperature_margin",
                api.temperature_margin(handle),
            ),
            self._power(gpu, handle),
            number("nvmlDeviceGetClockInfo", "sm_clock", nvml.CLOCK_SM),
            number("nvmlDeviceGetClockInfo", "memory_clock", nvml.CLOCK_MEM),
            call(
                "nvmlDeviceGetUtilizationRates",
                "gpu_utilisation memory_copy_utilisation",
                api.utilisation(handle),
            ),
            call("nvmlDeviceGetMemoryInfo", "memory_used", api.memory_used(handle)),
            call(
                "nvmlDeviceGetCurrentClocksEventReasons",
                "clock_event_reasons",
                api.clock_event_reasons(handle),
            ),
            call("XID events", "xid", self._xids.reader(index)),
            call("GPM", "sm_active tensor_active dram_active", api.gpm(handle)),
            *self._slow_calls(index, handle, call),
        ]

    def _slow_calls(self, index: int, handle: Any, call: Callable[..., Call]) -> list[Call]:
        api = self._nvml
        links, link_rate = api.nvlink_bytes(handle), Rate()

        def processes() -> Sequence[Value]:
            self._processes[index] = api.processes(handle)
            return ()

        def pcie(counter: int) -> Read:  # measured over 20 ms, inside the call
            return api.number("nvmlDeviceGetPcieThroughput", handle, counter, scale=1024.0)

        return [
            call("NVLink", "nvlink_tx nvlink_rx", lambda: link_rate.of(links()), SLOW_SECONDS),
            call("ECC", "ecc_sbe_volatile ecc_dbe_volatile", api.ecc_counts(handle), SLOW_SECONDS),
            call(
                "nvmlDeviceGetRemappedRows",
                "row_remap_pending row_remap_failed",
                api.remapped_rows(handle),
                SLOW_SECONDS,
            ),
            call("nvmlDeviceGetPcieThroughput", "pcie_tx", pcie(nvml.PCIE_TX), SLOW_SECONDS),
            call("nvmlDeviceGetPcieThroughput", "pcie_rx", pcie(nvml.PCIE_RX), SLOW_SECONDS),
            call(PROCESS_CALL, "", processes, PROCESS_SECONDS),
        ]

    def _power(self, gpu: GpuInventory, handle: Any) -> Call:
        """Power from the energy counter where there is one, else as the device says it now."""
        api, index = self._nvml, gpu.gpu_index
        instant = api.number("nvmlDeviceGetPowerUsage", handle, scale=0.001)
        if not gpu.has_energy_counter:
            no_energy = MissingError(MissingReason.UNSUPPORTED, "the device counts no energy")
            return Call(
                "nvmlDeviceGetPowerUsage",
                ("power", "energy"),
                lambda: (*instant(), no_energy),
                0.0,
                index,
            )
        counter, rate = api.energy_joules(handle), Rate()
        total, before = 0.0, math.nan

        def from_counter() -> Sequence[Value]:
            nonlocal total, before
            joules = counter()
            (watts,) = rate.of((joules,))
            if joules >= before:
                total += joules - before
            before = joules
            if math.isnan(watts):  # the first read, or the counter started anew
                with contextlib.suppress(MissingError):
                    return (*instant(), total)
            return (watts, total)

        name = "nvmlDeviceGetTotalEnergyConsumption"
        return Call(name, ("power", "energy"), from_counter, 0.0, index)
