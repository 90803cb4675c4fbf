"""Nodes that fall silent: by chance, as hardware fails, or because a scenario says so."""

from __future__ import annotations

import heapq

import numpy as np

from colossus_tui.sim.catalogue import GPU_HOURS_BETWEEN_LOSSES
from colossus_tui.sim.plan import SitePlan

REPAIR_SECONDS = (30.0, 90.0)  # until a spare is there in its place, under its name


class Outages:
    """Which nodes are down; the same losses at the same times, however often it is asked.

    Attributes:
        down: bool [node].
    """

    def __init__(self, plan: SitePlan, seed: int, *, by_chance: bool) -> None:
        self.down = np.zeros(plan.node_count, np.bool_)
        self._rng = np.random.default_rng((seed, 2))
        self._mean_seconds = GPU_HOURS_BETWEEN_LOSSES / plan.gpu_count * 3600
        self._next_seconds = float("inf")
        self._due: list[tuple[float, int]] = []  # when a node is back
        self._until: dict[int, float] = {}
        self._lost: list[int] = []
        if by_chance:
            self._next_seconds = self._rng.exponential(self._mean_seconds)

    def lose(self, node: int, until_seconds: float) -> None:
        """Take a node away; the later of two ends counts."""
        if not self.down[node]:
            self.down[node] = True
            self._lost.append(node)
        if until_seconds > self._until.get(node, -1.0):
            self._until[node] = until_seconds
            heapq.heappush(self._due, (until_seconds, node))

    def advance(self, now_seconds: float) -> tuple[list[int], list[int]]:
        """Return the nodes that went and those that came back since the last time."""
        back = self._back(now_seconds)
        while self._next_seconds <= now_seconds:
            node = int(self._rng.integers(len(self.down)))
            repair = self._rng.uniform(*REPAIR_SECONDS)
            # One that would be back by now was lost in a tick too long to be told.
            self.lose(node, max(self._next_seconds + repair, now_seconds))
            self._next_seconds += self._rng.exponential(self._mean_seconds)
        lost, self._lost = self._lost, []
        return lost, back

    def _back(self, now_seconds: float) -> list[int]:
        back = []
        while self._due and self._due[0][0] <= now_seconds:
            until_seconds, node = heapq.heappop(self._due)
            if self._until.get(node) == until_seconds:
                del self._until[node]
                self.down[node] = False
                back.append(node)
        return back
