"""Host figures through psutil, power through RAPL and hwmon."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from colossus_agent.readings import HostInventory, MissingError, MissingReason
from colossus_agent.sensing import Call, system_errors


class Rate:
    """Turns growing counters into rates; the first read has none."""

    def __init__(self) -> None:
        self._before: tuple[float, tuple[float, ...]] | None = None

    def of(self, counters: tuple[float, ...]) -> tuple[float, ...]:
        """Return the counters' growth a second since the last call."""
        now = time.monotonic()
        before, self._before = self._before, (now, counters)
        if before is None or now <= before[0]:
            return (float("nan"),) * len(counters)
        seconds = now - before[0]
        return tuple(
            max(0.0, after - earlier) / seconds
            for after, earlier in zip(counters, before[1], strict=True)
        )


def host_calls(sys: Path = Path("/sys")) -> list[Call]:
    """Return the calls that read this host."""
    disk, network = Rate(), Rate()

    def cpu() -> Sequence[float]:
        return (psutil.cpu_percent() / 100.0,)

    def memory() -> Sequence[float]:
        figures = psutil.virtual_memory()
        return (float(figures.total - figures.available), float(figures.total))

    def load() -> Sequence[float]:
        return (os.getloadavg()[0],)

    def disk_rates() -> Sequence[float]:
        counters = psutil.disk_io_counters()
        if counters is None:
            raise MissingError(MissingReason.UNSUPPORTED, "the kernel counts no disk")
        return disk.of((counters.read_bytes, counters.write_bytes))

    def disk_used() -> Sequence[float]:
        figures = os.statvfs("/")
        return (1.0 - figures.f_bavail / figures.f_blocks if figures.f_blocks else float("nan"),)

    def network_rates() -> Sequence[float]:
        links = psutil.net_io_counters(pernic=True)
        outside = [counters for name, counters in links.items() if name != "lo"]
        return network.of(
            (
                float(sum(counters.bytes_recv for counters in outside)),
                float(sum(counters.bytes_sent for counters in outside)),
            )
        )

    return [
        Call("psutil.cpu_percent", ("cpu_utilisation",), cpu),
        Call("psutil.virtual_memory", ("memory_used", "memory_total"), memory),
        Call("getloadavg", ("load_1m",), load, 5.0),
        Call("psutil.disk_io_counters", ("disk_read", "disk_write"), disk_rates, 5.0),
        Call("statvfs", ("disk_used_ratio",), disk_used, 30.0),
        Call("psutil.net_io_counters", ("network_rx", "network_tx"), network_rates, 5.0),
        Call("rapl", ("cpu_power",), rapl_reader(sys / "class" / "powercap")),
        Call("hwmon", ("board_power",), hwmon_reader(sys / "class" / "hwmon"), 5.0),
    ]


def rapl_reader(root: Path) -> Callable[[], Sequence[float]]:
    """Return a reader of the packages' power in watts, from their energy counters.

    Linux powercap ABI: `intel-rapl:N/energy_uj` counts microjoules up to `max_energy_range_uj`.
    """
    before: dict[Path, tuple[float, int]] = {}

    def read() -> Sequence[float]:
        packages = [path for path in sorted(root.glob("intel-rapl:*")) if path.name.count(":") == 1]
        if not packages:
            raise MissingError(MissingReason.UNSUPPORTED, f"no package below {root}")
        watts = 0.0
        for package in packages:
            with system_errors("RAPL"):
                energy = int((package / "energy_uj").read_text())
                span = int((package / "max_energy_range_uj").read_text())
            now = time.monotonic()
            earlier = before.get(package)
            before[package] = (now, energy)
            if earlier is None or now <= earlier[0]:
                watts = float("nan")
                continue
            grown = energy - earlier[1]
            watts += (grown if grown >= 0 else grown + span) / 1e6 / (now - earlier[0])
        return (watts,)

    return read


def hwmon_reader(root: Path) -> Callable[[], Sequence[float]]:
    """Return a reader of the board's power in watts.

    Linux hwmon ABI: `power*_average` or `power*_input` in microwatts; the largest is the board's.
    """

    def read() -> Sequence[float]:
        paths = [*root.glob("hwmon*/power*_average"), *root.glob("hwmon*/power*_input")]
        if not paths:
            raise MissingError(MissingReason.UNSUPPORTED, f"no power sensor below {root}")
        with system_errors("hwmon"):
            return (max(int(path.read_text()) for path in paths) / 1e6,)

    return read


def host_inventory() -> HostInventory:
    """Return what does not change about this host."""
    return HostInventory(
        operating_system=_operating_system(),
        kernel_release=platform.release(),
        cpu_model=_cpu_model(),
        cpu_count=psutil.cpu_count() or 0,
        memory_total_bytes=psutil.virtual_memory().total,
        boot_id=_text(Path("/proc/sys/kernel/random/boot_id")).strip(),
    )


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _cpu_model() -> str:
    for line in _text(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
