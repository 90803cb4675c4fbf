"""What places draw against their limits as rows, and the cooling loops as lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from colossus_tui.model import (
    CoolingLoop,
    Measured,
    PlaceKind,
    PowerPlace,
    PowerView,
    Quality,
    Severity,
)
from colossus_tui.model.power import FULL_RATIO, METER, NEAR_RATIO
from colossus_tui.text import (
    NOT_AVAILABLE,
    age,
    celsius,
    distrust,
    duration,
    fit,
    flow,
    leak,
    number,
    ratio,
    safe,
    signed,
    watts,
    width,
)
from colossus_tui.tui.theme import SEVERITY_STYLES, Glyphs
from colossus_tui.tui.views import GAP, LEFT, Line, Span
from colossus_tui.tui.views.words import wrapped

OLD_SECONDS = 5.0
MOST_NAME_CELLS = 24  # of a place, its indent included
DETAIL_LINES = 3
_QUALITY_STYLES = {
    Quality.GOOD: "plain",
    Quality.UNCERTAIN: "warn",
    Quality.BAD: "bad",
    Quality.STALE: "old",
}


@dataclass(frozen=True, slots=True)
class PowerColumn:
    """One column of the tree.

    Attributes:
        rank: Order in which columns are given room; the smallest first.
    """

    head: str
    cells: int
    rank: int
    cell: Callable[[PowerPlace, int, Glyphs], Span]
    right: bool = True


def key_of(place: PowerPlace) -> str:
    """Return what tells a row of the tree from all others."""
    return "\0".join((place.kind, place.parent if place.kind is PlaceKind.RACK else "", place.name))


def name_of(place: PowerPlace) -> str:
    """Return what a place is called."""
    return safe(place.title, 68)


def alarm_of(place: PowerPlace) -> Severity | None:
    """Return how urgent it is where a limit is nearly used or passed; else None."""
    share = round(place.used_ratio or 0.0, 3)  # as it is shown
    if share < NEAR_RATIO:
        return None
    return Severity.CRITICAL if share >= FULL_RATIO else Severity.WARNING


def _figure(place: PowerPlace, text: str) -> Span:
    if text == NOT_AVAILABLE:
        return text, "faint"
    return text, "old" if place.age_seconds >= OLD_SECONDS else "plain"


def _drawn(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    return _figure(place, watts(place.drawn_watts))


def _basis(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    """Return what it is measured by; a sign where that is not the meter that there is."""
    del cells
    basis = safe(place.basis, 24)
    if place.detail:
        return f"{glyphs.severities[Severity.WARNING]}{basis or NOT_AVAILABLE}", "warn"
    if basis == f"{METER} (modelled)":
        basis = "modelled"
    return basis or NOT_AVAILABLE, "dim" if basis else "faint"


def _headroom(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    text = watts(place.headroom_watts)
    alarm = alarm_of(place)
    return (text, SEVERITY_STYLES[alarm]) if alarm else _figure(place, text)


def _used(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells
    text, alarm = ratio(place.used_ratio, 1), alarm_of(place)
    if alarm:
        return f"{glyphs.severities[alarm]} {text}", SEVERITY_STYLES[alarm]
    return _figure(place, text)


def _bar(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    """Return how full a limit is as a bar; what is over it shows at its end."""
    if place.used_ratio is None:
        return "", "faint"
    filled = min(round(place.used_ratio * cells), cells)
    end = "!" if place.used_ratio > 1 else ""
    bar = (glyphs.bar * (filled - len(end)) + end).ljust(cells, glyphs.missing)
    alarm = alarm_of(place)
    return bar, SEVERITY_STYLES[alarm] if alarm else "accent"


def _change(seconds: int) -> Callable[[PowerPlace, int, Glyphs], Span]:
    def cell(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
        del cells, glyphs
        change = place.change_1s_watts if seconds == 1 else place.change_60s_watts
        text = signed(change, "W")
        return text, "faint" if text == NOT_AVAILABLE else "plain"

    return cell


def _covered(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells
    text = f"{number(place.reporting_gpu_count)}/{number(place.gpu_count)}"
    if place.reporting_gpu_count == place.gpu_count:
        return text, "plain"
    return f"{glyphs.severities[Severity.WARNING]}{text}", "warn"


def _age(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    if place.drawn_watts is None:
        return NOT_AVAILABLE, "faint"
    is_old = place.age_seconds >= OLD_SECONDS
    return (duration(round(place.age_seconds)), "old") if is_old else ("< 5 s", "plain")


def _others(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    return _figure(place, watts(place.other_watts))


def _quality(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    if place.meter is None:
        return "-", "faint"
    quality = place.meter.quality
    return quality.value, "good" if quality is Quality.GOOD else _QUALITY_STYLES[quality]


def _detail(place: PowerPlace, cells: int, glyphs: Glyphs) -> Span:
    del cells, glyphs
    return safe(place.detail, 160), "warn"


PLACE = PowerColumn("PLACE", 14, 0, lambda p, c, g: (name_of(p), "strong"), right=False)
COLUMNS = (
    PLACE,
    PowerColumn("DRAWN", 7, 1, _drawn),
    PowerColumn("BY", 12, 6, _basis, right=False),
    PowerColumn("LIMIT", 7, 3, lambda p, c, g: _figure(p, watts(p.limit_watts))),
    PowerColumn("HEADROOM", 8, 4, _headroom),
    PowerColumn("USED", 9, 2, _used),
    PowerColumn("", 16, 9, _bar, right=False),
    PowerColumn("1 S", 8, 7, _change(1)),
    PowerColumn("60 S", 8, 5, _change(60)),
    PowerColumn("OTHER LOADS", 11, 11, _others),
    PowerColumn("GPUS", 16, 8, _covered),
    PowerColumn("METER", 9, 12, _quality, right=False),
    PowerColumn("AGE", 6, 10, _age),
    PowerColumn("WHY NOT THE METER", 40, 13, _detail, right=False),
)


def columns_for(cells: int, view: PowerView) -> list[tuple[PowerColumn, int]]:
    """Return the columns that fit, in order, with their widths."""
    names = (
        width(name_of(place)) + deep for place, deep in zip(view.places, view.depths(), strict=True)
    )
    most = MOST_NAME_CELLS + max(cells - 80, 0) // 6 - (10 if cells <= 80 else 0)
    wide = {PLACE.head: min(max(names, default=0), most)}
    used, found = LEFT, set()
    for column in sorted(COLUMNS, key=lambda column: column.rank):
        needed = max(column.cells, wide.get(column.head, 0)) + GAP
        if used + needed - GAP < cells:  # beside a scrollbar
            found.add(column.head)
            used += needed
    return [
        (column, max(column.cells, wide.get(column.head, 0)))
        for column in COLUMNS
        if column.head in found
    ]


def rows_of(
    view: PowerView, columns: Sequence[tuple[PowerColumn, int]], glyphs: Glyphs
) -> list[tuple[str, tuple[Span, ...]]]:
    """Return the tree's rows: key and cells; each place is indented as deep as it lies."""
    rows = []
    for place, deep in zip(view.places, view.depths(), strict=True):
        cells = [column.cell(place, room, glyphs) for column, room in columns]
        text, style = cells[0]
        cells[0] = " " * deep + text, style
        rows.append((key_of(place), tuple(cells)))
    return rows


