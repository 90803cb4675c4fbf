"""The simulator's modelled building: meters and loops, and a hub that reads them of a broker."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from colossus_tui.client import Client
from colossus_tui.hub.config import read_file
from colossus_tui.hub.facility.points import usual
from colossus_tui.model import PlaceKind, PowerPlace
from colossus_tui.sim.facility import MAX_SUPPLY_CELSIUS, PREFIX, Building, settings
from colossus_tui.sim.plan import plan_site
from colossus_tui.sim.simulation import Simulation, Tick
from tests.e2e.product import BIN, Product
from tests.facility.mosquitto import Mosquitto
from tests.support import until

PLAN = plan_site(400)


def values(building: Building) -> dict[str, float]:
    return {
        topic.removeprefix(f"{PREFIX}/"): json.loads(payload)["value"]
        for topic, payload in building.messages()
    }


def ticks(seconds: float, share: float, start: float = 0.0) -> Tick:
    watts = np.array([PLAN.limits[0].watts * share])
    nothing = np.zeros(0, np.float32)
    at = int((1_800_000_000 + start + seconds) * 1e9)
    return Tick(at, nothing, nothing, np.zeros(0, np.bool_), watts)


def test_meters_show_losses_and_loops_follow_the_load_with_a_lag() -> None:
    building = Building(PLAN)
    building.advance(ticks(0, 0.5))
    before = values(building)

    assert before["feed/1/power"] > PLAN.limits[0].watts * 0.5 * 1.1
    assert before["site/power"] == before["feed/1/power"]
    loop = "loop/hall-A"
    warming = before[f"{loop}/return_temperature"] - before[f"{loop}/supply_temperature"]
    assert 3 < warming < 8
    building.advance(ticks(1, 1.0))
    soon = values(building)
    assert soon["site/power"] == pytest.approx(2 * before["site/power"], rel=1e-4)
    assert soon[f"{loop}/return_temperature"] < before[f"{loop}/return_temperature"] + 1
    building.advance(ticks(600, 1.0))
    late = values(building)
    carried = late[f"{loop}/return_temperature"] - late[f"{loop}/supply_temperature"]
    assert carried == pytest.approx(2 * warming, rel=0.01)
    assert late[f"{loop}/supply_temperature"] < MAX_SUPPLY_CELSIUS


def test_all_of_it_is_of_the_usual_layout_and_marked_as_modelled() -> None:
    building = Building(PLAN)
    building.advance(Simulation(PLAN).tick(1_800_000_000_000_000_000))

    for topic, payload in building.messages():
        assert usual(topic, PREFIX) is not None, topic
        assert json.loads(payload)["modelled"] is True


def test_its_settings_are_those_of_a_hub(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(settings(plan_site(20_000), "127.0.0.1:1883"))

    found = read_file(str(path))
    assert [feed.halls for feed in found["feeds"]] == [("hall-A", "hall-B", "hall-C")]
    assert [loop.name for loop in found["cooling_loops"]] == ["hall-A", "hall-B", "hall-C"]
    assert found["facility"].address == "mqtt://127.0.0.1:1883"


@pytest.mark.parametrize("text", ["1883", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:x", ":1883"])
def test_a_wrong_broker_is_refused(text: str) -> None:
    result = subprocess.run(
        [str(BIN / "colossus"), "sim", "--mqtt", text], capture_output=True, text=True
    )

    assert result.returncode == 2
    assert "--mqtt" in result.stderr
    assert "HOST:PORT" in result.stderr


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    made = Mosquitto(tmp_path)
    made.start()
    yield made
    made.stop()


def test_a_hub_shows_the_modelled_building_as_modelled(broker: Mosquitto) -> None:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        words = (f"--nodes={PLAN.node_count}", f"--mqtt=127.0.0.1:{broker.port}")
        config = Path(folder) / "hub.toml"
        config.write_text(
            subprocess.run(
                [str(BIN / "colossus"), "sim", "--limits", *words],
                check=True, capture_output=True, text=True,
            ).stdout
        )  # fmt: skip
        assert tomllib.loads(config.read_text())["facility"]["mqtt"] == broker.url
        product.start_hub("--config", str(config))
        simulator = subprocess.Popen(
            [sys.executable, "-m", "colossus_tui.sim", "--hub", product.address, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=product.environment,
        )

        def feed() -> PowerPlace:
            places = product.ask(Client.power).places
            return next(place for place in places if place.kind is PlaceKind.FEED)

        try:
            until(lambda: feed().other_watts and feed().reporting_gpu_count == 1_600, 40)
            found, (loop,) = feed(), product.ask(Client.power).loops
        finally:
            simulator.terminate()
            simulator.wait(10)
            product.close()

    assert found.basis == "meter (modelled)"
    assert found.gpu_watts is not None
    assert found.drawn_watts is not None
    assert 1.05 < found.drawn_watts / found.gpu_watts < 1.25  # a second or two apart
    assert loop.heat_watts is not None
    assert 0.5 < loop.heat_watts / found.drawn_watts < 1.5
