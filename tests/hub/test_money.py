"""What runs cost: added up while GPUs are held, priced by product and hour, kept over restarts."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from colossus_protos.v1 import frame_pb2
from colossus_tui.client import Client
from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.money.prices import Prices
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.scheduled import Scheduled
from colossus_tui.model import Job, Run, RunState
from tests.e2e.product import Product
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run
from tests.hub.money_site import PricedSite
from tests.support import until

HOUR = 3_600.0
FLAT = Prices(gpu_hours={"default": 2.0, "gb300": 3.0}, megawatt_hours=(100.0,) * 24, overhead=1.25)


def holding(prices: Prices | None, watts: float = 1_000.0) -> PricedSite:
    """Return a site on which run "a" holds both GPUs of a node."""
    site = PricedSite(prices)
    site.admit("n1", 2)
    site.hold("n1", "a", "a")
    site.tell("n1", power=[watts, watts])
    return site


def shown(site: PricedSite, run_id: str = "a", **facts: object) -> Run:
    figures = site.gpus.of(run_id)
    run = Run(run_id, power_watts=figures.power_watts, gpu_count=figures.count, work_unit="GPU·h")
    return site.ledger.priced(site.runs[run_id], replace(run, **facts))  # type: ignore[arg-type]


def test_gpu_hours_energy_and_money_add_up() -> None:
    site = holding(FLAT)

    site.tick(HOUR)

    run = shown(site)
    assert run.gpu_hours == pytest.approx(2.0)
    assert run.energy_joules == pytest.approx(2 * 3.6e6)  # 2 kWh
    energy = 2e-3 * 100 * 1.25
    assert run.money.so_far == pytest.approx(2 * 2.0 + energy)
    assert run.money.per_hour == pytest.approx(2 * 2.0 + energy)
    assert (run.money.currency, run.money.covered_ratio, run.money.metered_ratio) == ("$", 1.0, 1.0)


def test_a_product_has_its_own_price() -> None:
    site = holding(Prices(gpu_hours=FLAT.gpu_hours))
    site.admit("n2", 1, "NVIDIA GB300")
    site.hold("n2", "a")

    assert shown(site).money.per_hour == pytest.approx(2 * 2.0 + 3.0)


def test_what_was_not_measured_is_not_guessed_and_said_so() -> None:
    site = holding(FLAT)
    site.tell("n1", power=[1_000.0, math.nan])

    site.tick(HOUR)

    run = shown(site)
    assert run.energy_joules == pytest.approx(3.6e6)
    assert run.gpu_hours == pytest.approx(2.0)
    assert run.money.metered_ratio == pytest.approx(0.5)
    assert run.money.covered_ratio == pytest.approx(0.5)


def test_without_a_price_of_energy_its_measure_is_not_needed() -> None:
    site = holding(Prices(gpu_hours={"default": 2.0}), math.nan)

    site.tick(HOUR)

    run = shown(site)
    assert run.money.so_far == pytest.approx(4.0)
    assert (run.money.covered_ratio, run.money.metered_ratio) == (1.0, 0.0)
    assert run.energy_joules is None


def test_without_prices_money_is_not_available_and_the_rest_is() -> None:
    site = holding(None)

    site.tick(HOUR)

    run = shown(site, work_at_risk_hours=0.0, tokens_per_second=5.0, eta_unix_ns=1 << 62)
    assert run.gpu_hours == pytest.approx(2.0)
    assert run.energy_joules == pytest.approx(2 * 3.6e6)
    assert run.money.currency == ""
    assert run.money.metered_ratio == 1.0
    money = run.money
    assert {money.per_hour, money.so_far, money.to_finish, money.at_risk} == {None}
    assert {money.per_billion_tokens, money.covered_ratio} == {None}
    assert site.site.now().per_hour is None


@pytest.mark.parametrize("state", [RunState.FROZEN, RunState.PAUSING, RunState.RUNNING])
def test_gpus_cost_in_every_state_in_which_they_are_held(state: RunState) -> None:
    site = holding(FLAT)
    site.runs["a"].state = state

    site.tick(HOUR)

    assert site.runs["a"].spent.gpu_hours == pytest.approx(2.0)


def test_a_run_that_let_go_costs_nothing_more_and_keeps_its_sum() -> None:
    site = holding(FLAT)
    site.tick(HOUR)
    before = shown(site).money.so_far
    site.hold("n1", "", "")

    site.tick(HOUR)

    after = shown(site)
    assert after.money.so_far == before
    assert after.money.per_hour == 0.0
    assert after.gpu_hours == pytest.approx(2.0)


def test_a_night_tariff_begins_at_the_hour() -> None:
    day, night = 100.0, 10.0
    tariff = Prices(megawatt_hours=(night,) * 6 + (day,) * 16 + (night,) * 2)
    site = holding(tariff, watts=500_000.0)  # both together take a megawatt-hour in an hour
    site.wall = datetime(2026, 7, 1, 21, 0, 0, tzinfo=UTC).timestamp() - 1e-3

    for _ in range(2 * 60):
        site.tick(60.0)

    # 21:00 to 22:00 by day; the minute that ends at 22:00 is just before it, so by day, too.
    assert shown(site).money.so_far == pytest.approx(day + night, rel=1e-3)
    assert site.site.now().per_megawatt_hour == night


def test_what_is_ahead_goes_by_the_present_rate() -> None:
    site = holding(Prices(gpu_hours={"default": 2.0}))
    now = int(datetime.now(UTC).timestamp() * 1e9)

    money = shown(
        site,
        eta_unix_ns=now + int(10 * HOUR * 1e9),
        tokens_per_second=1e6,
        work_at_risk_hours=3.0,
    ).money

    assert money.to_finish == pytest.approx(4.0 * 10, rel=1e-2)
    assert money.per_billion_tokens == pytest.approx(4.0 / 3.6)
    assert money.at_risk == pytest.approx(6.0)


def test_gpus_that_only_a_scheduler_names_count_while_the_job_has_them() -> None:
    site = holding(FLAT)
    run = site.runs["a"]
    job = Job("7", gpu_count=5)
    sighting = Sighting("a", job, RunState.RUNNING, "", 1, None, 0, "")
    run.scheduled = Scheduled(sighting, 0.0)

    site.tick(HOUR)
    assert run.spent.gpu_hours == pytest.approx(5.0)
    assert shown(site).money.covered_ratio == pytest.approx(2 / 5)

    run.state = RunState.PENDING
    site.hold("n1", "", "")
    site.tick(HOUR)
    assert run.spent.gpu_hours == pytest.approx(5.0)


def test_an_older_hubs_state_has_cost_nothing_yet() -> None:
    run = LiveRun("a")
    run.spent.money = 3.5
    state = json.loads(run.state_json())
    assert LiveRun.from_json("a", json.dumps(state)).spent == run.spent

    del state["spent"]

    assert LiveRun.from_json("a", json.dumps(state)).spent.money == 0.0


def test_the_site_is_priced_whoever_holds_it() -> None:
    site = holding(FLAT)
    site.admit("n2", 2, "NVIDIA GB300")
    site.tell("n2", power=[200.0, math.nan], gpu_utilisation=[0.0, 0.0])
    site.tick()

    money = site.site.now()

    energy = (1_000.0 * 2 + 200.0) / 1e6 * 100 * 1.25
    assert money.gpus_per_hour == pytest.approx(2 * 2.0 + 2 * 3.0)
    assert money.energy_per_hour == pytest.approx(energy)
    assert money.per_hour == pytest.approx(10.0 + energy)
    assert (money.metered_gpu_count, money.gpu_count) == (3, 4)
    assert money.free_per_hour == pytest.approx(6.0 + 200.0 / 1e6 * 125)
    assert money.held_idle_per_hour == 0.0
    assert (money.per_megawatt_hour, money.overhead_ratio) == (100.0, 1.25)


# --- a real hub ----------------------------------------------------------------------------

SETTINGS = """
[prices]
currency = "€"
gpu_hour = { default = 3600.0, "h100" = 36000.0 }
mwh = 50.0
"""


@pytest.fixture
def product() -> Iterator[Product]:
    """A hub that prices a GPU-second at 1, and one of an H100 at 10."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        product = Product(Path(folder))
        (product.folder / "hub.toml").write_text(SETTINGS)
        try:
            product.start_hub("--config", str(product.folder / "hub.toml"))
            yield product
        finally:
            product.close()


