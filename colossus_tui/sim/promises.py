"""What the ranks of one run have promised to do at a step, node by node."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

NEVER = np.iinfo(np.int64).max
NO_AGREEMENT = "no such agreement"
TOO_LATE = "waited too long for the commit"


class Phase(IntEnum):
    """How far a promise came."""

    NONE = 0
    PREPARED = 1  # a rank that waits in vain trains on
    READY = 2  # a rank that waits in vain acts
    COMMITTED = 3
    ACTED = 4
    EXPIRED = 5
    ABORTED = 6


class Promises:
    """One promise a node; its ranks act as one."""

    def __init__(self, node_count: int) -> None:
        self._phase = np.zeros(node_count, np.uint8)
        self._agreement = np.zeros(node_count, np.int64)
        self._step = np.zeros(node_count, np.int64)
        self._hold_ns = np.zeros(node_count, np.int64)
        self._is_pause = np.zeros(node_count, np.bool_)
        self._committed_ns = 0
        self._gate_step: int | None = NEVER  # None: to be looked for

    @property
    def gate_step(self) -> int:
        """The lowest step that a node waits at; NEVER without one."""
        if self._gate_step is None:
            is_open = self._open()
            self._gate_step = int(self._step[is_open].min()) if is_open.any() else NEVER
        return self._gate_step

    def prepare(
        self, node: int, agreement: int, step: int, hold_ns: int, *, is_pause: bool
    ) -> None:
        """Have a node wait at a step; takes the place of an earlier promise."""
        self._phase[node] = int(Phase.PREPARED)
        self._agreement[node] = agreement
        self._step[node] = step
        self._hold_ns[node] = hold_ns
        self._is_pause[node] = is_pause
        self._gate_step = None

    def bind(self, node: int, agreement: int, phase: Phase, now_ns: int) -> str:
        """Bring a promise to READY or COMMITTED; return why not, "" when it is there."""
        before = self._phase_of(node)
        if agreement != self._agreement[node] or before is Phase.NONE:
            return NO_AGREEMENT
        if before in (Phase.EXPIRED, Phase.ABORTED):
            return TOO_LATE
        if before < phase:
            self._phase[node] = int(phase)
        if phase is Phase.COMMITTED:
            self._committed_ns = max(self._committed_ns, now_ns)
        return ""

    def abort(self, node: int, agreement: int) -> bool:
        """Take a promise back; return False when the node has acted already."""
        if agreement != self._agreement[node]:
            return True
        before = self._phase_of(node)
        if before is Phase.ACTED:
            return False
        if Phase.PREPARED <= before <= Phase.COMMITTED:
            self._phase[node] = int(Phase.ABORTED)
            self._gate_step = None
        return True

    def drop(self, node: int) -> None:
        """Forget what a node promised: its ranks are gone."""
        self._phase[node] = int(Phase.NONE)
        self._gate_step = None

    def clear(self) -> None:
        """Forget every promise."""
        self._phase[:] = Phase.NONE
        self._gate_step = NEVER

    def settle(
        self, reached_ns: int, now_ns: int
    ) -> tuple[int, npt.NDArray[np.bool_], bool] | None:
        """Return when the nodes at the gate go on, which of them act and whether they exit then.

        Args:
            reached_ns: Since when they wait there.

        Returns:
            None while they wait.
        """
        waiting = self._open() & (self._step <= self.gate_step)
        bound = waiting & (self._phase == Phase.COMMITTED)
        if bound.sum() == waiting.sum():
            at_ns = min(max(reached_ns, self._committed_ns), now_ns)
            acting = bound
        else:
            at_ns = reached_ns + int(self._hold_ns[waiting].min())
            if at_ns > now_ns:
                return None
            acting = waiting & (self._phase >= Phase.READY)
            self._phase[waiting & ~acting] = Phase.EXPIRED
        self._phase[acting] = Phase.ACTED
        exits = bool(self._is_pause[acting].any())
        self._gate_step = None
        return at_ns, acting, exits

    def _open(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = (self._phase >= Phase.PREPARED) & (
            self._phase <= Phase.COMMITTED
        )
        return found

    def _phase_of(self, node: int) -> Phase:
        return Phase(int(self._phase[node]))  # numpy is slow to compare with an enumeration
