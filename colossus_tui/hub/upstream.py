"""A relay's way up: one stream to its parent, batches up, directives down; dials for ever."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import grpc
import grpc.aio

from colossus_protos.v1 import agent_link_pb2, frame_pb2, relay_link_pb2
from colossus_tui import __version__
from colossus_tui.hub import batches
from colossus_tui.hub.batches import Batches
from colossus_tui.hub.runs.checkpoints import CheckpointRows
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.store import Rows

LOG = logging.getLogger(__name__)
METHOD = f"/{relay_link_pb2.DESCRIPTOR.services_by_name['RelayLink'].full_name}/Relay"
FLUSH_SECONDS = 0.25
FIGURES_SECONDS = 30.0  # between two reports of processes that differ in their figures alone
BASE_SECONDS, CAP_SECONDS, SETTLED_SECONDS = 1.0, 30.0, 30.0
ANSWER_SECONDS = 10.0
OPTIONS = (
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)

_Call: TypeAlias = "grpc.aio.StreamStreamCall[bytes, relay_link_pb2.RelayResponse]"


class Upstream:
    """Keeps the stream to the parent up.

    Args:
        addresses: The parent, and others in the order in which to try them.
        name: This relay's.
        hellos: The nodes that there are, by number, and whether each is linked now.
        respond: Takes what the parent says to a node's agent.
        greet_again: Called when a parent has been told of all nodes: it knows no run of theirs yet.
        safe: Called with the last batch that the parent has on disk.
    """

    def __init__(
        self,
        addresses: tuple[str, ...],
        name: str,
        hellos: Callable[[], Iterable[tuple[int, frame_pb2.Hello, bool]]],
        respond: Callable[[int, agent_link_pb2.LinkResponse], None],
        greet_again: Callable[[], None],
        safe: Callable[[int], None],
        rng: random.Random | None = None,
    ) -> None:
        self._addresses = addresses
        self._name = name
        self._hellos = hellos
        self._respond = respond
        self._greet_again = greet_again
        self._safe = safe
        self._random = rng or random.Random()
        self._instance_id = uuid.uuid4().hex
        self._full = asyncio.Event()
        self._loss = ""
        self._processes: dict[int, tuple[int, float]] = {}  # what was last told of a node's
        self.batches = Batches()
        self.is_up = False
        self.address = addresses[0]

    # --- Upward: what the relay's own intake hands on -----------------------------------------

    def link(self, number: int, hello: frame_pb2.Hello) -> None:
        """Tell that a node has linked."""
        if self.is_up:
            self.batches.link(number, hello)

    def unlink(self, number: int) -> None:
        """Tell that a node's link has ended."""
        if self.is_up:
            self.batches.link(number, None)

    def message(self, number: int, kind: int, message: agent_link_pb2.LinkRequest) -> None:
        """Hand on a message."""
        body = message.WhichOneof("body")
        if body == "frame":
            if self.is_up and not message.replayed:
                self.batches.frame(number, kind, message)
                self._wake_if_full()
        elif body == "step_batch" and batches.is_plain(message.step_batch):
            self.batches.steps(batches.step_table(StepRows.of_batch(message.step_batch)))
        elif body == "checkpoint_report":
            rows = CheckpointRows.of_report(message.checkpoint_report)
            self.batches.checkpoints(batches.checkpoint_table(rows))
        elif body is None and message.replayed:
            pass  # it filled a place here; there it would pass for all before it
        elif message.sequence or (self.is_up and self._is_news(number, message)):
            self.batches.message(number, message)

    def _is_news(self, number: int, message: agent_link_pb2.LinkRequest) -> bool:
        """Return False for processes that are what they were: only their figures have changed."""
        if not message.HasField("process_report"):
            return True
        now = asyncio.get_running_loop().time()
        held = hash(
            tuple(
                (p.pid, p.start_time_ticks, p.run_id, p.rank, tuple(p.gpu_indices))
                for p in message.process_report.processes
            )
        )
        before, told = self._processes.get(number, (0, -math.inf))
        if held == before and now - told < FIGURES_SECONDS:
            return False
        self._processes[number] = held, now
        return True

    def frames(self, numbers: Rows, batch: relay_link_pb2.FrameBatch) -> None:
        """Hand on a batch of frames."""
        if self.is_up:
            batch.node_numbers = numbers.astype("<i4").tobytes()
            self.batches.frames(numbers, batch)
            self._wake_if_full()

    def steps(self, table: relay_link_pb2.StepTable) -> None:
        """Hand on a table of steps."""
        self.batches.steps(table)

    def checkpoints(self, table: relay_link_pb2.CheckpointTable) -> None:
        """Hand on a table of checkpoints."""
        self.batches.checkpoints(table)

    def _wake_if_full(self) -> None:
        if self.batches.frame_count >= batches.FRAMES:
            self._full.set()

    # --- the stream ------------------------------------------------------------------------

    async def run(self) -> None:
        """Link, and link again with full jitter to the next address, until cancelled."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            self.address = self._addresses[attempt % len(self._addresses)]
            started = loop.time()
            try:
                await self._once()
            except* grpc.aio.AioRpcError as group:
                for error in group.exceptions:
                    if isinstance(error, grpc.aio.AioRpcError):
                        self._note_loss(f"{error.code().name}: {error.details()}")
            except* (TimeoutError, ConnectionError, asyncio.InvalidStateError) as group:
                self._note_loss(str(group.exceptions[0]) or "the parent did not answer in time")
            finally:
                self.is_up = False
            attempt = 0 if loop.time() - started > SETTLED_SECONDS else attempt + 1
            ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(attempt, 16))
            await asyncio.sleep(self._random.uniform(0.0, ceiling) + 0.05)

    def _note_loss(self, why: str) -> None:
        if why != self._loss:
            self._loss = why
            LOG.warning("upstream=lost parent=%s detail=%r", self.address, why)

    async def _once(self) -> None:
        async with grpc.aio.insecure_channel(self.address, options=OPTIONS) as channel:
            call: Any = channel.stream_stream(
                METHOD,
                request_serializer=None,
                response_deserializer=relay_link_pb2.RelayResponse.FromString,
            )(None)
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._greet(call)
                    tasks.create_task(self._write_all(call))
                    tasks.create_task(self._read_all(call))
            finally:
                call.cancel()

    async def _greet(self, call: _Call) -> None:
        hello = relay_link_pb2.RelayHello(
            relay_name=self._name,
            hub_version=__version__,
            instance_id=self._instance_id,
            oldest_batch=self.batches.oldest_batch,
        )
        async with asyncio.timeout(ANSWER_SECONDS):
            await call.write(relay_link_pb2.RelayRequest(hello=hello).SerializeToString())
            answer = await call.read()
        if not isinstance(answer, relay_link_pb2.RelayResponse) or not answer.HasField("welcome"):
            raise ConnectionError("the parent answered the hello with something else")
        self.batches.begin_link(answer.welcome.last_batch)
        self._processes.clear()
        self._loss = ""
        LOG.info("upstream=up parent=%s version=%r", self.address, answer.welcome.hub_version)

    async def _write_all(self, call: _Call) -> None:
        self.is_up = True  # from here on what comes and goes is told beside what is there
        for number, hello, is_linked in self._hellos():
            self.batches.link(number, hello)
            if not is_linked:  # what it said last may still wait
                self.batches.link(number, None)
            if self.batches.link_count >= batches.FRAMES:
                await self._write_links(call)
        await self._write_links(call)
        while (batch := self.batches.next_batch(replayed=True)) is not None:
            await self._write(call, batch)
        self._greet_again()
        while True:
            self._full.clear()
            for following in (self.batches.next_links, self.batches.next_frames):
                while (body := following()) is not None:
                    await self._write(call, body)
            while (body := self.batches.next_batch(replayed=False)) is not None:
                await self._write(call, body)
            if self.batches.frame_count < batches.FRAMES:
                await self._wait()

    async def _write_links(self, call: _Call) -> None:
        while (links := self.batches.next_links()) is not None:
            await self._write(call, links)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._full.wait()
        except TimeoutError:
            pass  # what there is goes

    async def _write(self, call: _Call, body: bytes) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await call.write(body)
        except TimeoutError:
            raise ConnectionError("the parent does not read") from None

    async def _read_all(self, call: _Call) -> None:
        while True:
            answer = await call.read()
            if not isinstance(answer, relay_link_pb2.RelayResponse):
                raise ConnectionError("the parent closed the link")
            if answer.acknowledged_batch:
                self.batches.acknowledge(answer.acknowledged_batch)
                self._safe(answer.acknowledged_batch)
            for one in answer.responses:
                self._respond(one.node_number, one.response)
