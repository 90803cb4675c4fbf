"""The ranks of one run, node by node: who lives, who is frozen, who has promised what."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from colossus_tui.sim.promises import Promises

PRIORITY_CLASSES = ("P0", "P1", "P2", "P3", "P4")
NICE = (0, 2, 5, 10, 19)  # by class


class End(IntEnum):
    """How the ranks of a node ended."""

    NONE = 0
    EXITED = 1  # with exit code 0
    TERMINATED = 2  # by SIGTERM
    CRASHED = 3  # with exit code 1
    UNSEEN = 4  # nobody saw it


class Ranks:
    """What directives and faults change; node numbers are within the run.

    Attributes:
        alive: bool [node].
        lost: bool [node]: the node itself is gone.
        attempts: int32 [node].
        fuse_ns: int64 [node]: when a freeze ends by itself, Unix nanoseconds; 0 when not frozen.
        priority: uint8 [node], of PRIORITY_CLASSES.
        end: uint8 [node], of End.
        forgotten: bool [node]: no record of the run is left.
        cap_watts: float32 [node]: power limit that was put on its GPUs; 0 for none.
        caps_changed: Whether the devices have not heard of it yet.
        promises: What they wait for.
    """

    def __init__(self, node_count: int, step: int, priority_class: str) -> None:
        self.promises = Promises(node_count)
        self.alive = np.ones(node_count, np.bool_)
        self.lost = np.zeros(node_count, np.bool_)
        self.attempts = np.ones(node_count, np.int32)
        self.fuse_ns = np.zeros(node_count, np.int64)
        self.priority = np.full(node_count, PRIORITY_CLASSES.index(priority_class), np.uint8)
        self.end = np.zeros(node_count, np.uint8)
        self.forgotten = np.zeros(node_count, np.bool_)
        self.cap_watts = np.zeros(node_count, np.float32)
        self.caps_changed = False
        self._resume_step = np.full(node_count, step, np.int64)
        self._orphaned = np.zeros(node_count, np.bool_)  # its ranks went with the node
        self._begun = True  # every node has started the attempt
        self._together: bool | None = None  # None: to be looked at

    def start(self, node: int, attempt: int, step: int) -> None:
        """Start an attempt's ranks on a node; they work once all nodes have started it."""
        self.alive[node], self.end[node], self.forgotten[node] = True, int(End.NONE), False
        self.attempts[node], self._resume_step[node] = attempt, step
        self._orphaned[node] = self._begun = False
        self.promises.drop(node)
        self._together = None

    def kill(self, node: int, end: End) -> None:
        """End the ranks of a node."""
        self.alive[node], self.end[node], self.fuse_ns[node] = False, int(end), 0
        self.cap(node, 0.0)  # a limit ends with the hold
        self.promises.drop(node)
        self._together = None

    def cap(self, node: int, watts: float) -> None:
        """Limit the power of a node's GPUs; 0 W takes the limit off."""
        self.caps_changed |= bool(self.cap_watts[node] != watts)
        self.cap_watts[node] = watts

    def freeze(self, node: int, until_ns: int) -> None:
        """Stop the ranks of a node in place."""
        self.fuse_ns[node] = until_ns
        self._together = None

    def thaw(self, node: int) -> None:
        """Let the ranks of a node go on."""
        self.fuse_ns[node] = 0
        self._together = None

    def lose(self, node: int) -> None:
        """Take a node away, with the ranks on it."""
        self.lost[node] = True
        if self.alive[node]:
            self.kill(node, End.UNSEEN)
            self._orphaned[node] = True
        self._together = None

    def regain(self, node: int) -> None:
        """Give a node back; once all are, the run starts from its durable step again."""
        self.lost[node] = False
        self._together = None

    def crash(self) -> None:
        """End every rank with an error."""
        self.end[self.alive] = End.CRASHED
        self.alive[:] = False
        self.fuse_ns[:] = 0
        self.cap_watts[:], self.caps_changed = 0.0, True
        self.promises.clear()
        self._together = None
