"""From the bytes of a message to a value with time and quality, or to a named fault."""

from __future__ import annotations

import datetime
import json
import math
from dataclasses import dataclass
from typing import Any

from colossus_tui.model import Quality

PAYLOAD_BYTES = 4_096
_SECONDS_BELOW, _MILLISECONDS_BELOW = 1e11, 1e14  # of Unix time until the year 5138


class PayloadError(ValueError):
    """A message holds no value; `kind` names why.

    Attributes:
        kind: "too_large", "not_json", "no_value", "not_finite", "time" or "quality".
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reading:
    """One value as its source told it, in the source's unit.

    Attributes:
        time_seconds: When it was measured, Unix; None where the source does not say.
    """

    value: float
    time_seconds: float | None = None
    quality: Quality = Quality.GOOD
    modelled: bool = False


def decode(data: bytes) -> Reading:
    """Return what a message says: a number, or an object with value, timestamp and quality.

    Raises:
        PayloadError: It says nothing that can be used.
    """
    if len(data) > PAYLOAD_BYTES:
        raise PayloadError("too_large", f"{len(data)} bytes; at most {PAYLOAD_BYTES} are read")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # UnicodeDecodeError is one of the former
        raise PayloadError("not_json", "neither a number nor a JSON object") from None
    if not isinstance(found, dict):
        return Reading(_value(found))
    if "value" not in found:
        raise PayloadError("no_value", 'an object without "value"')
    return Reading(
        _value(found["value"]),
        _time(found.get("timestamp")),
        _quality(found.get("quality")),
        found.get("modelled") is True,
    )


def _value(value: Any) -> float:
    if isinstance(value, bool):
        return float(value)
    if not isinstance(value, int | float):
        raise PayloadError("no_value", f"a value that is a {_kind(value)}, not a number")
    return _finite("not_finite", "a value", value)


def _finite(kind: str, what: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PayloadError(kind, f"{what} that is not finite")
    return number


def _time(value: Any) -> float | None:
    """Return seconds: of RFC 3339 text, or of Unix seconds or milliseconds."""
    if value is None:
        return None
    if isinstance(value, str):
        number = _seconds(value)
    elif isinstance(value, bool) or not isinstance(value, int | float):
        raise PayloadError("time", f"a timestamp that is a {_kind(value)}")
    else:
        number = _finite("time", "a timestamp", value)
    if not 0 < number < _MILLISECONDS_BELOW:
        raise PayloadError("time", "a timestamp that is neither seconds nor milliseconds")
    return number if number < _SECONDS_BELOW else number / 1e3


def _seconds(text: str) -> float:
    try:
        time = datetime.datetime.fromisoformat(text)
        seconds = time.timestamp()
    except (ValueError, OverflowError):
        raise PayloadError("time", "a timestamp that is not RFC 3339") from None
    if time.tzinfo is None:
        raise PayloadError("time", "a timestamp without its distance from UTC")
    return seconds


def _quality(value: Any) -> Quality:
    if value is None:
        return Quality.GOOD
    if isinstance(value, str) and value.lower() in ("good", "uncertain", "bad"):
        return Quality(value.lower())
    raise PayloadError("quality", "a quality that is none of good, uncertain, bad")


def _kind(value: Any) -> str:
    return {str: "text", list: "list", dict: "object", type(None): "null", bool: "truth value"}.get(
        type(value), type(value).__name__
    )
