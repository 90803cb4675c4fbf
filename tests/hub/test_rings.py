"""The bounded past of places: three resolutions, each the mean of the finer one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.site.rings import LEVELS, SERIES_LIMIT, Rings

SECOND = 1_000_000_000


def filled(values: list[float]) -> Rings:
    rings = Rings()
    for tick, value in enumerate(values, 1):
        rings.put(tick * SECOND, ["a"], np.array([value]))
    return rings


@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(math.nan), min_size=1, max_size=120))
def test_each_point_is_the_mean_of_what_was_available(values: list[float]) -> None:
    rings = filled(values)

    times, fine = rings.series("a", 0)
    known = [(tick * SECOND, value) for tick, value in enumerate(values, 1) if value == value]
    assert list(zip(times, fine, strict=True)) == known
    for ticks, _ in LEVELS[1:]:
        means = []
        for first in range(0, len(values) - ticks + 1, ticks):
            part = [value for value in values[first : first + ticks] if value == value]
            if part:
                means.append(((first + ticks) * SECOND, sum(part) / len(part)))
        level = next(level for level in rings._levels if level.ticks == ticks)
        kept = level.points[: level.written, 0]
        found = [
            (int(time), float(value))
            for time, value in zip(level.times_unix_ns, kept, strict=False)
            if value == value
        ]
        assert [time for time, _ in found] == [time for time, _ in means]
        expected = [value for _, value in means]
        assert [value for _, value in found] == pytest.approx(expected, rel=1e-5, abs=1e-2)


def test_the_finest_points_that_reach_back_are_given() -> None:
    rings = filled([float(tick) for tick in range(1, 1_201)])  # 20 minutes

    assert len(rings.series("a", 0)[0]) == 900
    assert rings.series("a", 400 * SECOND)[0][0] == 400 * SECOND
    coarse, _ = rings.series("a", 100 * SECOND)
    assert coarse[:2] == [100 * SECOND, 110 * SECOND]
    assert rings.series("b", 0) == ([], [])


def test_memory_is_bounded_whatever_there_is() -> None:
    rings = Rings()
    for round_ in range(3):
        names = [f"{round_}-{number}" for number in range(SERIES_LIMIT)]
        rings.put(round_, names, np.ones(len(names)))

    points = sum(size for _, size in LEVELS)
    assert rings.byte_count == points * SERIES_LIMIT * 4
    assert rings.series("0-5", 0) == ([], [])  # its place was taken
    assert rings.series("1-5", 0) == ([], [])  # all places were taken just before
    assert rings.series("2-5", 0) == ([2], [1.0])


def test_runs_that_come_after_thousands_have_a_past_too() -> None:
    rings = Rings()
    for number in range(3 * SERIES_LIMIT // 8):
        rings.put(number, ["site", *(f"{number}-{part}" for part in range(7))], np.ones(8))

    assert rings.series(f"{number}-3", 0) == ([number], [1.0])
    assert len(rings.series("site", 0)[0]) > 700
