"""PDUs and CDUs over Redfish: a real service, what it measures, and what it does wrong."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.client import Client
from colossus_tui.hub.facility import redfish
from colossus_tui.hub.facility.config import FacilityConfig, parse
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.facility.points import Quantity, subject_of
from colossus_tui.hub.facility.redfish import Poller
from colossus_tui.model import PlaceKind
from tests.e2e.product import Product
from tests.facility.certificate import certificate
from tests.facility.redfish_service import ROOT, Service, link
from tests.support import until

PERIOD_SECONDS = 0.05


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as made:
        yield made


class Stand:
    """The hub's part that asks, in the test's own process."""

    def __init__(self, config: FacilityConfig) -> None:
        self.facility = Facility(config)
        self.config = config
        self.subject = config.redfish[0].of

    def value(self, quantity: Quantity = Quantity.POWER) -> float | None:
        found = self.facility.values.measured(self.subject, quantity)
        return found.value if found is not None else None

    @property
    def link(self) -> tuple[str, str]:
        (found,) = self.facility.links()
        return found.state, found.detail

    async def until(self, condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.link
            await asyncio.sleep(0.02)


@asynccontextmanager
async def asking(url: str, of: str, **more: Any) -> AsyncIterator[Stand]:
    """Ask a service within this."""
    stand = Stand(parse({"redfish": [{"url": url, "of": of, **more}]}))
    facility, devices = stand.facility, stand.config.redfish
    poller = Poller(devices, facility._devices, facility.values, PERIOD_SECONDS)
    task = asyncio.create_task(poller.run())
    try:
        yield stand
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_the_power_of_all_pdus_of_a_service_is_summed(service: Service) -> None:
    service.add_pdus(4_000.0, 2_500.5)

    async with asking(service.url, "rack:hall-1/r1") as stand:
        await stand.until(lambda: stand.value() == 6_500.5)
        assert stand.link == ("up", "")
        service.add_pdus(4_000.0, 3_000.0)
        await stand.until(lambda: stand.value() == 7_000.0)
    assert service.connection_count == 1  # kept open


@pytest.mark.parametrize(
    ("mains", "outlets", "watts"),
    [((1_000.0, 1_500.0), (9.0,), 2_500.0), ((), (100.0, 20.0, 3.0), 123.0)],
)
async def test_a_pdu_without_a_sum_is_summed_over_its_mains_or_its_outlets(
    service: Service, mains: tuple[float, ...], outlets: tuple[float, ...], watts: float
) -> None:
    service.add_pdus(None, mains=mains, outlets=outlets)

    async with asking(service.url, "feed:A") as stand:
        await stand.until(lambda: stand.value() == watts)


async def test_one_resource_can_be_named(service: Service) -> None:
    service.add_pdus(4_000.0, 2_500.0)

    async with asking(f"{service.url}{ROOT}/PowerEquipment/RackPDUs/2", "feed:A") as stand:
        await stand.until(lambda: stand.value() == 2_500.0)
    assert f"{ROOT}/PowerEquipment/RackPDUs/1" not in service.asked


async def test_a_sum_with_a_part_missing_is_none(service: Service) -> None:
    service.add_pdus(4_000.0, None)

    async with asking(service.url, "feed:A") as stand:
        await stand.until(lambda: stand.link[0] == "away")
        assert stand.link[1] == "it measures nothing of this"
        assert stand.value() is None


async def test_a_cdu_tells_of_the_racks_side_or_of_the_other(service: Service) -> None:
    service.add_cdu(
        [(31.5, 41.0, 300.0), (32.0, 40.0, 301.0)],
        [(18.0, 26.0, 900.0)],
        leaks=("OK", "Unavailable"),
    )

    async with asking(service.url, "loop:1") as stand:
        await stand.until(lambda: stand.value(Quantity.LEAK) is not None)
        assert stand.value(Quantity.SUPPLY_TEMPERATURE) == 32.0
        assert stand.value(Quantity.RETURN_TEMPERATURE) == 41.0
        assert stand.value(Quantity.FLOW) == pytest.approx(601.0 / 60_000)
        assert stand.value(Quantity.LEAK) == 0.0
    async with asking(service.url, "loop:1", side="primary") as stand:
        await stand.until(lambda: stand.value(Quantity.FLOW) == pytest.approx(900.0 / 60_000))


@pytest.mark.parametrize(
    ("leaks", "value"), [(("OK", "Warning"), 1.0), (("Critical",), 1.0), (("Unavailable",), None)]
)
async def test_a_leak_detectors_state_is_a_leak_or_none(
    service: Service, leaks: tuple[str, ...], value: float | None
) -> None:
    service.add_cdu([(31.5, 41.0, None)], leaks=leaks)

    async with asking(service.url, "loop:1") as stand:
        await stand.until(lambda: stand.value(Quantity.SUPPLY_TEMPERATURE) is not None)
        assert stand.value(Quantity.LEAK) == value
        assert stand.value(Quantity.FLOW) is None


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"{}", "/redfish/v1/: HTTP 404"),
        (500, b"", "/redfish/v1/: HTTP 500"),
        (302, b"", "/redfish/v1/: HTTP 302"),
        (200, b"<html>", "the answer is not JSON"),
        (200, b"[" * 100_000, "the answer is not JSON"),
        (200, b"[]", "the answer is no resource"),
        (200, b"{}", "it has no PDU"),
        (200, b" " * (1 << 21), "the answer is too large"),
        (200, json.dumps({"PowerEquipment": link("https://other.site/")}).encode(), "elsewhere"),
        (200, json.dumps({"PowerEquipment": link("//other.site/")}).encode(), "elsewhere"),
        (200, json.dumps({"PowerEquipment": link("/x y\r\nz")}).encode(), "no path"),
        (200, json.dumps({"PowerEquipment": {"@odata.id": 3}}).encode(), "elsewhere"),
    ],
)
async def test_what_a_service_does_wrong_is_said(
    service: Service, status: int, body: bytes, words: str
) -> None:
    service.add_pdus(4_000.0)
    service.answers[f"{ROOT}/"] = status, body

    async with asking(service.url, "feed:A") as stand:
        await stand.until(lambda: stand.link[0] == "away")
        assert words in stand.link[1]
        service.answers.clear()
        await stand.until(lambda: stand.value() == 4_000.0)


@pytest.mark.parametrize("reading", [None, "4000", True, [1], 10**400])
async def test_a_reading_that_is_no_number_is_none(service: Service, reading: Any) -> None:
    service.add_pdus(4_000.0)
    metrics = f"{ROOT}/PowerEquipment/RackPDUs/1/Metrics"
    service.resources[metrics]["PowerWatts"]["Reading"] = reading

    async with asking(service.url, "feed:A") as stand:
        await stand.until(lambda: stand.link == ("away", "it measures nothing of this"))


async def test_a_slow_service_is_given_up_and_holds_nothing_up(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish, "ANSWER_SECONDS", 0.2)
    service.add_pdus(4_000.0)
    service.delay_seconds = 1.0

    async with asking(service.url, "feed:A") as stand:
        await stand.until(lambda: stand.link[0] == "away")
        assert "no answer in time" in stand.link[1]
        service.delay_seconds = 0.0
        await stand.until(lambda: stand.value() == 4_000.0)


@pytest.mark.parametrize("is_secure", [False, True])
@pytest.mark.parametrize(
    "beginning",
    [
        b"HTTP/1.1 200 OK\r\nX-Padding:",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
    ],
    ids=["headers", "body", "until it is closed"],
)
async def test_a_service_that_drips_is_given_up_at_the_end_of_its_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beginning: bytes, is_secure: bool
) -> None:
    monkeypatch.setattr(redfish, "POLL_SECONDS", 1.0)
    pair = certificate(tmp_path) if is_secure else None
    with Service(pair) as service:
        service.add_pdus(4_000.0)
        service.drips = beginning
        more = {"ca_file": str(pair[0])} if pair else {}

        async with asking(service.url, "feed:A", **more) as stand:
            await stand.until(lambda: stand.link[0] == "away")
            assert "no answer in time" in stand.link[1]
            assert stand.value() is None
            service.drips = b""
            await stand.until(lambda: stand.value() == 4_000.0)


async def test_user_and_password_are_asked_for(service: Service, tmp_path: Path) -> None:
    service.add_pdus(4_000.0)
    service.authorization = f"Basic {base64.b64encode(b'monitor:right').decode()}"
    word = tmp_path / "word"
    word.write_text("wrong\n")

    async with asking(service.url, "feed:A", user="monitor", password_file=str(word)) as stand:
        await stand.until(lambda: stand.link[0] == "away")
        assert "HTTP 401" in stand.link[1]
        word.write_text("right\n")
        await stand.until(lambda: stand.value() == 4_000.0)


def test_a_hub_asks_over_https_and_checks_the_certificate(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with (
        Service((cert, key)) as service,
        tempfile.TemporaryDirectory(prefix="colossus-") as folder,
    ):
        service.add_pdus(4_000.0)
        service.add_cdu([(31.5, 41.0, 300.0)], leaks=("Critical",))
        config = Path(folder) / "hub.toml"
        config.write_text(
            '[[feeds]]\nname = "A"\nmegawatts = 0.005\n'
            f'[[facility.redfish]]\nurl = "{service.url}"\nof = "feed:A"\nca_file = "{cert}"\n'
            f'[[facility.redfish]]\nurl = "{service.url}"\nof = "loop:1"\nca_file = "{cert}"\n'
            f'[[facility.redfish]]\nurl = "{service.url}"\nof = "loop:2"\n'
        )
        product = Product(Path(folder))
        try:
            product.start_hub("--config", str(config))
            until(
                lambda: (
                    [link.state for link in product.ask(Client.power).links] == ["up", "up", "away"]
                ),
                20,
            )
            view = product.ask(Client.power)
        finally:
            product.close()

    feed = next(place for place in view.places if place.kind is PlaceKind.FEED)
    assert (feed.drawn_watts, feed.basis) == (4_000.0, "meter")
    loop = next(loop for loop in view.loops if loop.name == "1")
    assert loop.heat_watts == pytest.approx(0.005 * 994 * 4_180 * 9.5)
    assert loop.leak is not None
    assert loop.leak.value == 1.0
    assert "certificate" in view.links[2].detail


def test_what_may_be_heard_is_known_beforehand() -> None:
    config = parse({"redfish": [{"url": "https://pdu.site", "of": "rack:h/r1"}]})

    (point,) = config.redfish[0].points
    assert (point.subject, point.quantity) == (subject_of("rack:h/r1"), Quantity.POWER)
