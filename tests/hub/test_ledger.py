"""Where a run's wall time went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.runs.ledger import CAUSES, PRODUCTIVE, Ledger

SECONDS = st.floats(0, 1e4)
CAUSE = st.sampled_from([PRODUCTIVE, *CAUSES])
STEP = st.one_of(
    st.tuples(st.just("add"), CAUSE, SECONDS),
    st.tuples(st.just("move"), st.sampled_from(CAUSES), SECONDS),
)


@given(steps=st.lists(STEP, max_size=40))
def test_the_parts_always_sum_to_the_whole(steps: list[tuple[str, str, float]]) -> None:
    ledger, whole, now = Ledger(), 0.0, 0.0
    for what, cause, seconds in steps:
        if what == "add":
            now += seconds
            whole += seconds
            ledger.add(cause, seconds, now)
        else:
            ledger.move(cause, seconds, now)
    assert sum(ledger.totals.values()) == pytest.approx(whole)
    assert all(part >= -1e-6 for part in ledger.totals.values())
    ratio = ledger.ratio()
    assert ratio is None or 0 <= ratio <= 1


@given(steps=st.lists(st.tuples(CAUSE, st.floats(0.1, 100)), min_size=1, max_size=30))
def test_what_survives_the_hub_is_the_same(steps: list[tuple[str, float]]) -> None:
    ledger, restored = Ledger(), Ledger()
    for cause, seconds in steps:
        ledger.add(cause, seconds, 60.0)

    restored.restore(ledger.state())

    assert restored.totals == ledger.totals
    assert restored.window_ratio(15, 60.0) == ledger.window_ratio(15, 60.0)


def test_a_window_forgets_what_is_older() -> None:
    ledger = Ledger()
    ledger.add("down", 60, 60.0)
    ledger.add(PRODUCTIVE, 60, 3_600.0)

    assert ledger.window_ratio(15, 3_600.0) == 1.0
    assert ledger.ratio() == 0.5
    assert ledger.window_ratio(15, 1e6) is None


def test_time_found_to_be_of_another_cause_leaves_the_window_too() -> None:
    ledger = Ledger()
    ledger.add(PRODUCTIVE, 100, 100.0)

    ledger.move("checkpointing", 25, 100.0)

    assert ledger.window_ratio(15, 100.0) == 0.75
    assert ledger.totals["checkpointing"] == 25
