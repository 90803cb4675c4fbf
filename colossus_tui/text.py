"""Foreign text made harmless, and numbers with their units: what every screen and table prints."""

from __future__ import annotations

import math
import time
import unicodedata
from collections.abc import Sequence

NOT_AVAILABLE = "n/a"
TEXT_LIMIT = 1_024
UNIT_CELLS = 16
_KINDS_REMOVED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_as_of_ns: int | None = None


def safe(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return foreign text on one line, without control, format or unassigned characters.

    Escapes, newlines, direction marks and invisible characters become U+FFFD, every kind of
    space a plain one; what is cut ends in an ellipsis. The result is still not markup: hand it
    to nothing that reads markup.
    """
    if text.isascii() and text.isprintable() and len(text) <= limit:
        return text
    kept = "".join(map(_safe_character, text[: limit + 1]))
    return kept if len(text) <= limit else kept[: limit - 1] + "…"


def _safe_character(character: str) -> str:
    kind = unicodedata.category(character)
    if kind in _KINDS_REMOVED or unicodedata.combining(character) > 0:
        return "\N{REPLACEMENT CHARACTER}"
    return " " if kind == "Zs" else character


def safe_lines(text: str, count: int) -> list[str]:
    """Return the last lines of foreign text, each harmless."""
    return [safe(line) for line in text.splitlines()[-count:]]


def width(text: str) -> int:
    """Return how many terminal cells a harmless text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """Return text of exactly so many cells: padded, or cut with an ellipsis."""
    if text.isascii() and len(text) <= cells:
        return text.rjust(cells) if right else text.ljust(cells)
    if width(text) > cells:
        kept, used = [], 0
        for character in text:
            used += width(character)
            if used > cells - 1:
                break
            kept.append(character)
        text = "".join(kept) + "…" if cells > 0 else ""
    padding = " " * max(cells - width(text), 0)
    return padding + text if right else text + padding


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with thousands separators; n/a for None and NaN."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    return f"{value:,.{digits}f}"


def compact(value: float | None) -> str:
    """Return a number in at most 7 cells: from a million on three digits and k, M, G, T or P."""
    if value is None or not math.isfinite(value) or abs(value) < 999_999.5:
        return number(value)
    power = min(math.floor(math.log10(abs(value)) / 3), 5)
    scaled = value / 1000.0**power
    if abs(scaled) >= 999.5 and power < 5:
        scaled, power = scaled / 1000.0, power + 1
    places = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{places}f}{'kMGTP'[power - 1]}"


def significant(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    if value and not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{max(digits - 2, 1)}e}"
    places = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(places, 0)}f}"


def ratio(value: float | None, digits: int = 0) -> str:
    """Return a ratio as percent."""
    if value is None or not math.isfinite(percent := value * 100):
        return NOT_AVAILABLE
    return f"{percent:.{digits}f} %"


def scaled(value: float | None, unit: str, base: float = 1000.0) -> str:
    """Return a value with the prefix that leaves one to four digits before the unit."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    prefixes = ("", "Ki", "Mi", "Gi", "Ti", "Pi") if base == 1024 else ("", "k", "M", "G", "T", "P")
    sign, size = ("-" if value < 0 else ""), abs(value)
    for prefix in prefixes:
        if size < base or prefix == prefixes[-1]:
            digits = 0 if not prefix or size >= 100 else 1
            return f"{sign}{size:.{digits}f} {prefix}{unit}"
        size /= base
    raise AssertionError("the last prefix always returns")


def cores(value: float | None) -> str:
    """Return processor use in cores as percent of one, as top does."""
    return ratio(value, 1 if value is not None and value < 0.1 else 0)


def watts(value: float | None) -> str:
    """Return a power in W, kW, MW or GW."""
    return scaled(value, "W")


def fine_watts(value: float | None) -> str:
    """Return a power to four digits, where small changes of a large one count: "163.2 MW"."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    size = abs(value)
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if size >= scale:
            return f"{significant(value / scale)} {prefix}W"
    return f"{value:.0f} W"


