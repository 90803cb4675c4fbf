"""A map's numbers as few levels that do not flicker: the scale, the cells' codes, what stands out.

A cell's code is its level, with a mark where a node is stale or lost or a sensor fails, and a bit
where a filter meets none of its GPUs.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import or_

from colossus_tui.model import SiteMap
from colossus_tui.model.site import FAILING_STATE
from colossus_tui.text import measured

LEVELS = 10
MISSING = LEVELS  # the level of a cell without a value
LEVEL_BITS, UNMATCHED = 0x0F, 0x40
MARK_SHIFT = 4
FAILING, STALE, LOST = 1, 2, 3  # marks
MARK_WORDS = ("live", "failing", "stale", "lost")
HYSTERESIS = 0.4  # of a level, by which a value must leave its own
LEAST_SPAN = 0.1  # of the middle value: noise must not look like a mountain
LEAST_FILL = 0.35  # of a kept scale that values must still take
SLACK = 0.05  # of a kept scale, by which values may leave it
TAIL = 0.01  # of the cells at either end have no say in the scale
LOW_IS_WORSE = frozenset({"gpu_utilisation", "tensor_active", "sm_clock"})
OUTLIERS = 200
FAR = 4.0  # median deviations from the median, from which a cell stands out
_STATE_LEVELS = bytes([MISSING, 0, 3, 6, 9]) + bytes([MISSING]) * 251
VALUED_CELLS = 160  # a map of so few has room for numbers


def _mark_of(state: int) -> int:
    freshness = state & (FAILING_STATE - 1)
    mark = {3: STALE, 4: LOST}.get(freshness, FAILING if state & FAILING_STATE else 0)
    return mark << MARK_SHIFT


_MARKS = bytes(map(_mark_of, range(256)))
_FRESHNESS = bytes(state & (FAILING_STATE - 1) for state in range(256))


@dataclass(frozen=True, slots=True)
class Scale:
    """From which value to which the levels go."""

    metric: str
    unit: str
    low: float
    high: float

    def ends(self) -> tuple[str, str]:
        """Return both ends as text."""
        return measured(self.low, self.unit), measured(self.high, self.unit)


@dataclass(frozen=True, slots=True)
class Picture:
    """A map ready to be drawn.

    Attributes:
        codes: One byte a cell.
        texts: Each cell's number, where there are few cells; else empty.
    """

    site_map: SiteMap
    scale: Scale
    levels: bytes
    codes: bytes
    texts: tuple[str, ...] = ()

    def counts(self) -> tuple[int, int, int, int]:
        """Return how many cells carry no mark, and how many each mark."""
        found = Counter(code >> MARK_SHIFT & 3 for code in self.codes)
        return found[0], found[FAILING], found[STALE], found[LOST]


def picture_of(site_map: SiteMap, before: Picture | None) -> Picture:
    """Return the map's picture; scale and levels stay what they were as far as they can."""
    layout = site_map.layout
    count = len(layout.cell_names) if layout is not None else 0
    values = [*site_map.cell_values()[:count]]
    values += [math.nan] * (count - len(values))
    states = site_map.states[:count].ljust(count, b"\x01")
    old = before if before is not None and _goes_on(before.site_map, site_map) else None
    scale = scale_of(site_map.metric, site_map.unit, values, old.scale if old else None)
    if site_map.metric == "health":
        levels = states.translate(_FRESHNESS).translate(_STATE_LEVELS)
    else:
        levels = quantised(values, scale, old.levels if old and old.scale == scale else None)
    codes = bytes(map(or_, levels, states.translate(_MARKS)))
    if len(matches := site_map.cell_matches()) == count:
        codes = bytes(c if m else c | UNMATCHED for c, m in zip(codes, matches, strict=True))
    texts: tuple[str, ...] = ()
    if count <= VALUED_CELLS and site_map.metric != "health":
        texts = tuple(measured(value, site_map.unit).replace(" ", "") for value in values)
    return Picture(site_map, scale, levels, codes, texts)


@dataclass(frozen=True, slots=True)
class CellValue:
    """One cell of a map as it is exported; no value is not available."""

    group: str
    cell: str
    metric: str
    unit: str
    value: float | None
    state: str
    gpu_count: int
    matches: bool


