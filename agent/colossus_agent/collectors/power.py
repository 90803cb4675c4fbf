"""Power of processors and board from the kernel's powercap and hwmon folders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from colossus_agent.readings import MissingError, MissingReason, Value
from colossus_agent.sensing import system_errors

Read = Callable[[], Sequence[Value]]
METER = "power_meter"  # hwmon name of an ACPI power meter
MODULE = "Module Power"  # label of the meter of a superchip's whole board
SUPPLY = "pin"  # label of a PMBus power supply's input


class _Zone:
    """One powercap zone: `energy_uj` counts microjoules up to `max_energy_range_uj`."""

    def __init__(self, folder: Path) -> None:
        with system_errors("RAPL"):
            self.name = (folder / "name").read_text().strip()
            self._span = int((folder / "max_energy_range_uj").read_text())
        self._energy = folder / "energy_uj"
        self._before: tuple[float, int] | None = None

    def watts(self) -> float:
        """Return the average power since the last call; NaN at the first."""
        with system_errors("RAPL"):
            energy = int(self._energy.read_text())
        now = time.monotonic()
        before, self._before = self._before, (now, energy)
        if before is None or now <= before[0]:
            return float("nan")
        grown = energy - before[1]
        return (grown if grown >= 0 else grown + self._span) / 1e6 / (now - before[0])


def _zones(sys: Path, part: str) -> list[_Zone]:
    """Return the zones that are no part of another one and have a name that starts with `part`."""
    folders = (sys / "class" / "powercap").glob("intel-rapl:*")
    zones = [_Zone(folder) for folder in sorted(folders) if folder.name.count(":") == 1]
    return [zone for zone in zones if zone.name.startswith(part)]


def cpu_power_reader(sys: Path) -> Read:
    """Return a read of the sum of the processor packages in watts."""
    packages: list[_Zone] = []

    def read() -> Sequence[Value]:
        if not packages:
            packages[:] = _zones(sys, "package")
        if not packages:
            raise MissingError(MissingReason.UNSUPPORTED, "RAPL: the kernel tells of no package")
        return (sum(zone.watts() for zone in packages),)

    return read


def board_power_reader(sys: Path) -> Read:
    """Return a read of the whole board in watts.

    Only what measures a board: ACPI power meters, inputs of power supplies, else RAPL's psys.
    """
    meters: list[Path] = []
    zones: list[_Zone] = []

    def read() -> Sequence[Value]:
        if not meters and not zones:
            meters[:] = _board_meters(sys)
            zones[:] = [] if meters else _zones(sys, "psys")
        if meters:
            with system_errors("hwmon"):
                return (sum(int(meter.read_text()) for meter in meters) / 1e6,)
        if zones:
            return (sum(zone.watts() for zone in zones),)
        raise MissingError(MissingReason.UNSUPPORTED, "the kernel tells of no board power meter")

    return read


def _board_meters(sys: Path) -> list[Path]:
    """Return the files, in microwatts, whose sum is the board's power."""
    with system_errors("hwmon"):
        found = list(_hwmon_sensors(sys))
    meters = [(label, path) for name, label, path in found if name == METER]
    modules = [path for label, path in meters if label.startswith(MODULE)]
    supplies = [path for _, label, path in found if label.startswith(SUPPLY)]
    return modules or [path for _, path in meters] or supplies


def _hwmon_sensors(sys: Path) -> Iterator[tuple[str, str, Path]]:
    for folder in sorted((sys / "class" / "hwmon").glob("hwmon*")):
        files = {path.name: path for path in folder.iterdir()}
        name = files["name"].read_text().strip() if "name" in files else ""
        for number in range(1, 17):
            stem = f"power{number}"
            label = files.get(f"{stem}_label") or files.get(f"{stem}_oem_info")
            path = files.get(f"{stem}_average") or files.get(f"{stem}_input")
            if path is not None:
                yield name, label.read_text().strip() if label is not None else "", path
