"""What the nodes last said of one run, with its sums kept up to date report by report.

A thousand nodes report a thousand times when a run ends: nothing here may look at all of them for
one of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from colossus_protos.v1 import run_pb2


@dataclass(slots=True)
class NodeReport:
    """What one node last said of the run."""

    run: run_pb2.LocalRun
    received: float  # hub's monotonic clock


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

    def count(self, local: run_pb2.LocalRun, sign: int) -> None:
        """Add what a node says, or take it away."""
        self.ranks += sign * len(local.ranks)
        self.processes += sign * local.process_count
        self.frozen_nodes += sign * (local.state == run_pb2.LOCAL_RUN_STATE_FROZEN)
        for rank in local.ranks:
            if rank.alive:
                self.alive += sign
                self.hooked += sign * rank.hooked
            if rank.HasField("exit"):
                self.ended += sign
                self.unseen_ends += sign * (not rank.exit.known)
                self.bad_ends += sign * is_bad_end(rank)


class Reports(Mapping[str, NodeReport]):
    """The newest report of each node."""

    def __init__(self) -> None:
        self.sums = Sums()
        self._nodes: dict[str, NodeReport] = {}
        self._fuses: dict[str, int] = {}
        self._ranks: list[tuple[str, run_pb2.LocalRank]] | None = None

    def __getitem__(self, node_name: str) -> NodeReport:
        return self._nodes[node_name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    def put(self, node_name: str, report: NodeReport) -> None:
        """Take a node's report in the place of the one before."""
        if node_name in self._nodes:
            self.drop(node_name)
        self._nodes[node_name] = report
        self._ranks = None
        self.sums.count(report.run, 1)
        if report.run.fuse_deadline_unix_ns:
            self._fuses[node_name] = report.run.fuse_deadline_unix_ns

    def drop(self, node_name: str) -> None:
        """Forget a node."""
        self.sums.count(self._nodes.pop(node_name).run, -1)
        self._fuses.pop(node_name, None)
        self._ranks = None

    def ranks(self) -> list[tuple[str, run_pb2.LocalRank]]:
        """Return every reported rank with its node, in order; not to be changed."""
        if self._ranks is None:
            found = [(name, rank) for name, node in self._nodes.items() for rank in node.run.ranks]
            self._ranks = sorted(found, key=lambda item: item[1].rank)
        return self._ranks

    @property
    def fuse_deadline_unix_ns(self) -> int:
        """Earliest end of a freeze; 0 when there is none."""
        return min(self._fuses.values(), default=0)


def is_bad_end(rank: run_pb2.LocalRank) -> bool:
    """Return whether a rank that has ended did not end well."""
    return bool(rank.exit.exit_code or rank.exit.detail)
