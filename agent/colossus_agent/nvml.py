"""The only module that imports pynvml: its errors become reasons, its structures plain values."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from colossus_agent.readings import (
    GpuInventory,
    MigInstance,
    MissingError,
    MissingReason,
    PowerLimits,
    Value,
)

LIBRARY = "libnvidia-ml.so.1"  # the name by which pynvml loads it
TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU
CLOCK_SM, CLOCK_MEM = 1, 2
PCIE_TX, PCIE_RX = 0, 1
EVERY_LINK = 0xFFFFFFFF  # scope of a field value: the sum over all NVLinks

# Dense bf16 FLOP/s without sparsity, from the makers' data sheets, by a part of the product name.
PEAK_BF16_FLOPS = (
    ("GB300", 2.5e15),
    ("GB200", 2.5e15),
    ("B200", 2.25e15),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
)

Read = Callable[[], Sequence[Value]]


class NvmlAbsentError(Exception):
    """There is no NVML library or no driver here; the message is its own words."""


class Nvml:
    """A loaded and initialised NVML.

    What returns a `Read` prepares a call for being made often: its buffers are made once, and
    belong to that read alone.

    Raises:
        NvmlAbsentError: There is none.
        MissingError: There is one, and it does not work.
    """

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise NvmlAbsentError(str(error)) from None
        import pynvml  # here, since a node without GPUs need not pay for it

        self._api: ModuleType = pynvml
        self._reasons = {
            pynvml.NVML_ERROR_NOT_SUPPORTED: MissingReason.UNSUPPORTED,
            pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: MissingReason.UNSUPPORTED,
            pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: MissingReason.UNSUPPORTED,
            pynvml.NVML_ERROR_NO_PERMISSION: MissingReason.NOT_PERMITTED,
            pynvml.NVML_ERROR_GPU_IS_LOST: MissingReason.LOST,
        }
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            if error.value == pynvml.NVML_ERROR_DRIVER_NOT_LOADED:
                raise NvmlAbsentError(str(error)) from None
            raise self._missing("nvmlInit", error.value) from None

    def _missing(self, call: str, code: int) -> MissingError:
        reason = self._reasons.get(code, MissingReason.FAILED)
        return MissingError(reason, f"{call}: {self._api.NVMLError(code)}")

    def get(self, call: str, *arguments: Any) -> Any:
        """Call a function of pynvml by name.

        Raises:
            MissingError: It has no value, with the reason.
        """
        try:
            return getattr(self._api, call)(*arguments)
        except self._api.NVMLError as error:
            raise self._missing(call, error.value) from None

    def driver_version(self) -> str:
        """Return the driver's version."""
        return str(self.get("nvmlSystemGetDriverVersion"))

    def gpu_count(self) -> int:
        """Return how many GPUs there are; a lost one counts."""
        return int(self.get("nvmlDeviceGetCount"))

    def handle(self, index: int) -> Any:
        """Return the handle of a GPU."""
        return self.get("nvmlDeviceGetHandleByIndex", index)

    def inventory(self, index: int, handle: Any) -> GpuInventory:
        """Return what does not change about a GPU; what it does not tell is left at its default."""

        def tell(default: Any, call: str, *arguments: Any) -> Any:
            try:
                return self.get(call, handle, *arguments)
            except MissingError as error:
                if error.reason is MissingReason.LOST:
                    raise
                return default

        name = str(tell("unknown GPU", "nvmlDeviceGetName"))
        memory = tell(None, "nvmlDeviceGetMemoryInfo")
        pci = tell(None, "nvmlDeviceGetPciInfo_v3")
        lowest, highest = tell((0, 0), "nvmlDeviceGetPowerManagementLimitConstraints")
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
            power_limit_lowest_watts=lowest / 1000.0,
            power_limit_highest_watts=highest / 1000.0,
        )

    def power_limits(self, handle: Any) -> PowerLimits:
        """Return a GPU's power limit, and between what it may be set.

        Raises:
            MissingError: It does not tell.
        """
        lowest, highest = self.get("nvmlDeviceGetPowerManagementLimitConstraints", handle)
        now = self.get("nvmlDeviceGetPowerManagementLimit", handle)
        return PowerLimits(now / 1000.0, lowest / 1000.0, highest / 1000.0)

    def set_power_limit(self, handle: Any, watts: float) -> None:
        """Set a GPU's power limit; the driver keeps it until it is set again or is loaded anew.

        Raises:
            MissingError: The driver did not; it lets only root do it.
        """
        self.get("nvmlDeviceSetPowerManagementLimit", handle, round(watts * 1000))

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

    def _call(self, call: str, *arguments: Any) -> Callable[[], None]:
        """Return what makes a call with these very arguments, the last of which it writes."""
        function = getattr(self._library, call, None)

        def absent() -> None:
            raise MissingError(MissingReason.UNSUPPORTED, f"{call}: the driver does not have it")

        def make() -> None:
            code = function(*arguments)  # type: ignore[misc]  # not None here
            if code:
                raise self._missing(call, code)

        return absent if function is None else make

    def number(
        self, call: str, handle: Any, *arguments: int, kind: Any = ctypes.c_uint, scale: float = 1.0
    ) -> Read:
        """Return a read of a call that writes one number."""
        value = kind()
        given = [ctypes.c_uint(argument) for argument in arguments]
        make = self._call(call, handle, *given, ctypes.byref(value))

        def read() -> Sequence[Value]:
            make()
            return (value.value * scale,)

        return read

    def energy_joules(self, handle: Any) -> Callable[[], float]:
        """Return a read of the energy counter, which starts anew with the driver."""
        value = ctypes.c_ulonglong()
        make = self._call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(value))

        def read() -> float:
            make()
            return value.value / 1000.0

        return read

    def temperature_margin(self, handle: Any) -> Read:
        """Return a read of the degrees Celsius left before the device slows down."""
        margin = self._api.c_nvmlMarginTemperature_v1_t()
        margin.version = self._api.nvmlMarginTemperature_v1
        make = self._call("nvmlDeviceGetMarginTemperature", handle, ctypes.byref(margin))

        def read() -> Sequence[Value]:
            make()
            return (margin.marginTemperature,)

        return read

    def utilisation(self, handle: Any) -> Read:
        """Return a read of GPU and memory copy utilisation as ratios."""
        rates = self._api.c_nvmlUtilization_t()
        make = self._call("nvmlDeviceGetUtilizationRates", handle, ctypes.byref(rates))

        def read() -> Sequence[Value]:
            make()
            return (rates.gpu / 100.0, rates.memory / 100.0)

        return read

    def memory_used(self, handle: Any) -> Read:
        """Return a read of the bytes that programs hold: what the driver reserves is not theirs."""
        api = self._api
        memory = api.c_nvmlMemory_v2_t()
        memory.version = api.nvmlMemory_v2
        make = self._call("nvmlDeviceGetMemoryInfo_v2", handle, ctypes.byref(memory))
        old_memory = api.c_nvmlMemory_t()
        make_old = self._call("nvmlDeviceGetMemoryInfo", handle, ctypes.byref(old_memory))

        def read() -> Sequence[Value]:
            make()
            return (memory.used,)

        def read_old() -> Sequence[Value]:
            make_old()
            return (old_memory.used,)

        return _either(read, read_old)

    def clock_event_reasons(self, handle: Any) -> Read:
        """Return a read of why clocks are below their best; older drivers say "throttle"."""
        return _either(
            *(
                self.number(call, handle, kind=ctypes.c_ulonglong)
                for call in (
                    "nvmlDeviceGetCurrentClocksEventReasons",
                    "nvmlDeviceGetCurrentClocksThrottleReasons",
                )
            )
        )

    def remapped_rows(self, handle: Any) -> Read:
        """Return a read of whether a row remap is pending, and whether one failed."""
        figures = [ctypes.c_uint() for _ in range(4)]
        make = self._call("nvmlDeviceGetRemappedRows", handle, *map(ctypes.byref, figures))

        def read() -> Sequence[Value]:
            make()
            return (figures[2].value, figures[3].value)

        return read

    def ecc_counts(self, handle: Any) -> Read:
        """Return a read of corrected and uncorrected memory errors since the driver was loaded."""
        api = self._api
        corrected, uncorrected = (
            self.number(
                "nvmlDeviceGetTotalEccErrors",
                handle,
                kind_of_error,
                api.NVML_VOLATILE_ECC,
                kind=ctypes.c_ulonglong,
            )
            for kind_of_error in (
                api.NVML_MEMORY_ERROR_TYPE_CORRECTED,
                api.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            )
        )
        return lambda: (*corrected(), *uncorrected())

    def _fields(self, handle: Any, *fields: tuple[int, int]) -> Callable[[], Sequence[Value]]:
        """Return a read of several field values (id, scope) in one call."""
        api = self._api
        values = (api.c_nvmlFieldValue_t * len(fields))()
        for value, (field_id, scope) in zip(values, fields, strict=True):
            value.fieldId, value.scopeId = field_id, scope
        make = self._call(
            "nvmlDeviceGetFieldValues", handle, ctypes.c_int(len(fields)), ctypes.byref(values)
        )
        members = {
            api.NVML_VALUE_TYPE_DOUBLE: "dVal",
            api.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
            api.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
            api.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
            api.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
            api.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        }

        # Asked of the type: pynvml's own attribute access on a value costs more than the call.
        kind = api.c_nvmlFieldValue_t
        code_of, type_of, union_of = (
            member.__get__ for member in (kind.nvmlReturn, kind.valueType, kind.value)
        )

        def one(value: Any) -> Value:
            if code := code_of(value):
                return self._missing(f"field {value.fieldId}", code)
            return float(getattr(union_of(value), members[type_of(value)]))

        def read() -> Sequence[Value]:
            make()
            return [one(value) for value in values]

        return read

    def memory_temperature(self, handle: Any) -> Read:
        """Return a read of the memory's temperature in degrees Celsius."""
        fields = self._fields(handle, (self._api.NVML_FI_DEV_MEMORY_TEMP, 0))

        def read() -> Sequence[Value]:
            values = fields()
            if values[0] == 0:  # what devices without the sensor say
                raise MissingError(MissingReason.UNSUPPORTED, "no memory temperature")
            return values

        return read

    def nvlink_bytes(self, handle: Any) -> Callable[[], tuple[float, float]]:
        """Return a read of bytes sent and received over all NVLinks, counted by the driver."""
        api = self._api
        fields = self._fields(
            handle,
            (api.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX, EVERY_LINK),
            (api.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX, EVERY_LINK),
        )

        def read() -> tuple[float, float]:
            sent, received = fields()
            for value in (sent, received):
                if isinstance(value, MissingError):
                    raise value
            return float(sent) * 1024.0, float(received) * 1024.0  # type: ignore[arg-type]

        return read

    def processes(self, handle: Any) -> list[tuple[int, int]]:
        """Return pid and bytes of every process on the GPU; -1 bytes is not known."""
        found: dict[int, int] = {}
        for call in (
            "nvmlDeviceGetComputeRunningProcesses_v3",
            "nvmlDeviceGetGraphicsRunningProcesses_v3",
        ):
            for process in self.get(call, handle):
                used = -1 if process.usedGpuMemory is None else int(process.usedGpuMemory)
                found[int(process.pid)] = max(used, found.get(int(process.pid), -1))
        return sorted(found.items())

    def gpm(self, handle: Any) -> Read:
        """Return a read of SM, tensor and DRAM activity as ratios since the read before."""
        api = self._api
        metrics = (
            api.NVML_GPM_METRIC_SM_UTIL,
            api.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
            api.NVML_GPM_METRIC_DRAM_BW_UTIL,
        )
        request = api.c_nvmlGpmMetricsGet_t()
        request.version = api.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(metrics)
        answers = [request.metrics[position] for position in range(len(metrics))]
        for answer, metric in zip(answers, metrics, strict=True):
            answer.metricId = metric
        get_metrics = self._call("nvmlGpmMetricsGet", ctypes.byref(request))
        takers: list[tuple[Any, Callable[[], None]]] = []

        def begin() -> None:
            if not self.get("nvmlGpmQueryDeviceSupport", handle).isSupportedDevice:
                raise MissingError(MissingReason.UNSUPPORTED, "the device has no GPM")
            samples = [self.get("nvmlGpmSampleAlloc") for _ in range(2)]
            makes = [self._call("nvmlGpmSampleGet", handle, sample) for sample in samples]
            makes[0]()
            takers.extend(zip(samples, makes, strict=True))

        def one(answer: Any) -> Value:
            if answer.nvmlReturn:
                return self._missing(f"GPM metric {answer.metricId}", answer.nvmlReturn)
            return float(answer.value) / 100.0

        def read() -> Sequence[Value]:
            if not takers:
                begin()
                return (float("nan"),) * len(metrics)
            takers[1][1]()
            request.sample1, request.sample2 = takers[0][0], takers[1][0]
            takers.reverse()
            get_metrics()
            return [one(answer) for answer in answers]

        return read

    def event_set(self) -> Any:
        """Return an empty set of events."""
        return self.get("nvmlEventSetCreate")

    def register_xids(self, events: Any, handle: Any) -> int:
        """Let a GPU's XID events come with the set; return the address that they will name."""
        kind = self._api.nvmlEventTypeXidCriticalError
        self.get("nvmlDeviceRegisterEvents", handle, kind, events)
        return _address(handle)

    def wait_xid(self, events: Any, timeout_ms: int) -> tuple[int, int] | None:
        """Return the GPU's address and the XID of the next event, None after the timeout."""
        api = self._api
        try:
            data = api.nvmlEventSetWait_v2(events, timeout_ms)
        except api.NVMLError as error:
            if error.value == api.NVML_ERROR_TIMEOUT:
                return None
            raise self._missing("nvmlEventSetWait_v2", error.value) from None
        return _address(data.device), int(data.eventData)


def _either(first: Read, second: Read) -> Read:
    """Return a read that asks `second` where the driver does not have `first`."""

    def read() -> Sequence[Value]:
        try:
            return first()
        except MissingError as error:
            if error.reason is not MissingReason.UNSUPPORTED:
                raise
        return second()

    return read


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
