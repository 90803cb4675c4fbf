"""Host figures through psutil."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import psutil

from colossus_agent.collectors.power import board_power_reader, cpu_power_reader
from colossus_agent.collectors.rate import Rate
from colossus_agent.readings import HostInventory, MissingError, MissingReason, Value
from colossus_agent.sensing import Call

SECONDS = 5.0
DISK_USED_SECONDS = 30.0


def host_calls(sys: Path = Path("/sys")) -> list[Call]:
    """Return the calls that read this host."""
    disk, network, processor = Rate(), Rate(), Rate()

    def cpu() -> Sequence[Value]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        busy = sum(times) - times.guest - times.guest_nice - idle  # guests are in user and nice
        busy_rate, idle_rate = processor.of((busy, idle))
        whole = busy_rate + idle_rate
        return (busy_rate / whole if whole else float("nan"),)

    def memory() -> Sequence[Value]:
        figures = psutil.virtual_memory()
        return (float(figures.total - figures.available), float(figures.total))

    def load() -> Sequence[Value]:
        return (os.getloadavg()[0],)

    def disk_rates() -> Sequence[Value]:
        counters = psutil.disk_io_counters()
        if counters is None:
            raise MissingError(MissingReason.UNSUPPORTED, "the kernel counts no disk")
        return disk.of((counters.read_bytes, counters.write_bytes))

    def disk_used() -> Sequence[Value]:
        figures = os.statvfs("/")
        return (1.0 - figures.f_bavail / figures.f_blocks if figures.f_blocks else float("nan"),)

    def network_rates() -> Sequence[Value]:
        links = psutil.net_io_counters(pernic=True)
        outside = [counters for name, counters in links.items() if name != "lo"]
        return network.of(
            (
                float(sum(counters.bytes_recv for counters in outside)),
                float(sum(counters.bytes_sent for counters in outside)),
            )
        )

    return [
        Call("psutil.cpu_times", ("cpu_utilisation",), cpu, SECONDS),
        Call("psutil.virtual_memory", ("memory_used", "memory_total"), memory, SECONDS),
        Call("RAPL", ("cpu_power",), cpu_power_reader(sys), SECONDS),
        Call("getloadavg", ("load_1m",), load, SECONDS),
        Call("psutil.disk_io_counters", ("disk_read", "disk_write"), disk_rates, SECONDS),
        Call("psutil.net_io_counters", ("network_rx", "network_tx"), network_rates, SECONDS),
        Call("board power", ("board_power",), board_power_reader(sys), SECONDS),
        Call("statvfs", ("disk_used_ratio",), disk_used, DISK_USED_SECONDS),
    ]


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
