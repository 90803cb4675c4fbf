"""The agent's one outbound stream to its hub: what is so now first, then what waited; for ever."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import grpc
import grpc.aio

from colossus_agent import wire
from colossus_agent.outbox import Outbox
from colossus_protos.v1 import agent_link_pb2, directive_pb2

LOG = logging.getLogger(__name__)
METHOD = f"/{agent_link_pb2.DESCRIPTOR.services_by_name['AgentLink'].full_name}/Link"
BATCH = 64
BATCH_PAUSE_SECONDS = 0.02  # between two batches: a long gap is no reason for a burst
SETTLED_SECONDS = 30.0  # a link that lasted this long ends the backing off
DIRECTIVE_LIMIT = 64  # beyond it the stream is not read on until some have been carried out
OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.http2.bdp_probe", 0),  # one ping less for each message: a third of a link's cost
)

_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, agent_link_pb2.LinkResponse]"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a link waits.

    Attributes:
        base_seconds: Before the first attempt to link again, at most.
        cap_seconds: Before any attempt, at most.
        welcome_seconds: For the hub's welcome.
        write_seconds: For the hub to take one message.
    """

    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    welcome_seconds: float = 10.0
    write_seconds: float = 10.0


LOCAL = Patience(base_seconds=0.2, cap_seconds=2.0)
REMOTE = Patience()


