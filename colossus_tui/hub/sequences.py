"""Which numbered messages of each node's agent have come."""

from __future__ import annotations

import numpy as np


class Sequences:
    """One row a node. What an agent writes to its link may come out of order.

    Attributes:
        low: Everything of a node up to here has come.
    """

    def __init__(self) -> None:
        self.low = np.zeros(16, dtype=np.int64)
        self._instances: dict[int, str] = {}
        self._ahead: dict[int, set[int]] = {}

    def begin(self, row: int, instance_id: str, oldest: int) -> int:
        """Start or go on with an agent's instance; return the last sequence that the hub has."""
        if row >= self.low.size:
            grown = np.zeros(max(row + 1, self.low.size * 2), dtype=np.int64)
            grown[: self.low.size] = self.low
            self.low = grown
        if instance_id != self._instances.get(row):
            self._instances[row] = instance_id
            self._ahead.pop(row, None)
            self.low[row] = max(oldest - 1, 0)
        elif oldest - 1 > self.low[row]:
            self.low[row] = oldest - 1
            self._advance(row)
        return int(self.low[row])

    def is_new(self, row: int, sequence: int) -> bool:
        """Note a number; return whether it had not come before. 0 is never numbered."""
        if sequence == 0:
            return True
        low = int(self.low[row])
        if sequence == low + 1 and row not in self._ahead:
            self.low[row] = sequence
            return True
        if sequence <= low or sequence in self._ahead.get(row, ()):
            return False
        self._ahead.setdefault(row, set()).add(sequence)
        self._advance(row)
        return True

    def passes(self, row: int, sequence: int) -> bool:
        """Note a number where they come in order; return whether it is larger than all before."""
        if sequence == 0:
            return True
        if sequence <= self.low[row]:
            return False
        self.low[row] = sequence
        return True

    def _advance(self, row: int) -> None:
        ahead, low = self._ahead.get(row), int(self.low[row])
        if ahead is None:
            return
        while low + 1 in ahead:
            low += 1
            ahead.discard(low)
        if ahead and min(ahead) <= low:
            ahead = self._ahead[row] = {number for number in ahead if number > low}
        if not ahead:
            del self._ahead[row]
        self.low[row] = low