def detail_lines(place: PowerPlace | None, cells: int) -> list[Line]:
    """Return all that is known of the place under the cursor."""
    if place is None:
        return []
    limit = (
        f"limit {safe(place.limit_name, 64)} {watts(place.limit_watts)}, "
        f"{ratio(place.used_ratio, 1)} used, headroom {watts(place.headroom_watts)}"
        if place.limit_watts is not None
        else "no limit is set"
    )
    name = name_of(place)
    basis = f"{watts(place.drawn_watts)} by {safe(place.basis, 24)}"
    text = (
        f"{name}: {basis if place.basis else 'nothing measures its power'}; {limit}; "
        f"1 s {signed(place.change_1s_watts, 'W')}, 60 s {signed(place.change_60s_watts, 'W')}; "
        f"{'; '.join(_parts(place))}"
    )
    lines = wrapped(text, "dim", cells)
    if place.detail:
        lines.insert(0, ((fit(f"{name}: {safe(place.detail, 160)}", cells), "warn"),))
    return lines[:DETAIL_LINES]


def _parts(place: PowerPlace) -> list[str]:
    parts = []
    if place.meter is not None:
        old = duration(round(place.meter.age_seconds, 1))
        parts.append(f"meter {watts(place.meter.value)} ({place.meter.quality}, {old} old)")
    if place.gpu_watts is not None:
        parts.append(f"GPUs {watts(place.gpu_watts)}")
    if place.cpu_watts is not None:
        parts.append(f"CPUs {watts(place.cpu_watts)}")
    if place.other_watts is not None:
        parts.append(f"other loads {watts(place.other_watts)}")
    covered = f"{number(place.reporting_gpu_count)}/{number(place.gpu_count)} GPUs"
    nodes = f"{number(place.reporting_node_count)}/{number(place.node_count)} nodes"
    return [*parts, f"{covered} and {nodes} reporting"]


# --- cooling loops -------------------------------------------------------------------------

LOOP_COLUMNS = (
    ("SUPPLY", 8),
    ("RETURN", 8),
    ("WARMER", 6),
    ("FLOW", 12),
    ("HEAT", 8),
)
LEAK_CELLS = 6


