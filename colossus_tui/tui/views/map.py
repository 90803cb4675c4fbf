"""What stands beside a map: its scale, the cell under the cursor, roll-up, limits, the worst."""

from __future__ import annotations

import math
from dataclasses import dataclass

from colossus_tui.model import Extreme, MapLayout, MapRequest, NamedLimit, RollUp
from colossus_tui.text import duration, fit, measured, number, ratio, safe, watts
from colossus_tui.tui.actions import MAP_NAMES
from colossus_tui.tui.theme import Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.heat import (
    LEVELS,
    MARK_SHIFT,
    MARK_WORDS,
    UNMATCHED,
    Picture,
)
from colossus_tui.tui.views.words import wrapped

NEAR_RATIO, FULL_RATIO = 0.90, 0.97  # of a named limit
LIMITS, BAR_CELLS = 6, 8
OLD_SECONDS = 5.0
CELL_WORDS = ("rack", "node", "GPU")  # of the map of the site, a hall, a rack
HEALTH_LEGEND = ("live 0", "grey 3", "stale 6", "lost 9")


def depth(request: MapRequest) -> int:
    """Return how deep a map is: 0 of the site, 1 of a hall, 2 of a rack."""
    return 2 if request.rack else 1 if request.hall else 0


def where_text(request: MapRequest) -> str:
    """Return what a map is of."""
    parts = ("site", *(safe(one, 40) for one in (request.hall, request.rack) if one))
    return " > ".join(parts)


def group_of(layout: MapLayout, index: int) -> tuple[str, int]:
    """Return the name of a cell's group, and which of its cells it is."""
    first = 0
    for name, size in zip(layout.group_names, layout.group_sizes, strict=True):
        if index < first + size:
            return name, index - first
        first += size
    return "", 0


def cell_of(layout: MapLayout, group: str, cell: str = "", place: int = 0) -> int | None:
    """Return a cell by its group and its name, or else its place in the group."""
    first = 0
    for name, size in zip(layout.group_names, layout.group_sizes, strict=True):
        if name == group and size:
            names = layout.cell_names[first : first + size]
            return first + (names.index(cell) if cell in names else min(max(place, 0), size - 1))
        first += size
    return None


def cursor_after(before: MapLayout, after: MapLayout, cursor: int) -> int:
    """Return where the cell that the cursor was on is now, or the one in its place."""
    found = None
    if cursor < len(before.cell_names):
        group, place = group_of(before, cursor)
        found = cell_of(after, group, before.cell_names[cursor], place)
    return max(min(cursor if found is None else found, len(after.cell_names) - 1), 0)


@dataclass(frozen=True, slots=True)
class Beside:
    """All that the lines beside a map are made from.

    Attributes:
        cursor: The cell under the cursor; None on an empty map.
        where: The filter that the picture was drawn with.
        notes: What the screen itself has to say, such as that nothing was found.
    """

    picture: Picture
    request: MapRequest
    cursor: int | None
    limits: tuple[NamedLimit, ...]
    where: str
    notes: tuple[str, ...]
    glyphs: Glyphs
    colours: bool


def tall_lines(beside: Beside, cells: int, lines: int) -> list[Line]:
    """Return the lines beside the map."""
    site_map = beside.picture.site_map
    by = CELL_WORDS[depth(beside.request)]
    name = MAP_NAMES.get(site_map.metric, site_map.metric)
    shown: list[Line] = [((f"{safe(name, 30).upper()} BY {by.upper()}", "head"),)]
    shown += [legend(beside), marks(beside), *_notes(beside, cells)]
    shown += [(), (("UNDER THE CURSOR", "head"),), *cursor_lines(beside)]
    roll_up = site_map.roll_up
    if roll_up is not None:
        title = "WHAT MATCHES" if beside.where else "ALL OF IT"
        shown += [(), ((title, "head"),), *_roll_up(roll_up)]
    if limits := limit_lines(beside, LIMITS):
        shown += [(), (("POWER LIMITS", "head"),), *limits]
    if roll_up is not None and roll_up.worst:
        room = max(lines - len(shown) - 3, 3)
        shown += [(), (("THE WORST", "head"),), *worst_lines(roll_up, cells, room)]
    return shown


