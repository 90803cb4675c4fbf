"""A hub process and a real broker: values, stale, bad and retained ones, and a broker that dies."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colossus_tui.client import Client
from colossus_tui.model import FacilityLink, PlaceKind, PowerPlace, PowerView, Quality
from tests.e2e.product import Product
from tests.facility.certificate import certificate
from tests.facility.mosquitto import Mosquitto
from tests.fakes.fake_agent import FakeAgent, frame, hello
from tests.support import until

SETTINGS = """
[[limits]]
name = "hall contract"
hall = "hall-1"
megawatts = 2
[[feeds]]
name = "A"
megawatts = 0.001
halls = ["hall-1"]
[[cooling_loops]]
name = "1"
halls = ["hall-1"]
max_supply_celsius = 36
[facility]
mqtt = "{url}"
{more}
"""
USUAL = "colossus/facility"


class Site:
    """A hub that reads a broker."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.product = Product(folder)
        self.broker = broker
        self._config = folder / "hub.toml"
        self.scheme = "mqtt"

    def start(self, more: str = "") -> None:
        """Start the hub and wait until the broker has it."""
        self.start_without(more)
        until(lambda: self.link.state == "up", 15, message="the broker's link")

    def start_without(self, more: str = "") -> None:
        """Start the hub, whether there is a broker or not."""
        url = f"{self.scheme}://127.0.0.1:{self.broker.port}"
        self._config.write_text(SETTINGS.format(url=url, more=more))
        self.product.start_hub("--config", str(self._config))

    @property
    def power(self) -> PowerView:
        """The site's power."""
        return self.product.ask(Client.power)

    @property
    def link(self) -> FacilityLink:
        """How the hub stands with the broker."""
        (link,) = self.power.links
        return link

    @property
    def feed(self) -> PowerPlace:
        """The one feed."""
        return next(place for place in self.power.places if place.kind is PlaceKind.FEED)

    def feed_where(self, holds: Callable[[PowerPlace], object]) -> PowerPlace:
        """Wait until something holds of the feed, and return it."""
        until(lambda: holds(self.feed))
        return self.feed

    @property
    def faults(self) -> dict[str, int]:
        """How many of each kind could not be taken."""
        return {fault.kind: fault.count for fault in self.power.faults}

    def alerts(self, kind: str) -> list[str]:
        """The site's alerts of a kind."""
        found = self.product.ask(Client.site).alerts
        return [alert.message for alert in found if alert.kind == kind]

    def incidents(self) -> list[str]:
        """The titles of what is wrong."""
        return [one.title for one in self.product.ask(Client.incidents)]


@pytest.fixture
def site(broker: Mosquitto) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        made = Site(Path(folder), broker)
        try:
            yield made
        finally:
            made.product.close()


def test_a_feeds_meter_is_its_power_and_measured_against_its_limit(site: Site) -> None:
    site.start()
    site.broker.tell(f"{USUAL}/feed/A/power/kW", 0.95, quality="good", timestamp=time.time())

    feed = site.feed_where(lambda feed: feed.drawn_watts)
    assert (feed.drawn_watts, feed.basis) == (950.0, "meter")
    assert feed.headroom_watts == pytest.approx(50.0)
    assert feed.meter is not None
    assert feed.meter.quality is Quality.GOOD
    (alert,) = until(lambda: site.alerts("power.limit"))
    assert alert.startswith("feed A: 0.00 of 0.00 MW by meter, 95.0%")
    limit = next(one for one in site.product.ask(Client.site).limits if one.feed == "A")
    assert (limit.name, limit.power_watts, limit.basis) == ("feed A", 950.0, "meter")


def test_points_of_the_settings_have_their_own_topics_and_units(site: Site) -> None:
    site.start(
        '[[facility.points]]\ntopic = "bms/1/kw"\nof = "feed:A"\nquantity = "power"\nunit = "kW"\n'
    )
    site.broker.say("bms/1/kw", 0.4)

    assert until(lambda: site.feed.drawn_watts) == 400.0
    site.broker.say(f"{USUAL}/feed/A/power", 9)
    until(lambda: site.faults.get("no_point"))
    assert site.feed.drawn_watts == 400.0


def test_a_loop_is_told_with_its_heat_and_its_leak_is_an_alert(site: Site) -> None:
    site.start("[alerts]\ngrace = 0\n")
    for name, value in (
        ("supply_temperature", 37.5),
        ("return_temperature", 47.5),
        ("flow/l/min", 600),
        ("leak", "true"),
    ):
        site.broker.say(f"{USUAL}/loop/1/{name}", value)

    until(lambda: site.power.loops[0].leak)
    (loop,) = site.power.loops
    assert loop.supply_celsius is not None
    assert (loop.supply_celsius.value, loop.supply_celsius.quality) == (37.5, Quality.GOOD)
    assert loop.heat_watts == pytest.approx(0.01 * 994 * 4_180 * 10)
    assert until(lambda: site.alerts("cooling.leak")) == ["cooling loop 1: leak detected"]
    until(lambda: "cooling loop 1: leak" in site.incidents(), 20)
    assert "supply 37.5 °C, at most 36 °C" in site.alerts("cooling.supply")[0]


