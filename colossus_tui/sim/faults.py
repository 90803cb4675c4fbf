"""What a scenario's faults do to devices and runs, from their beginning to their end."""

from __future__ import annotations

import math
from collections.abc import Sequence

from colossus_tui.sim.outages import Outages
from colossus_tui.sim.physics import Physics
from colossus_tui.sim.scenario import Fault, FaultKind, Scenario
from colossus_tui.sim.training import Gang

COOLING_RAMP_SECONDS, DEMAND_RAMP_SECONDS = 180.0, 30.0
_STRIDE = 7_919  # a prime: a storm's events jump over the GPUs that it is about


class Faults:
    """Carries a scenario out."""

    def __init__(
        self, scenario: Scenario, physics: Physics, gangs: Sequence[Gang], outages: Outages
    ) -> None:
        self._scenario = scenario
        self._physics = physics
        self._gangs = gangs
        self._outages = outages
        self._active: list[Fault] = []
        self._now = -math.inf

    def advance(self, now_seconds: float, now_ns: int) -> tuple[list[tuple[int, int]], list[Gang]]:
        """Go on until now.

        Args:
            now_seconds: After the simulation's start.
            now_ns: The same moment, Unix nanoseconds.

        Returns:
            XIDs as pairs of a GPU's row and a code, and the runs that crashed.
        """
        before, self._now = self._now, now_seconds
        crashed = []
        for fault in self._scenario.due(before, now_seconds):
            if self._begin(fault, now_seconds, now_ns):
                self._active.append(fault)
            elif fault.kind is FaultKind.CRASH:
                crashed.append(self._gangs[fault.run_index])
        xids: list[tuple[int, int]] = []
        for fault in tuple(self._active):
            if fault.kind is FaultKind.XID_STORM:
                xids += _storm(fault, before, now_seconds)
            if self._go_on(fault, now_seconds):
                self._active.remove(fault)
        for gpu, code in xids:
            self._physics.set_xid(gpu, code)
        return xids, crashed

    def idle_nodes(self) -> list[range]:
        """Return the nodes that do no work now though a run may hold them."""
        return [fault.nodes for fault in self._active if fault.kind is FaultKind.IDLE]

    def _begin(self, fault: Fault, now_seconds: float, now_ns: int) -> bool:
        """Begin a fault; return whether it is to be gone on with."""
        match fault.kind:
            case FaultKind.HANG:
                left = fault.end_seconds - now_seconds
                self._gangs[fault.run_index].hang(now_ns + int(left * 1e9))
            case FaultKind.CHECKPOINT:
                self._gangs[fault.run_index].is_checkpoint_wanted = True
            case FaultKind.CRASH:
                self._gangs[fault.run_index].crash()
            case FaultKind.NODE_LOSS:
                for node in fault.nodes:
                    self._outages.lose(node, fault.end_seconds)
            case _:
                return True
        return False

    def _go_on(self, fault: Fault, now_seconds: float) -> bool:
        """Bring a fault to its strength of now; return whether it is over."""
        physics, is_over = self._physics, now_seconds >= fault.end_seconds
        match fault.kind:
            case FaultKind.STRAGGLER:
                pace = 1.0 if is_over else fault.size
                physics.clock_cap[fault.gpus.start : fault.gpus.stop] = pace
            case FaultKind.COOLING:
                strength, is_over = _strength(fault, now_seconds, COOLING_RAMP_SECONDS)
                physics.warm_inlet(fault.nodes, fault.size * strength)
            case FaultKind.FEED_LIMIT:
                strength, is_over = _strength(fault, now_seconds, DEMAND_RAMP_SECONDS)
                physics.set_demand(fault.nodes, 1 + (fault.size - 1) * strength)
        return is_over


def _strength(fault: Fault, now_seconds: float, ramp_seconds: float) -> tuple[float, bool]:
    """Return how strong a fault is, 0 to 1, as it grows and falls, and whether it is over."""
    ramp = min(ramp_seconds, fault.duration_seconds / 3)
    rising = (now_seconds - fault.at_seconds) / ramp
    falling = 1 - (now_seconds - fault.end_seconds) / ramp
    return max(0.0, min(1.0, rising, falling)), falling <= 0


def _storm(fault: Fault, before: float, now_seconds: float) -> list[tuple[int, int]]:
    """Return the events of a storm that came since: evenly over its time and its GPUs."""
    count, spacing = int(fault.size), fault.duration_seconds / int(fault.size)
    first = max(0, math.floor((before - fault.at_seconds) / spacing) + 1 if before >= 0 else 0)
    last = min(count - 1, math.floor((now_seconds - fault.at_seconds) / spacing))
    return [
        (fault.gpus[number * _STRIDE % len(fault.gpus)], fault.xid)
        for number in range(first, last + 1)
    ]
