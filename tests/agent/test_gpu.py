"""GPU sensors through the real ctypes path, against a C library that stands in for the driver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.fake_nvml import FakeNvml

Tick = dict[str, Any]
GIB = 1 << 30


class Sampling:
    """A process that samples; each tick is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tick(self) -> Tick:
        """Return the next tick."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the sampling process ended"
        tick: Tick = json.loads(line)
        return tick

    def until(self, wanted: Callable[[Tick], object], seconds: float = 20.0) -> Tick:
        """Return the first tick of which something holds."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            tick = self.tick()
            if wanted(tick):
                return tick
        raise AssertionError(f"not within {seconds:g} s; last tick: {tick}")


@contextmanager
def sampling(nvml: FakeNvml) -> Iterator[Sampling]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agent.sampling"],
        env=nvml.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Sampling(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    return FakeNvml(tmp_path)


def reasons(tick: Tick, gpu: int) -> dict[str, str]:
    """Return the reason of each sensor of a GPU that has no value."""
    return {s["sensor"]: s["reason"] for s in tick["sensors"] if s["gpu_index"] == gpu}


def all_open(tick: Tick) -> bool:
    return len(tick["gpus"]) == 8 and all(gpu["gpu_temperature"] for gpu in tick["gpus"])


def test_eight_gpus_have_the_devices_values(nvml: FakeNvml) -> None:
    with sampling(nvml) as process:
        tick = process.until(
            lambda t: all_open(t) and all(gpu["sm_active"] is not None for gpu in t["gpus"])
        )
    assert tick["driver"] == "570.86.15"
    for index, (gpu, about) in enumerate(zip(tick["gpus"], tick["inventory"], strict=True)):
        assert about["product_name"] == "NVIDIA H100 80GB HBM3"
        assert about["gpu_uuid"] == f"GPU-fa4e0000-0000-4000-8000-{index:012d}"
        assert about["memory_total_bytes"] == 80 * GIB
        assert about["power_limit_watts"] == 700
        assert about["peak_bf16_flops"] == 989e12
        assert about["pci_bus_id"] == f"00000000:{16 + index:02X}:00.0"
        expected = {
            "gpu_temperature": 40 + index,
            "memory_temperature": 50 + index,
            "temperature_margin": 45 - index,
            "sm_clock": 1500 + index,
            "memory_clock": 2600 + index,
            "gpu_utilisation": (80 + index) / 100,
            "memory_copy_utilisation": (30 + index) / 100,
            "memory_used": (10 + index) * GIB,
            "clock_event_reasons": 4,
            "xid": 0,
            "sm_active": (60 + index) / 100,
            "tensor_active": (40 + index) / 100,
            "dram_active": (25 + index) / 100,
            "pcie_tx": 1000 * (index + 1) * 1024,
            "pcie_rx": 2000 * (index + 1) * 1024,
            "ecc_sbe_volatile": index,
            "ecc_dbe_volatile": 0,
            "row_remap_pending": 0,
            "row_remap_failed": 0,
        }
        assert {name: gpu[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert tick["sensors"] == [status for status in tick["sensors"] if status["gpu_index"] < 0], (
        "no GPU sensor is missing"
    )


def test_power_is_the_energy_counters_growth(nvml: FakeNvml) -> None:
    nvml.have("3 set power_mw 450000")
    with sampling(nvml) as process:
        process.until(all_open)
        powers, energies = [], []
        for _ in range(4):
            tick = process.tick()
            powers.append(tick["gpus"][3]["power"])
            energies.append(tick["gpus"][3]["energy"])
    assert powers == pytest.approx([450.0] * 4, rel=0.05)
    assert energies == sorted(energies)
    assert energies[-1] > energies[0]


def test_power_without_an_energy_counter_is_the_devices_own_reading(nvml: FakeNvml) -> None:
    nvml.have("* error nvmlDeviceGetTotalEnergyConsumption 3")
    with sampling(nvml) as process:
        tick = process.until(all_open)
    assert tick["gpus"][2]["power"] == pytest.approx(320.0)
    assert tick["gpus"][2]["energy"] is None
    assert reasons(tick, 2)["energy"] == "unsupported"
    assert not tick["inventory"][2]["has_energy_counter"]


@pytest.mark.waits
def test_a_lost_gpu_is_lost_in_every_sensor_and_comes_back(nvml: FakeNvml) -> None:
    with sampling(nvml) as process:
        process.until(all_open)
        nvml.have("5 lost")
        tick = process.until(lambda t: "lost" in reasons(t, 5).values())
        lost = [event for event in tick["events"] if event["gpu_index"] == 5]
        assert set(reasons(tick, 5).values()) == {"lost"}
        assert all(value is None for value in tick["gpus"][5].values())
        assert [event["severity"] for event in lost] == ["critical"]
        tick = process.tick()
        assert tick["gpus"][4]["gpu_temperature"] == 44  # others go on
        assert reasons(tick, 4) == {}
        nvml.have()
        tick = process.until(lambda t: not reasons(t, 5), 45)
        assert tick["gpus"][5]["gpu_temperature"] == 45


def test_a_gpu_lost_before_the_start_is_still_there_as_lost(nvml: FakeNvml) -> None:
    nvml.have("1 lost")
    with sampling(nvml) as process:
        tick = process.until(lambda t: len(t["gpus"]) == 8 and t["gpus"][7]["gpu_temperature"])
    assert set(reasons(tick, 1).values()) == {"lost"}
    assert tick["gpus"][0]["gpu_temperature"] == 40


def test_a_call_that_hangs_is_stuck_while_the_rest_updates(nvml: FakeNvml) -> None:
    with sampling(nvml) as process:
        process.until(all_open)
        nvml.have("2 hang nvmlDeviceGetMarginTemperature")
        tick = process.until(lambda t: reasons(t, 2).get("temperature_margin") == "stuck")
        assert tick["is_stuck"]
        status = next(s for s in tick["sensors"] if s["sensor"] == "temperature_margin")
        assert status["last_value_unix_ns"] > 0  # its age can be told
        nvml.have("2 hang nvmlDeviceGetMarginTemperature", "* set temperature_c 77")
        tick = process.until(lambda t: t["gpus"][2]["gpu_temperature"] == 77, 5)
        assert [gpu["gpu_temperature"] for gpu in tick["gpus"]] == [77.0] * 8
        assert tick["gpus"][2]["temperature_margin"] is None
        nvml.have()
        tick = process.until(lambda t: t["gpus"][2]["temperature_margin"] == 43)
        assert not reasons(tick, 2)


def test_a_gpu_on_which_all_calls_hang_leaves_the_others_alone(nvml: FakeNvml) -> None:
    calls = ("Temperature", "ClockInfo", "UtilizationRates", "MemoryInfo_v2", "FieldValues")
    with sampling(nvml) as process:
        process.until(all_open)
        nvml.have(*(f"6 hang nvmlDeviceGet{name}" for name in calls))
        process.until(lambda t: len(reasons(t, 6)) > 15)
        nvml.have(*(f"6 hang nvmlDeviceGet{name}" for name in calls), "* set temperature_c 66")
        tick = process.until(lambda t: t["gpus"][7]["gpu_temperature"] == 66, 5)
        assert set(reasons(tick, 6).values()) == {"stuck"}
        assert not reasons(tick, 5)


def test_not_supported_is_said_as_such(nvml: FakeNvml) -> None:
    nvml.have(
        "4 error nvmlDeviceGetMarginTemperature 3",
        "4 error nvmlGpmQueryDeviceSupport 3",
        "3 error nvmlDeviceGetTemperature 999",
        "3 error nvmlDeviceGetTotalEccErrors 4",
    )
    with sampling(nvml) as process:
        tick = process.until(lambda t: len(t["gpus"]) == 8 and t["gpus"][7]["gpu_temperature"])
    assert reasons(tick, 4)["temperature_margin"] == "unsupported"
    assert reasons(tick, 4)["sm_active"] == "unsupported"
    assert reasons(tick, 3)["gpu_temperature"] == "failed"
    assert reasons(tick, 3)["ecc_sbe_volatile"] == "not_permitted"
    assert tick["gpus"][4]["temperature_margin"] is None


def test_an_xid_is_an_event_and_a_value(nvml: FakeNvml) -> None:
    with sampling(nvml) as process:
        process.until(all_open)
        nvml.have("7 xid 79 1")
        tick = process.until(lambda t: t["events"])
        assert tick["events"][0]["kind"] == "gpu.xid"
        assert tick["events"][0]["severity"] == "critical"
        assert tick["events"][0]["gpu_index"] == 7
        assert "79" in tick["events"][0]["message"]
        tick = process.until(lambda t: t["gpus"][7]["xid"] == 79)


def test_processes_on_a_gpu_are_named(nvml: FakeNvml) -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        try:
            nvml.have(f"1 process {sleeper.pid} 2147483648 compute")
            with sampling(nvml) as process:
                tick = process.until(lambda t: any(p["gpu_indices"] for p in t["processes"]))
        finally:
            sleeper.kill()
    (found,) = [p for p in tick["processes"] if p["pid"] == sleeper.pid]
    assert found["name"] == "sleep"
    assert found["command"] == "sleep 60"
    assert (found["gpu_indices"], found["gpu_memory_bytes"]) == ([1], [2 * GIB])


def test_mig_instances_are_listed(tmp_path: Path) -> None:
    with sampling(FakeNvml(tmp_path, gpu_count=2, mig_gpu=1)) as process:
        tick = process.until(lambda t: len(t["gpus"]) == 2 and t["gpus"][1]["gpu_temperature"])
    assert tick["inventory"][0]["mig_instances"] == []
    profiles = [
        (one["profile"], one["memory_total_bytes"]) for one in tick["inventory"][1]["mig_instances"]
    ]
    assert profiles == [("3g.40gb", 40 * GIB)] * 2


def test_a_driver_that_hangs_at_the_start_holds_up_nothing(nvml: FakeNvml) -> None:
    nvml.have("- hang nvmlInitWithFlags")
    with sampling(nvml) as process:
        tick = process.until(lambda t: any(c["name"] == "gpu" for c in t["collectors"]))
        gpu = next(c for c in tick["collectors"] if c["name"] == "gpu")
        assert not gpu["success"]
        assert "not answered" in gpu["detail"]
        assert tick["host"]["memory_total"] > 0
        nvml.have()
        process.until(all_open)


def test_a_driver_of_another_version_is_told_in_its_own_words(nvml: FakeNvml) -> None:
    nvml.have("- error nvmlInitWithFlags 18")
    with sampling(nvml) as process:
        tick = process.until(lambda t: any(c["name"] == "gpu" for c in t["collectors"]))
    assert "version mismatch" in tick["gpu_detail"]
    assert tick["gpus"] == []


def test_no_driver_is_no_fault(nvml: FakeNvml) -> None:
    nvml.environment["LD_LIBRARY_PATH"] = "/nonexistent"
    with sampling(nvml) as process:
        tick = process.tick()
    assert "libnvidia-ml.so.1" in tick["gpu_detail"]
    assert [c["name"] for c in tick["collectors"]] == ["host"]
