"""Prices from the hub's settings: of GPU-hours by product, of energy by hour of the day."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SETTINGS = ("currency", "gpu_hour", "mwh", "timezone", "overhead", "source", "idle_seconds")
DEFAULT = "default"
HOURS = 24
CURRENCY_LENGTH, SOURCE_LENGTH, PRODUCT_LENGTH = 4, 40, 96
PRICE_LIMIT = 1e6
OVERHEAD_LIMIT = 10.0
IDLE_SECONDS = 300.0
DAY_SECONDS = 86_400.0
JOULES_PER_MWH = 3.6e9


class PriceError(ValueError):
    """A price in the settings is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What the site pays, in its currency.

    Attributes:
        gpu_hours: Price of a GPU-hour by a piece of the product's name, in lower case, and
            "default" for all others; empty where GPUs themselves are not priced.
        megawatt_hours: Price of a megawatt-hour in each hour of the day; empty where energy is not
            priced.
        overhead: What the site draws for each watt of its GPUs.
        source: Where the prices come from, for people.
        idle_seconds: How long a held GPU must do no work to count as idle.
    """

    currency: str = "$"
    gpu_hours: Mapping[str, float] | None = None
    megawatt_hours: tuple[float, ...] = ()
    timezone: tzinfo = UTC
    overhead: float = 1.0
    source: str = ""
    idle_seconds: float = IDLE_SECONDS

    def gpu_hour(self, product_name: str) -> float:
        """Return the price of an hour of such a GPU: of the longest name that is a piece of its."""
        if not self.gpu_hours:
            return 0.0
        name = product_name.lower()
        fitting = [piece for piece in self.gpu_hours if piece != DEFAULT and piece in name]
        return self.gpu_hours[max(fitting, key=len, default=DEFAULT)]

    def megawatt_hour(self, unix_seconds: float) -> float | None:
        """Return the price of energy at a time; None where it is not priced."""
        if not self.megawatt_hours:
            return None
        return self.megawatt_hours[datetime.fromtimestamp(unix_seconds, self.timezone).hour]

    def joule(self, unix_seconds: float) -> float:
        """Return what a joule that a GPU takes costs at a time, with the overhead."""
        return (self.megawatt_hour(unix_seconds) or 0.0) * self.overhead / JOULES_PER_MWH


def parse(table: Any) -> Prices:
    """Return the checked prices.

    Raises:
        PriceError: One is wrong.
    """
    if not isinstance(table, dict):
        raise PriceError("prices: must be a table, as in [prices]")
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise PriceError(f"prices: {unknown[0]!r} is no setting; known: {', '.join(SETTINGS)}")
    prices = Prices(
        currency=_text("currency", table.get("currency", "$"), CURRENCY_LENGTH),
        gpu_hours=_gpu_hours(table["gpu_hour"]) if "gpu_hour" in table else None,
        megawatt_hours=_megawatt_hours(table["mwh"]) if "mwh" in table else (),
        timezone=_timezone(table.get("timezone", "UTC")),
        overhead=_number("overhead", table.get("overhead", 1.0), 1.0, OVERHEAD_LIMIT),
        source=_text("source", table["source"], SOURCE_LENGTH) if "source" in table else "",
        idle_seconds=_number(
            "idle_seconds", table.get("idle_seconds", IDLE_SECONDS), 1.0, DAY_SECONDS
        ),
    )
    if prices.gpu_hours is None and not prices.megawatt_hours:
        raise PriceError("prices: say what a GPU-hour costs (gpu_hour), or energy (mwh), or both")
    if "overhead" in table and not prices.megawatt_hours:
        raise PriceError("prices.overhead: is of energy, which has no price; add mwh")
    return prices


def _gpu_hours(value: Any) -> Mapping[str, float]:
    if not isinstance(value, dict):
        return {DEFAULT: _number("gpu_hour", value, 0.0, PRICE_LIMIT)}
    found: dict[str, float] = {}
    for name, price in value.items():
        if not 0 < len(name) <= PRODUCT_LENGTH:
            raise PriceError(f"prices.gpu_hour: a name has 1 to {PRODUCT_LENGTH} characters")
        if name.lower() in found:
            raise PriceError(f"prices.gpu_hour: {name!r} is named twice; case does not count")
        found[name.lower()] = _number(f"gpu_hour.{name!r}", price, 0.0, PRICE_LIMIT)
    if DEFAULT not in found:
        raise PriceError("prices.gpu_hour.default: must be there, for GPUs that no name fits")
    return found


def _megawatt_hours(value: Any) -> tuple[float, ...]:
    """Return the price of each hour; one may be negative, as it is on a market at times."""
    if not isinstance(value, list):
        return (_number("mwh", value, -PRICE_LIMIT, PRICE_LIMIT),) * HOURS
    if len(value) != HOURS:
        raise PriceError(f"prices.mwh: {len(value)} values; give one, or {HOURS}: one an hour")
    return tuple(
        _number(f"mwh, of {hour:02}:00", price, -PRICE_LIMIT, PRICE_LIMIT)
        for hour, price in enumerate(value)
    )


def _timezone(value: Any) -> tzinfo:
    if value == "UTC":
        return UTC  # also where the machine has no table of timezones
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise PriceError(
            f"prices.timezone: {value!r} is none that this machine knows; such as 'Europe/Berlin'"
        ) from None


def _number(field: str, value: Any, low: float, high: float) -> float:
    """Return a checked number.

    Raises:
        PriceError: It is none, or beyond its limits.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and low <= value <= high):
        raise PriceError(f"prices.{field}: must be a number from {low:g} to {high:g}")
    return float(value)


def _text(field: str, value: Any, length: int) -> str:
    is_good = isinstance(value, str) and value.isprintable() and value == value.strip()
    if not (is_good and 0 < len(value) <= length):
        raise PriceError(f"prices.{field}: must be text of 1 to {length} printable characters")
    return str(value)
