"""The agent's one outbound stream to its hub: live first, then what waited, for ever."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import grpc
import grpc.aio

from colossus_agent.outbox import Outbox
from colossus_protos.v1 import agent_link_pb2, agent_link_pb2_grpc, directive_pb2

LOG = logging.getLogger(__name__)
REPLAY_BATCH = 64
REPLAY_PAUSE_SECONDS = 0.02
WELCOME_SECONDS = 10.0
OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.enable_retries", 0),
)

_Call: TypeAlias = (
    "grpc.aio.StreamStreamCall[agent_link_pb2.LinkRequest, agent_link_pb2.LinkResponse]"
)


class Link:
    """Keeps the stream up and everything numbered on its way.

    Args:
        address: The hub, as gRPC names it.
        outbox: What must not be lost.
        greeting: Makes the Hello for a new link.
        reports: Makes the reports that a new link starts with.
        obey: Called with each directive.
    """

    def __init__(
        self,
        address: str,
        outbox: Outbox,
        greeting: Callable[[], agent_link_pb2.LinkRequest],
        reports: Callable[[], list[agent_link_pb2.LinkRequest]],
        obey: Callable[[directive_pb2.Directive], None],
        rng: random.Random | None = None,
    ) -> None:
        self._address = address
        self._outbox = outbox
        self._greeting = greeting
        self._reports = reports
        self._obey = obey
        self._random = rng or random.Random()
        local = address.startswith("unix:")
        self._backoff = (0.1, 2.0) if local else (1.0, 30.0)
        self._live: asyncio.Queue[agent_link_pb2.LinkRequest] = asyncio.Queue(maxsize=256)
        self._sent = 0
        self.linked = False

    def send(self, message: agent_link_pb2.LinkRequest) -> None:
        """Send a numbered message or a report now if the link is up and drains; else it waits.

        A report that waits is not lost: a new link starts with all reports.
        """
        if not self.linked:
            return
        try:
            self._live.put_nowait(message)
        except asyncio.QueueFull:
            self.linked = False  # the hub does not read: start over rather than pile up

    async def run(self) -> None:
        """Link, and link again with full jitter, until cancelled."""
        attempt = 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._once()
            except grpc.aio.AioRpcError as error:
                LOG.info("link=lost code=%s detail=%r", error.code().name, error.details())
            except (TimeoutError, ConnectionError) as error:
                LOG.info("link=lost detail=%r", str(error))
            finally:
                self.linked = False
            lasted = asyncio.get_running_loop().time() - started
            attempt = 0 if lasted > 30 else attempt + 1
            base, cap = self._backoff
            await asyncio.sleep(self._random.uniform(0, min(cap, base * 2**attempt)) + 0.05)

    async def _once(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            stub = agent_link_pb2_grpc.AgentLinkStub(channel)
            call = stub.Link(None)
            await call.write(self._greeting())
            async with asyncio.timeout(WELCOME_SECONDS):
                answer = await call.read()
            if isinstance(answer, agent_link_pb2.LinkResponse) and answer.HasField("welcome"):
                self._outbox.acknowledge(answer.welcome.last_sequence)
            else:
                raise ConnectionError("the hub closed the link without a welcome")
            LOG.info("link=up hub=%s version=%s", self._address, answer.welcome.hub_version)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(call))
                tasks.create_task(self._read(call))

    async def _write(self, call: _Call) -> None:
        while not self._live.empty():
            self._live.get_nowait()
        before = self._outbox.last_sequence  # what is older waited for this link
        self._sent = self._outbox.oldest_sequence - 1
        for report in self._reports():
            await call.write(report)
        self.linked = True
        replaying = self._sent < before
        while True:
            if replaying and self._live.empty():
                replaying = await self._replay(call, before)
                await asyncio.sleep(REPLAY_PAUSE_SECONDS)
                continue
            message = await self._live.get()
            await call.write(message)
            if not self.linked:
                raise ConnectionError("the hub did not read in time")

    async def _replay(self, call: _Call, before: int) -> bool:
        """Send the next waiting messages; return whether more wait."""
        batch = self._outbox.after(self._sent, REPLAY_BATCH)
        for message in batch:
            if message.sequence > before:
                return False
            waited = agent_link_pb2.LinkRequest()
            waited.CopyFrom(message)
            waited.replayed = True
            await call.write(waited)
            self._sent = message.sequence
        return bool(batch)

    async def _read(self, call: _Call) -> None:
        async for answer in _answers(call):
            match answer.WhichOneof("body"):
                case "acknowledgement":
                    self._outbox.acknowledge(answer.acknowledgement.sequence)
                case "directive":
                    self._obey(answer.directive)
        raise ConnectionError("the hub closed the link")


async def _answers(
    call: _Call,
) -> AsyncIterator[agent_link_pb2.LinkResponse]:
    while True:
        answer = await call.read()
        if not isinstance(answer, agent_link_pb2.LinkResponse):
            return
        yield answer
