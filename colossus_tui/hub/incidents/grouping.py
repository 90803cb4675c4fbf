"""Which nodes that fail together are one incident: of a rack, a feed, a hall or the site; pure."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.intp]
Codes = npt.NDArray[np.int32]
Seconds = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SHARE = 0.5  # of a place must fail, so that the place is what failed
SCATTERED = 20  # units in a hall: more are told of together, for nobody reads more pages at once
SCATTERED_SITE = 64
NODE, RACK, FEED, HALL, SITE = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where nodes are, by their rows; codes are -1 for none.

    Attributes:
        rack_of: Code of each node's rack.
        hall_of: Code of each node's hall.
        feed_of_rack: Code of each rack's feed.
        rack_sizes: Nodes of each rack.
        hall_sizes: Nodes of each hall.
        hall_of_rack: Code of each rack's hall.
    """

    rack_of: Codes
    hall_of: Codes
    feed_of_rack: Codes
    rack_sizes: Rows
    hall_sizes: Rows
    hall_of_rack: Codes

    @property
    def node_count(self) -> int:
        """Nodes of the site."""
        return int(self.rack_of.size)


def lay_out(rack_of: Codes, hall_of: Codes, feed_of_rack: Codes) -> Layout:
    """Return the layout of these nodes; `feed_of_rack` has a code for every rack."""
    rack_count, hall_count = feed_of_rack.size, int(hall_of.max(initial=-1)) + 1
    hall_of_rack = np.full(rack_count, -1, dtype=np.int32)
    has_rack = rack_of >= 0
    hall_of_rack[rack_of[has_rack]] = hall_of[has_rack]
    return Layout(
        rack_of,
        hall_of,
        feed_of_rack,
        _counts(rack_of, rack_count),
        _counts(hall_of, hall_count),
        hall_of_rack,
    )


@dataclass(frozen=True, slots=True)
class Standing:
    """Places that an incident is open of: what fails there belongs to it, however little it is."""

    racks: Set[int] = field(default_factory=frozenset)
    feeds: Set[int] = field(default_factory=frozenset)
    halls: Set[int] = field(default_factory=frozenset)
    site: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Cluster:
    """Nodes that fail together.

    Attributes:
        level: NODE to SITE.
        code: Row of the node, or code of the place; 0 for the site.
        rows: The nodes, ascending.
        first: Since when the first of them fails, seconds.
        since: Since when half of them do.
    """

    level: int
    code: int
    rows: Rows
    first: float
    since: float


def group(rows: Rows, since: Seconds, layout: Layout, standing: Standing) -> list[Cluster]:
    """Return these failing nodes as clusters; each node is in exactly one.

    Args:
        rows: Distinct, ascending.
        since: Since when each fails, seconds.
    """
    if not rows.size:
        return []
    rack, hall = layout.rack_of[rows], layout.hall_of[rows]
    racks = _racks(rack, layout, standing)
    feeds = _feeds(racks, layout, standing)
    in_rack = _marked(racks, rack)
    feed = np.where(rack >= 0, layout.feed_of_rack[rack], -1) if racks.size else rack
    in_feed = _marked(feeds, feed)
    halls = _halls(hall, in_rack, racks, layout, standing)
    in_hall = _marked(halls, hall)
    level = np.full(rows.size, NODE, dtype=np.int64)
    code = rows.astype(np.int64)
    for where, at, codes in ((in_rack, RACK, rack), (in_feed, FEED, feed), (in_hall, HALL, hall)):
        level[where], code[where] = at, codes[where]
    if standing.site or _is_site(rows, level, code, halls, layout):
        level[:], code[:] = SITE, 0
    return _clusters(level, code, rows, since)


def _racks(rack: Codes, layout: Layout, standing: Standing) -> Flags:
    failing = _counts(rack, layout.rack_sizes.size)
    whole = failing >= np.maximum(np.ceil(layout.rack_sizes * SHARE), 2)
    found: Flags = (whole | _flags(standing.racks, whole.size)) & (failing > 0)
    return found


def _feeds(racks: Flags, layout: Layout, standing: Standing) -> Flags:
    """Return which feeds fail: half of their racks do, at least two."""
    count = int(layout.feed_of_rack.max(initial=-1)) + 1
    sizes, failing = _counts(layout.feed_of_rack, count), _counts(layout.feed_of_rack[racks], count)
    whole = failing >= np.maximum(np.ceil(sizes * SHARE), 2)
    found: Flags = (whole | _flags(standing.feeds, count)) & (failing > 0)
    return found


def _halls(hall: Codes, in_rack: Flags, racks: Flags, layout: Layout, standing: Standing) -> Flags:
    """Return which halls fail: half of their nodes or racks do, or too much here and there."""
    count = layout.hall_sizes.size
    failing = _counts(hall, count)
    rack_counts = _counts(layout.hall_of_rack, count)
    failing_racks = _counts(layout.hall_of_rack[racks], count)
    units = _counts(hall[~in_rack], count) + failing_racks
    whole = failing >= np.maximum(np.ceil(layout.hall_sizes * SHARE), 2)
    whole |= failing_racks >= np.maximum(np.ceil(rack_counts * SHARE), 2)
    whole &= rack_counts != 1  # else the rack is what failed
    found: Flags = (whole | (units > SCATTERED) | _flags(standing.halls, count)) & (failing > 0)
    return found


def _is_site(
    rows: Rows,
    level: npt.NDArray[np.int64],
    code: npt.NDArray[np.int64],
    halls: Flags,
    layout: Layout,
) -> bool:
    """Return whether it is the site that fails: half of its nodes or halls do, or too much."""
    hall_count = layout.hall_sizes.size
    if rows.size >= max(np.ceil(layout.node_count * SHARE), 2) and not _is_one(level, code):
        return True
    if int(np.count_nonzero(halls)) >= max(np.ceil(hall_count * SHARE), 2):
        return True
    loose = int(np.count_nonzero((level == NODE) & (layout.hall_of[rows] < 0)))
    units = np.unique(level * (int(code.max()) + 1) + code).size
    return loose > SCATTERED or units > SCATTERED_SITE


def _is_one(level: npt.NDArray[np.int64], code: npt.NDArray[np.int64]) -> bool:
    """Return whether all of it is one place already, which then says more than the site."""
    return bool(level[0] > NODE and (level == level[0]).all() and (code == code[0]).all())


def _clusters(
    level: npt.NDArray[np.int64], code: npt.NDArray[np.int64], rows: Rows, since: Seconds
) -> list[Cluster]:
    width = int(code.max()) + 1
    keys, place = np.unique(level * width + code, return_inverse=True)
    order = np.argsort(place, kind="stable")
    ends = np.cumsum(np.bincount(place)).tolist()
    found, start = [], 0
    for key, end in zip(keys.tolist(), ends, strict=True):
        members = order[start:end]
        times = np.sort(since[members])
        found.append(
            Cluster(
                key // width,
                key % width,
                rows[members],
                float(times[0]),
                float(times[(times.size - 1) // 2]),
            )
        )
        start = end
    return found


def _counts(codes: Codes, count: int) -> Rows:
    return np.bincount(codes[codes >= 0], minlength=count).astype(np.intp)


def _flags(codes: Set[int], count: int) -> Flags:
    flags = np.zeros(count, dtype=np.bool_)
    flags[[code for code in codes if 0 <= code < count]] = True
    return flags


def _marked(flags: Flags, codes: Codes) -> Flags:
    """Return which of the codes are marked; -1 never is."""
    found: Flags = (codes >= 0) & np.append(flags, False)[codes]
    return found
