"""Powers, shares and spans of time as people type them, and a shed in one line of them."""

from __future__ import annotations

import re
from dataclasses import replace

from colossus_tui.model.shed import Shed

_WATTS = {"w": 1.0, "kw": 1e3, "mw": 1e6, "gw": 1e9}
_SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hour", "hours"), 3_600.0),
    **dict.fromkeys(("d", "day", "days"), 86_400.0),
}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"
_POWER = re.compile(rf"{_NUMBER}\s*([kmg]?w)", re.IGNORECASE)
_SHARE = re.compile(rf"-?\s*{_NUMBER}\s*%")
_SPAN = re.compile(rf"{_NUMBER}\s*([a-z]+)\s*", re.IGNORECASE)
_BEGUN = re.compile(r"(?:get\s+)?(under|to|by)\s+", re.IGNORECASE)
_WORDS = re.compile(r"[a-z]+", re.IGNORECASE)
LONGEST_SECONDS = 10 * 365 * 86_400.0
SHED_EXAMPLES = '"150 MW 3h 5min" (come under it for 3 h, within 5 min), "-20 %"'


class AmountError(ValueError):
    """What was typed is no such amount; the message says what would be."""


def power(text: str) -> float:
    """Return a power in watts, as of "150 MW" or "850kW".

    Raises:
        AmountError: It is none, or 0.
    """
    match = _POWER.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise AmountError(f"{text!r} is no power; give one as in 150MW or 850kW")
    return float(match[1]) * _WATTS[match[2].lower()]


def share(text: str) -> float:
    """Return a share of 1, as of "20 %" or "-20%".

    Raises:
        AmountError: It is none, or not between 0 and 100 %.
    """
    match = _SHARE.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) < 100:
        raise AmountError(f"{text!r} is no share; give one between 0 and 100 %, as in 20%")
    return float(match[1]) / 100


def span(text: str) -> float:
    """Return a span of time in seconds, as of "3h", "5 min" or "1h30m".

    Raises:
        AmountError: It is none, 0 or over ten years.
    """
    rest, seconds = text.strip(), 0.0
    while match := _SPAN.match(rest):
        if match[2].lower() not in _SECONDS:
            break
        seconds += float(match[1]) * _SECONDS[match[2].lower()]
        rest = rest[match.end() :]
    if rest or not 0 < seconds <= LONGEST_SECONDS:
        raise AmountError(f"{text[:40]!r} is no time; give one as in 3h, 5min, 90s, 1h30m or 2d")
    return seconds


def span_or_zero(text: str) -> float:
    """Return a span of time in seconds; of "0" none.

    Raises:
        AmountError: It is no span.
    """
    return 0.0 if text.strip() == "0" else span(text)


def shed(text: str) -> Shed:
    """Return what a typed line asks for: a power or a share, then for how long, then how soon.

    A word says which time is meant: "for 3 h", "in 5 min" or "within 5 min". With a time for
    which it lasts the hub restores it by itself.

    Raises:
        AmountError: It is not understood.
    """
    begun = _BEGUN.match(text.strip())
    word = begun[1].lower() if begun is not None else ""
    line = text.strip()[begun.end() if begun is not None else 0 :]
    amount = _POWER.match(line) or _SHARE.match(line)
    if amount is None:
        raise AmountError(f"{text.strip()!r}: begin with a power or a share, as in {SHED_EXAMPLES}")
    is_share = "%" in amount[0]
    if word and is_share != (word == "by"):
        both = "under a power, as in under 150 MW, or by a share, as in by 20 %"
        raise AmountError(f"{text.strip()[:40]!r} may be meant in two ways: say {both}")
    found = Shed()
    if is_share:
        found = replace(found, cut_ratio=share(amount[0]))
    else:
        found = replace(found, target_watts=power(amount[0]))
    times = dict(_times(line[amount.end() :]))
    return replace(
        found,
        within_seconds=times.get("within_seconds", found.within_seconds),
        duration_seconds=times.get("duration_seconds", 0.0),
        auto_restore="duration_seconds" in times,
    )


def _times(rest: str) -> list[tuple[str, float]]:
    """Return which times a line gives."""
    names = {"for": "duration_seconds", "in": "within_seconds", "within": "within_seconds"}
    left = ["duration_seconds", "within_seconds"]
    found: list[tuple[str, float]] = []
    rest = rest.strip()
    while rest:
        name = left[0] if left else ""
        word = _WORDS.match(rest)
        if word is not None:
            name = names.get(word[0].lower(), "")
            rest = rest[word.end() :].strip()
        match = _SPAN.match(rest)
        if name not in left or match is None:
            raise AmountError(f"{rest or 'its end'!r} is not understood; as in {SHED_EXAMPLES}")
        left.remove(name)
        length = match.end()
        while (more := _SPAN.match(rest[length:])) and rest[length - 1 : length].strip():
            length += more.end()  # 1h30m is one time, 1h 30m are two
        found.append((name, span(rest[:length])))
        rest = rest[length:].strip()
    return found
