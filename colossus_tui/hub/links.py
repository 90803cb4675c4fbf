"""The linked agents: directives down, answers back, across links that break."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from colossus_protos.v1 import agent_link_pb2, directive_pb2


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


@dataclass(slots=True, eq=False)
class _Question:
    """One directive to many nodes, and who has answered it."""

    message: agent_link_pb2.LinkResponse
    waiting: set[str]
    answers: dict[str, directive_pb2.DirectiveResult] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class Links:
    """One mailbox a linked node; directives wait for their answers across links."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, Mailbox] = {}
        self._questions: dict[str, _Question] = {}

    def open(self, node_name: str) -> tuple[Mailbox, bool]:
        """Return a mailbox for a new link, and whether it took the place of another."""
        before = self._mailboxes.pop(node_name, None)
        if before is not None:
            before.close()
        mailbox = self._mailboxes[node_name] = Mailbox(node_name)
        for question in self._questions.values():
            if node_name in question.waiting:
                mailbox.put(question.message)
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
        self,
        node_names: Iterable[str],
        directive: directive_pb2.Directive,
        timeout_seconds: float,
    ) -> dict[str, directive_pb2.DirectiveResult]:
        """Send one directive to nodes and return by node what they answered in time.

        It is sent again, with the same id, on a new link of a node that has not answered.
        """
        waiting = set(node_names)
        question = _Question(agent_link_pb2.LinkResponse(directive=directive), waiting)
        self._questions[directive.directive_id] = question
        for name in waiting:
            if mailbox := self._mailboxes.get(name):
                mailbox.put(question.message)
        try:
            async with asyncio.timeout(timeout_seconds):
                if waiting:
                    await question.answered.wait()
        except TimeoutError:
            pass  # who is not among the answers did not answer
        finally:
            if self._questions.get(directive.directive_id) is question:
                del self._questions[directive.directive_id]
        return question.answers
