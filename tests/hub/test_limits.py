"""Named limits: settings that name their mistake, what is used of each, and alerts in time."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

import pytest

from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.site.limits import LimitConfig, LimitError, Limits, parse
from colossus_tui.hub.site.power import Power
from colossus_tui.hub.site.sums import NodePower
from colossus_tui.model import Alert, NamedLimit, Severity
from tests.sim.rolled import SmallSite

HALL = LimitConfig("hall A contract", "A", 1_000.0)
SITE = LimitConfig("site feed", "", 4_000.0)


def test_limits_are_read_with_their_watts() -> None:
    text = """
    [[limits]]
    name = "hall A contract 180 MW"
    hall = "hall-A"
    megawatts = 180
    [[limits]]
    name = "site feed"
    megawatts = 0.5
    """

    assert parse(tomllib.loads(text)["limits"]) == (
        LimitConfig("hall A contract 180 MW", "hall-A", 180e6),
        LimitConfig("site feed", "", 0.5e6),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('limits = "all"', "limits: must be tables, as in [[limits]]"),
        ("limits = [3]", "limits: must be tables"),
        ("[limits]\nname = 'a'", "limits: must be tables"),
        ("[[limits]]\nmegawatts = 1", "the 1.: name must be text"),
        ("[[limits]]\nname = ''\nmegawatts = 1", "the 1.: name must be text"),
        (f"[[limits]]\nname = '{'a' * 65}'\nmegawatts = 1", "name must be text of at most 64"),
        ("[[limits]]\nname = 3\nmegawatts = 1", "the 1.: name must be text"),
        ("[[limits]]\nname = 'a'\nmegawatts = 1\nhall = 3", "the 1. (a): hall must be text"),
        ("[[limits]]\nname = 'a'", "the 1. (a): megawatts must be a positive number"),
        ("[[limits]]\nname = 'a'\nmegawatts = 0", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = -3.5", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = nan", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = inf", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = true", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = '3'", "the 1. (a): megawatts must be"),
        ("[[limits]]\nname = 'a'\nmegawatts = 1\nrack = 3", "(a): rack must be HALL/RACK"),
        ("[[limits]]\nname = 'a'\nmegawatts = 1\nrack = 'r1'", "rack must be HALL/RACK"),
        (
            "[[limits]]\nname = 'a'\nmegawatts = 1\nrack = 'h/*'\nhall = 'h'",
            '(a): rack must be HALL/RACK, as in "hall-A/*", without hall',
        ),
        ("[[limits]]\nname = 'a'\nmegawatts = 1\nrow = 'b'", "'row' is no setting; known: name"),
        (
            "[[limits]]\nname = 'a'\nmegawatts = 1\n[[limits]]\nname = 'b'\nhall = 1",
            "the 2. (b): hall must be text",
        ),
        (
            "[[limits]]\nname = 'a'\nmegawatts = 1\n[[limits]]\nname = 'a'\nmegawatts = 2",
            "'a' is the name of two",
        ),
    ],
)
def test_a_mistake_names_its_limit_and_field(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(LimitError) as caught:
        parse(tomllib.loads(text)["limits"])

    assert words in str(caught.value)
    path = tmp_path / "hub.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as of_file:
        read_file(str(path))
    assert str(of_file.value) == f"config {str(path)!r}: {caught.value}"


def halls(watts_a: float, watts_b: float = 100.0) -> SmallSite:
    site = SmallSite()
    site.admit("n1", 2, "A")
    site.admit("n2", 1, "B")
    site.tell("n1", power=[watts_a, math.nan])
    site.tell("n2", power=[watts_b])
    site.tick()
    return site


def limits_of(site: SmallSite, *configured: LimitConfig) -> Limits:
    power = Power(
        site.store,
        NodePower(site.store, site.roll_ups, (), lambda: site.now),
        Facility(None),
        configured,
    )
    limits = Limits(configured, (), power)
    power.tick()
    limits.tick()
    return limits


def test_a_limit_counts_its_hall_or_the_site_and_says_what_it_covers() -> None:
    site = halls(400.0)
    limits = limits_of(site, HALL, SITE, LimitConfig("hall C", "C", 7.0))

    assert limits.now() == (
        NamedLimit("hall A contract", "A", 1_000.0, 400.0, 1, 2, basis="GPUs"),
        NamedLimit("site feed", "", 4_000.0, 500.0, 2, 3, basis="GPUs"),
        NamedLimit("hall C", "C", 7.0, None, 0, 0),
    )
    assert limits.alerts() == ()


@pytest.mark.parametrize(
    ("watts", "severity"),
    [
        (899.0, None),
        (900.0, Severity.WARNING),
        (969.0, Severity.WARNING),
        (970.0, Severity.CRITICAL),
        (1_300.0, Severity.CRITICAL),
    ],
)
def test_a_limit_alerts_at_90_and_97_percent(watts: float, severity: Severity | None) -> None:
    alerts = limits_of(halls(watts), HALL, SITE).alerts()

    assert [alert.severity for alert in alerts] == ([severity] if severity else [])


def test_an_alert_names_limit_share_and_coverage() -> None:
    mega = LimitConfig("hall A contract", "A", 2e6)
    alerts = limits_of(halls(1.95e6), mega).alerts()

    assert alerts == (
        Alert(
            Severity.CRITICAL,
            "power.limit",
            "hall A contract: 1.95 of 2.00 MW by GPUs, 97.5%; 1/2 GPUs reporting",
        ),
    )


def test_what_is_not_fresh_uses_nothing_of_a_limit() -> None:
    site = halls(1_000.0)
    site.tick(5)
    limits = limits_of(site, HALL)

    assert limits.now() == (NamedLimit("hall A contract", "A", 1_000.0, None, 0, 2),)
    assert limits.alerts() == ()