def short_lines(beside: Beside, cells: int, lines: int) -> list[Line]:
    """Return the lines below the map, what matters most first."""
    roll_up = beside.picture.site_map.roll_up
    shown = [(*legend(beside), ("  ", "plain"), *marks(beside)), *_notes(beside, cells)]
    shown.append(tuple(span for line in cursor_lines(beside) for span in (*line, ("   ", "plain"))))
    if roll_up is not None and roll_up.reporting_count:
        unit = roll_up.unit
        low, middle, high = (
            measured(value, unit) for value in (roll_up.min, roll_up.median, roll_up.max)
        )
        shown.append(
            (
                (f"{_sum(roll_up)}{low} / {middle} / {high}", "plain"),
                ("  min / median / max of ", "dim"),
                _coverage(roll_up.reporting_count, roll_up.count),
                *_old(roll_up.age_seconds),
            )
        )
    shown += limit_lines(beside, 1)
    if roll_up is not None and roll_up.worst and (room := lines - len(shown) - 1) > 0:
        shown += worst_lines(roll_up, cells, room)
    return shown


def legend(beside: Beside) -> Line:
    """Return the scale: what the lowest and the highest level stand for."""
    scale, colours = beside.picture.scale, beside.colours
    if scale.metric == "health":
        return tuple(
            span
            for word, _, level in (text.partition(" ") for text in HEALTH_LEGEND)
            for span in (_level(int(level), colours), (f" {word}  ", "dim"))
        )
    low, high = scale.ends()
    levels = tuple(_level(level, colours) for level in range(LEVELS))
    return ((f"{low} ", "plain"), *levels, (f" {high}", "plain"))


def _level(level: int, colours: bool) -> Span:
    return str(level), f"heat{level}" if colours else "plain"


def marks(beside: Beside) -> Line:
    """Return what the glyphs mean, with how many cells carry each."""
    glyphs, counts = beside.glyphs, beside.picture.counts()
    spans: list[Span] = [(f"{glyphs.missing} n/a", "dim")]
    for mark in (1, 2, 3):
        count = counts[mark]
        style = "dim" if not count else "bad" if mark == 3 else "warn"
        many = f"{number(count)} " if count else ""
        spans.append((f"  {glyphs.marks[mark]} {many}{MARK_WORDS[mark]}", style))
    if beside.where:
        sample = ("  ", "heat_dim") if beside.colours else (glyphs.unmatched, "dim")
        spans += [("  ", "plain"), sample]
        spans.append((" no match", "dim"))
    return tuple(spans)


def _notes(beside: Beside, cells: int) -> list[Line]:
    """Return how many GPUs the filter meets, or what is wrong with it."""
    site_map = beside.picture.site_map
    lines: list[Line] = []
    if site_map.where_error:
        lines += wrapped(f"filter: {safe(site_map.where_error, 400)}", "warn", cells)
    elif beside.where and site_map.matching_counts:
        total = sum(site_map.layout.gpu_counts) if site_map.layout else 0
        count = sum(site_map.cell_matches())  # of what is shown, as the total is
        text = f"{number(count)} of {number(total)} GPUs match"
        lines.append(((text, "accent" if count else "warn"),))
    for note in beside.notes:
        lines += wrapped(note, "warn", cells)
    return lines


def cursor_lines(beside: Beside) -> list[Line]:
    """Return which cell is under the cursor, and what it says."""
    picture, index = beside.picture, beside.cursor
    layout = picture.site_map.layout
    if layout is None or index is None or index >= len(layout.cell_names):
        return [(("nothing is here", "dim"),)]
    group, _ = group_of(layout, index)
    code, count = picture.codes[index], layout.gpu_counts[index]
    values, matches = picture.site_map.cell_values(), picture.site_map.cell_matches()
    value = values[index] if index < len(values) else math.nan
    mark = code >> MARK_SHIFT & 3
    word = MARK_WORDS[mark]
    spans: list[Span] = []
    if picture.scale.metric != "health":
        spans.append((f"{measured(value, picture.scale.unit)}  ", "strong"))
    spans.append(
        (f"{beside.glyphs.marks[mark]} {word}".strip(), ("good", "warn", "warn", "bad")[mark])
    )
    if depth(beside.request) < 2:
        spans.append((f"  {number(count)} GPUs", "plain"))
    if len(matches) == len(picture.codes) and beside.where:
        text = f"  {number(matches[index])} match" if depth(beside.request) < 2 else "  matches"
        spans.append(("  no match", "dim") if code & UNMATCHED else (text, "accent"))
    cell = safe(layout.cell_names[index], 40)
    if depth(beside.request) == 2 and cell.isdecimal():
        cell = f"GPU {cell}"
    return [((f"{safe(group, 40)} > {cell}", "strong"),), tuple(spans)]


