"""Where a map's cells are on the screen, and which cell is beside which; no colours here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from colossus_tui.model import MapLayout
from colossus_tui.text import safe, width

GAP = 2  # characters between blocks
LABEL_CELLS = 16  # that a block's name may ask for
VALUED, WIDE, SINGLE = 8, 2, 1  # characters of a cell


@dataclass(frozen=True, slots=True)
class Block:
    """One group: its name on a line, its cells below.

    Attributes:
        first: Its first cell.
        x: Its left edge, characters.
        line: Of its name.
    """

    name: str
    first: int
    size: int
    x: int
    line: int


@dataclass(frozen=True, slots=True)
class Part:
    """What one line shows of a block: its name if `row` is -1, else its cells from this row on."""

    block: Block
    row: int


@dataclass(frozen=True, slots=True)
class Grid:
    """All blocks side by side and one below the other.

    Attributes:
        per_row: Cells in a row of a block.
        cell: Characters of a cell.
        stack: Rows of cells on a line: 2 where each is half a character high.
        block_cells: Characters of a block.
        across: Blocks side by side.
    """

    per_row: int
    cell: int
    stack: int
    block_cells: int
    across: int
    blocks: tuple[Block, ...] = ()
    lines: tuple[tuple[Part, ...], ...] = ()
    _block_of: tuple[int, ...] = field(default=(), repr=False)

    def place(self, index: int) -> tuple[int, int, int]:
        """Return a cell's left edge, its line and which row of the line it is in."""
        block = self.block_of(index)
        row, column = divmod(index - block.first, self.per_row)
        line, half = divmod(row, self.stack)
        return block.x + column * self.cell, block.line + 1 + line, half

    def block_of(self, index: int) -> Block:
        """Return the block that a cell is in."""
        return self.blocks[self._block_of[index]]

    def row(self, part: Part, half: int) -> range:
        """Return the cells of one row of a part."""
        if part.row < 0:
            return range(0)
        start = (part.row + half) * self.per_row
        end = min(start + self.per_row, part.block.size)
        return range(part.block.first + start, part.block.first + max(end, start))

    def at(self, x: int, line: int, half: int) -> int | None:
        """Return the cell at a place, if there is one."""
        if not 0 <= line < len(self.lines):
            return None
        for part in self.lines[line]:
            cells = self.row(part, half)
            column = (x - part.block.x) // self.cell
            if 0 <= column < len(cells):
                return cells[column]
        return None

    def beside(self, index: int, step: int) -> int:
        """Return the next cell to the right or left; at an edge the next one in order."""
        x, line, half = self.place(index)
        starts = [
            (part.block.x + column * self.cell, cell)
            for part in self.lines[line]
            for column, cell in enumerate(self.row(part, half))
        ]
        found = [cell for left, cell in starts if (left - x) * step > 0]
        if found:
            return found[0] if step > 0 else found[-1]
        return min(max(index + step, 0), len(self._block_of) - 1)

    def above(self, index: int, rows: int) -> int:
        """Return the cell so many rows above, or below if negative, or the last one that way."""
        x, line, half = self.place(index)
        row, left = line * self.stack + half, abs(rows)
        step = -1 if rows > 0 else 1
        best = index
        while left > 0 and 0 <= row + step < len(self.lines) * self.stack:
            row += step
            found = self.at(x, *divmod(row, self.stack))
            if found is not None:
                best, left = found, left - 1
        return best


def plan(layout: MapLayout, cells: int, lines: int, *, few: bool, halves: bool) -> Grid:
    """Return the grid with the largest cells that all fit, else the one with the fewest lines.

    Args:
        few: There are so few cells that each has room for its number.
        halves: Cells may be half a character high.
    """
    kinds = [(VALUED, 1)] if few else []
    kinds += [(WIDE, 1), (SINGLE, 1)]
    if halves:
        kinds.append((SINGLE, 2))
    best = Grid(1, SINGLE, 1, SINGLE, 1)
    for cell, stack in kinds:
        tried = [
            (wide, high, grid) for grid, wide, high in _tried(layout, max(cells, 8), cell, stack)
        ]
        fitting = [one for one in tried if one[1] <= lines and one[0] <= cells]
        if fitting:
            _, _, best = min(
                fitting,
                key=lambda one: (max(one[0] / cells, one[1] / lines), one[0] * one[1]),
            )
            break
        _, _, best = min(tried, key=lambda one: one[1])
    return _placed(layout, best)


def _tried(layout: MapLayout, cells: int, cell: int, stack: int) -> Iterator[tuple[Grid, int, int]]:
    """Yield grids with one block on a line, two, and so on, with the room that each takes."""
    label = min(max((width(safe(n)) for n in layout.group_names), default=1), LABEL_CELLS, cells)
    largest = max(layout.group_sizes, default=1) or 1
    for across in range(1, max(len(layout.group_names), 1) + 1):
        room = (cells - (across - 1) * GAP) // across
        per_row = min(room // cell, largest)
        if per_row < 1 or (room < label and across > 1):
            break
        rows = -(-largest // per_row)
        rows = -(-rows // stack) * stack
        per_row = -(-largest // rows)
        used = max(per_row * cell, label)
        grid = Grid(per_row, cell, stack, used, across)
        high = sum(_heights(layout.group_sizes, grid))
        yield grid, across * used + (across - 1) * GAP, high


def _heights(sizes: Sequence[int], grid: Grid) -> list[int]:
    """Return the lines of each line of blocks."""
    per_line = grid.per_row * grid.stack
    return [
        1 + -(-max(sizes[start : start + grid.across]) // per_line)
        for start in range(0, len(sizes), grid.across)
    ]


def _placed(layout: MapLayout, grid: Grid) -> Grid:
    """Return the grid with its blocks where they are."""
    heights = _heights(layout.group_sizes, grid)
    blocks: list[Block] = []
    lines: list[list[Part]] = [[] for _ in range(sum(heights))]
    block_of: list[int] = []
    first = 0
    for index, (name, size) in enumerate(zip(layout.group_names, layout.group_sizes, strict=True)):
        down, right = divmod(index, grid.across)
        block = Block(name, first, size, right * (grid.block_cells + GAP), sum(heights[:down]))
        blocks.append(block)
        lines[block.line].append(Part(block, -1))
        for row in range(0, -(-size // grid.per_row), grid.stack):
            lines[block.line + 1 + row // grid.stack].append(Part(block, row))
        block_of += [index] * size
        first += size
    return replace(
        grid, blocks=tuple(blocks), lines=tuple(map(tuple, lines)), _block_of=tuple(block_of)
    )