def loop_lines(view: PowerView, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return a head and a line for each cooling loop, those with something wrong first."""
    if not view.loops:
        return []
    longest = max(width(safe(loop.name, 40)) for loop in view.loops)
    name_cells = min(max(longest, len("COOLING LOOP")), 24)
    head = fit("COOLING LOOP", name_cells) + "".join(h.rjust(c + 1) for h, c in LOOP_COLUMNS)
    lines: list[Line] = [((fit(f"{head}  {'LEAK'.ljust(LEAK_CELLS)} HALLS", cells), "head"),)]
    ordered = sorted(view.loops, key=lambda loop: (_wrong(loop), loop.name))
    return lines + [_loop(loop, name_cells, cells, glyphs) for loop in ordered]


def _wrong(loop: CoolingLoop) -> int:
    """Return how urgent a loop is; the smallest the most."""
    if loop.leak is not None and leak(loop.leak.value) == "LEAK":
        return 0
    if _is_warm(loop):
        return 1
    values = (loop.supply_celsius, loop.return_celsius, loop.flow_m3_per_second, loop.leak)
    is_doubtful = any(one is not None and one.quality is not Quality.GOOD for one in values)
    return 2 if is_doubtful else 3


def _is_warm(loop: CoolingLoop) -> bool:
    supply, highest = loop.supply_celsius, loop.max_supply_celsius
    return supply is not None and highest is not None and supply.value > highest


def _loop(loop: CoolingLoop, name_cells: int, cells: int, glyphs: Glyphs) -> Line:
    style = "bad" if _wrong(loop) == 0 else "strong"
    spans: list[Span] = [(fit(safe(loop.name, 40), name_cells), style)]
    warm = "warn" if _is_warm(loop) else ""
    delta = f"{loop.delta_celsius:.1f} K" if loop.delta_celsius is not None else NOT_AVAILABLE
    texts: list[Span] = [
        _sensor(loop.supply_celsius, celsius, warm, warm and glyphs.severities[Severity.WARNING]),
        _sensor(loop.return_celsius, celsius),
        (delta, "plain" if loop.delta_celsius is not None else "faint"),
        _sensor(loop.flow_m3_per_second, flow),
        (watts(loop.heat_watts), "plain" if loop.heat_watts is not None else "faint"),
    ]
    for (text, shown), (_, room) in zip(texts, LOOP_COLUMNS, strict=True):
        spans.append((" " + fit(text, room, right=True), shown))
    spans.append(("  " + fit(_leak(loop.leak, glyphs), LEAK_CELLS), _leak_style(loop.leak)))
    left = cells - sum(width(text) for text, _ in spans) - 1
    doubts = _doubts(loop)
    after = doubts or ", ".join(safe(hall, 63) for hall in loop.halls[:8])
    return (*spans, (" " + fit(after, max(left, 0)).rstrip(), "warn" if doubts else "dim"))


def _sensor(
    found: Measured | None, text: Callable[[float], str], style: str = "", mark: str = ""
) -> Span:
    """Return a value: with a sign where it is not to be trusted, or is itself a warning."""
    if found is None:
        return NOT_AVAILABLE, "faint"
    sign = "" if found.quality is Quality.GOOD else "~"
    return f"{sign or mark}{text(found.value)}", style or _QUALITY_STYLES[found.quality]


def _leak(found: Measured | None, glyphs: Glyphs) -> str:
    if found is None:
        return NOT_AVAILABLE
    word = leak(found.value)
    if word == "LEAK":
        return f"{glyphs.severities[Severity.CRITICAL]} {word}"
    return word if found.quality is Quality.GOOD else f"~{word}"


def _leak_style(found: Measured | None) -> str:
    if found is None:
        return "faint"
    return "bad" if leak(found.value) == "LEAK" else _QUALITY_STYLES[found.quality]


def _doubts(loop: CoolingLoop) -> str:
    """Return which of its values are not to be trusted, and why."""
    values = {
        "supply": loop.supply_celsius,
        "return": loop.return_celsius,
        "flow": loop.flow_m3_per_second,
        "leak": loop.leak,
    }
    doubts = {
        name: distrust(one.quality, one.age_seconds)
        for name, one in values.items()
        if one is not None
    }
    return ", ".join(f"{name} {why}" for name, why in doubts.items() if why)


def source_lines(view: PowerView, cells: int) -> list[Line]:
    """Return how the sources of facility values stand, and what could not be taken from them."""
    if not view.links:
        return [(("no building's sensors are set: [facility] in the hub's settings", "dim"),)]
    away = [link for link in view.links if link.state != "up"]
    up = len(view.links) - len(away)
    count = number(sum(link.value_count for link in view.links))
    text = f"sources {up}/{len(view.links)} up, {count} values"
    if len(view.links) == 1:
        link = view.links[0]
        stands = f"{safe(link.state, 16)} for {age(link.since_unix_ns)}"
        text = f"{safe(link.address, 60)} {stands}, {count} values"
    lines: list[Line] = [((fit(text, cells), "warn" if away else "dim"),)]
    for link in away[:2]:
        why = safe(link.detail, 160) or "no answer yet"
        lines.append(((fit(f"{safe(link.address, 60)}: {why}", cells), "warn"),))
    if view.faults:
        fault, total = view.faults[0], sum(fault.count for fault in view.faults)
        text = (
            f"{number(total)} not taken; the last {age(fault.time_unix_ns)} ago, "
            f"{safe(fault.kind, 24).replace('_', ' ')}: {safe(fault.source, 80)}: "
            f"{safe(fault.detail, 120)}"
        )
        lines.append(((fit(text, cells), "dim"),))
    return lines