def test_old_bad_and_retained_values_are_no_measure(site: Site) -> None:
    topic = f"{USUAL}/feed/A/power"
    site.broker.say(topic, 500, retain=True)  # before the hub: nobody knows how old it is
    site.start()
    until(lambda: site.faults.get("retained"))
    assert site.feed.drawn_watts is None
    assert site.feed.detail == ""

    site.broker.tell(topic, 500, timestamp=time.time() - 300)
    feed = site.feed_where(lambda feed: feed.meter)
    assert feed.meter is not None
    assert feed.meter.quality is Quality.STALE
    assert (feed.drawn_watts, feed.basis) == (None, "")
    assert feed.detail == "its meter told nothing new for over 200 s"
    (alert,) = until(lambda: site.alerts("facility.stale"))
    assert alert == "nothing new for over 200 s: feed:A power"

    site.broker.tell(topic, 500, quality="bad")
    until(lambda: site.feed.detail == "its meter's value is bad")
    until(lambda: site.alerts("facility.quality"))
    site.broker.tell(topic, 500)
    until(lambda: site.feed.drawn_watts == 500.0)
    until(lambda: not site.alerts("facility.quality") and not site.alerts("facility.stale"))


def test_a_feed_that_loses_its_meter_falls_back_to_its_nodes_and_says_so(site: Site) -> None:
    site.start()
    topic = f"{USUAL}/feed/A/power"
    with FakeAgent(site.product.address) as agent:
        agent.greet(hello(hall="hall-1"))

        def told(basis: str) -> Callable[[PowerPlace], bool]:
            def holds(feed: PowerPlace) -> bool:
                agent.send(frame=frame([(50.0, 100.0), (50.0, 200.0)], (1.0, 1.0)))
                return feed.basis == basis and bool(feed.gpu_watts)

            return holds

        site.broker.tell(topic, 420, timestamp=time.time())
        metered = site.feed_where(told("meter"))
        assert (metered.drawn_watts, metered.gpu_watts) == (420.0, 300.0)
        assert metered.other_watts == 120.0

        site.broker.tell(topic, 9_999, quality="uncertain")
        fallen = site.feed_where(told("GPUs"))
        assert (fallen.drawn_watts, fallen.detail) == (300.0, "its meter's value is uncertain")
        assert (fallen.reporting_gpu_count, fallen.gpu_count) == (2, 2)


HOSTILE: tuple[tuple[str, bytes], ...] = (
    (f"{USUAL}/feed/A/power", b"\x00\xff" * 50),
    (f"{USUAL}/feed/A/power", b"[" * 4_000),
    (f"{USUAL}/feed/A/power", b"1" * 5_000),
    (f"{USUAL}/feed/A/power", b"1e300"),
    (f"{USUAL}/feed/A/power", b'{"value": 1e999}'),
    (f"{USUAL}/feed/A/power", b'{"value": [1], "quality": {}}'),
    (f"{USUAL}/feed/A/power", b'{"value": 5, "timestamp": 99999999999}'),
    (f"{USUAL}/\u202egnp.exe/[bold]/power", b"1"),
)


def test_hostile_messages_are_counted_by_name_and_end_nothing(site: Site) -> None:
    site.start()
    for topic, payload in HOSTILE:
        site.broker.say(topic, payload)
    site.broker.say(f"{USUAL}/feed/A/power", b"x" * 300_000)  # beyond what the hub lets come
    site.broker.say(f"{USUAL}/feed/A/power", 7)

    assert until(lambda: site.feed.drawn_watts) == 7.0
    assert site.faults == {
        "not_json": 2, "too_large": 1, "implausible": 1, "not_finite": 1, "no_value": 1,
        "from_the_future": 1, "no_point": 1,
    }  # fmt: skip
    assert all(fault.source.isprintable() for fault in site.power.faults)
    assert site.link.state == "up"


@pytest.mark.waits
def test_the_hub_runs_without_a_broker_and_finds_it_again(site: Site) -> None:
    site.broker.stop()
    site.start_without()
    until(lambda: site.link.state == "away")
    assert "refused" in site.link.detail

    site.broker.start()
    until(lambda: site.link.state == "up", 40)
    site.broker.say(f"{USUAL}/feed/A/power", 5)
    assert until(lambda: site.feed.drawn_watts) == 5.0

    site.broker.stop()
    until(lambda: site.link.state == "away")
    assert site.feed.drawn_watts == 5.0  # until it is stale
    (alert,) = until(lambda: site.alerts("facility.away"), 20)
    assert alert.startswith(f"{site.broker.url} does not answer")
    site.broker.start()
    until(lambda: site.link.state == "up", 40)
    site.broker.say(f"{USUAL}/feed/A/power", 6)
    until(lambda: site.feed.drawn_watts == 6.0)
    until(lambda: not site.alerts("facility.away"))


def test_a_password_comes_from_its_file(site: Site, tmp_path: Path) -> None:
    made = tmp_path / "passwords"
    made.write_text("hub:right\n")
    made.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(made)], check=True)
    (tmp_path / "word").write_text("wrong\n")
    site.broker.stop()
    site.broker.configure(["allow_anonymous false", f"password_file {made}"])
    site.broker.start()
    site.start_without(f'user = "hub"\npassword_file = "{tmp_path}/word"\n')
    until(lambda: "uthoriz" in site.link.detail or "uthoris" in site.link.detail)

    (tmp_path / "word").write_text("right\n")  # read again each time
    until(lambda: site.link.state == "up", 40)


def test_over_tls_the_brokers_certificate_is_checked(site: Site, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    site.broker.stop()
    site.broker.configure(["allow_anonymous true", f"certfile {cert}", f"keyfile {key}"])
    site.broker.start()
    site.scheme = "mqtts"
    site.start_without()
    until(lambda: "certificate" in site.link.detail)

    site.product.kill("hub")
    site.product.hang_up()
    site.start(f'ca_file = "{cert}"\n')
