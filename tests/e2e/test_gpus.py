"""Eight GPUs of a driver that lies on request, seen through agent, hub and command line."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.client import Client
from colossus_tui.plain import plain
from tests.e2e.product import Product
from tests.fakes.fake_nvml import FakeNvml
from tests.support import until

pytestmark = pytest.mark.e2e


@pytest.fixture
def nvml() -> Iterator[tuple[Product, FakeNvml]]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product, nvml = Product(Path(folder)), FakeNvml(Path(folder))
        product.environment = {**nvml.environment, **product.environment}
        try:
            product.start_hub()
            product.start_agent()
            yield product, nvml
        finally:
            product.close()


def figures(product: Product) -> list[dict[str, Any]]:
    """Return each GPU's metrics by name."""
    gpus: list[dict[str, Any]] = plain(product.ask(Client.gpus))
    return [{metric["name"]: metric for metric in gpu["values"]} for gpu in gpus]


def test_trouble_of_one_gpu_is_visible_while_the_rest_updates(
    nvml: tuple[Product, FakeNvml],
) -> None:
    product, driver = nvml
    until(lambda: figures(product)[7]["gpu_temperature"]["value"] == 47, message="GPU 7")
    trouble = (
        "5 lost",
        "2 hang nvmlDeviceGetMarginTemperature",
        "4 error nvmlDeviceGetTotalEccErrors 3",
    )

    driver.have(*trouble)
    until(lambda: figures(product)[5]["power"]["missing"] == "lost", message="GPU 5 lost")
    until(
        lambda: figures(product)[2]["temperature_margin"]["missing"] == "stuck",
        message="the stuck call",
    )
    until(
        lambda: figures(product)[4]["ecc_dbe_volatile"]["missing"] == "unsupported",
        message="what is not supported",
    )
    for celsius in (61, 62, 63):  # the rest goes on, value for value
        driver.have(*trouble, f"* set temperature_c {celsius}")
        until(
            lambda wanted=celsius: (
                [  # type: ignore[misc]
                    figures(product)[gpu]["gpu_temperature"]["value"]
                    for gpu in (0, 1, 2, 3, 4, 6, 7)
                ]
                == [wanted] * 7
            ),
            3,
            message=f"{celsius} C on seven GPUs",
        )

    (node,) = product.json("nodes")["nodes"]
    assert (node["reporting_gpu_count"], node["gpu_count"]) == (7, 8)
    assert node["gpu_power_watts"] == pytest.approx(
        sum(300 + 10 * g for g in range(8) if g != 5), rel=0.1
    )
    shown = product.cli("show", "node-1").stdout
    assert "lost" in shown
    assert "stuck" in shown
    assert "7/8" in shown
    kinds = {event["kind"] for event in product.json("events")["events"]}
    assert {"sensor.lost", "sensor.stuck"} <= kinds


def test_an_agent_with_a_hung_driver_call_ends_when_told(nvml: tuple[Product, FakeNvml]) -> None:
    product, driver = nvml
    driver.have("2 hang nvmlDeviceGetTemperature")
    until(
        lambda: figures(product)[2]["gpu_temperature"]["missing"] == "stuck",
        message="the stuck call",
    )
    assert product.agent is not None

    product.agent.send_signal(signal.SIGTERM)

    assert product.agent.wait(5) == 0


def test_gpus_that_appear_late_are_announced(nvml: tuple[Product, FakeNvml]) -> None:
    product, driver = nvml
    product.kill("agent")
    driver.have("- hang nvmlInitWithFlags")
    product.start_agent()
    assert product.json("gpus")["gpus"] == []

    driver.have()

    until(lambda: len(product.json("gpus")["gpus"]) == 8, 15, message="eight GPUs")
    until(lambda: figures(product)[0]["gpu_temperature"]["value"] == 40, message="their values")


def hold(product: Product, driver: FakeNvml, run_id: str, gpu: int) -> list[str]:
    """Let a run's rank hold 9 GiB of one GPU; return the control lines that say so."""
    pid = product.ranks(run_id)[0]["pid"]
    lines = [f"{gpu} set memory_used {9 * GIB}", f"{gpu} process {pid} {9 * GIB} compute"]
    driver.have(*lines)
    until(
        lambda: product.run_of(run_id).get("gpu_count") == 1, 20, message="the GPU to be the run's"
    )
    return lines


GIB = 1024**3


@pytest.mark.timeout(150)
def test_a_pause_tells_what_the_devices_said(nvml: tuple[Product, FakeNvml]) -> None:
    product, driver = nvml
    product.train("mine")
    hold(product, driver, "mine", 3)
    driver.have("3 set memory_used 1000000", "* set memory_used 1000000")

    paused = product.cli("pause", "mine", "--yes", "--json")

    assert paused.returncode == 0, paused.stderr
    assert "no process left, 1/1 GPUs released" in json.loads(paused.stdout)["action"]["detail"]


@pytest.mark.waits
@pytest.mark.timeout(150)
def test_memory_that_lingers_on_a_gpu_keeps_a_pause_from_being_observed(
    nvml: tuple[Product, FakeNvml],
) -> None:
    product, driver = nvml
    product.train("mine")
    hold(product, driver, "mine", 3)
    environment = {**product.environment, "COLOSSUS_RUN": "mine"}
    with subprocess.Popen(["sleep", "300"], env=environment, start_new_session=True) as left:
        lingering = f"3 process {left.pid} {5 * GIB} compute"
        driver.have(f"3 set memory_used {5 * GIB}", lingering)

        paused = product.cli("pause", "mine", "--yes", "--json", timeout=100)

        left.kill()
    action = json.loads(paused.stdout)["action"]
    assert paused.returncode == 3, paused.stderr
    assert action["state"] == "unconfirmed"
    assert f"node-1 GPU 3 5.0 GiB by pid {left.pid}" in action["detail"]
    run = product.run_of("mine")
    assert run["state"] == "paused"


@pytest.mark.waits
@pytest.mark.timeout(150)
def test_a_gpu_that_says_nothing_is_named_and_not_called_released(
    nvml: tuple[Product, FakeNvml],
) -> None:
    product, driver = nvml
    product.train("mine")
    hold(product, driver, "mine", 5)
    driver.have("5 lost")

    paused = product.cli("pause", "mine", "--yes", "--json")

    assert paused.returncode == 0, paused.stderr
    detail = json.loads(paused.stdout)["action"]["detail"]
    assert "0/1 GPUs released; not known of node-1 GPU 5" in detail