def _sum(roll_up: RollUp) -> str:
    """Return the sum of what can be summed."""
    return f"sum {measured(roll_up.sum, roll_up.unit)}  " if roll_up.unit in ("W", "B") else ""


def _coverage(reporting: int, count: int) -> Span:
    style = "dim" if reporting == count else "warn"
    return f"{number(reporting)}/{number(count)} GPUs", style


def _old(seconds: float) -> tuple[Span, ...]:
    return ((f"  age {duration(seconds)}", "old"),) if seconds >= OLD_SECONDS else ()


def _roll_up(roll_up: RollUp) -> list[Line]:
    covered: Line = (
        _coverage(roll_up.reporting_count, roll_up.count),
        (" reporting", "dim"),
        *_old(roll_up.age_seconds),
    )
    if not roll_up.reporting_count:
        return [covered]
    unit = roll_up.unit
    names = ("min", "median", "p99", "max")
    values = (roll_up.min, roll_up.median, roll_up.p99, roll_up.max)
    figures = tuple(
        span
        for name, value in zip(names, values, strict=True)
        for span in ((f"{name} ", "dim"), (f"{measured(value, unit)}  ", "plain"))
    )
    total = _sum(roll_up)
    first: Line = ((total, "strong"), *covered) if total else covered
    return [first, (*figures, ("of a GPU", "dim"))]


def limit_lines(beside: Beside, count: int) -> list[Line]:
    """Return the named limits that matter here, the nearest first."""
    hall = beside.request.hall
    here = [one for one in beside.limits if not hall or one.hall == hall or not one.of_part]
    return [_limit(one, beside.glyphs) for one in sorted(here, key=_used, reverse=True)[:count]]


def _used(limit: NamedLimit) -> float:
    if limit.power_watts is None or limit.limit_watts <= 0:
        return -1.0
    return limit.power_watts / limit.limit_watts


def _limit(limit: NamedLimit, glyphs: Glyphs) -> Line:
    used = _used(limit)
    style, mark = "plain", " "
    if used >= NEAR_RATIO:
        full = used >= FULL_RATIO
        style, mark = ("bad", glyphs.marks[3]) if full else ("warn", glyphs.marks[1])
    filled = min(max(round(used * BAR_CELLS), 0), BAR_CELLS)
    percent = ratio(used) if used >= 0 else "n/a"
    partial = limit.reporting_gpu_count < limit.gpu_count
    known = min(limit.reporting_gpu_count / max(limit.gpu_count, 1), 0.99)
    return (
        (f"{mark} ", style),
        (fit(safe(limit.name, 60), 18), "plain"),
        (" " + glyphs.bar * filled, "dim" if style == "plain" else style),
        (glyphs.rule * (BAR_CELLS - filled), "faint"),
        (f" {percent:>5}", style),
        (f" of {watts(limit.limit_watts)}", "dim"),
        (f"  {ratio(known)} reports" if partial else "", "warn"),
    )


def worst_lines(roll_up: RollUp, cells: int, count: int) -> list[Line]:
    """Return the GPUs at the worse end, each with whose it is."""
    names = [safe(one.node_name, 63) for one in roll_up.worst[:count]]
    wide = min(max(map(len, names), default=0), 24)
    wide = min(wide, max(cells - 36, 8))
    lines: list[Line] = [
        ((f"{fit('NODE', wide)} GPU {'VALUE':>9}  {fit('RUN', 10)} {'RANK':>6}", "head"),)
    ]
    for one, name in zip(roll_up.worst[:count], names, strict=True):
        lines.append(
            (
                (f"{fit(name, wide)} {one.gpu_index:>3}", "plain"),
                (f" {measured(one.value, roll_up.unit):>9}", "strong"),
                (f"  {fit(safe(one.run_id, 63) or '-', 10)}", "plain"),
                (f" {_rank(one):>6}", "plain"),
                *_old(one.age_seconds),
            )
        )
    return lines


def _rank(one: Extreme) -> str:
    return number(one.rank) if one.rank >= 0 else "-"


def step_down(request: MapRequest, layout: MapLayout, index: int) -> tuple[str, str] | None:
    """Return hall and rack of the map that a cell opens; None where it is a GPU."""
    group, _ = group_of(layout, index)
    match depth(request):
        case 0:
            return group, ""
        case 1:
            return request.hall, group
        case _:
            return None
