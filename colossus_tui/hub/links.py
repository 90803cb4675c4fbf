"""The linked agents: directives down, answers back, across links that break."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from colossus_protos.v1 import agent_link_pb2, directive_pb2


class Mailbox(Protocol):
    """The way down to one node's agent."""

    node_name: str

    def put(self, message: agent_link_pb2.LinkResponse) -> None:
        """Write the message to the agent soon."""

    def close(self) -> None:
        """End its link."""


@dataclass(slots=True, eq=False)
class DirectMailbox:
    """What waits to be written to an agent that is linked here."""

    node_name: str
    queue: asyncio.Queue[agent_link_pb2.LinkResponse | None] = field(default_factory=asyncio.Queue)

    def put(self, message: agent_link_pb2.LinkResponse) -> None:
        """Write the message to the link soon."""
        self.queue.put_nowait(message)

    def close(self) -> None:
        """End the link."""
        self.queue.put_nowait(None)


@dataclass(slots=True, eq=False)
class _Question:
    """Directives of one id to many nodes, and who has answered."""

    directives: Mapping[str, directive_pb2.Directive]
    waiting: set[str]
    answers: dict[str, directive_pb2.DirectiveResult] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Links:
    """One mailbox a linked node; directives wait for their answers across links."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        self._direct: dict[str, None] = {}  # nodes whose agents are linked here
        self._questions: dict[str, _Question] = {}

    def open(self, mailbox: Mailbox) -> bool:
        """Take up a new link; return whether it took the place of another one here."""
        name = mailbox.node_name
        before = self._mailboxes.pop(name, None)
        if before is not None:
            before.close()
        self._mailboxes[name] = mailbox
        self._direct.pop(name, None)
        if isinstance(mailbox, DirectMailbox):
            self._direct[name] = None
        for question in self._questions.values():
            if name in question.waiting:
                directive = question.directives[name]
                mailbox.put(agent_link_pb2.LinkResponse(directive=directive))
        return isinstance(before, DirectMailbox)

    def close(self, mailbox: Mailbox) -> bool:
        """Forget a link that has ended; return False when a newer one has its place."""
        if self._mailboxes.get(mailbox.node_name) is not mailbox:
            return False
        del self._mailboxes[mailbox.node_name]
        self._direct.pop(mailbox.node_name, None)
        return True

    def linked(self, node_name: str) -> bool:
        """Return whether that node's agent is linked now, here or to a relay."""
        return node_name in self._mailboxes

    def node_names(self) -> tuple[str, ...]:
        """Return the nodes whose agents are linked now."""
        return tuple(sorted(self._mailboxes))

    def direct_names(self) -> tuple[str, ...]:
        """Return the nodes whose agents are linked here."""
        return tuple(self._direct)

    def put(self, node_name: str, message: agent_link_pb2.LinkResponse) -> None:
        """Write a message to an agent if it is linked."""
        if mailbox := self._mailboxes.get(node_name):
            mailbox.put(message)

    def acknowledge(self, node_name: str, sequence: int) -> None:
        """Tell an agent what the hub has on disk."""
        answer = agent_link_pb2.Acknowledgement(sequence=sequence)
        self.put(node_name, agent_link_pb2.LinkResponse(acknowledgement=answer))

    def answer(self, node_name: str, result: directive_pb2.DirectiveResult) -> None:
        """Hand an agent's answer to who waits for it."""
        question = self._questions.get(result.directive_id)
        if question is None or node_name not in question.waiting:
            return
        question.waiting.discard(node_name)
        question.answers[node_name] = result
        if not question.waiting:
            question.answered.set()

    async def ask(
        self, directives: Mapping[str, directive_pb2.Directive], timeout_seconds: float
    ) -> dict[str, directive_pb2.DirectiveResult]:
        """Send directives of one id to nodes; return by node what they answered in time.

        Each is sent again on a new link of a node that has not answered.
        """
        if not directives:
            return {}
        (identity,) = {directive.directive_id for directive in directives.values()}
        question = self._questions[identity] = _Question(directives, set(directives))
        for name, directive in directives.items():
            if mailbox := self._mailboxes.get(name):
                mailbox.put(agent_link_pb2.LinkResponse(directive=directive))
        try:
            async with asyncio.timeout(timeout_seconds):
                await question.answered.wait()
        except TimeoutError:
            pass  # who is not among the answers did not answer
        finally:
            if self._questions.get(identity) is question:
                del self._questions[identity]
        return question.answers
