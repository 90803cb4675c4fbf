"""What makes a hub a relay: its nodes' words go up, the parent's come down to their agents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping

from colossus_protos.v1 import agent_link_pb2, frame_pb2
from colossus_tui import __version__
from colossus_tui.hub.links import Links
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.upstream import Upstream

GREETED_A_TICK = 250  # agents that tell a new parent everything again


class Relay:
    """Ties a hub's nodes and links to its way up."""

    def __init__(self, addresses: tuple[str, ...], name: str, nodes: Nodes, links: Links) -> None:
        self._nodes = nodes
        self._links = links
        self._kept: deque[tuple[int, Mapping[str, int]]] = deque()
        self._safe_batch = 0
        self._to_greet: deque[str] = deque()
        self.upstream = Upstream(
            addresses, name, self._hellos, self._respond, self._greet_again, self._safe
        )

    def _hellos(self) -> Iterator[tuple[int, frame_pb2.Hello, bool]]:
        for record in list(self._nodes.by_row):
            is_linked = self._links.linked(record.node_name)
            yield record.rows.node_row, self._nodes.hello(record), is_linked

    def _respond(self, number: int, response: agent_link_pb2.LinkResponse) -> None:
        if 0 <= number < len(self._nodes.by_row):
            self._links.put(self._nodes.by_row[number].node_name, response)

    def _greet_again(self) -> None:
        self._to_greet = deque(self._links.node_names())

    def tick(self) -> None:
        """Number what has come; let some agents tell a parent that knows them not all again."""
        self.upstream.batches.mark()  # also while nothing is acknowledged: a batch a second
        again = agent_link_pb2.Welcome(hub_version=__version__, last_sequence=-1)
        for _ in range(min(GREETED_A_TICK, len(self._to_greet))):
            name = self._to_greet.popleft()
            self._links.put(name, agent_link_pb2.LinkResponse(welcome=again))

    def keep(self, received: Mapping[str, int]) -> None:
        """Acknowledge to agents what was taken in until now, once the parent has it."""
        if received:
            self._kept.append((self.upstream.batches.mark(), received))
        self._safe(self._safe_batch)

    def _safe(self, batch: int) -> None:
        self._safe_batch = batch
        while self._kept and self._kept[0][0] <= batch:
            for name, sequence in self._kept.popleft()[1].items():
                self._links.acknowledge(name, sequence)
