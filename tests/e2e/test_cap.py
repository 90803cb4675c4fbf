"""A power limit on a run's GPUs, through command line, hub and agent, to a driver without GPUs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.client import Client
from tests.e2e.product import Product
from tests.fakes.fake_nvml import FakeNvml
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]


class Site:
    """A node of four GPUs and a run of two ranks that hold one each."""

    def __init__(self, folder: Path) -> None:
        self.product, self.driver = Product(folder), FakeNvml(folder, gpu_count=4)
        self.product.environment = {**self.driver.environment, **self.product.environment}
        self.product.start_hub()
        self.product.start_agent()
        self.product.train("r", ranks=2)
        self.hold()

    def hold(self, *trouble: str) -> None:
        """Let each rank that lives have a GPU of its own, which draws 600 W if it may."""
        pids = [rank["pid"] for rank in self.product.ranks("r") if rank["alive"]]
        lines = [f"{gpu} process {pid} 1000000000 compute" for gpu, pid in enumerate(pids)]
        self.driver.have(*lines, "* set power_mw 600000", "* set memory_used 0", *trouble)
        until(lambda: self.run.get("gpu_count") == 2, 20, message="two GPUs held")

    @property
    def run(self) -> dict[str, Any]:
        """The run as the hub shows it."""
        return self.product.run_of("r")

    def cap(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Cap it; return the action as it ended."""
        result = self.product.cli("cap", "r", *arguments, "--yes", "--json")
        assert result.returncode == code, result.stdout + result.stderr
        answer: dict[str, dict[str, Any]] = json.loads(result.stdout)
        return answer.get("action") or answer["preflight"]

    def shown_limits(self) -> list[float]:
        """Return the limit of each GPU as the hub shows it."""
        return [gpu.power_limit_watts for gpu in self.product.ask(Client.gpus)]

    def limits(self, *watts: float) -> bool:
        """Return whether the driver has these limits now."""
        return self.driver.limits_watts() == list(watts)


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        site = Site(Path(folder))
        try:
            yield site
        finally:
            site.product.close()


def test_its_gpus_draw_less_until_the_cap_is_taken_off(site: Site) -> None:
    until(lambda: (site.run["power_watts"] or 0) > 1_100, 20, message="its 1.2 kW")

    action = site.cap("--watts", "400", "--reason", "hall B is full")

    assert action["state"] == "observed", action
    assert action["detail"] == "2/2 GPUs read back 400 W"
    assert site.limits(400, 400, 700, 700), "the others are not its own"
    until(lambda: site.run["power_cap_watts"] == 400, message="the cap on the run")
    until(lambda: (site.run["power_watts"] or 0) < 810, 20, message="its 0.8 kW")
    shown = site.product.cli("show", "r").stdout
    assert "400 W a GPU" in shown

    lifted = site.cap("--default")

    assert lifted["detail"] == "2/2 GPUs read back the limit before it: 700 W"
    assert site.limits(700, 700, 700, 700)
    until(lambda: site.run["power_cap_watts"] is None, message="no cap on the run")


def test_what_it_costs_is_said_before_and_labelled_as_modelled(site: Site) -> None:
    until(lambda: (site.run["power_watts"] or 0) > 1_190, 30, message="its 1.2 kW")

    preflight = site.product.json("cap", "r", "--watts", "400", "--dry-run")["preflight"]

    figures = {figure["name"]: figure for figure in preflight["figures"]}
    assert figures["power_change"]["value"] == pytest.approx(-400, abs=40)
    assert figures["step_time_factor"]["value"] == pytest.approx(1.26, abs=0.05)
    for name in ("power_change", "step_time_factor"):
        assert figures[name]["basis"].startswith("modelled"), figures[name]
    assert site.limits(700, 700, 700, 700)


@pytest.mark.parametrize(("watts", "says"), [("100", "200 to 700 W"), ("701", "200 to 700 W")])
def test_a_limit_that_its_gpus_do_not_take_is_wrong_usage(
    site: Site, watts: str, says: str
) -> None:
    refused = site.cap("--watts", watts, code=2)

    assert refused["refusal"] == "invalid"
    assert says in refused["refusal_detail"]


def test_a_driver_that_denies_it_ends_with_the_code_of_the_backend(site: Site) -> None:
    site.hold("* error nvmlDeviceSetPowerManagementLimit 4")

    action = site.cap("--watts", "400", code=6)

    assert (action["state"], action["reason_code"]) == ("failed", "backend_denied")
    assert "root" in action["detail"]
    assert site.run["power_cap_watts"] is None


def test_one_gpu_that_fails_leaves_a_part_and_names_its_node(site: Site) -> None:
    site.hold("1 error nvmlDeviceSetPowerManagementLimit 999")

    action = site.cap("--watts", "400", code=7)

    assert action["state"] == "partial"
    assert action["detail"].startswith("1/2 GPUs read back 400 W"), action
    assert action["missing_nodes"] == ["node-1"]
    assert site.limits(400, 700, 700, 700)


def test_a_pause_ends_the_cap_and_the_next_attempt_begins_without(site: Site) -> None:
    site.cap("--watts", "400")
    paused = site.product.cli("pause", "r", "--yes")
    assert paused.returncode == 0, paused.stderr

    until(lambda: site.limits(700, 700, 700, 700), 40, message="the limits that were before")
    kinds = {event["kind"] for event in site.product.json("events")["events"]}
    assert "run.uncapped" in kinds
    assert site.product.cli("resume", "r", "--yes").returncode == 0
    site.hold()
    assert site.run["power_cap_watts"] is None
    assert site.limits(700, 700, 700, 700)


def test_a_cap_outlives_agent_and_hub(site: Site) -> None:
    site.cap("--watts", "400")

    site.product.kill("agent")
    site.product.kill("hub")
    site.product.start_hub()
    site.product.start_agent()

    until(lambda: site.run.get("power_cap_watts") == 400, 30, message="the cap on the run")
    assert site.limits(400, 400, 700, 700)
    until(lambda: site.shown_limits() == [400, 400, 700, 700], 20, message="the caps on GPUs")
    until(lambda: site.run.get("gpu_count") == 2, 20, message="the GPUs of the run")
    site.cap("--default")
    assert site.limits(700, 700, 700, 700)
    until(lambda: site.shown_limits() == [700] * 4, message="the devices' own limits")
