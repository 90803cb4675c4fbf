"""What the nodes last said of one run, with its sums kept up to date report by report.

A thousand nodes report a thousand times when a run ends: nothing here may look at all of them for
one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import run_pb2

T = TypeVar("T")


class FrameAges(Protocol):
    """How old the newest frames of nodes are."""

    def rows_of(self, node_names: Sequence[str]) -> npt.NDArray[np.intp]:
        """Return the nodes' rows in the store; -1 for those that are not known."""

    def ages_of(self, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
        """Return the ages of nodes by their rows, seconds; infinite for row -1."""


class NodeAges(Mapping[str, float]):
    """How old the newest word of each of a run's nodes is, seconds."""

    def __init__(self, names: tuple[str, ...], ages: npt.NDArray[np.float64]) -> None:
        self._names = names
        self._places: dict[str, int] | None = None  # made when one is asked for
        self.ages = ages

    def __getitem__(self, node_name: str) -> float:
        if self._places is None:
            self._places = {name: place for place, name in enumerate(self._names)}
        return float(self.ages[self._places[node_name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def younger(self, seconds: float) -> int:
        """Return how many are younger."""
        return int(np.count_nonzero(self.ages < seconds))

    def older(self, seconds: float) -> list[str]:
        """Return those that are older, by name."""
        places = np.flatnonzero(self.ages > seconds).tolist()
        return sorted(self._names[place] for place in places)

    def youngest(self, default: float) -> float:
        """Return the smallest."""
        return float(self.ages.min()) if self.ages.size else default


@dataclass(slots=True)
class Sums:
    """Over all nodes."""

    ranks: int = 0
    alive: int = 0
    hooked: int = 0  # of those alive
    ended: int = 0  # with a record of it
    unseen_ends: int = 0
    bad_ends: int = 0
    processes: int = 0
    frozen_nodes: int = 0
    nices: Counter[int] = field(default_factory=Counter)  # of those alive
    sources: Counter[str] = field(default_factory=Counter)  # where steps come from, by node
    caps: Counter[float] = field(default_factory=Counter)  # power limits of a GPU, by node

    def count(self, local: run_pb2.LocalRun, sign: int) -> bool:
        """Add what a node says, or take it away; return whether one of its ranks has ended."""
        ranks, ended = local.ranks, 0
        self.ranks += sign * len(ranks)
        self.processes += sign * local.process_count
        self.frozen_nodes += sign * (local.state == run_pb2.LOCAL_RUN_STATE_FROZEN)
        _add(self.sources, local.step_source[:64], sign)
        if local.power_cap_watts > 0:
            _add(self.caps, local.power_cap_watts, sign)
        for rank in ranks:
            if rank.alive:
                self.alive += sign
                _add(self.nices, rank.nice, sign)
                self.hooked += sign * rank.hooked
            if rank.HasField("exit"):
                ended += 1
                self.unseen_ends += sign * (not rank.exit.known)
                self.bad_ends += sign * is_bad_end(rank)
        self.ended += sign * ended
        return ended > 0


class Reports(Mapping[str, run_pb2.LocalRun]):
    """The newest report of each node, kept encoded, for there are a hundred thousand."""

    def __init__(self) -> None:
        self.sums = Sums()
        self._bodies: dict[str, bytes] = {}
        self._fuses: dict[str, int] = {}
        self._ended: dict[str, None] = {}  # nodes with ranks that have ended
        self._ranks: list[tuple[str, run_pb2.LocalRank]] | None = None
        self._names: tuple[str, ...] | None = None
        # By place: a node keeps its own, but for the last, which takes that of one that goes.
        self._places: dict[str, int] = {}
        self._placed: list[str] = []
        self._placed_now: tuple[str, ...] | None = None  # the same, which does not change
        self._received: npt.NDArray[np.float64] = np.zeros(8)
        self._rows: npt.NDArray[np.intp] = np.full(8, -1, dtype=np.intp)  # in the store, if known

    def __getitem__(self, node_name: str) -> run_pb2.LocalRun:
        return run_pb2.LocalRun.FromString(self._bodies[node_name])

    def __contains__(self, node_name: object) -> bool:
        return node_name in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    def put(
        self,
        node_name: str,
        run: run_pb2.LocalRun,
        received: float,
        told: run_pb2.LocalRun | None = None,
    ) -> None:
        """Take a node's report in the place of the one before.

        Args:
            received: When it came, on the hub's monotonic clock.
            told: The one before, where it is at hand.
        """
        if node_name in self._bodies:
            self.sums.count(told or self[node_name], -1)
        else:
            self._place(node_name)
        self._received[self._places[node_name]] = received
        self._bodies[node_name] = run.SerializeToString()
        self._ranks = None
        self._ended.pop(node_name, None)
        if self.sums.count(run, 1):
            self._ended[node_name] = None
        self._fuses.pop(node_name, None)
        if run.fuse_deadline_unix_ns:
            self._fuses[node_name] = run.fuse_deadline_unix_ns

    def drop(self, node_name: str) -> None:
        """Forget a node."""
        self.sums.count(self[node_name], -1)
        del self._bodies[node_name]
        self._fuses.pop(node_name, None)
        self._ended.pop(node_name, None)
        self._ranks = self._names = self._placed_now = None
        place, last = self._places.pop(node_name), self._placed.pop()
        if last != node_name:
            end = len(self._placed)
            self._placed[place], self._places[last] = last, place
            self._received[place], self._rows[place] = self._received[end], self._rows[end]

    def _place(self, node_name: str) -> None:
        place = self._places[node_name] = len(self._placed)
        self._placed.append(node_name)
        self._names = self._placed_now = None
        if place >= self._rows.size:
            more = self._rows.size // 2
            self._received = np.append(self._received, np.zeros(more))
            self._rows = np.append(self._rows, np.full(more, -1, dtype=np.intp))
        self._rows[place] = -1

    def names(self) -> tuple[str, ...]:
        """Return the nodes, by name."""
        if self._names is None:
            self._names = tuple(sorted(self._bodies))
        return self._names

    def ages(self, frames: FrameAges, now: float) -> NodeAges:
        """Return how old each node's newest word is: a report, or a frame since.

        Agents report runs when they change, so a silent report is fresh while frames come.
        """
        count = len(self._placed)
        rows = self._rows[:count]
        unknown = np.flatnonzero(rows < 0)
        if unknown.size:
            rows[unknown] = frames.rows_of([self._placed[place] for place in unknown.tolist()])
        ages = np.minimum(now - self._received[:count], frames.ages_of(rows))
        if self._placed_now is None:
            self._placed_now = tuple(self._placed)
        return NodeAges(self._placed_now, ages)

    def ranks(self) -> list[tuple[str, run_pb2.LocalRank]]:
        """Return every reported rank with its node, in order; not to be changed."""
        if self._ranks is None:
            self._ranks = self.ranks_on(self)
        return self._ranks

    def ranks_on(self, node_names: Iterable[str]) -> list[tuple[str, run_pb2.LocalRank]]:
        """Return the reported ranks of some nodes, in order."""
        found = [(name, rank) for name in node_names for rank in self[name].ranks]
        return sorted(found, key=lambda item: item[1].rank)

    def ended(self) -> list[tuple[str, run_pb2.LocalRank]]:
        """Return the ranks of which it is known how they ended, in order."""
        found = self.ranks_on(self._ended)
        return [(name, rank) for name, rank in found if rank.HasField("exit")]

    def power_cap(self, node_name: str) -> float:
        """Return the power limit that is put on the run's GPUs on a node, watts; 0 for none."""
        if not self.sums.caps or node_name not in self:
            return 0.0
        return self[node_name].power_cap_watts

    @property
    def fuse_deadline_unix_ns(self) -> int:
        """Earliest end of a freeze; 0 when there is none."""
        return min(self._fuses.values(), default=0)


def _add(counts: Counter[T], key: T, sign: int) -> None:
    counts[key] += sign
    if not counts[key]:
        del counts[key]


def is_bad_end(rank: run_pb2.LocalRank) -> bool:
    """Return whether a rank that has ended did not end well."""
    return bool(rank.exit.exit_code or rank.exit.detail)
