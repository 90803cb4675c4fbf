"""Prices: settings that name their mistake, which GPU costs what, and energy by the hour."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.money.prices import PriceError, Prices, parse
from colossus_tui.paths import hub_socket

NIGHT, DAY = 30.0, 90.0
TARIFF = f"mwh = {[NIGHT] * 6 + [DAY] * 16 + [NIGHT] * 2}"


def priced(text: str) -> Prices:
    return parse(tomllib.loads(f"[prices]\n{text}")["prices"])


def at(hour: int, minute: int = 0, second: int = 0) -> float:
    return datetime(2026, 7, 1, hour, minute, second, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "prices: say what a GPU-hour costs (gpu_hour), or energy (mwh), or both"),
        ("gpu_hours = 2", "'gpu_hours' is no setting; known: currency, gpu_hour, mwh, timezone"),
        ("gpu_hour = -1", "prices.gpu_hour: must be a number from 0 to 1e+06"),
        ("gpu_hour = true", "prices.gpu_hour: must be a number"),
        ("gpu_hour = '2'", "prices.gpu_hour: must be a number"),
        ("gpu_hour = nan", "prices.gpu_hour: must be a number"),
        ("gpu_hour = inf", "prices.gpu_hour: must be a number"),
        ("gpu_hour = { GB300 = 3 }", "prices.gpu_hour.default: must be there"),
        ("gpu_hour = { default = 'a' }", "prices.gpu_hour.'default': must be a number"),
        ("gpu_hour = { default = 1, A = 1, a = 2 }", "'a' is named twice; case does not count"),
        ("gpu_hour = { default = 1, '' = 1 }", "a name has 1 to 96 characters"),
        ("mwh = 'cheap'", "prices.mwh: must be a number from -1e+06 to 1e+06"),
        ("mwh = [1, 2]", "prices.mwh: 2 values; give one, or 24: one an hour"),
        (f"mwh = {[1] * 23 + ['x']}", "prices.mwh, of 23:00: must be a number"),
        ("mwh = 1\ntimezone = 'Mars/Base'", "prices.timezone: 'Mars/Base' is none that this"),
        ("mwh = 1\ntimezone = '../UTC'", "prices.timezone: '../UTC' is none"),
        ("mwh = 1\ntimezone = 3", "prices.timezone: 3 is none"),
        ("mwh = 1\noverhead = 0.9", "prices.overhead: must be a number from 1 to 10"),
        ("gpu_hour = 1\noverhead = 1.2", "prices.overhead: is of energy, which has no price"),
        ("gpu_hour = 1\ncurrency = ''", "prices.currency: must be text of 1 to 4 printable"),
        ("gpu_hour = 1\ncurrency = 'DOLLAR'", "prices.currency: must be text of 1 to 4"),
        ('gpu_hour = 1\ncurrency = "\\u001b"', "prices.currency: must be text"),
        ("gpu_hour = 1\ncurrency = 5", "prices.currency: must be text"),
        (f"gpu_hour = 1\nsource = '{'a' * 41}'", "prices.source: must be text of 1 to 40"),
        ("gpu_hour = 1\nidle_seconds = 0", "prices.idle_seconds: must be a number from 1 to 86400"),
    ],
)
def test_a_mistake_names_its_field(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PriceError) as caught:
        priced(text)

    assert words in str(caught.value)
    path = tmp_path / "hub.toml"
    path.write_text(f"[prices]\n{text}")
    with pytest.raises(ConfigError) as of_file:
        read_file(str(path))
    assert str(of_file.value) == f"config {str(path)!r}: {caught.value}"


def test_prices_must_be_a_table() -> None:
    with pytest.raises(PriceError, match=r"must be a table, as in \[prices\]"):
        parse([{"gpu_hour": 1}])


def test_a_hub_with_a_wrong_price_does_not_start(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text("[prices]\ngpu_hour = 'two'")

    result = subprocess.run(
        [sys.executable, "-m", "colossus_tui.hub", "--config", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert result.returncode == 2
    assert "prices.gpu_hour: must be a number" in result.stderr
    assert not hub_socket().exists()


def test_the_longest_name_that_is_a_piece_of_the_products_fits() -> None:
    prices = priced('gpu_hour = { default = 2.1, "gb300" = 3.2, "NVIDIA GB300 NVL" = 3.5 }')

    assert prices.gpu_hour("NVIDIA GB300") == 3.2
    assert prices.gpu_hour("nvidia gb300 nvl72") == 3.5
    assert prices.gpu_hour("NVIDIA H100 80GB HBM3") == 2.1
    assert prices.gpu_hour("") == 2.1
    assert prices.gpu_hour("the default one") == 2.1


def test_one_number_is_the_price_of_all_gpus() -> None:
    assert priced("gpu_hour = 4").gpu_hour("NVIDIA GB300") == 4


@pytest.mark.parametrize(
    ("unix_seconds", "price"),
    [
        (at(5, 59, 59), NIGHT),
        (at(6), DAY),
        (at(21, 59, 59), DAY),
        (at(22), NIGHT),
        (at(0), NIGHT),
    ],
)
def test_the_price_of_energy_changes_at_the_hour(unix_seconds: float, price: float) -> None:
    assert priced(TARIFF).megawatt_hour(unix_seconds) == price


def test_hours_are_those_of_the_timezone() -> None:
    prices = priced(f"{TARIFF}\ntimezone = 'Europe/Berlin'")  # two hours ahead in summer

    assert prices.megawatt_hour(at(3, 59)) == NIGHT
    assert prices.megawatt_hour(at(4)) == DAY


def test_a_joule_has_its_overhead() -> None:
    prices = priced("mwh = 36\noverhead = 1.25")

    assert prices.joule(at(0)) * 3.6e9 == pytest.approx(45.0)
    assert priced("gpu_hour = 1").joule(at(0)) == 0.0
    assert priced("gpu_hour = 1").megawatt_hour(at(0)) is None


def test_energy_may_be_worth_less_than_nothing() -> None:
    assert priced("mwh = -12.5").megawatt_hour(at(3)) == -12.5
