"""Host sensors against trees laid out as the kernel lays out /sys, and against this very host."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from colossus_agent.collectors.host import host_calls, host_inventory
from colossus_agent.collectors.power import board_power_reader, cpu_power_reader
from colossus_agent.collectors.rate import Rate
from colossus_agent.readings import MissingError, MissingReason


def zone(sys: Path, folder: str, name: str, energy_uj: int, span_uj: int = 10_000_000) -> Path:
    """Lay out one powercap zone."""
    path = sys / "class" / "powercap" / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{span_uj}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path


def hwmon(sys: Path, number: int, name: str, **files: str) -> None:
    """Lay out one hwmon device."""
    path = sys / "class" / "hwmon" / f"hwmon{number}"
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    for file, text in files.items():
        (path / file).write_text(f"{text}\n")


def test_package_power_is_the_sum_of_energy_growth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 9_000_000)
    zone(tmp_path, "intel-rapl:0:0", "core", 1)
    zone(tmp_path, "intel-rapl:2", "psys", 1)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    read = cpu_power_reader(tmp_path)
    assert math.isnan(read()[0])  # type: ignore[arg-type]

    now = 102.0
    (first / "energy_uj").write_text("5000000")  # 4 J more
    (second / "energy_uj").write_text("1000000")  # 2 J more, over the counter's end

    assert read() == (3.0,)


def test_power_without_a_meter_says_so(tmp_path: Path) -> None:
    for read in (cpu_power_reader(tmp_path), board_power_reader(tmp_path)):
        with pytest.raises(MissingError) as caught:
            read()
        assert caught.value.reason is MissingReason.UNSUPPORTED


def test_energy_that_may_not_be_read_is_not_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    original = Path.read_text

    def refuse(self: Path, *arguments: str) -> str:
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return original(self, *arguments)

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(MissingError) as caught:
        cpu_power_reader(tmp_path)()

    assert caught.value.reason is MissingReason.NOT_PERMITTED


def test_board_power_prefers_the_meter_of_the_whole_board(tmp_path: Path) -> None:
    hwmon(tmp_path, 0, "nvme", temp1_input="30000")
    hwmon(
        tmp_path,
        1,
        "power_meter",
        power1_average="900000000",
        power1_oem_info="Module Power Socket 0",
    )
    hwmon(
        tmp_path, 2, "power_meter", power1_average="100000000", power1_oem_info="CPU Power Socket 0"
    )
    hwmon(tmp_path, 3, "pmbus", power1_input="700000000", power1_label="pin")

    assert board_power_reader(tmp_path)() == (900.0,)


def test_board_power_is_the_sum_of_the_supplies_where_there_is_no_meter(tmp_path: Path) -> None:
    for number, watts in enumerate((310, 290)):
        hwmon(
            tmp_path,
            number,
            "pmbus",
            power1_input=f"{watts}000000",
            power1_label="pin",
            power2_input="1000000",
            power2_label="pout1",
        )

    assert board_power_reader(tmp_path)() == (600.0,)


def test_a_rate_needs_two_reads_and_survives_a_counter_that_starts_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 10.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rate = Rate()
    assert all(math.isnan(value) for value in rate.of((100.0, 100.0)))
    now = 12.0
    assert rate.of((300.0, 100.0)) == (100.0, 0.0)
    now = 13.0
    first, second = rate.of((5.0, 110.0))
    assert math.isnan(first)
    assert second == 10.0


def test_this_hosts_figures_are_plausible() -> None:
    calls = {call.name: call for call in host_calls()}

    used, total = calls["psutil.virtual_memory"].read()
    (disk,) = calls["statvfs"].read()
    (load,) = calls["getloadavg"].read()

    inventory = host_inventory()
    assert isinstance(used, float)
    assert isinstance(total, float)
    assert 0 < used < total == inventory.memory_total_bytes
    assert isinstance(disk, float)
    assert 0 <= disk <= 1
    assert isinstance(load, float)
    assert load >= 0
    assert inventory.cpu_count >= 1
    assert len(inventory.boot_id) == 36
