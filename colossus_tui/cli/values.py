"""What the text of an option means; what is wrong with it is said in the parser's own words."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable

from colossus_tui.cli.filters import METRICS
from colossus_tui.model import amounts
from colossus_tui.model.match import Match, MatchError, parse
from colossus_tui.model.outlook import LEAST_EFFICIENCY

PAST_DAYS = 14  # for so long events are kept


def _amount(read: Callable[[str], float]) -> Callable[[str], float]:
    """Return a reader of amounts whose errors are the parser's own."""

    def parse_amount(text: str) -> float:
        try:
            return read(text)
        except amounts.AmountError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parse_amount


power, share = _amount(amounts.power), _amount(amounts.share)
span, span_or_zero = _amount(amounts.span), _amount(amounts.span_or_zero)


def past(text: str) -> float:
    """Return the seconds of a span that ends now, of which the hub still knows."""
    length = span(text)
    if length > PAST_DAYS * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: events are kept for {PAST_DAYS} days")
    return length


def match(text: str) -> Match:
    """Return an expression over runs."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; 'class>=P0' means every run")
    try:
        return parse(text)
    except MatchError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def theme(text: str) -> str:
    """Return the name of a theme."""
    from colossus_tui.tui.modes import ThemeError, known_theme

    try:
        return known_theme(text)
    except ThemeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def metric(text: str) -> str:
    """Return a metric of GPUs by its name or its word."""
    name = text.lower()
    if name in METRICS:
        return METRICS[name]
    if name in METRICS.values():
        return name
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(METRICS)}")


def seconds(text: str) -> float:
    """Return a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.01 <= value <= 86_400 * 30:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def cap_watts(text: str) -> float:
    """Return the power limit of a GPU, watts."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no power of a GPU: 1 to 100000 W")
    return value


def speed(text: str) -> float:
    """Return how fast a replay goes."""
    with contextlib.suppress(ValueError):
        if 0.1 <= (speed := float(text)) <= 600:
            return speed
    raise argparse.ArgumentTypeError(f"{text!r} is no speed from 0.1 to 600")


def nodes(text: str) -> int:
    """Return a number of nodes."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of nodes")
    return int(text)


def efficiency(text: str) -> float:
    """Return an efficiency of scaling."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not LEAST_EFFICIENCY <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not within {LEAST_EFFICIENCY} and 1")
    return value


def count(text: str) -> int:
    """Return a number of things to show."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to 10,000")
    return int(text)


def port(text: str) -> int:
    """Return a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 1 to 65535")
    return int(text)