def money(value: float | None, currency: str, digits: int = 4) -> str:
    """Return an amount: "$12.34", "$4.213M"; a currency that is a word comes after: "12.34 CHF".

    Args:
        digits: So many that count, at most; with 4 also cents below a thousand.
    """
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    sign, amount = ("-" if value < 0 else ""), _amount(abs(value), digits)
    if is_currency(currency):
        return f"{sign}{currency}{amount}"
    return f"{sign}{amount} {safe(currency, UNIT_CELLS)}".rstrip()


def is_currency(unit: str) -> bool:
    """Return whether a unit is the sign of a currency, which stands before its number."""
    return any(unicodedata.category(character) == "Sc" for character in unit) and unit.isprintable()


def _amount(size: float, digits: int) -> str:
    if size < (9_999.5 if digits > 3 else 999.5):
        cents = 2 if digits > 3 else max(digits - len(str(round(size))), 0)
        places = 0 if size >= 999.995 else min(cents, 2) if size >= 0.095 or not size else 4
        return f"{size:,.{places}f}"
    for prefix in "kMB":
        size /= 1000
        if size < 999.95 or prefix == "B":
            places = max(digits - len(str(round(size))), 0)
            return f"{size:,.{places}f}{prefix}"
    raise AssertionError("the last prefix always returns")


def signed(value: float | None, unit: str) -> str:
    """Return a change with its sign, also where it is none."""
    text = scaled(value, unit)
    return text if text == NOT_AVAILABLE or text.startswith("-") else f"+{text}"


def celsius(value: float | None) -> str:
    """Return a temperature of coolant, where tenths matter."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    return f"{value:.1f} °C"


def flow(value: float | None) -> str:
    """Return a flow of m3/s in litres a minute, a large one in cubic metres a minute."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    cubic = value * 60
    if cubic < 10:
        return f"{number(cubic * 1_000)} l/min"
    return f"{number(cubic, 0 if cubic >= 100 else 1)} m3/min"


def leak(value: float | None) -> str:
    """Return what a leak detector says."""
    return NOT_AVAILABLE if value is None else "LEAK" if value >= 0.5 else "dry"


def distrust(quality: str, age_seconds: float) -> str:
    """Return why a sensor's value is not to be trusted; "" for a good one."""
    if quality == "good":
        return ""
    return f"{duration(age_seconds)} old" if quality == "stale" else quality


def bytes_(value: float | None) -> str:
    """Return a size in binary units."""
    return scaled(value, "B", 1024.0)


def duration(seconds: float | None) -> str:
    """Return a span of time in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_AVAILABLE
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else f"{seconds * 1e6:.0f} us"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 3600:
        return (
            f"{seconds // 60:.0f}m{seconds % 60:02.0f}s"
            if seconds % 60 < 59.5
            else (f"{seconds // 60 + 1:.0f}m00s")
        )
    if seconds < 86_400:
        return f"{seconds // 3600:.0f}h{seconds % 3600 // 60:02.0f}m"
    return f"{seconds // 86_400:.0f}d{seconds % 86_400 // 3600:02.0f}h"


def span(seconds: float | None) -> str:
    """Return a span of time in the one unit that matters: "12 d", "5.2 h"."""
    if seconds is None or not math.isfinite(seconds):
        return NOT_AVAILABLE
    size, unit = _unit(seconds)
    return f"{seconds / size:.{_digits(seconds / size)}f} {unit}"


def band(low: float | None, high: float | None) -> str:
    """Return between what a span of time is, in the larger one's unit: "10-15 d", "33.8-34.1 d"."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return NOT_AVAILABLE
    size, unit = _unit(high)
    for digits in range(_digits(high / size), 3):
        ends = f"{low / size:.{digits}f}", f"{high / size:.{digits}f}"
        if ends[0] != ends[1]:
            break
    return f"{ends[0]}-{ends[1]} {unit}"


