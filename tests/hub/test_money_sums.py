"""What runs have cost, whatever the ticks: parts make the whole, and nothing is counted twice."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colossus_tui.hub.money.prices import Prices
from tests.hub.money_site import PricedSite

PRICES = Prices(gpu_hours={"default": 2.0, "gb300": 3.0}, megawatt_hours=(90.0,) * 24, overhead=1.3)
WATTS = st.sampled_from([0.0, 140.0, 900.0, math.nan])
HOLDERS = st.sampled_from(["", "a", "b"])
# What happens at one instant, and how long it stays so: who holds each GPU, and its power.
MOVES = st.lists(
    st.tuples(
        st.lists(HOLDERS, min_size=4, max_size=4),
        st.lists(WATTS, min_size=4, max_size=4),
        st.floats(0.1, 600.0),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=50)
@given(MOVES)
def test_sums_are_those_of_each_gpu_by_itself(
    moves: list[tuple[list[str], list[float], float]],
) -> None:
    site = PricedSite(PRICES)
    site.admit("n1", 2, "NVIDIA GB200")
    site.admit("n2", 2, "NVIDIA GB300")
    prices = [2.0, 2.0, 3.0, 3.0]
    spent: dict[str, list[float]] = {}
    for holders, watts, seconds in moves:
        for name, part in (("n1", slice(0, 2)), ("n2", slice(2, 4))):
            site.hold(name, *holders[part])
            site.tell(name, power=watts[part], gpu_utilisation=[0.9, 0.9])
        for holder, power, price in zip(holders, watts, prices, strict=True):
            if not holder:
                continue
            sums = spent.setdefault(holder, [0.0] * 4)
            measured = math.isfinite(power)
            joules = power * seconds if measured else 0.0
            sums[0] += seconds / 3_600
            sums[1] += joules
            sums[2] += price * seconds / 3_600 + joules / 3.6e9 * 90.0 * 1.3
            sums[3] += seconds / 3_600 if measured else 0.0
        half = seconds / 2
        site.tick(half)
        site.tick(seconds - half)

    for run_id, run in site.runs.items():
        hours, joules, money, metered = spent[run_id]
        assert run.spent.gpu_hours == pytest.approx(hours)
        assert run.spent.energy_joules == pytest.approx(joules)
        assert run.spent.money == pytest.approx(money)
        assert run.spent.metered_gpu_hours == pytest.approx(metered)
        assert run.spent.covered_gpu_hours == pytest.approx(metered)