def cells_of(picture: Picture) -> list[CellValue]:
    """Return every cell with its value."""
    site_map, layout = picture.site_map, picture.site_map.layout
    if layout is None:
        return []
    values = site_map.cell_values()
    groups = [
        name
        for name, size in zip(layout.group_names, layout.group_sizes, strict=True)
        for _ in range(size)
    ]
    return [
        CellValue(
            groups[index],
            layout.cell_names[index],
            site_map.metric,
            picture.scale.unit,
            values[index] if index < len(values) and math.isfinite(values[index]) else None,
            MARK_WORDS[code >> MARK_SHIFT & 3],
            layout.gpu_counts[index],
            not code & UNMATCHED,
        )
        for index, code in enumerate(picture.codes)
    ]


def _goes_on(before: SiteMap, after: SiteMap) -> bool:
    same = (before.hall, before.rack, before.metric) == (after.hall, after.rack, after.metric)
    return same and before.layout == after.layout


def scale_of(metric: str, unit: str, values: Sequence[float], before: Scale | None) -> Scale:
    """Return a scale with round ends that has room for nearly all values."""
    if unit == "ratio":
        return Scale(metric, unit, 0.0, 1.0)
    known = sorted(value for value in values if math.isfinite(value))
    if not known:
        return before or Scale(metric, unit, 0.0, 1.0)
    cut = int(len(known) * TAIL)
    low, high = known[cut], known[-1 - cut]
    if metric == "age":
        low = 0.0
    least = abs(low + high) / 2 * LEAST_SPAN or 1.0
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    if before is not None:
        room = before.high - before.low
        inside = before.low - room * SLACK <= low and high <= before.high + room * SLACK
        if inside and high - low >= room * LEAST_FILL:
            return before
    step = _step((high - low) / 5, 2.0 if unit == "B" else 10.0)
    low = math.floor(low / step) * step
    return Scale(
        metric, unit, low if known[0] < 0 else max(low, 0.0), math.ceil(high / step) * step
    )


def _step(least: float, base: float) -> float:
    """Return the next round number."""
    power: float = base ** math.floor(math.log(least, base))
    parts = (1.0, 2.0) if base == 2.0 else (1.0, 2.0, 5.0, 10.0)
    return next((part * power for part in parts if part * power >= least), base * power)


def quantised(values: Sequence[float], scale: Scale, before: bytes | None) -> bytes:
    """Return each value's level; one that has left its level only a little keeps it."""
    per_level = (scale.high - scale.low) / LEVELS or 1.0
    low, top = scale.low, LEVELS - 1
    if before is None or len(before) != len(values):
        before = bytes([MISSING]) * len(values)
    levels = bytearray(before)
    for index, value in enumerate(values):
        if not math.isfinite(value):
            levels[index] = MISSING
            continue
        place = (value - low) / per_level
        level = levels[index]
        if level == MISSING or not level - HYSTERESIS < place < level + 1 + HYSTERESIS:
            levels[index] = min(max(int(place), 0), top)
    return bytes(levels)


def outliers(picture: Picture) -> list[int]:
    """Return the cells that stand out, the worst first: lost, stale, failing, then far values."""
    site_map = picture.site_map
    values = site_map.cell_values()
    known = sorted(
        value
        for value, code in zip(values, picture.codes, strict=False)
        if math.isfinite(value) and not code & UNMATCHED
    )
    sign = -1.0 if site_map.metric in LOW_IS_WORSE else 1.0
    middle = known[len(known) // 2] if known else 0.0
    away = sorted(abs(value - middle) for value in known)
    limit = max(away[len(away) // 2] * FAR, abs(middle) * 0.01) if away else math.inf
    found = []
    for index, code in enumerate(picture.codes):
        if code & UNMATCHED:
            continue
        value = values[index] if index < len(values) else math.nan
        far = (value - middle) * sign if math.isfinite(value) else 0.0
        mark = code >> MARK_SHIFT & 3
        if mark or (far > limit and site_map.metric != "health"):
            found.append((-mark, -far, index))
    return [index for _, _, index in sorted(found)[:OUTLIERS]]
