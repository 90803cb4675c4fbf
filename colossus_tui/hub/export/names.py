"""The exported metrics' names in a Prometheus store: our word, base unit, and the factor to it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

PREFIX = "colossus"
STATISTIC = "statistic"
OWN_LABELS = frozenset({"node", "gpu", "uuid", "hall", "rack", "run", STATISTIC})


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric as a store names it.

    Attributes:
        stem: Its name without the unit.
        unit: Base unit, or "total" for what only counts up; "" for none.
        factor: What the hub's value is multiplied with.
    """

    stem: str
    unit: str = ""
    factor: float = 1.0

    def name(self, level: str) -> str:
        """Return the name of its series of a level: gpu, rack, run, hall or site."""
        return "_".join(part for part in (PREFIX, level, self.stem, self.unit) if part)

    def coverage(self, level: str) -> str:
        """Return the name of the number of GPUs that a roll-up of it is made of."""
        return f"{PREFIX}_{level}_{self.stem}_gpus_reporting"


METRICS = {
    "gpu_temperature": Metric("temperature", "celsius"),
    "memory_temperature": Metric("memory_temperature", "celsius"),
    "temperature_margin": Metric("temperature_margin", "celsius"),
    "power": Metric("power", "watts"),
    "energy": Metric("energy_joules", "total"),
    "sm_clock": Metric("sm_clock", "hertz", 1e6),
    "memory_clock": Metric("memory_clock", "hertz", 1e6),
    "gpu_utilisation": Metric("utilisation", "ratio"),
    "memory_copy_utilisation": Metric("memory_copy_utilisation", "ratio"),
    "memory_used": Metric("memory_used", "bytes"),
    "clock_event_reasons": Metric("clock_event_reasons"),
    "xid": Metric("xid"),
    "sm_active": Metric("sm_active", "ratio"),
    "tensor_active": Metric("tensor_active", "ratio"),
    "dram_active": Metric("dram_active", "ratio"),
    "pcie_tx": Metric("pcie_tx", "bytes_per_second"),
    "pcie_rx": Metric("pcie_rx", "bytes_per_second"),
    "nvlink_tx": Metric("nvlink_tx", "bytes_per_second"),
    "nvlink_rx": Metric("nvlink_rx", "bytes_per_second"),
    "ecc_sbe_volatile": Metric("ecc_sbe_volatile", "total"),
    "ecc_dbe_volatile": Metric("ecc_dbe_volatile", "total"),
    "row_remap_pending": Metric("row_remap_pending"),
    "row_remap_failed": Metric("row_remap_failed"),
}
# What the hub rolls up; the same as its roll-ups' own table, which needs numpy to be read.
ROLLED = ("power", "gpu_temperature", "gpu_utilisation", "tensor_active", "sm_clock", "memory_used")
STATISTICS = ("sum", "min", "median", "p99", "max")
RACK_STATISTICS = ("sum", "max")


@dataclass(frozen=True, slots=True)
class SeriesName:
    """A series' name and statistic: all of it but the labels of the thing that it is of."""

    name: str
    statistic: str = ""
    factor: float = 1.0


def gpu_names(metrics: Sequence[str]) -> tuple[SeriesName, ...]:
    """Return the names of each GPU's series, one a metric."""
    known = [METRICS[metric] for metric in metrics]
    return tuple(SeriesName(metric.name("gpu"), factor=metric.factor) for metric in known)


def rack_names(metrics: Sequence[str]) -> tuple[SeriesName, ...]:
    """Return the names of each rack's series: GPUs, those reporting, and statistics by metric."""
    return tuple(_counts("rack")) + tuple(
        SeriesName(METRICS[metric].name("rack"), statistic, METRICS[metric].factor)
        for metric in metrics
        for statistic in RACK_STATISTICS
    )


def place_names(level: str, metrics: Sequence[str]) -> tuple[SeriesName, ...]:
    """Return the names of a run's, hall's or the site's series.

    GPUs, those reporting; then by metric the GPUs that it is made of, and its statistics.
    """
    names = list(_counts(level))
    for metric in (METRICS[name] for name in metrics):
        names.append(SeriesName(metric.coverage(level)))
        names += [SeriesName(metric.name(level), each, metric.factor) for each in STATISTICS]
    return tuple(names)


def _counts(level: str) -> Iterator[SeriesName]:
    yield SeriesName(f"{PREFIX}_{level}_gpus")
    yield SeriesName(f"{PREFIX}_{level}_gpus_reporting")