class Link:
    """Keeps the stream up and everything in the outbox on its way.

    Args:
        addresses: The hub or relay, as gRPC names it, and others in the order in which to try them.
        outbox: What must not be lost.
        hello: Makes the first message of a new link.
        reports: Makes the reports that a new link starts with, by kind.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        outbox: Outbox,
        hello: Callable[[], agent_link_pb2.LinkRequest],
        reports: Callable[[], dict[str, agent_link_pb2.LinkRequest]],
        patience: Patience | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._addresses = addresses
        self._address = addresses[0]
        self._outbox = outbox
        self._hello = hello
        self._make_reports = reports
        is_local = all(address.startswith("unix:") for address in addresses)
        self._patience = patience or (LOCAL if is_local else REMOTE)
        self._random = rng or random.Random()
        self._reports: dict[str, agent_link_pb2.LinkRequest] = {}
        self._wake = asyncio.Event()
        self._renew = False
        self._loss = ""
        self.directives: asyncio.PriorityQueue[tuple[bool, int, directive_pb2.Directive]] = (
            asyncio.PriorityQueue(DIRECTIVE_LIMIT)
        )
        self._numbers = itertools.count()
        self.is_up = False
        self.count = 0  # of links there have been

    def send(self, message: agent_link_pb2.LinkRequest) -> None:
        """Send a numbered message: now if the hub takes it, else when it does."""
        self._outbox.add(message)
        self._wake.set()

    def report(self, kind: str, message: agent_link_pb2.LinkRequest) -> None:
        """Send a report; it takes the place of one of its kind that still waits."""
        if self.is_up:  # a new link starts with all reports
            self._reports[kind] = message
            self._wake.set()

    async def next_directive(self) -> directive_pb2.Directive:
        """Return what to carry out next: what ranks wait for, else the oldest."""
        _, _, directive = await self.directives.get()
        return directive

    def renew(self) -> None:
        """Link again, so that the hub gets a new Hello."""
        self._renew = True
        self._wake.set()

    async def run(self) -> None:
        """Link, and link again with full jitter to the next address, until cancelled."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            self._address = self._addresses[attempt % len(self._addresses)]
            started = loop.time()
            try:
                await self._once()
            except* grpc.aio.AioRpcError as group:
                for error in group.exceptions:
                    if isinstance(error, grpc.aio.AioRpcError):
                        self._note_loss(f"{error.code().name}: {error.details()}")
            except* (TimeoutError, ConnectionError, asyncio.InvalidStateError) as group:
                self._note_loss(str(group.exceptions[0]) or "the hub did not answer in time")
            finally:
                self.is_up = False
            if self._renew:
                self._renew = False
                continue
            attempt = 0 if loop.time() - started > SETTLED_SECONDS else attempt + 1
            await asyncio.sleep(self.backoff_seconds(attempt))

    def _note_loss(self, why: str) -> None:
        if why != self._loss:  # an hour without a hub is one line, not a thousand
            self._loss = why
            LOG.warning("link=lost hub=%s detail=%r", self._address, why)

    def backoff_seconds(self, attempt: int) -> float:
        """Return how long to wait before an attempt: somewhere below a growing ceiling."""
        patience = self._patience
        ceiling = min(patience.cap_seconds, patience.base_seconds * 2.0 ** min(attempt, 16))
        return self._random.uniform(0.0, ceiling) + 0.05

    async def _once(self) -> None:
        async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
            call: _Call = channel.stream_stream(
                METHOD,
                request_serializer=None,
                response_deserializer=agent_link_pb2.LinkResponse.FromString,
            )(None)
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._greet(call)
                    tasks.create_task(self._write_all(call))
                    tasks.create_task(self._read_all(call))
            finally:
                call.cancel()

    async def _greet(self, call: _Call) -> None:
        async with asyncio.timeout(self._patience.welcome_seconds):
            await call.write(self._hello().SerializeToString())
            answer = await call.read()
        if not isinstance(answer, agent_link_pb2.LinkResponse) or not answer.HasField("welcome"):
            raise ConnectionError("the hub answered Hello with something else than a welcome")
        self._outbox.acknowledge(answer.welcome.last_sequence)
        self._outbox.begin_link()
        self._reports = self._make_reports()
        self.is_up = True
        self.count += 1
        self._loss = ""
        LOG.info("link=up hub=%s version=%r", self._address, answer.welcome.hub_version)

    async def _write_all(self, call: _Call) -> None:
        for body in self._outbox.fillers():
            await self._write(call, body)
        while not self._renew:
            self._wake.clear()
            if (frame := self._outbox.next_frame()) is not None:
                await self._write(call, frame)
            more = await self._write_some(call, self._outbox.next_other)
            if not more:  # a report must not overtake the steps and checkpoints that led to it
                await self._write_reports(call)
            if not more and not self._wake.is_set():  # idle: nothing of now waits
                more = await self._write_some(call, self._outbox.next_old_frame)
            if more:
                await asyncio.sleep(BATCH_PAUSE_SECONDS)
            else:
                await self._wake.wait()
        raise ConnectionError("the node's inventory has changed")

    async def _write_reports(self, call: _Call) -> None:
        while self._reports:
            kind = next(iter(self._reports))
            await self._write(call, self._reports.pop(kind).SerializeToString())

    async def _write_some(self, call: _Call, following: Callable[[], bytes | None]) -> bool:
        """Write a batch; return whether there may be more."""
        for _ in range(BATCH):
            body = following()
            if body is None:
                return False
            await self._write(call, body)
        return True

    async def _write(self, call: _Call, body: bytes) -> None:
        try:
            async with asyncio.timeout(self._patience.write_seconds):
                await call.write(body)
        except TimeoutError:
            raise ConnectionError("the hub does not read") from None

    async def _read_all(self, call: _Call) -> None:
        while True:
            answer = await call.read()
            if not isinstance(answer, agent_link_pb2.LinkResponse):
                raise ConnectionError("the hub closed the link")
            match answer.WhichOneof("body"):
                case "acknowledgement":
                    self._outbox.acknowledge(answer.acknowledgement.sequence)
                case "directive":
                    may_wait = not wire.is_awaited(answer.directive)
                    await self.directives.put((may_wait, next(self._numbers), answer.directive))
                case "welcome":  # a hub above a relay is new: it has to be told everything, too
                    self._reports = self._make_reports()
                    self.count += 1
                    self._wake.set()
