"""A real Prometheus is written to: values, labels, ends of series, and its absences."""

from __future__ import annotations

import asyncio
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colossus_tui.client import Client
from tests.e2e.product import Product
from tests.export.prometheus import Prometheus
from tests.export.world import World
from tests.fakes.fake_agent import FakeAgent, frame, hello
from tests.support import until

HOT, COOL = (700.0, 70.0, 1500.0), (100.0, 30.0, 300.0)
NAN = math.nan


async def eventually(condition: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait in a thread, so that the export goes on."""
    await asyncio.to_thread(until, condition, seconds)


def world(server: Prometheus, name: str) -> World:
    """Return a world whose series have a label of the test's own."""
    return World(url=server.url, labels={"test": name})


async def test_gpus_have_values_in_base_units_and_their_places_as_labels(
    prometheus: Prometheus,
) -> None:
    made = world(prometheus, "gpus")
    made.node("n1", HOT, (NAN, 50.0, 600.0), run="10t")
    made.node("n2", COOL, hall="", rack="")
    async with made.running():
        await eventually(lambda: prometheus.query('colossus_gpu_sm_clock_hertz{test="gpus"}'))
        found = await asyncio.to_thread(
            prometheus.query, '{__name__=~"colossus_gpu.*",test="gpus"}'
        )

    def series(name: str, gpu: int, node: str = "n1", **more: str) -> frozenset[tuple[str, str]]:
        place = {"hall": "h1", "rack": "r1", "run": "10t"} if node == "n1" else {}
        own = {"node": node, "gpu": str(gpu), "uuid": f"GPU-{node}-{gpu}", "test": "gpus"}
        return frozenset(({"__name__": f"colossus_gpu_{name}"} | place | own).items())

    assert found == {
        series("power_watts", 0): 700,
        series("temperature_celsius", 0): 70,
        series("sm_clock_hertz", 0): 1.5e9,
        series("temperature_celsius", 1): 50,
        series("sm_clock_hertz", 1): 6e8,
        series("power_watts", 0, "n2"): 100,
        series("temperature_celsius", 0, "n2"): 30,
        series("sm_clock_hertz", 0, "n2"): 3e8,
    }


async def test_roll_ups_have_their_statistics_and_coverage(prometheus: Prometheus) -> None:
    made = world(prometheus, "sums")
    made.node("n1", HOT, (NAN, 50.0, 600.0), run="10t")
    made.node("n2", COOL, COOL, rack="r2", run="10t")
    made.node("n3", COOL, hall="h2", rack="r1")

    def value(text: str) -> float | None:
        return prometheus.value(text.replace("}", ',test="sums"}'))

    async with made.running():
        await eventually(lambda: value('colossus_run_gpus_reporting{run="10t"}') == 4)
        expected = {
            'colossus_run_power_watts{run="10t",statistic="sum"}': 900,
            'colossus_run_power_watts{run="10t",statistic="min"}': 100,
            'colossus_run_power_watts{run="10t",statistic="max"}': 700,
            'colossus_run_power_gpus_reporting{run="10t"}': 3,
            'colossus_run_gpus{run="10t"}': 4,
            'colossus_run_sm_clock_hertz{run="10t",statistic="max"}': 1.5e9,
            'colossus_hall_power_watts{hall="h1",statistic="sum"}': 900,
            'colossus_hall_power_watts{hall="h2",statistic="sum"}': 100,
            'colossus_site_power_watts{statistic="sum"}': 1000,
            'colossus_site_gpus{statistic=""}': 5,
            'colossus_rack_power_watts{hall="h1",rack="r1",statistic="sum"}': 700,
            'colossus_rack_power_watts{hall="h1",rack="r2",statistic="max"}': 100,
            'colossus_rack_gpus{hall="h2",rack="r1"}': 1,
            'colossus_rack_gpus_reporting{hall="h1",rack="r1"}': 2,
        }
        found = {text: await asyncio.to_thread(value, text) for text in expected}
        statistics = await asyncio.to_thread(
            prometheus.query, 'count by (statistic) (colossus_run_power_watts{test="sums"})'
        )

    assert found == expected
    assert {dict(labels)["statistic"] for labels in statistics} == {
        "sum", "min", "median", "p99", "max",
    }  # fmt: skip


async def test_series_end_with_their_node_or_run_and_come_back(prometheus: Prometheus) -> None:
    made = world(prometheus, "ends")
    made.node("n1", HOT, run="a")
    made.node("n2", COOL, run="b")

    def runs() -> set[tuple[str, str]]:
        found = prometheus.query('colossus_gpu_power_watts{test="ends"}')
        return {(dict(labels)["node"], dict(labels).get("run", "")) for labels in found}

    def power(run: str) -> float | None:
        labels = f'run="{run}",statistic="sum",test="ends"'
        return prometheus.value(f"colossus_run_power_watts{{{labels}}}")

    async with made.running():
        await eventually(lambda: runs() == {("n1", "a"), ("n2", "b")} and power("b") == 100)
        made.let_go("n2")
        await eventually(lambda: runs() == {("n1", "a")} and power("b") is None)
        made.hold("n1", "c")
        await eventually(lambda: runs() == {("n1", "c")} and power("a") is None)
        made.values["n2"] = [COOL]
        await eventually(lambda: runs() == {("n1", "c"), ("n2", "b")} and power("b") == 100)

    assert made.sink.events == []


async def test_a_prometheus_that_was_away_gets_what_is_new(
    own_prometheus: Prometheus, caplog: pytest.LogCaptureFixture
) -> None:
    server = own_prometheus
    server.start()
    made = world(server, "away")
    made.node("n1", HOT)
    power = 'colossus_gpu_power_watts{test="away"}'
    async with made.running():
        await eventually(lambda: server.value(power) == 700)
        await asyncio.to_thread(server.stop)
        await eventually(lambda: "export=away" in caplog.text)
        await asyncio.sleep(0.8)  # some looks are not taken
        made.values["n1"] = [COOL]
        await asyncio.to_thread(server.start)
        await eventually(lambda: server.value(power) == 100 and len(made.sink.events) == 2)
        times = await asyncio.to_thread(server.times, power)

    assert made.exporter.health.lost > 0
    assert [event.kind for event in made.sink.events] == ["export.lost", "export.back"]
    assert times == sorted(times)
    assert max(b - a for a, b in itertools.pairwise(times)) < 10


async def test_samples_that_prometheus_refuses_are_told(prometheus: Prometheus) -> None:
    """Two hubs must not write the same series: the one whose clock is behind is refused."""
    ahead, behind = world(prometheus, "refused"), world(prometheus, "refused")
    ahead.node("n1", HOT)
    behind.node("n1", COOL)
    ahead.exporter._last_ms = time.time_ns() // 1_000_000 + 60_000
    async with ahead.running():
        await eventually(lambda: ahead.exporter.health.sent > 0)
    async with behind.running():
        await eventually(lambda: behind.sink.events)

    (event,) = behind.sink.events
    assert event.kind == "export.lost"
    assert "HTTP 400: out of order" in event.message


@pytest.fixture
def product(prometheus: Prometheus) -> Iterator[Product]:
    """A hub process that writes to Prometheus."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        made = Product(Path(folder))
        config = Path(folder) / "hub.toml"
        config.write_text(
            f'[prometheus]\nurl = "{prometheus.url}"\nperiod_seconds = 1\n'
            'metrics = ["power", "gpu_temperature"]\nlabels = { test = "hub" }\n'
        )
        try:
            made.start_hub("--config", str(config))
            yield made
        finally:
            made.close()


def test_a_hub_writes_what_its_agents_say(product: Product, prometheus: Prometheus) -> None:
    with FakeAgent(product.address) as agent:
        agent.greet(hello(node_name="n1", hall="h1"))
        power = 'colossus_hall_power_watts{hall="h1",statistic="sum",test="hub"}'

        def written() -> bool:
            agent.send(frame=frame([(40, 300), (50, NAN)], (0.5, 1e9)))
            return prometheus.value(power) == 300

        until(written, 20, message="the hall's power")
        temperatures = prometheus.query('colossus_gpu_temperature_celsius{test="hub"}')
    output = (product.folder / "hub.out").read_text()

    assert {(dict(labels)["gpu"], value) for labels, value in temperatures.items()} == {
        ("0", 40), ("1", 50),
    }  # fmt: skip
    assert "export=on" in output
    assert "export=up" in output
    assert not [e for e in product.ask(Client.events) if e.kind.startswith("export.")]
