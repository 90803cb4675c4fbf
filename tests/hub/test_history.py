"""Steps of a whole life in bounded memory."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.runs.history import STEP_LIMIT, History, StepPoint, every_so_often


def point(step: int, loss: float = 1.0) -> StepPoint:
    return StepPoint(step, step * 10**9, loss, 0.5, 0.1, 64)


def test_a_long_life_is_thinned_evenly_and_keeps_its_ends() -> None:
    history = History()
    for step in range(1, 3 * STEP_LIMIT):
        history.add(point(step))

    steps = history.series("loss", 0, 0).steps

    assert history.thinned
    assert len(steps) <= STEP_LIMIT
    assert {later - earlier for earlier, later in itertools.pairwise(steps)} == {history.stride}
    assert steps[0] == history.stride
    assert steps[-1] > 3 * STEP_LIMIT - 2 * history.stride


def test_steps_done_again_take_the_place_of_the_first() -> None:
    history = History()
    for step in range(1, 11):
        history.add(point(step, loss=1.0))
    history.forget_after(6)
    for step in (7, 8):
        history.add(point(step, loss=2.0))

    series = history.series("loss", 0, 0)

    assert series.steps == (1, 2, 3, 4, 5, 6, 7, 8)
    assert series.values == (1.0,) * 6 + (2.0,) * 2


def test_a_loss_that_is_no_number_is_left_out_not_drawn_as_zero() -> None:
    history = History()
    history.add(point(1, 3.0))
    history.add(point(2, math.nan))
    history.add(point(3, math.inf))

    assert history.series("loss", 0, 0).values == (3.0,)
    assert history.recent_losses(8) == (3.0,)


@pytest.mark.parametrize("count", [2, 7, 100])
def test_fewer_points_keep_first_and_last(count: int) -> None:
    history = History()
    for step in range(1, 101):
        history.add(point(step, float(step)))

    values = history.series("loss", count, 0).values

    assert len(values) == count
    assert (values[0], values[-1]) == (1.0, 100.0)


def test_what_was_written_is_not_written_again() -> None:
    history = History()
    history.add(point(1))
    assert [p.step for p in history.take_unwritten()] == [1]
    history.restore([point(2)])

    assert history.take_unwritten() == []
    assert history.series("loss", 0, 0).steps == (1, 2)


def test_an_unknown_series_is_empty() -> None:
    assert History().series("nonsense", 10, 0).values == ()


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=600, unique=True), st.integers(2, 400))
def test_rows_every_so_often_are_few_and_keep_their_ends(seconds: list[int], most: int) -> None:
    rows = [(at * 10**9, -1, float(at)) for at in sorted(seconds)]

    kept = every_so_often(rows, most)

    assert len(kept) <= most or len(rows) <= most
    assert kept[0] == rows[0]
    assert kept[-1] == rows[-1]
    assert set(kept) <= set(rows)
    assert kept == sorted(kept)
    assert every_so_often(rows, 0) == rows


def test_a_window_that_moves_on_keeps_choosing_the_same_rows() -> None:
    def chosen(start: int) -> set[int]:
        rows = [((start + at) * 10**9, -1, 1.0) for at in range(900)]
        return {row[0] for row in every_so_often(rows, 100)[1:-1]}

    first, later = chosen(1_000_000), chosen(1_000_007)

    assert len(first & later) >= len(first) - 2
