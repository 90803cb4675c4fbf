"""Values of the command line that are spans of time, checked."""

from __future__ import annotations

import argparse

from colossus_tui.text import parse_duration

PAST_DAYS = 14  # for so long events are kept


def span(text: str) -> float:
    """Return the seconds of a span such as "30m", "1h" or "2d"; of "0" none."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def past(text: str) -> float:
    """Return the seconds of a span that ends now, of which the hub still knows."""
    seconds = span(text)
    if not 0 < seconds <= PAST_DAYS * 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: events are kept for {PAST_DAYS} days")
    return seconds
