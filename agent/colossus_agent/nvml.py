"""The only module that imports pynvml: its errors become reasons, its structures plain values."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from colossus_agent.readings import GpuInventory, MigInstance, MissingError, MissingReason

TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU
CLOCK_SM, CLOCK_MEM = 1, 2
PCIE_TX, PCIE_RX = 0, 1

# Dense bf16 FLOP/s without sparsity, from the makers' data sheets, by a part of the product name.
PEAK_BF16_FLOPS = (
    ("GB300", 2.5e15),
    ("GB200", 2.5e15),
    ("B200", 2.25e15),
    ("H200", 989e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
)


class NvmlAbsentError(Exception):
    """There is no NVML library or no driver here; the message is its own words."""


class Nvml:
    """A loaded and initialised NVML.

    Raises:
        NvmlAbsentError: There is none.
    """

    def __init__(self) -> None:
        import pynvml  # here, since a node without GPUs need not pay for it

        self._api: ModuleType = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise NvmlAbsentError(str(error)) from None
        self._gpm_samples: dict[int, list[Any]] = {}

    @contextlib.contextmanager
    def _errors(self, call: str) -> Iterator[None]:
        try:
            yield
        except self._api.NVMLError as error:
            raise MissingError(self._reason(error), f"{call}: {error}") from None

    def _reason(self, error: Any) -> MissingReason:
        api = self._api
        return {
            api.NVML_ERROR_NOT_SUPPORTED: MissingReason.UNSUPPORTED,
            api.NVML_ERROR_FUNCTION_NOT_FOUND: MissingReason.UNSUPPORTED,
            api.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: MissingReason.UNSUPPORTED,
            api.NVML_ERROR_NO_PERMISSION: MissingReason.NOT_PERMITTED,
            api.NVML_ERROR_GPU_IS_LOST: MissingReason.LOST,
        }.get(error.value, MissingReason.FAILED)

    def driver_version(self) -> str:
        """Return the driver's version; "" when it does not say."""
        try:
            with self._errors("nvmlSystemGetDriverVersion"):
                return str(self._api.nvmlSystemGetDriverVersion())
        except MissingError:
            return ""

    def handles(self) -> list[Any]:
        """Return a handle for each GPU by index; None for one that cannot be opened."""
        with self._errors("nvmlDeviceGetCount"):
            count = self._api.nvmlDeviceGetCount()
        found: list[Any] = []
        for index in range(count):
            try:
                found.append(self._api.nvmlDeviceGetHandleByIndex(index))
            except self._api.NVMLError:
                found.append(None)
        return found

    def get(self, call: str, *arguments: Any) -> Any:
        """Call a function of NVML by name.

        Raises:
            MissingError: It has no value, with the reason.
        """
        with self._errors(call):
            return getattr(self._api, call)(*arguments)

    def inventory(self, index: int, handle: Any) -> GpuInventory:
        """Return what does not change about a GPU; what it does not tell is left at its default."""

        def tell(default: Any, call: str, *arguments: Any) -> Any:
            try:
                return self.get(call, handle, *arguments)
            except MissingError:
                return default

        name = str(tell("unknown GPU", "nvmlDeviceGetName"))
        memory = tell(None, "nvmlDeviceGetMemoryInfo")
        pci = tell(None, "nvmlDeviceGetPciInfo_v3")
        return GpuInventory(
            index,
            str(tell(f"unknown-{index}", "nvmlDeviceGetUUID")),
            name,
            memory_total_bytes=int(memory.total) if memory else 0,
            power_limit_watts=tell(0, "nvmlDeviceGetEnforcedPowerLimit") / 1000.0,
            pci_bus_id=_text(pci.busId) if pci else "",
            has_energy_counter=tell(None, "nvmlDeviceGetTotalEnergyConsumption") is not None,
            peak_bf16_flops=next((peak for part, peak in PEAK_BF16_FLOPS if part in name), 0.0),
            mig_instances=tuple(self._mig_instances(handle)),
        )

    def _mig_instances(self, handle: Any) -> Iterator[MigInstance]:
        try:
            mode, _ = self.get("nvmlDeviceGetMigMode", handle)
            count = self.get("nvmlDeviceGetMaxMigDeviceCount", handle) if mode else 0
        except MissingError:
            return
        for index in range(count):
            try:
                instance = self.get("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
                name = str(self.get("nvmlDeviceGetName", instance))
                yield MigInstance(
                    str(self.get("nvmlDeviceGetUUID", instance)),
                    name.rpartition("MIG ")[2],
                    int(self.get("nvmlDeviceGetMemoryInfo", instance).total),
                )
            except MissingError:
                continue

    def field_values(self, handle: Any, fields: tuple[Any, ...]) -> list[float | None]:
        """Return several field values in one call; None for each that the device does not have."""
        values = self.get("nvmlDeviceGetFieldValues", handle, list(fields))
        return [self._field_value(value) for value in values]

    def _field_value(self, value: Any) -> float | None:
        api = self._api
        if value.nvmlReturn != api.NVML_SUCCESS:
            return None
        member = {
            api.NVML_VALUE_TYPE_DOUBLE: "dVal",
            api.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
            api.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
            api.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
            api.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
            api.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        }.get(value.valueType)
        return float(getattr(value.value, member)) if member else None

    def memory_temperature(self, handle: Any) -> float:
        """Return the memory's temperature in degrees Celsius."""
        (value,) = self.field_values(handle, (self._api.NVML_FI_DEV_MEMORY_TEMP,))
        if not value:  # 0 is what devices without the sensor say
            raise MissingError(MissingReason.UNSUPPORTED, "no memory temperature")
        return value

    def nvlink_bytes(self, handle: Any) -> tuple[float, float]:
        """Return bytes sent and received over all NVLinks since the driver was loaded."""
        api = self._api
        every_link = 0xFFFFFFFF  # scope id of the sum over all links
        values = self.field_values(
            handle,
            (
                (api.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, every_link),
                (api.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, every_link),
            ),
        )
        if values[0] is None or values[1] is None:
            raise MissingError(MissingReason.UNSUPPORTED, "no NVLink throughput counters")
        return values[0] * 1024.0, values[1] * 1024.0

    def ecc_counts(self, handle: Any) -> tuple[float, float]:
        """Return corrected and uncorrected memory errors since the driver was loaded."""
        api = self._api
        corrected, uncorrected = (
            self.get("nvmlDeviceGetTotalEccErrors", handle, kind, api.NVML_VOLATILE_ECC)
            for kind in (
                api.NVML_MEMORY_ERROR_TYPE_CORRECTED,
                api.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            )
        )
        return float(corrected), float(uncorrected)

    def clock_event_reasons(self, handle: Any) -> float:
        """Return the mask of why clocks are below their best; older drivers say "throttle"."""
        try:
            return float(self.get("nvmlDeviceGetCurrentClocksEventReasons", handle))
        except MissingError as error:
            if error.reason is not MissingReason.UNSUPPORTED:
                raise
        return float(self.get("nvmlDeviceGetCurrentClocksThrottleReasons", handle))

    def processes(self, handle: Any) -> list[tuple[int, int]]:
        """Return pid and bytes of every process on the GPU; -1 bytes is not known."""
        found = {}
        for call in (
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
        ):
            for process in self.get(call, handle):
                used = process.usedGpuMemory
                found[int(process.pid)] = -1 if used is None else int(used)
        return sorted(found.items())

    def gpm(self, index: int, handle: Any) -> tuple[float, float, float]:
        """Return SM, tensor and DRAM activity as ratios since the last call."""
        api = self._api
        with self._errors("nvmlGpmSampleGet"):
            samples = self._gpm_samples.get(index)
            if samples is None:
                if not api.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                    raise MissingError(MissingReason.UNSUPPORTED, "the device has no GPM")
                samples = [api.nvmlGpmSampleAlloc(), api.nvmlGpmSampleAlloc()]
                api.nvmlGpmSampleGet(handle, samples[0])
                self._gpm_samples[index] = samples
                return (float("nan"),) * 3
            api.nvmlGpmSampleGet(handle, samples[1])
            return self._gpm_ratios(samples)

    def _gpm_ratios(self, samples: list[Any]) -> tuple[float, float, float]:
        api = self._api
        wanted = (
            api.NVML_GPM_METRIC_SM_UTIL,
            api.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
            api.NVML_GPM_METRIC_DRAM_BW_UTIL,
        )
        request = api.c_nvmlGpmMetricsGet_t()
        request.version = api.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(wanted)
        request.sample1, request.sample2 = samples
        for position, metric in enumerate(wanted):
            request.metrics[position].metricId = metric
        api.nvmlGpmMetricsGet(request)
        samples.reverse()
        first, second, third = (
            request.metrics[position].value / 100.0
            if request.metrics[position].nvmlReturn == api.NVML_SUCCESS
            else float("nan")
            for position in range(len(wanted))
        )
        return first, second, third

    def event_set(self, handles: list[Any]) -> tuple[Any, dict[int, int]]:
        """Return a set of XID events and the GPU index of each handle's address."""
        api = self._api
        with self._errors("nvmlEventSetCreate"):
            events = api.nvmlEventSetCreate()
        addresses: dict[int, int] = {}
        for index, handle in enumerate(handles):
            if handle is None:
                continue
            try:
                self.get(
                    "nvmlDeviceRegisterEvents", handle, api.nvmlEventTypeXidCriticalError, events
                )
            except MissingError:
                continue
            addresses[ctypes.cast(handle, ctypes.c_void_p).value or 0] = index
        if not addresses:
            raise MissingError(MissingReason.UNSUPPORTED, "no GPU reports XID events")
        return events, addresses

    def wait_xid(self, events: Any, timeout_ms: int) -> tuple[int, int] | None:
        """Return the handle's address and the XID of the next event, None after the timeout."""
        api = self._api
        try:
            data = api.nvmlEventSetWait_v2(events, timeout_ms)
        except api.NVMLError as error:
            if error.value == api.NVML_ERROR_TIMEOUT:
                return None
            raise MissingError(self._reason(error), f"nvmlEventSetWait_v2: {error}") from None
        return ctypes.cast(data.device, ctypes.c_void_p).value or 0, int(data.eventData)


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
