"""Power and cooling as the command line's tables; everything foreign made harmless."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from colossus_tui.cli.output import table
from colossus_tui.cli.sites import coverage, limit_mark, old
from colossus_tui.model import CoolingLoop, Measured, PowerView
from colossus_tui.text import (
    NOT_AVAILABLE,
    age,
    celsius,
    distrust,
    flow,
    leak,
    number,
    ratio,
    safe,
    signed,
    watts,
)


def power_text(view: PowerView) -> str:
    """Return places, then loops, then what is wrong with their sources."""
    parts = [places_table(view)]
    if view.loops:
        parts.append(loops_table(view.loops))
    if lines := [*_links(view), *_faults(view)]:
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def places_table(view: PowerView) -> str:
    """Return what each place draws, a row each, indented as deep as it lies."""
    heads = ("PLACE", "DRAWN", "BY", "LIMIT", "HEADROOM", "USED", "1 S", "60 S", "OTHER LOADS",
             "GPUS", "AGE", "")  # fmt: skip
    rows = [
        (
            "  " * deep + safe(place.title, 68),
            watts(place.drawn_watts),
            safe(place.basis, 24) or NOT_AVAILABLE,
            watts(place.limit_watts),
            watts(place.headroom_watts),
            ratio(place.used_ratio, 1),
            signed(place.change_1s_watts, "W"),
            signed(place.change_60s_watts, "W"),
            watts(place.other_watts),
            coverage(place.reporting_gpu_count, place.gpu_count),
            old(place.age_seconds) or "-",
            "; ".join(filter(None, (limit_mark(place.used_ratio), safe(place.detail, 120)))),
        )
        for place, deep in zip(view.places, view.depths(), strict=True)
    ]
    return table(heads, rows, "lrlrrrrrrrrl")


def loops_table(loops: Sequence[CoolingLoop]) -> str:
    """Return cooling loops, a row each."""
    heads = ("COOLING LOOP", "SUPPLY", "RETURN", "WARMER", "FLOW", "HEAT", "LEAK", "HALLS")
    rows = [
        (
            safe(loop.name, 64),
            _measured(loop.supply_celsius, celsius),
            _measured(loop.return_celsius, celsius),
            f"{loop.delta_celsius:.1f} K" if loop.delta_celsius is not None else NOT_AVAILABLE,
            _measured(loop.flow_m3_per_second, flow),
            watts(loop.heat_watts),
            _measured(loop.leak, leak),
            ", ".join(safe(hall, 63) for hall in loop.halls[:8]) or "-",
        )
        for loop in loops
    ]
    return table(heads, rows, "lrrrrrll")


def _measured(found: Measured | None, text: Callable[[float], str]) -> str:
    if found is None:
        return NOT_AVAILABLE
    why = distrust(found.quality, found.age_seconds)
    return f"{text(found.value)} ({why})" if why else text(found.value)


def _links(view: PowerView) -> list[str]:
    return [
        f"{safe(link.kind, 16)} {safe(link.address, 100)}: {safe(link.state, 16)} since "
        f"{age(link.since_unix_ns)}, {number(link.value_count)} values"
        + (f"; {safe(link.detail, 200)}" if link.detail else "")
        for link in view.links
    ]


def _faults(view: PowerView) -> list[str]:
    return [
        f"not taken: {number(fault.count)} x {safe(fault.kind, 32)}, the last "
        f"{age(fault.time_unix_ns)} ago from {safe(fault.source, 128)}: {safe(fault.detail, 200)}"
        for fault in view.faults
    ]
