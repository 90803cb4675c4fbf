"""Maps and finding GPUs: cells, values, states and matches are those of a count GPU by GPU."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.nodes import GREY_SECONDS
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.site.maps import FIND_LIMIT, UnknownMetricError
from colossus_tui.hub.site.rollups import ROLLED, WORST
from colossus_tui.model import MapLayout, MapRequest, PriorityClass, SiteMap
from colossus_tui.model.match import MatchError
from tests.sim.rolled import METRICS, MOVES, NOW, SITES, Move, NaiveGpu, SmallSite, told

TICKS = st.integers(-1, 13)
LAST = "\uffff"  # places without a name come after all others
HALLS = ("", "A", "B", "B2", "no hall")
RACKS = ("", "r1", "r2", "r10", "no rack")
REQUESTS = st.builds(
    lambda hall, rack, metric: MapRequest(hall, rack if hall else "", metric),
    st.sampled_from(HALLS),
    st.sampled_from(RACKS),
    st.sampled_from([*METRICS, "age", "health", "nothing"]),
)
FILTERS: dict[str, Callable[[NaiveGpu], bool]] = {
    "": lambda gpu: False,
    "run=x": lambda gpu: gpu.run_id == "x",
    "power>2 and run!=y": lambda gpu: gpu.raw["power"] > 2 and gpu.run_id != "y",
    "not temp<=1": lambda gpu: not gpu.raw["gpu_temperature"] <= 1,
    "hall=A or rack=r2": lambda gpu: gpu.node.hall == "A" or gpu.node.rack == "r2",
    "health=live gpu=0": lambda gpu: gpu.node.state == 1 and gpu.index == 0,
    "age>=5": lambda gpu: gpu.node.age >= 5,
    "rank>2": lambda gpu: gpu.rank > 2,
    "node~n0*": lambda gpu: gpu.node.name.startswith("n0"),
    "uuid~gpu-n10*": lambda gpu: gpu.node.name == "n10",
}


def cells_of(site: SmallSite, request: MapRequest) -> dict[tuple[str, str], list[NaiveGpu]]:
    """Return the GPUs of each group and cell of a map, in its order."""
    shown = [
        gpu
        for gpu in site.gpus()
        if not request.hall
        or (
            (gpu.node.hall or "no hall") == request.hall
            and request.rack in ("", gpu.node.rack or "no rack")
        )
    ]

    def key(gpu: NaiveGpu) -> tuple[str, str]:
        node = gpu.node
        if not request.hall:
            return node.hall or LAST, node.rack or LAST
        return (node.name, f"{gpu.index}") if request.rack else (node.rack or LAST, node.name)

    found: dict[tuple[str, str], list[NaiveGpu]] = {}
    for gpu in sorted(shown, key=key):
        found.setdefault(key(gpu), []).append(gpu)
    return found


def layout_of(site: SmallSite, request: MapRequest) -> MapLayout:
    cells = cells_of(site, request)
    groups = list(dict.fromkeys(group for group, _ in cells))
    no_group, no_cell = ("no rack", "") if request.hall else ("no hall", "no rack")
    return MapLayout(
        revision=site.store.place_revision,
        group_names=tuple(no_group if name == LAST else name for name in groups),
        group_sizes=tuple(sum(group == name for group, _ in cells) for name in groups),
        cell_names=tuple(no_cell if name == LAST else name for _, name in cells),
        gpu_counts=tuple(map(len, cells.values())),
    )


def value_of(metric: str, gpus: Sequence[NaiveGpu]) -> float:
    """Return what a cell shows."""
    if metric == "age":
        return max(min(gpu.node.age, 1e9) for gpu in gpus)
    if metric == "health":
        return max(gpu.node.state for gpu in gpus)
    if metric not in METRICS:
        return math.nan
    values = [value for gpu in gpus if not math.isnan(value := gpu.fresh(metric))]
    if not values:
        return math.nan
    if metric in ("power", "memory_used"):
        return math.fsum(values)
    return max(values) if metric == "gpu_temperature" else statistics.median(values)


@SITES
@given(MOVES, TICKS, REQUESTS)
def test_cells_are_sorted_and_each_shows_its_metrics_own_sum_end_or_middle(
    moves: list[Move], tick_after: int, request: MapRequest
) -> None:
    site = told(moves, tick_after=tick_after)
    cells = cells_of(site, request).values()

    drawn = site.maps.draw(request)

    assert drawn.layout == layout_of(site, request)
    expected = [value_of(request.metric, gpus) for gpus in cells]
    assert list(drawn.cell_values()) == pytest.approx(expected, rel=1e-6, nan_ok=True)
    states = [
        max(gpu.node.state for gpu in gpus) + 8 * any(gpu.node.is_failing for gpu in gpus)
        for gpus in cells
    ]
    assert list(drawn.states) == states
    assert (drawn.matching_counts, drawn.matching_gpu_count, drawn.where_error) == (b"", 0, "")


@SITES
@given(MOVES, REQUESTS, st.sampled_from(sorted(FILTERS)))
def test_matches_are_counted_by_cell_and_rolled_up(
    moves: list[Move], request: MapRequest, where: str
) -> None:
    site = told(moves)
    cells = cells_of(site, request).values()
    decide = FILTERS[where]
    asked = MapRequest(request.hall, request.rack, request.metric, where)

    drawn = site.maps.draw(asked)

    matched = [gpu for gpus in cells for gpu in gpus if decide(gpu)]
    assert list(drawn.cell_matches()) == (
        [sum(map(decide, gpus)) for gpus in cells] if where else []
    )
    assert drawn.matching_gpu_count == sum(map(decide, site.gpus()))
    check_roll_up(drawn, request.metric, matched if where else [g for one in cells for g in one])


def check_roll_up(drawn: SiteMap, metric: str, gpus: Sequence[NaiveGpu]) -> None:
    """Compare the figures over what a map shows or a filter meets."""
    one = drawn.roll_up
    if metric not in METRICS:
        assert one is None
        return
    if one is None:
        assert not gpus
        return
    fresh = [gpu for gpu in gpus if not math.isnan(gpu.fresh(metric))]
    values = sorted(gpu.fresh(metric) for gpu in fresh)
    assert (one.count, one.reporting_count) == (len(gpus), len(values))
    if not values:
        assert (one.sum, one.worst) == (0.0, ())
        return
    assert one.sum == pytest.approx(math.fsum(values), rel=1e-12)
    assert (one.min, one.max, one.p99) == (
        values[0],
        values[-1],
        values[-(-99 * len(values) // 100) - 1],
    )
    assert one.median == statistics.median(values)
    assert one.age_seconds == pytest.approx(max(gpu.node.age for gpu in fresh))
    largest = ROLLED.get(metric, True)
    able = [gpu.fresh(metric) for gpu in fresh if largest or gpu.run_id]
    assert [extreme.value for extreme in one.worst] == sorted(able, reverse=largest)[:WORST]


def small() -> SmallSite:
    """Return a site with two halls and a node that names neither hall nor rack."""
    site = SmallSite()
    for name, hall, rack in (
        ("b1", "B", "r2"),
        ("a1", "A", "r1"),
        ("a2", "A", "r1"),
        ("x", "", ""),
    ):
        site.admit(name, 2, hall, rack)
        site.tell(name, power=[100.0, 200.0], gpu_temperature=[40.0, 50.0])
    site.hold("a1", ("10t", 0), ("10t", 1))
    site.tick()
    return site


def test_an_unknown_hall_or_rack_is_empty_and_not_that_of_nodes_without_one() -> None:
    site = small()
    for request in (
        MapRequest("C"),
        MapRequest("A", "r2"),
        MapRequest("C", "r1"),
        MapRequest("A", "no rack"),
        MapRequest("no hall", "r1"),
    ):
        drawn = site.maps.draw(request)
        assert drawn.layout == MapLayout(site.store.place_revision)
        assert (drawn.values, drawn.states) == (b"", b"")

    assert small().maps.draw(MapRequest("no hall")).layout == MapLayout(
        site.store.place_revision, ("no rack",), (1,), ("x",), (2,)
    )
    assert small().maps.draw(MapRequest("no hall", "no rack")).layout == MapLayout(
        site.store.place_revision, ("x",), (2,), ("0", "1"), (1, 1)
    )


def test_an_unknown_metric_is_not_available_anywhere() -> None:
    drawn = small().maps.draw(MapRequest(metric="noise"))

    assert (drawn.metric, drawn.unit, drawn.roll_up) == ("noise", "", None)
    assert all(map(math.isnan, drawn.cell_values()))
    assert len(drawn.cell_values()) == 3


def test_power_is_what_a_map_is_of_when_nothing_is_said() -> None:
    drawn = small().maps.draw(MapRequest(metric=""))

    assert (drawn.metric, drawn.unit) == ("power", "W")
    assert list(drawn.cell_values()) == [600.0, 300.0, 300.0]


def test_a_wrong_filter_is_told_and_the_map_drawn_without_it() -> None:
    drawn = small().maps.draw(MapRequest(where="tempo>3"))

    assert "tempo" in drawn.where_error
    assert (drawn.matching_counts, drawn.matching_gpu_count) == (b"", 0)
    assert list(drawn.cell_values()) == [600.0, 300.0, 300.0]


def test_a_layout_stays_the_same_while_nothing_moves() -> None:
    site = small()
    first = site.maps.draw(MapRequest("A")).layout
    for seconds in range(5):
        for name in site.naive:
            site.tell(name, power=[float(seconds), 1.0])
        site.fail("a1")
        site.tick(10)
        assert site.maps.draw(MapRequest("A")).layout is first

    site.admit("a0", 1, "A", "r1")
    site.tick(10)
    moved = site.maps.draw(MapRequest("A")).layout
    assert first is not None
    assert moved is not None
    assert moved.revision > first.revision
    assert moved.cell_names == ("a0", "a1", "a2")


def test_a_node_that_is_back_with_other_gpus_is_shown_with_these_at_once() -> None:
    site = small()
    site.admit("a1", 1, "A", "r1")

    for _ in range(2):  # before and after the site is grouped anew
        drawn = site.maps.draw(MapRequest("A"))
        assert drawn.layout is not None
        assert (drawn.layout.cell_names, drawn.layout.gpu_counts) == (("a1", "a2"), (1, 2))
        assert [math.isnan(value) for value in drawn.cell_values()] == [True, False]
        site.tick(1)
    site.tell("a1", power=[70.0])
    assert list(site.maps.draw(MapRequest("A", "r1")).cell_values()) == [70.0, 100.0, 200.0]


def test_a_node_that_comes_while_a_map_is_drawn_is_on_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = SmallSite()
    site.admit("a", 2, "h", "r")
    ages = site.store.ages

    def slowly(now: float) -> np.ndarray[Any, np.dtype[np.float64]]:
        known = ages(now)
        site.admit("b", 2, "h", "r")
        site.fail("b")
        return known

    monkeypatch.setattr(site.store, "ages", slowly)
    drawn = site.maps.draw(MapRequest(where="temp>1"))

    assert drawn.layout is not None
    assert drawn.layout.gpu_counts in ((2,), (4,))


def test_maps_are_forgotten_rather_than_kept_for_every_question() -> None:
    site = small()
    for number in range(1_000):
        site.maps.draw(MapRequest(f"hall {number}"))

    assert len(site.maps._grids) <= 257


# --- finding GPUs ----------------------------------------------------------------------------


def found(site: SmallSite, where: str = "", limit: int = 0, order: str = "") -> list[str]:
    return [f"{g.node_name}/{g.gpu_index}" for g in site.maps.find(where, limit, order).gpus]


@SITES
@given(MOVES, st.sampled_from(sorted(FILTERS)), st.sampled_from(METRICS), st.integers(1, 20))
def test_the_worst_that_a_filter_meets_come_first(
    moves: list[Move], where: str, order: str, limit: int
) -> None:
    site = told(moves)
    if not moves:
        with pytest.raises(UnknownMetricError, match="order"):
            site.maps.find(where, limit, order)
        return
    decide = FILTERS[where] if where else lambda gpu: True
    chosen = [gpu for gpu in site.gpus() if decide(gpu)]

    answer = site.maps.find(where, limit, order)

    assert answer.total_count == len(chosen)
    values = sorted(
        (gpu.raw[order] for gpu in chosen if math.isfinite(gpu.raw[order])),
        reverse=ROLLED.get(order, True),
    )
    expected = [*values, *[math.nan] * (len(chosen) - len(values))][:limit]
    got = [gpu.values.get(order, math.nan) for gpu in answer.gpus]
    assert got == pytest.approx(expected, rel=0, abs=0, nan_ok=True)
    by_place = {(gpu.node.name, gpu.index): gpu for gpu in chosen}
    for gpu in answer.gpus:
        naive = by_place.pop((gpu.node_name, gpu.gpu_index))
        node = naive.node
        assert (gpu.hall, gpu.rack, gpu.run_id, gpu.rank) == (
            node.hall,
            node.rack,
            naive.run_id,
            naive.rank,
        )
        assert gpu.gpu_uuid == f"GPU-{node.name}-{naive.index}"
        assert gpu.age_seconds == pytest.approx(min(node.age, 1e9))
        assert gpu.values == {name: v for name, v in naive.raw.items() if math.isfinite(v)}


def test_without_an_order_gpus_come_as_their_nodes_did() -> None:
    site = small()
    site.admit("b1", 3, "B", "r2")
    site.tell("b1", power=[1.0, 2.0, 3.0])

    assert found(site) == ["b1/0", "b1/1", "b1/2", "a1/0", "a1/1", "a2/0", "a2/1", "x/0", "x/1"]
    assert found(site, "hall=A", limit=3) == ["a1/0", "a1/1", "a2/0"]
    assert found(site, "hall=C") == []


@pytest.mark.parametrize(
    ("limit", "count"),
    [(0, 100), (-5, 100), (1, 1), (150, 150), (FIND_LIMIT, FIND_LIMIT), (50_000, FIND_LIMIT)],
)
def test_an_answer_is_bounded_and_says_how_many_there_are(limit: int, count: int) -> None:
    site = SmallSite()
    for number in range(150):
        site.admit(f"n{number}", 8)

    answer = site.maps.find("", limit, "")

    assert (answer.total_count, len(answer.gpus)) == (1_200, count)


def test_a_mistake_in_what_is_looked_for_is_named() -> None:
    site = small()

    with pytest.raises(
        UnknownMetricError, match=r"order: 'noise' is no metric here; known: .*power"
    ):
        site.maps.find("", 1, "noise")
    with pytest.raises(MatchError, match="tempo"):
        site.maps.find("tempo>3", 1, "")


def test_gpus_are_found_by_the_class_of_their_run_and_by_rank() -> None:
    site = small()
    site.runs["10t"] = LiveRun("10t", priority_class=PriorityClass.P0)

    assert found(site, "class=P0") == ["a1/0", "a1/1"]
    assert found(site, "class=P0 rank=1") == ["a1/1"]
    assert found(site, "class=P1") == []


def test_a_found_gpu_says_how_old_its_figures_are() -> None:
    site = small()
    site.admit("new", 1)
    site.now = NOW + GREY_SECONDS
    site.tick()

    ages = {gpu.node_name: gpu.age_seconds for gpu in site.maps.find("", 0, "").gpus}
    assert ages == {"b1": 5, "a1": 5, "a2": 5, "x": 5, "new": 1e9}
    drawn = site.maps.draw(MapRequest())
    assert np.isnan(drawn.cell_values()).all()
    assert list(drawn.states) == [2, 2, 4]
