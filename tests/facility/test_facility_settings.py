"""Settings of feeds, cooling loops and the building's sensors: what is read, what is refused."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.facility import config, loops
from colossus_tui.hub.facility.config import FacilityError
from colossus_tui.hub.facility.loops import LoopConfig, LoopError
from colossus_tui.hub.facility.points import Point, Quantity, Subject, SubjectKind
from colossus_tui.hub.site import feeds
from colossus_tui.hub.site.feeds import FeedConfig, FeedError


def table(text: str, name: str) -> Any:
    return tomllib.loads(text)[name]


def test_all_of_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret\nmore\n")
    path = tmp_path / "hub.toml"
    path.write_text(f"""
    [[feeds]]
    name = "A"
    megawatts = 60
    halls = ["hall-1"]
    [[feeds]]
    name = "B"
    megawatts = 0.5
    racks = ["hall-2/r0*"]
    [[cooling_loops]]
    name = "1"
    halls = ["hall-1"]
    max_supply_celsius = 36
    [facility]
    mqtt = "mqtts://broker.site:8884"
    user = "colossus"
    password_file = "{tmp_path}/password"
    prefix = "dc1"
    [[facility.points]]
    topic = "site/feeds/A/power"
    of = "feed:A"
    quantity = "power"
    unit = "kW"
    [[facility.redfish]]
    url = "https://cdu-1.site"
    of = "loop:1"
    side = "primary"
    """)

    values = read_file(str(path))

    assert values["feeds"] == (
        FeedConfig("A", 60e6, ("hall-1",)),
        FeedConfig("B", 0.5e6, (), ("hall-2/r0*",)),
    )
    assert values["cooling_loops"] == (LoopConfig("1", ("hall-1",), 36.0),)
    found = values["facility"]
    assert (found.host, found.port, found.tls, found.prefix) == ("broker.site", 8884, True, "dc1")
    assert found.address == "mqtts://broker.site:8884"
    assert config.read_password(found.password_file) == "secret"
    feed = Subject(SubjectKind.FEED, "A")
    assert found.points == (Point("site/feeds/A/power", feed, Quantity.POWER, "kW"),)
    (device,) = found.redfish
    assert (device.side, device.of) == ("primary", Subject(SubjectKind.LOOP, "1"))
    assert [one.quantity for one in device.points] == [
        Quantity.SUPPLY_TEMPERATURE,
        Quantity.RETURN_TEMPERATURE,
        Quantity.FLOW,
        Quantity.LEAK,
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[feeds]\nname = 'A'", "feeds: must be tables, as in [[feeds]]"),
        ("[[feeds]]\nmegawatts = 1", "the 1.: name must be text of at most 64"),
        ("[[feeds]]\nname = 'A'", "(A): megawatts must be a positive number"),
        ("[[feeds]]\nname = 'A'\nmegawatts = inf", "(A): megawatts must be a positive number"),
        ("[[feeds]]\nname = 'A'\nmegawatts = true", "(A): megawatts must be a positive number"),
        ("[[feeds]]\nname = 'A'\nmegawatts = 1\nhalls = 'x'", "(A): halls must be a list of names"),
        ("[[feeds]]\nname = 'A'\nmegawatts = 1\nracks = ['r1']", "'r1' names no hall"),
        ("[[feeds]]\nname = 'A'\nmegawatts = 1\nhall = 'x'", "'hall' is no setting; known: name"),
        (
            "[[feeds]]\nname = 'A'\nmegawatts = 1\n[[feeds]]\nname = 'A'\nmegawatts = 1",
            "'A' is the name of two",
        ),
        (
            "[[feeds]]\nname='A'\nmegawatts=1\nhalls=['x']\n"
            "[[feeds]]\nname='B'\nmegawatts=1\nhalls=['x']",
            "'x' is supplied by 'A' and 'B'; name it at one, and give the other a meter alone",
        ),
    ],
)
def test_a_mistake_names_its_feed_and_field(text: str, words: str) -> None:
    with pytest.raises(FeedError) as caught:
        feeds.parse(table(text, "feeds"))

    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cooling_loops = 3", "must be tables, as in [[cooling_loops]]"),
        ("[[cooling_loops]]\nhalls = []", "the 1.: name must be text"),
        ("[[cooling_loops]]\nname = '1'\nhalls = [3]", "(1): halls must be a list of names"),
        ("[[cooling_loops]]\nname = '1'\nhall = 'x'", "'hall' is no setting"),
        ("[[cooling_loops]]\nname = '1'\nmax_supply_celsius = 'x'", "must be a number above -60"),
        ("[[cooling_loops]]\nname = '1'\ndensity_kg_per_m3 = 0", "must be a number above 0"),
        ("[[cooling_loops]]\nname = '1'\n[[cooling_loops]]\nname = '1'", "is the name of two"),
    ],
)
def test_a_mistake_names_its_loop_and_field(text: str, words: str) -> None:
    with pytest.raises(LoopError) as caught:
        loops.parse(table(text, "cooling_loops"))

    assert words in str(caught.value)


BROKER = 'mqtt = "mqtt://127.0.0.1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "facility: set mqtt or [[facility.redfish]]"),
        ("mqtt = 3", "facility.mqtt must be an address"),
        ('mqtt = "127.0.0.1:1883"', "give mqtt or mqtts and a host"),
        ('mqtt = "http://127.0.0.1"', "give mqtt or mqtts and a host"),
        ('mqtt = "mqtt://"', "give mqtt or mqtts and a host"),
        ('mqtt = "mqtt://127.0.0.1:99999"', "is no address"),
        ('mqtt = "mqtt://127.0.0.1:0"', "give mqtt or mqtts and a host"),
        ('mqtt = "mqtt://a..b"', "give mqtt or mqtts and a host"),
        ('mqtt = "mqtt://u:p@127.0.0.1"', "no user or password in it; use user and password_file"),
        (
            'mqtt = "mqtt://broker.site"',
            "leaves this machine without TLS; use mqtts, or allow_plain",
        ),
        ('mqtt = "mqtts://broker.site/x"', "facility.mqtt: nothing after the port"),
        ('user = "x"', "facility.user is of a broker; set facility.mqtt as well"),
        (BROKER + 'host = "x"', "facility.host is no setting; known: mqtt, user"),
        (BROKER + "user = 3", "facility.user must be text"),
        (BROKER + 'user = "a:b"', "facility.user must be text"),
        (BROKER + 'password_file = "/nowhere"', "password_file '/nowhere': No such file"),
        (BROKER + 'prefix = "a/#"', "facility.prefix must be a topic, without # and +"),
        (BROKER + "allow_plain = 1", "facility.allow_plain must be true or false"),
        (BROKER + "points = 3", "facility.points must be tables, as in [[facility.points]]"),
        (BROKER + '[[points]]\nof = "site"', "the 1.: topic must be a topic"),
        (BROKER + '[[points]]\ntopic = "t"', "the 1. (t): of and quantity must be text"),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "room:A"\nquantity = "power"',
            "(t): of: 'room:A' is nothing; give site, feed:NAME",
        ),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "rack:r1"\nquantity = "power"',
            "give site alone, and rack as rack:HALL/NAME",
        ),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "site:x"\nquantity = "power"',
            "give site alone",
        ),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "feed:A"\nquantity = "flow"',
            "quantity: 'flow' is none of a feed; known: power",
        ),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "feed:A"\nquantity = "power"\nunit = "HP"',
            "unit: 'HP' is none of power; known: 'W', 'kW', 'MW'",
        ),
        (
            BROKER + '[[points]]\ntopic = "t"\nof = "feed:A"\nquantity = "power"\nunits = "W"',
            "the 1..units is no setting; known: topic, of, quantity, unit",
        ),
        ('[[redfish]]\nof = "feed:A"', "the 1.: url must be an address"),
        ('[[redfish]]\nurl = "http://pdu.site"\nof = "feed:A"', "leaves this machine without TLS"),
        ('[[redfish]]\nurl = "https://pdu.site"', "(pdu.site): of must be text"),
        (
            '[[redfish]]\nurl = "https://pdu.site"\nof = "feed:A"\nuser = "x"',
            "(pdu.site): user and password_file go together",
        ),
        (
            '[[redfish]]\nurl = "https://pdu.site"\nof = "feed:A"\nside = "primary"',
            "(pdu.site): side is of a loop; feed:A has none",
        ),
        (
            '[[redfish]]\nurl = "https://pdu.site"\nof = "loop:1"\nside = "left"',
            "(pdu.site): side must be one of secondary, primary",
        ),
    ],
)
def test_a_mistake_names_its_setting_and_the_remedy(text: str, words: str) -> None:
    with pytest.raises(FacilityError) as caught:
        config.parse(tomllib.loads(text))

    assert words in str(caught.value)


def test_the_file_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text("facility = 3")

    with pytest.raises(ConfigError) as caught:
        read_file(str(path))
    assert str(caught.value) == (
        f"config {str(path)!r}: facility must be a table, as in [facility]"
    )


def test_a_missing_library_names_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(FacilityError, match="pip install 'colossus-tui\\[mqtt\\]'"):
        config.parse({"mqtt": "mqtt://127.0.0.1"})