def _unit(seconds: float) -> tuple[float, str]:
    units = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
    return next(((s, unit) for s, unit in units if abs(seconds) >= 2 * s), (1.0, "s"))


def _digits(value: float) -> int:
    return 1 if abs(value) < 9.95 else 0


def show_as_of(unix_ns: int | None) -> None:
    """Make everything that is shown relative to the instant a replay shows; None for now again."""
    global _as_of_ns
    _as_of_ns = unix_ns


def now_ns() -> int:
    """Return the instant that what is shown is relative to, Unix nanoseconds."""
    return time.time_ns() if _as_of_ns is None else _as_of_ns


def age(unix_ns: int) -> str:
    """Return how long ago a time was; n/a for 0."""
    if not unix_ns:
        return NOT_AVAILABLE
    return duration(max((now_ns() - unix_ns) / 1e9, 0.0))


def counted(count: int, what: str) -> str:
    """Return a count with its noun: "1 node", "1,200 nodes"."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def from_now(unix_ns: int) -> float | None:
    """Return the seconds until a time; None for 0, which is not known."""
    return max(unix_ns - now_ns(), 0) / 1e9 if unix_ns else None


def hours(value: float | None, unit: str) -> str:
    """Return work in device hours ("GPU·h", "rank·h"); below one in device minutes or seconds."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    device = unit.removesuffix("h")
    if abs(value) >= 0.995:
        return f"{value:,.0f} {unit}" if abs(value) >= 99.5 else f"{significant(value, 2)} {unit}"
    minutes = value * 60
    if abs(minutes) >= 0.995:
        return f"{minutes:.0f} {device}min"
    return f"{minutes * 60:.0f} {device}s"


def clock(unix_ns: int) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(unix_ns / 1e9)) if unix_ns else NOT_AVAILABLE


def measured(value: float | None, unit: str) -> str:
    """Return a value of a metric with its unit, as the contracts name units.

    A unit that they do not name is a node's own word.
    """
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    match unit:
        case "ratio":
            return ratio(value)
        case "W":
            return watts(value)
        case "B":
            return bytes_(value)
        case "B/s":
            return f"{bytes_(value)}/s"
        case "J" | "Wh":
            return scaled(value, unit)
        case "C":
            return f"{value:.0f} °C"
        case "s":
            return duration(value)
        case "mask":
            return f"0x{int(value):x}"
        case "step":
            return number(value)
        case "cores":
            return cores(value)
        case "steps" | "runs":
            return f"{number(value)} {unit}"
        case "count" | "code" | "":
            return number(value) if value == int(value) else number(value, 2)
        case "GPU·h" | "rank·h":
            return hours(value, unit)
        case _ if is_currency(unit):
            return money(value, unit)
        case _:
            return f"{significant(value)} {safe(unit, UNIT_CELLS)}"


def ranges(numbers: Sequence[int], limit: int = 8) -> str:
    """Return growing numbers as ranges: "0-3, 7", cut after so many."""
    parts: list[list[int]] = []
    for value in numbers:
        if parts and value == parts[-1][1] + 1:
            parts[-1][1] = value
        else:
            parts.append([value, value])
    shown = [f"{low}-{high}" if low != high else str(low) for low, high in parts[:limit]]
    more = sum(high - low + 1 for low, high in parts[limit:])
    return ", ".join(shown) + (f" and {more} more" if more else "")


def named(names: Sequence[str], limit: int = 5) -> str:
    """Return names in one phrase: "a, b and 3 more"."""
    more = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def verdict(state: str, code: str | None, detail: str) -> str:
    """Return how something stands in the hub's own words: "refused (conflict): the run is paused".

    The console, the command line and the client show this sentence, never one of their own.

    Args:
        code: Why it went wrong, for programs; None where nothing did.
        detail: The hub's sentence, with the remedy. Untrusted text.
    """
    why = f"{state} ({code})" if code else state
    return f"{why}: {safe(detail)}" if detail else why
