"""The linked agents: directives down, answers back, across links that break."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from colossus_protos.v1 import agent_link_pb2, directive_pb2
from colossus_tui.hub.actions.ports import NodeUnreachableError


@dataclass(slots=True, eq=False)
class Mailbox:
    """What waits to be written to one link."""

    node_name: str
    queue: asyncio.Queue[agent_link_pb2.LinkResponse | None] = field(default_factory=asyncio.Queue)

    def put(self, message: agent_link_pb2.LinkResponse) -> None:
        """Write the message to the link soon."""
        self.queue.put_nowait(message)

    def close(self) -> None:
        """End the link."""
        self.queue.put_nowait(None)


class Links:
    """One mailbox a linked node; directives wait for their answers across links."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        self._open: dict[str, tuple[str, directive_pb2.Directive]] = {}
        self._answers: dict[str, asyncio.Future[directive_pb2.DirectiveResult]] = {}

    def open(self, node_name: str) -> tuple[Mailbox, bool]:
        """Return a mailbox for a new link, and whether it took the place of another."""
        before = self._mailboxes.pop(node_name, None)
        if before is not None:
            before.close()
        mailbox = self._mailboxes[node_name] = Mailbox(node_name)
        for name, directive in self._open.values():
            if name == node_name:
                mailbox.put(agent_link_pb2.LinkResponse(directive=directive))
        return mailbox, before is not None

    def close(self, mailbox: Mailbox) -> None:
        """Forget a link that has ended, unless a newer one has its place."""
        if self._mailboxes.get(mailbox.node_name) is mailbox:
            del self._mailboxes[mailbox.node_name]

    def linked(self, node_name: str) -> bool:
        """Return whether that node's agent is linked now."""
        return node_name in self._mailboxes

    def node_names(self) -> tuple[str, ...]:
        """Return the nodes whose agents are linked now."""
        return tuple(sorted(self._mailboxes))

    def acknowledge(self, node_name: str, sequence: int) -> None:
        """Tell an agent what the hub has on disk."""
        if mailbox := self._mailboxes.get(node_name):
            answer = agent_link_pb2.Acknowledgement(sequence=sequence)
            mailbox.put(agent_link_pb2.LinkResponse(acknowledgement=answer))

    def answer(self, result: directive_pb2.DirectiveResult) -> None:
        """Hand an agent's answer to who waits for it."""
        future = self._answers.get(result.directive_id)
        if future is not None and not future.done():
            future.set_result(result)

    async def send(
        self, node_name: str, directive: directive_pb2.Directive, timeout_seconds: float
    ) -> directive_pb2.DirectiveResult:
        """Send a directive and return its answer; sent again on a new link, same id.

        Raises:
            NodeUnreachableError: There was no answer within `timeout_seconds`.
        """
        identity = directive.directive_id
        future = self._answers[identity] = asyncio.get_running_loop().create_future()
        self._open[identity] = (node_name, directive)
        if mailbox := self._mailboxes.get(node_name):
            mailbox.put(agent_link_pb2.LinkResponse(directive=directive))
        try:
            async with asyncio.timeout(timeout_seconds):
                result: directive_pb2.DirectiveResult = await future
                return result
        except TimeoutError:
            state = "did not answer" if self.linked(node_name) else "is not linked"
            raise NodeUnreachableError(
                f"the agent of {node_name} {state} for {timeout_seconds:g} s; look at "
                "colossus-agent there"
            ) from None
        finally:
            self._open.pop(identity, None)
            self._answers.pop(identity, None)
