"""Places, limits and found GPUs as the command line's tables; everything foreign made harmless."""

from __future__ import annotations

import math
from collections.abc import Sequence

from colossus_tui.cli.output import table
from colossus_tui.model import Extreme, Found, FoundGpu, NamedLimit, Place, PlaceKind, RollUp
from colossus_tui.model.match import GPU_FIELDS, NumberField
from colossus_tui.text import NOT_AVAILABLE, duration, measured, number, ratio, safe, watts

UNIT_LENGTH = 16  # an agent names the units of its columns
OLD_SECONDS = 5.0  # a figure older than this says so
WARNING_RATIO = 0.90
CRITICAL_RATIO = 0.97
NEARLY_ALL = 0.99  # a median of fewer of the GPUs that report says of how many it is
SUMMED_UNITS = ("W", "B")  # the sum of any other metric means nothing
FOUND_COLUMNS = (
    ("gpu_temperature", "TEMP"), ("power", "POWER"), ("gpu_utilisation", "USE"),
    ("tensor_active", "TENSOR"), ("sm_clock", "CLOCK"),
)  # fmt: skip
_UNITS = {
    field.metric: "ratio" if field.is_ratio else next(iter(field.units), "")
    for field in GPU_FIELDS.values()
    if isinstance(field, NumberField) and field.metric
}


# --- limits --------------------------------------------------------------------------------


def limit_lines(limits: Sequence[NamedLimit]) -> list[str]:
    """Return each named limit in a line: what is used of it, what that covers, and its mark."""
    if not limits:
        return []
    heads = ("LIMIT", "OF", "POWER", "BY", "LIMIT AT", "USED", "GPUS", "")
    return table(heads, [_limit(limit) for limit in limits], "llrlrrrl").splitlines()


def _limit(limit: NamedLimit) -> tuple[str, ...]:
    used = limit_ratio(limit)
    return (
        safe(limit.name, 64),
        safe(limit.of_part, 68) or "site",
        watts(limit.power_watts),
        safe(limit.basis, 24) or NOT_AVAILABLE,
        watts(limit.limit_watts or None),
        ratio(used, 1),
        coverage(limit.reporting_gpu_count, limit.gpu_count),
        limit_mark(used),
    )


def limit_ratio(limit: NamedLimit) -> float | None:
    """Return how much of a limit is used; None where nothing is measured, or no limit is set."""
    if limit.power_watts is None or limit.limit_watts <= 0:
        return None
    return limit.power_watts / limit.limit_watts


def limit_mark(used: float | None) -> str:
    """Return the glyph and word of a limit that is nearly or wholly used; "" while it is not."""
    shown = round(used or 0.0, 3)  # the mark is of the percentage beside it
    if shown > 1:
        return "!! critical: over the limit"
    if shown >= CRITICAL_RATIO:
        return "!! critical"
    return "! warning" if shown >= WARNING_RATIO else ""


# --- GPUs that were found ------------------------------------------------------------------


def found_table(found: Found, order: str = "") -> str:
    """Return GPUs, a row each, and of how many they are the first.

    Args:
        order: Metric that they are in the order of; shown also where it is none of the usual ones.
    """
    if not found.gpus:
        return "no GPU meets the filter" if not found.total_count else shown_of(found)
    columns = dict(FOUND_COLUMNS)
    if order and order not in columns:
        columns[order] = safe(order, 32).replace("_", " ").upper()
    rows = [
        (
            safe(gpu.node_name, 63),
            str(gpu.gpu_index),
            *_hall_and_rack(gpu),
            *_run_and_rank(gpu),
            *(measured(gpu.values.get(metric), _UNITS.get(metric, "")) for metric in columns),
            duration(gpu.age_seconds),
        )
        for gpu in found.gpus
    ]
    heads = ("NODE", "GPU", "HALL", "RACK", "RUN", "RANK", *columns.values(), "AGE")
    return table(heads, rows, "lrlllr" + "r" * (len(columns) + 1)) + f"\n{shown_of(found)}"


def found_places(found: Found) -> str:
    """Return where each GPU is, a row each: down to it from its hall, and its rank of a run."""
    rows = [
        (
            " > ".join([*_hall_and_rack(gpu), safe(gpu.node_name, 63), f"GPU {gpu.gpu_index}"]),
            *_run_and_rank(gpu),
            duration(gpu.age_seconds),
            safe(gpu.gpu_uuid, 48) or NOT_AVAILABLE,
        )
        for gpu in found.gpus
    ]
    heads = ("HALL > RACK > NODE > GPU", "RUN", "RANK", "AGE", "UUID")
    return table(heads, rows, "llrrl") + f"\n{shown_of(found)}"


def shown_of(found: Found) -> str:
    """Return how many of the GPUs that were found are shown."""
    shown, total = number(len(found.gpus)), number(found.total_count)
    one = "" if found.total_count == 1 else "s"
    if len(found.gpus) < found.total_count:
        return f"showing {shown} of {total} GPUs"
    return f"{total} GPU{one}"


def _hall_and_rack(gpu: FoundGpu) -> tuple[str, str]:
    return safe(gpu.hall, 63) or NOT_AVAILABLE, safe(gpu.rack, 63) or NOT_AVAILABLE


