"""When a run ends, and between when and when."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.runs.eta import LEAST_LEDGER_SECONDS, LEAST_WINDOWS, Pace, eta
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.ledger import CAUSES, LET_WAIT, Ledger


def paced(*step_seconds: float) -> Pace:
    """Steps ten seconds apart, each alone in its window."""
    pace = Pace()
    for place, seconds in enumerate(step_seconds):
        pace.add(StepPoint(place, place * 10 * 10**9, 2.0, 1.0, seconds, 64))
    return pace


def seconds_left(unix_ns: int) -> float:
    return (unix_ns - time.time_ns()) / 1e9


def test_without_a_rest_nothing_is_known() -> None:
    end = eta(None, paced(*[1.0] * 20), Ledger())

    assert (end.expected, end.early, end.late) == (0, 0, 0)


def test_a_band_needs_some_windows() -> None:
    few = eta(1_000.0, paced(*[1.0] * (LEAST_WINDOWS - 1)), Ledger())
    enough = eta(1_000.0, paced(*[1.0] * LEAST_WINDOWS), Ledger())

    assert few.expected
    assert not few.early
    assert seconds_left(enough.early) == pytest.approx(1_000.0, abs=5)
    assert seconds_left(enough.late) == pytest.approx(1_000.0, abs=5)


def test_lost_time_puts_off_what_is_expected_but_not_the_earliest_end() -> None:
    ledger = Ledger()
    ledger.add("productive", 900.0, 0.0)
    ledger.add("down", 300.0, 0.0)
    ledger.add("paused", 100_000.0, 0.0)  # an operator's doing says nothing of the time to come
    end = eta(900.0, paced(*[1.0] * 20), ledger)

    assert seconds_left(end.expected) == pytest.approx(1_200.0, abs=5)
    assert seconds_left(end.early) == pytest.approx(900.0, abs=5)


def test_the_first_minutes_of_a_run_are_no_measure() -> None:
    ledger = Ledger()
    ledger.add("productive", 10.0, 0.0)
    ledger.add("starting", LEAST_LEDGER_SECONDS - 11, 0.0)

    assert seconds_left(eta(900.0, Pace(), ledger).expected) == pytest.approx(900.0, abs=5)


def test_an_hour_ago_is_forgotten() -> None:
    pace = paced(*[9.0] * 30)
    for place in range(30):
        pace.add(StepPoint(place, (4_000 + place * 10) * 10**9, 2.0, 1.0, 1.0, 64))

    assert pace.spread() == (1.0, 1.0)


@given(
    st.lists(st.floats(0.01, 1e4), min_size=LEAST_WINDOWS, max_size=400),
    st.floats(0, 1e8),
    st.dictionaries(st.sampled_from(CAUSES), st.floats(0, 1e6)),
    st.floats(1, 1e6),
)
def test_early_comes_before_expected_and_late_after(
    step_seconds: list[float], rest: float, lost: dict[str, float], productive: float
) -> None:
    ledger = Ledger()
    ledger.add("productive", productive, 0.0)
    for cause, seconds in lost.items():
        ledger.add(cause, seconds, 0.0)

    end = eta(rest, paced(*step_seconds), ledger)

    assert 0 < productive <= ledger.meant_seconds()[1] + 1e-3
    assert set(LET_WAIT) <= set(CAUSES)
    slack = 10**9  # each is from a now of its own
    if end.early and end.expected and end.late:
        assert end.early <= end.expected + slack
        assert end.expected <= end.late + slack
