"""Nodes that fail together: every one in exactly one cluster, of the place that says the most."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.incidents.grouping import (
    FEED,
    HALL,
    NODE,
    RACK,
    SCATTERED,
    SCATTERED_SITE,
    SITE,
    Cluster,
    Layout,
    Standing,
    group,
    lay_out,
)

NONE = Standing()


def layout(halls: int, racks: int, nodes: int, feeds: int = 0) -> Layout:
    """Return halls of so many racks of so many nodes; each feed has as many racks of a hall."""
    rack_of = np.repeat(np.arange(halls * racks, dtype=np.int32), nodes)
    hall_of = np.repeat(np.arange(halls, dtype=np.int32), racks * nodes)
    feed_of = np.full(halls * racks, -1, dtype=np.int32)
    if feeds:
        feed_of[:] = np.arange(halls * racks) * feeds * halls // (halls * racks)
    return lay_out(rack_of, hall_of, feed_of)


def grouped(
    where: Layout, rows: Iterable[int], standing: Standing = NONE
) -> dict[tuple[int, int], list[int]]:
    """Return the rows of each cluster by its level and code."""
    chosen = np.array(sorted(rows), dtype=np.intp)
    clusters = group(chosen, np.arange(chosen.size, dtype=np.float64), where, standing)
    return {(one.level, one.code): one.rows.tolist() for one in clusters}


def test_half_of_a_rack_is_the_rack_and_less_is_nodes() -> None:
    where = layout(2, 10, 18)

    assert grouped(where, range(9)) == {(RACK, 0): list(range(9))}
    assert grouped(where, range(8)) == {(NODE, row): [row] for row in range(8)}


def test_one_node_in_two_is_that_node_and_a_rack_of_one_is_its_node() -> None:
    assert grouped(layout(1, 4, 2), [0]) == {(NODE, 0): [0]}
    assert grouped(layout(1, 10, 1), [3]) == {(NODE, 3): [3]}


def test_half_of_a_feeds_racks_is_the_feed_and_half_of_a_halls_racks_the_hall() -> None:
    where = layout(2, 20, 18, feeds=5)  # four racks each
    one_rack, two_racks = range(18), range(2 * 18)

    assert list(grouped(where, one_rack)) == [(RACK, 0)]
    assert list(grouped(where, two_racks)) == [(FEED, 0)]
    assert list(grouped(where, range(10 * 18))) == [(HALL, 0)]


def test_half_of_the_site_is_the_site() -> None:
    where = layout(4, 10, 18)

    assert list(grouped(where, range(2 * 180))) == [(SITE, 0)]
    assert list(grouped(where, range(4 * 180))) == [(SITE, 0)]
    assert list(grouped(layout(1, 10, 18), range(180))) == [(HALL, 0)]  # it says more


def test_a_few_machines_without_racks_are_the_site_or_themselves() -> None:
    none = np.full(3, -1, dtype=np.int32)
    where = lay_out(none, none, np.zeros(0, dtype=np.int32))

    assert grouped(where, [1]) == {(NODE, 1): [1]}
    assert grouped(where, [0, 1, 2]) == {(SITE, 0): [0, 1, 2]}


def test_too_much_here_and_there_is_told_of_together() -> None:
    where = layout(4, 50, 18)
    here_and_there = [rack * 18 for rack in range(SCATTERED + 1)]

    assert len(grouped(where, here_and_there[:-1])) == SCATTERED
    assert list(grouped(where, here_and_there)) == [(HALL, 0)]


def test_what_fails_in_a_place_with_an_open_incident_belongs_to_it() -> None:
    where = layout(2, 10, 18)

    assert grouped(where, [3, 200], Standing(racks={0})) == {(RACK, 0): [3], (NODE, 200): [200]}
    assert grouped(where, [3, 200], Standing(halls={1})) == {(NODE, 3): [3], (HALL, 1): [200]}
    assert grouped(where, [3, 200], Standing(site=True)) == {(SITE, 0): [3, 200]}
    assert grouped(where, [], Standing(racks={0}, site=True)) == {}


def test_a_cluster_is_as_old_as_half_of_it() -> None:
    where, since = layout(2, 10, 4), np.array([10.0, 50.0, 60.0, 70.0])
    (one,) = group(np.arange(4, dtype=np.intp), since, where, NONE)

    assert (one.first, one.since) == (10.0, 50.0)


def test_a_whole_site_at_once_is_one_cluster() -> None:
    where = layout(19, 402, 18)  # 137,484 nodes
    (one,) = group(np.arange(where.node_count), np.zeros(where.node_count), where, NONE)

    assert (one.level, one.rows.size) == (SITE, where.node_count)


@st.composite
def sites(draw: st.DrawFn) -> tuple[Layout, list[int], Standing]:
    count = draw(st.integers(1, 120))
    rack_count, hall_count = draw(st.integers(0, 12)), draw(st.integers(0, 4))
    hall_of_rack = [draw(st.integers(-1, hall_count - 1)) for _ in range(rack_count)]
    racks = np.array(
        draw(st.lists(st.integers(-1, rack_count - 1), min_size=count, max_size=count))
    )
    halls = np.array([hall_of_rack[rack] if rack >= 0 else -1 for rack in racks.tolist()])
    feeds = np.array([draw(st.integers(-1, 3)) for _ in range(rack_count)], dtype=np.int32)
    where = lay_out(racks.astype(np.int32), halls.astype(np.int32), feeds)
    rows = draw(st.sets(st.integers(0, count - 1)))
    standing = Standing(
        draw(st.frozensets(st.integers(-1, 15))),
        draw(st.frozensets(st.integers(-1, 5))),
        draw(st.frozensets(st.integers(-1, 6))),
        draw(st.booleans()),
    )
    return where, sorted(rows), standing


@given(sites())
def test_every_failing_node_is_in_exactly_one_cluster_of_its_own_place(
    site: tuple[Layout, list[int], Standing],
) -> None:
    where, rows, standing = site
    since = np.linspace(0, 100, len(rows))
    clusters = group(np.array(rows, dtype=np.intp), since, where, standing)

    assert sorted(row for one in clusters for row in one.rows.tolist()) == rows
    assert len({(one.level, one.code) for one in clusters}) == len(clusters)
    assert len(clusters) <= max(SCATTERED_SITE, 1)
    for one in clusters:
        assert one.first <= one.since
        assert _is_there(one, where)


def _is_there(one: Cluster, where: Layout) -> bool:
    racks = where.rack_of[one.rows]
    match one.level:
        case _ if one.level == NODE:
            return bool((one.rows == one.code).all())
        case _ if one.level == RACK:
            return bool((racks == one.code).all())
        case _ if one.level == FEED:
            return bool((where.feed_of_rack[racks] == one.code).all())
        case _ if one.level == HALL:
            return bool((where.hall_of[one.rows] == one.code).all())
    return one.code == 0