def work(agent: FakeAgent, run_id: str = "r", attempt: int = 1) -> None:
    """Let a run hold both GPUs of the node."""
    agent.report(local_run(run_id, attempt=attempt))
    agent.send(
        sequence=0,
        process_report=frame_pb2.ProcessReport(
            processes=[frame_pb2.ProcessSample(pid=1, run_id=run_id, gpu_indices=[0, 1])]
        ),
    )
    agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))


def so_far(product: Product) -> float:
    run = next(iter(product.ask(Client.runs)), None)
    return (run.money.so_far or 0.0) if run is not None else 0.0


def test_what_a_run_cost_outlives_the_hub_and_attempts(product: Product) -> None:
    with FakeAgent(product.address) as agent:
        agent.greet()
        work(agent)
        until(lambda: so_far(product) > 100.0, 20)
        before = product.ask(Client.runs)[0]
        assert before.money.per_hour == pytest.approx(2 * 36_000.0, rel=1e-3)
    product.kill("hub")
    product.hang_up()

    product.start_hub("--config", str(product.folder / "hub.toml"))

    read = product.ask(Client.runs)[0]
    assert read.money.so_far is not None
    assert before.money.so_far is not None
    assert read.money.so_far > before.money.so_far - 45.0  # two ticks may not be on disk
    with FakeAgent(product.address) as agent:
        agent.greet(hello(instance_id="instance-2"))
        work(agent, attempt=2)
        until(lambda: so_far(product) > (read.money.so_far or 0.0) + 3.0, 20)
    assert product.ask(Client.runs)[0].attempt == 2
    assert product.ask(Client.site).money.currency == "€"


def test_a_preflight_says_what_the_interruption_costs(product: Product) -> None:
    with FakeAgent(product.address) as agent:
        agent.greet()
        work(agent)
        until(lambda: so_far(product) > 0.0)

        freeze = product.json("freeze", "r", "--fuse", "30", "--dry-run")["preflight"]
        shown = product.cli("freeze", "r", "--fuse", "30", "--dry-run").stdout

    figure = next(one for one in freeze["figures"] if one["name"] == "interruption_cost")
    assert figure["value"] == pytest.approx(2 * 10.0 * 30, rel=1e-3)
    assert figure["unit"] == "€"
    assert "held for 30 s until the fuse at most, at €72.00k/h" in figure["basis"]
    assert "€600.00" in shown
