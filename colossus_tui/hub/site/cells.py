"""How roll-ups group GPUs: a cell is the GPUs of one rack that one run holds, or none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_tui.hub.store import Rows, Store

Integers = npt.NDArray[np.int64]
PADDING = 8  # at most one in so many places of a block


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Cells of about one size as a matrix, so that one call looks at all of them.

    Attributes:
        cells: Their numbers.
        width: The size of the largest.
        first: Where they begin when they follow each other and are of one size; else -1.
        places: [cell, width]; a smaller one is filled up with the place after all values.
    """

    cells: Rows
    width: int
    first: int
    places: Rows


def blocks(starts: Rows, sizes: Integers) -> tuple[Block, ...]:
    """Return cells that follow each other as a few blocks."""
    widths, counts = np.unique(sizes, return_counts=True)
    values = widths * counts
    found, last = [], widths.size - 1
    while last >= 0:
        width = int(widths[last])
        size = np.cumsum(counts[last::-1]) * width
        fits = (size - np.cumsum(values[last::-1])) * PADDING <= size
        last -= int(np.flatnonzero(fits)[-1]) + 1
        smaller = int(widths[last]) if last >= 0 else 0
        cells = np.flatnonzero((sizes > smaller) & (sizes <= width))
        found.append(_block(starts[cells], sizes[cells], cells, width, int(values.sum())))
    return tuple(found)


def _block(starts: Rows, sizes: Integers, cells: Rows, width: int, end: int) -> Block:
    if (sizes == width).all() and (np.diff(starts) == width).all():
        return Block(cells, width, int(starts[0]), np.zeros((0, 0), dtype=np.intp))
    offsets = np.arange(width)
    places = np.where(offsets < sizes[:, None], starts[:, None] + offsets, end)
    return Block(cells, width, -1, places.astype(np.intp))


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """All GPUs, cell after cell; racks are whole in a hall, and cells in a rack.

    Attributes:
        order: Store's rows of the GPUs, by cell.
        is_plain: Whether that is the order of the store, so that nothing has to be gathered.
        node_of: Node row of each, in that order.
        starts: Where each cell begins in `order`.
        sizes: GPUs of each.
        hall, rack, run: Codes of each; -1 for none.
        blocks: The cells by size.
    """

    order: Rows
    is_plain: bool
    node_of: npt.NDArray[np.int32]
    starts: Rows
    sizes: Integers
    hall: Integers
    rack: Integers
    run: Integers
    blocks: tuple[Block, ...]

    @property
    def count(self) -> int:
        """Cells."""
        return int(self.starts.size)

    def rows_of(self, cells: Rows) -> Rows:
        """Return the places in `order` of some cells' GPUs."""
        sizes = self.sizes[cells]
        ends = np.cumsum(sizes)
        offsets = np.arange(int(ends[-1]) if ends.size else 0) - np.repeat(ends - sizes, sizes)
        places: Rows = np.repeat(self.starts[cells], sizes) + offsets
        return places


def group(store: Store) -> Cells:
    """Return the cells of the site as it is now."""
    count = store.gpus.row_count
    node_of = store.node_of[:count]
    rows = np.flatnonzero(node_of >= 0)  # GPUs that have gone belong to no node
    nodes = node_of[rows]
    hall = store.hall_of[nodes].astype(np.int64)
    rack = store.rack_of[nodes].astype(np.int64)
    run = store.run_of[:count][rows].astype(np.int64)
    racks, runs = len(store.racks.names) + 1, len(store.runs.names) + 1
    keys = ((hall + 1) * racks + rack + 1) * runs + run + 1
    if (np.diff(keys) >= 0).all():
        order = np.arange(rows.size)
    else:
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
    starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1)) if keys.size else keys
    sizes = np.diff(starts, append=keys.size)
    ordered = rows[order]
    first = order[starts]
    starts = starts.astype(np.intp)
    return Cells(
        order=ordered,
        is_plain=bool(ordered.size == count and (ordered == np.arange(count)).all()),
        node_of=node_of[ordered],
        starts=starts,
        sizes=sizes.astype(np.int64),
        hall=hall[first],
        rack=rack[first],
        run=run[first],
        blocks=blocks(starts, sizes),
    )
