"""Roll-ups of sites of all shapes: what a count GPU by GPU would give, and as of the last tick."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.app import seconds_to_tick
from colossus_tui.hub.nodes import GREY_SECONDS, Nodes
from colossus_tui.hub.site.cells import PADDING, blocks
from colossus_tui.hub.site.rollup import BINS
from colossus_tui.hub.site.rollups import GROUP_SHARE, ROLLED, WORST, RegroupedError, RollUps
from colossus_tui.hub.store import Store
from colossus_tui.model import Extreme, MapRequest, Place, PlaceKind, RollUp
from tests.sim.rolled import METRICS, MOVES, NOW, SITES, UNITS, Move, NaiveGpu, SmallSite, told

TICKS = st.integers(-1, 13)


def groups(site: SmallSite, kind: PlaceKind) -> dict[tuple[str, str], list[NaiveGpu]]:
    """Return the GPUs of each place, by hall (a rack's only) and name."""
    found: dict[tuple[str, str], list[NaiveGpu]] = {}
    for gpu in site.gpus():
        node = gpu.node
        keys = {
            PlaceKind.SITE: ("", ""),
            PlaceKind.HALL: ("", node.hall),
            PlaceKind.RACK: (node.hall, node.rack),
            PlaceKind.RUN: ("", gpu.run_id),
        }
        if kind is PlaceKind.SITE or keys[kind][1]:
            found.setdefault(keys[kind], []).append(gpu)
    if kind is PlaceKind.SITE:
        found.setdefault(("", ""), [])
    return found


def fresh(gpus: Sequence[NaiveGpu], metric: str) -> list[float]:
    """Return the values that count, in order."""
    return sorted(value for gpu in gpus if not math.isnan(value := gpu.fresh(metric)))


def p99(values: Sequence[float]) -> float:
    """Return the smallest value that 99 % do not exceed."""
    return values[-(-99 * len(values) // 100) - 1]


def named(roll_up: RollUp | None) -> RollUp:
    assert roll_up is not None
    return roll_up


def every_place(site: SmallSite) -> Iterator[tuple[Place, list[NaiveGpu]]]:
    for kind in (PlaceKind.SITE, PlaceKind.HALL, PlaceKind.RACK, PlaceKind.RUN):
        places = {(place.hall, place.name): place for place in site.roll_ups.places(kind)}
        expected = groups(site, kind)
        assert list(places) == sorted(expected)
        for key, place in places.items():
            yield place, expected[key]


@SITES
@given(MOVES, TICKS)
def test_sums_and_ends_of_every_place_are_exact_with_what_they_cover(
    moves: list[Move], tick_after: int
) -> None:
    site = told(moves, tick_after=tick_after)
    for place, gpus in every_place(site):
        nodes = {gpu.node.name: gpu.node for gpu in gpus}.values()
        live = [node.age for node in nodes if node.age < GREY_SECONDS]
        assert (place.node_count, place.gpu_count) == (len(nodes), len(gpus))
        assert place.reporting_node_count == len(live)
        assert [one.metric for one in place.roll_ups] == (list(ROLLED) if moves else [])
        for one in place.roll_ups:
            values = fresh(gpus, one.metric)
            assert (one.unit, one.count) == (UNITS[one.metric], len(gpus))
            if not values:
                assert one == RollUp(one.metric, one.unit, len(gpus))
                continue
            assert one.reporting_count == len(values)
            assert (one.min, one.max) == (values[0], values[-1])
            assert one.sum == pytest.approx(math.fsum(values), rel=1e-12)
            assert one.age_seconds == pytest.approx(max(live))


@SITES
@given(MOVES, TICKS)
def test_quantiles_are_exact_in_a_rack_and_to_a_thousandth_of_the_range_elsewhere(
    moves: list[Move], tick_after: int
) -> None:
    site = told(moves, tick_after=tick_after)
    for place, gpus in every_place(site):
        for one in place.roll_ups:
            whole = fresh(site.gpus(), one.metric)
            values = fresh(gpus, one.metric)
            if not values:
                continue
            is_rack = place.kind is PlaceKind.RACK
            within = 0.0 if is_rack else (whole[-1] - whole[0]) / BINS
            rounding = 1e-6 * max(map(abs, whole))
            tolerance = 0.0 if is_rack else within + rounding
            assert abs(one.median - statistics.median(values)) <= tolerance
            assert abs(one.p99 - p99(values)) <= tolerance


@SITES
@given(MOVES)
def test_the_worst_gpus_are_the_naive_worst_and_idle_ones_are_not_at_the_low_end(
    moves: list[Move],
) -> None:
    site = told(moves)
    by_place = {(gpu.node.name, gpu.index): gpu for gpu in site.gpus()}
    for place, gpus in every_place(site):
        if place.kind is PlaceKind.RACK:
            assert not any(one.worst for one in place.roll_ups)
            named_ones = site.roll_ups.places(PlaceKind.RACK, place.hall, place.name)
            place = next(one for one in named_ones if one.hall == place.hall)
        for one in place.roll_ups:
            largest = ROLLED[one.metric]
            able = [gpu for gpu in gpus if largest or gpu.run_id]
            values = sorted(fresh(able, one.metric), reverse=largest)[:WORST]
            assert [extreme.value for extreme in one.worst] == values
            assert len({(e.node_name, e.gpu_index) for e in one.worst}) == len(values)
            for extreme in one.worst:
                gpu = by_place[extreme.node_name, extreme.gpu_index]
                assert replace(extreme, age_seconds=0.0) == Extreme(
                    gpu.node.name, gpu.index, gpu.fresh(one.metric), gpu.run_id, gpu.rank
                )
                assert extreme.age_seconds == pytest.approx(gpu.node.age)


@SITES
@given(MOVES)
def test_a_run_and_the_power_of_a_place_are_answered_for_limits_and_details(
    moves: list[Move],
) -> None:
    site = told(moves)
    for kind in (PlaceKind.SITE, PlaceKind.HALL, PlaceKind.RUN):
        for (_, name), gpus in groups(site, kind).items():
            values = fresh(gpus, "power")
            watts = pytest.approx(math.fsum(values), rel=1e-12) if values else None
            expected = (watts, len(gpus), len(values)) if moves else (None, 0, 0)
            assert site.roll_ups.power(kind, name) == expected
    for run_id in ("x", "y", "nobody", ""):
        place = site.roll_ups.run(run_id)
        gpus = groups(site, PlaceKind.RUN).get(("", run_id), [])
        assert (place.gpu_count if place is not None else 0) == (len(gpus) if run_id else 0)


def two_halls() -> SmallSite:
    site = SmallSite()
    for number, hall in enumerate("AAB"):
        site.admit(f"n{number}", 2, hall, "r")
        site.hold(f"n{number}", ("x", number), ("", -1))
        site.tell(f"n{number}", power=[100.0 + number, 50.0], sm_clock=[1980.0, 345.0])
    site.tick()
    return site


def test_places_are_chosen_by_hall_and_name() -> None:
    site = two_halls()

    def chosen(kind: PlaceKind, hall: str = "", name: str = "") -> list[tuple[str, str, int]]:
        found = site.roll_ups.places(kind, hall, name)
        return [(place.hall, place.name, place.gpu_count) for place in found]

    assert chosen(PlaceKind.RACK) == [("A", "r", 4), ("B", "r", 2)]
    assert chosen(PlaceKind.RACK, "B") == [("B", "r", 2)]
    assert chosen(PlaceKind.RACK, "A", "r") == [("A", "r", 4)]
    assert chosen(PlaceKind.RACK, "C") == chosen(PlaceKind.RACK, name="s") == []
    assert chosen(PlaceKind.HALL, name="A") == [("", "A", 4)]
    assert chosen(PlaceKind.HALL, name="nowhere") == []
    assert chosen(PlaceKind.RUN) == [("", "x", 3)]
    assert chosen(PlaceKind.SITE) == [("", "", 6)]


def test_racks_are_asked_anew_when_their_nodes_move_meanwhile() -> None:
    site = SmallSite()
    for name in ("a", "b"):
        site.admit(name, 2, "h", name)
    site.tick()
    racks = site.roll_ups.each_rack()
    assert next(racks).name == "a"
    site.tick()
    assert next(racks).name == "b"
    racks = site.roll_ups.each_rack()
    next(racks)
    site.admit("a", 2, "h", "c")
    site.now += 60.0
    site.tick()

    with pytest.raises(RegroupedError):
        next(racks)
    assert [rack.name for rack in site.roll_ups.places(PlaceKind.RACK)] == ["b", "c"]


def test_a_rack_is_called_as_its_nodes_call_it_whatever_is_in_its_name() -> None:
    site = SmallSite()
    site.admit("a", 2, "h", "row1/r7")
    site.admit("b", 2, "h/row1", "r7")
    site.tell("a", power=[100.0, 300.0])
    site.tick()

    racks = site.roll_ups.places(PlaceKind.RACK)
    assert [(rack.hall, rack.name) for rack in racks] == [("h", "row1/r7"), ("h/row1", "r7")]
    assert len(site.roll_ups.places(PlaceKind.RACK, "h")) == 1
    layout = site.maps.draw(MapRequest(hall="h")).layout
    assert layout is not None
    assert layout.group_names == ("row1/r7",)


def test_a_site_without_a_node_has_an_empty_roll_up() -> None:
    site = SmallSite()
    assert site.roll_ups.places(PlaceKind.SITE) == [Place(PlaceKind.SITE, "")]
    site.tick()

    assert site.roll_ups.places(PlaceKind.SITE) == [Place(PlaceKind.SITE, "")]
    assert site.roll_ups.places(PlaceKind.HALL) == site.roll_ups.places(PlaceKind.RACK) == []


def one_node() -> SmallSite:
    site = SmallSite()
    site.admit("n", 2)
    site.hold("n", ("x", 0), ("x", 1))
    site.tell("n", power=[100.0, 50.0], sm_clock=[1980.0, 345.0])
    site.tick()
    return site


@pytest.mark.parametrize("make", [two_halls, one_node])
def test_what_comes_after_a_tick_is_in_the_next_ones_figures_only(
    make: Callable[[], SmallSite],
) -> None:
    site = make()
    before = site.roll_ups.places(PlaceKind.SITE)
    for name in site.naive:
        site.tell(name, power=[1.0, 1.0], sm_clock=[1.0, 1.0])

    assert site.roll_ups.places(PlaceKind.SITE) == before
    site.tick()
    assert named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power")).max == 1.0


def test_a_gpu_that_went_since_the_tick_is_not_named() -> None:
    site = two_halls()
    site.admit("n0", 1, "A", "r")

    power = named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power"))
    assert [one.node_name for one in power.worst] == ["n1", "n2"]
    assert power.count == 6


def test_half_of_two_values_is_between_them() -> None:
    site = SmallSite()
    site.admit("n", 2)
    site.tell("n", power=[100.0, 300.0])
    site.tick()

    power = named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power"))
    assert power.median == pytest.approx(200.0, abs=0.2)


def test_values_that_differ_by_less_than_a_float_can_divide_are_rolled_up() -> None:
    site = SmallSite()
    site.admit("n", 2)
    site.tell("n", power=[0.0, 1e-38])
    site.tick()

    power = named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power"))
    assert power.reporting_count == 2
    assert power.median == pytest.approx(0.0, abs=1e-30)


def test_quantiles_over_thousands_of_gpus_are_within_a_thousandth_of_the_range() -> None:
    rng = np.random.default_rng(1)
    site = SmallSite()
    for number in range(200):
        site.admit(f"n{number:03}", 8, f"h{number % 3}", f"r{number // 20}")
        site.hold(f"n{number:03}", *[("xy"[number % 2], rank) for rank in range(8)])
        site.frame(f"n{number:03}", rng.gamma(2.0, 300.0, (8, len(METRICS))))
    site.tick()
    whole = {metric: fresh(site.gpus(), metric) for metric in METRICS}

    for place, gpus in every_place(site):
        for one in place.roll_ups:
            values = fresh(gpus, one.metric)
            tolerance = (whole[one.metric][-1] - whole[one.metric][0]) / BINS
            assert one.median == pytest.approx(statistics.median(values), abs=tolerance)
            assert one.p99 == pytest.approx(p99(values), abs=tolerance)


@pytest.mark.parametrize("usual", [(500.0, 700.0), (600.0, 600.0)])
def test_a_wild_figure_leaves_the_quantiles_of_all_others_as_fine_as_they_were(
    usual: tuple[float, float],
) -> None:
    rng = np.random.default_rng(1)
    site = SmallSite()
    for number in range(60):
        site.admit(f"n{number:03}", 8, "h", f"r{number // 20}")
        site.tell(f"n{number:03}", power=rng.uniform(*usual, 8).tolist())
    site.tell("n007", power=[3e38, *[600.0] * 7])
    site.tell("n008", power=[-3e38, *[600.0] * 7])
    site.tick()

    values = fresh(site.gpus(), "power")
    power = named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power"))
    within = (usual[1] - usual[0]) / BINS + 1e-3
    assert power.median == pytest.approx(statistics.median(values), abs=within)
    assert power.p99 == pytest.approx(p99(values), abs=within)
    assert (power.min, power.max) == (values[0], values[-1])


@SITES
@given(st.lists(st.integers(1, 40), max_size=60))
def test_blocks_hold_each_cell_once_and_little_else(sizes: list[int]) -> None:
    starts = np.cumsum([0, *sizes])[:-1].astype(np.intp)
    values = np.arange(sum(sizes) + 1)
    found = blocks(starts, np.array(sizes, dtype=np.int64))

    assert sorted(cell for block in found for cell in block.cells) == list(range(len(sizes)))
    for block in found:
        if block.first >= 0:
            end = block.first + block.cells.size * block.width
            matrix = values[block.first : end].reshape(-1, block.width)
        else:
            matrix = values[block.places]
        padding = 0
        for cell, row in zip(block.cells, matrix, strict=True):
            begin, size = int(starts[cell]), sizes[cell]
            assert row[:size].tolist() == list(range(begin, begin + size))
            assert set(row[size:].tolist()) <= {sum(sizes)}
            padding += block.width - size
        assert padding * PADDING <= matrix.size


def test_the_site_is_grouped_anew_only_when_something_moved() -> None:
    site = two_halls()
    cells, revision = site.roll_ups.cells, site.roll_ups.revision
    site.tell("n0", power=[7.0, 7.0])
    site.admit("n0", 2, "A", "r")  # the same again
    site.tick(100)

    assert site.roll_ups.cells is cells
    assert site.roll_ups.revision == revision
    site.hold("n0", ("x", 0), ("y", 0))
    site.tick(100)
    assert site.roll_ups.revision == revision + 1
    assert [place.name for place in site.roll_ups.places(PlaceKind.RUN)] == ["x", "y"]


def test_grouping_takes_a_tenth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    site = SmallSite()
    site.admit("n0", 1, "A")
    spent = iter(range(1_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(spent)))  # each look takes 1 s
    site.tick()
    site.admit("n1", 1, "A")
    seen = []
    for _ in range(int(GROUP_SHARE) + 1):
        site.tick(1)
        seen.append(site.roll_ups.places(PlaceKind.SITE)[0].gpu_count)

    assert seen == [1] * 9 + [2, 2]


def test_a_node_that_was_let_in_before_it_is_grouped_disturbs_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = two_halls()
    spent = iter(range(1_000))
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(spent)))
    site.admit("n3", 1)
    site.tick(1)
    site.admit("n0", 1, "B", "s")  # others of its GPUs are still grouped as they were
    site.tell("n0", power=[1.0])
    site.tick(1)

    power = named(site.roll_ups.places(PlaceKind.SITE)[0].roll_up("power"))
    assert (power.count, power.reporting_count, power.sum) == (7, 4, 303.0)
    assert [one.node_name for one in power.worst] == ["n1", "n2"]


def test_ages_are_those_at_the_tick() -> None:
    site = two_halls()
    site.now = NOW + 4
    site.tell("n2", power=[1.0, 2.0])
    site.tick()

    halls = {place.name: place for place in site.roll_ups.places(PlaceKind.HALL)}
    assert named(halls["A"].roll_up("power")).age_seconds == 4
    assert named(halls["B"].roll_up("power")).age_seconds == 0
    site.tick(1)
    halls = {place.name: place for place in site.roll_ups.places(PlaceKind.HALL)}
    assert named(halls["A"].roll_up("power")) == RollUp("power", "W", 4)
    assert (halls["A"].reporting_node_count, halls["A"].node_count) == (0, 2)
    assert site.roll_ups.power(PlaceKind.HALL, "A") == (None, 4, 0)


@pytest.mark.parametrize(
    ("wall", "wait"),
    [(100.5, 1.0), (100.75, 0.75), (100.499, 1.001), (100.1, 1.4), (100.0, 0.5)],
)
def test_ticks_fall_between_two_of_the_agents_and_never_twice(wall: float, wait: float) -> None:
    assert seconds_to_tick(wall, 1.0) == pytest.approx(wait)


def test_the_past_keeps_the_rates_of_runs_beside_what_gpus_do() -> None:
    store = Store()
    roll_ups = RollUps(store, Nodes(store))
    roll_ups.rates = lambda: {"10t": 5.0, "6t": math.nan}
    for _ in range(1_000):
        roll_ups.tick()

    def values(run_id: str, since: int) -> list[float]:
        unit, _, found = roll_ups.history(PlaceKind.RUN, run_id, "tokens_per_second", since)
        assert unit == "tokens/s"
        return found

    assert values("10t", 0) == [5.0] * 900
    assert values("10t", 1) == [5.0] * 100  # points of 10 ticks, since 900 do not reach back
    assert values("6t", 0) == []