def _run_and_rank(gpu: FoundGpu) -> tuple[str, str]:
    return safe(gpu.run_id, 63) or "-", number(gpu.rank) if gpu.rank >= 0 else "-"


# --- places and runs -----------------------------------------------------------------------


def places_table(places: Sequence[Place]) -> str:
    """Return places or runs, a row each, with the roll-ups most looked at.

    A rack's hall stands before it; the worst GPU is shown where the hub names one.
    """
    racks = any(place.kind is PlaceKind.RACK for place in places)
    named = any(_worst(place) for place in places)
    heads = (
        *(["HALL"] if racks else []), (places[0].kind.value if places else "place").upper(),
        "NODES", "GPUS", "POWER", "TEMP P50", "P99", "MAX", "USE P50", "TENSOR P50", "CLOCK MIN",
        "AGE", *(["WORST GPU"] if named else []),
    )  # fmt: skip
    rows = [
        (
            *([safe(place.hall, 63) or NOT_AVAILABLE] if racks else []),
            safe(place.name, 63),
            coverage(place.reporting_node_count, place.node_count),
            coverage(reporting_gpus(place), place.gpu_count),
            *_figures(place),
            old(max((one.age_seconds for one in _known(place)), default=0.0)) or "-",
            *([_worst(place) or NOT_AVAILABLE] if named else []),
        )
        for place in places
    ]
    return table(heads, rows, "l" * (1 + racks) + "r" * 10 + "l")


def _figures(place: Place) -> tuple[str, ...]:
    all_reporting = reporting_gpus(place)
    reporting = NEARLY_ALL * all_reporting
    power = place.roll_up("power")
    temperature = place.roll_up("gpu_temperature")
    use, tensor = place.roll_up("gpu_utilisation"), place.roll_up("tensor_active")
    clock = place.roll_up("sm_clock")
    return (
        _figure(power, power.sum if power else None, all_reporting),
        _figure(temperature, temperature.median if temperature else None, reporting),
        _figure(temperature, temperature.p99 if temperature else None),
        _figure(temperature, temperature.max if temperature else None),
        _figure(use, use.median if use else None, reporting),
        _figure(tensor, tensor.median if tensor else None, reporting),
        _figure(clock, clock.min if clock else None, reporting),
    )


def _figure(roll_up: RollUp | None, value: float | None, reporting: float = 0.0) -> str:
    """Return one figure; n/a where none reports, with its own coverage where that is less.

    Args:
        reporting: So many of the place's GPUs need it not be said.
    """
    if roll_up is None or not roll_up.reporting_count:
        return NOT_AVAILABLE
    text = measured(value, safe(roll_up.unit, UNIT_LENGTH))
    if roll_up.reporting_count < reporting:
        text += f" ({coverage(roll_up.reporting_count, roll_up.count)})"
    return text


def _known(place: Place) -> list[RollUp]:
    return [one for one in place.roll_ups if one.reporting_count]


def reporting_gpus(place: Place) -> int:
    """Return how many GPUs of a place report: those with the metric that most of them have."""
    return max((one.reporting_count for one in place.roll_ups), default=0)


def _worst(place: Place) -> str:
    """Return the hottest GPU of a place; "" where the hub names none."""
    temperature = place.roll_up("gpu_temperature")
    return _extreme(temperature) if temperature else ""


def _extreme(roll_up: RollUp) -> str:
    if not roll_up.worst or not roll_up.reporting_count:
        return ""
    gpu = roll_up.worst[0]
    parts = [f"{_gpu(gpu)}: {measured(gpu.value, safe(roll_up.unit, UNIT_LENGTH))}", _of_run(gpu)]
    if text := old(gpu.age_seconds):
        parts.append(f"{text} old")
    return ", ".join(part for part in parts if part)


def _gpu(gpu: Extreme) -> str:
    return f"{safe(gpu.node_name, 63)} GPU {gpu.gpu_index}"


def _of_run(gpu: Extreme) -> str:
    if not gpu.run_id:
        return ""
    run = safe(gpu.run_id, 63)
    return f"rank {number(gpu.rank)} of {run}" if gpu.rank >= 0 else run


def roll_ups_table(place: Place) -> str:
    """Return every metric of one place or run, a row each."""
    rows = [
        (
            safe(one.metric, 32),
            coverage(one.reporting_count, one.count),
            _figure(one, one.sum) if one.unit in SUMMED_UNITS else "-",
            *(_figure(one, value) for value in (one.min, one.median, one.p99, one.max)),
            (old(one.age_seconds) if one.reporting_count else "") or "-",
            _extreme(one) or "-",
        )
        for one in place.roll_ups
    ]
    heads = ("METRIC", "GPUS", "SUM", "MIN", "MEDIAN", "P99", "MAX", "AGE", "WORST GPU")
    return table(heads, rows, "lrrrrrrrl")


def coverage(reporting: int, count: int) -> str:
    """Return how many of how many report."""
    return f"{number(reporting)}/{number(count)}"


def old(seconds: float) -> str:
    """Return an age that must be said; "" for a fresh figure."""
    return duration(seconds) if not math.isfinite(seconds) or seconds > OLD_SECONDS else ""
