"""The relays' service: takes in batches of many nodes, writes their directives down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np

from colossus_protos.v1 import agent_link_pb2, relay_link_pb2, relay_link_pb2_grpc
from colossus_tui import __version__
from colossus_tui.hub.agent_service import HELLO_SECONDS, NODE_NAME
from colossus_tui.hub.intake import Intake
from colossus_tui.hub.store import FrameError, Rows, vector
from colossus_tui.model import LinkedRelay, Severity

LOG = logging.getLogger(__name__)
NODE_LIMIT = 1 << 20  # of one relay
_Context = grpc.aio.ServicerContext[Any, Any]


class RelayMailbox:
    """The way down to a node's agent that is linked to a relay."""

    __slots__ = ("_number", "_relay", "node_name")

    def __init__(self, node_name: str, number: int, relay: _Relay) -> None:
        self.node_name = node_name
        self._number = number
        self._relay = relay

    def put(self, message: agent_link_pb2.LinkResponse) -> None:
        """Write the message to the relay soon, with others that are put now."""
        self._relay.put(self._number, message)

    def close(self) -> None:
        """The relay goes on: a newer link of the node came by another way."""


class _Relay:
    """One relay's link."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: Rows = np.full(64, -1, dtype=np.intp)  # by the relay's number of a node
        self.mailboxes: dict[int, RelayMailbox] = {}
        self.last_batch = 0
        self._pending = relay_link_pb2.RelayResponse()
        self._wake = asyncio.Event()

    def put(self, number: int, message: agent_link_pb2.LinkResponse) -> None:
        self._pending.responses.add(node_number=number, response=message)
        self._wake.set()

    def acknowledge(self, batch: int) -> None:
        self._pending.acknowledged_batch = batch
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    async def next(self) -> relay_link_pb2.RelayResponse:
        await self._wake.wait()
        self._wake.clear()
        message, self._pending = self._pending, relay_link_pb2.RelayResponse()
        return message

    def place(self, number: int, row: int) -> None:
        if number >= self.rows.size:
            grown = np.full(max(number + 1, self.rows.size * 2), -1, dtype=np.intp)
            grown[: self.rows.size] = self.rows
            self.rows = grown
        self.rows[number] = row

    def rows_of(self, data: bytes) -> Rows:
        numbers = vector("node_numbers", data, np.int32)
        known = numbers.size and numbers.min() >= 0 and numbers.max() < self.rows.size
        rows = self.rows[numbers] if known else np.array([-1])
        if (rows < 0).any():
            raise FrameError("node_numbers: a node that was not linked")
        return rows

    def row(self, number: int) -> int:
        row = int(self.rows[number]) if 0 <= number < self.rows.size else -1
        if row < 0:
            raise FrameError("node_number: a node that was not linked")
        return row


class RelayService(relay_link_pb2_grpc.RelayLinkServicer):
    """Takes links from relays."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._relays: dict[str, _Relay] = {}  # by relay instance
        # Of each instance, also of those not linked now: the last batch, and the last on disk.
        self._last: dict[str, int] = {}
        self._kept: dict[str, int] = {}

    def taken(self) -> dict[str, int]:
        """Return the last batch taken in from each relay that is linked."""
        return {instance: relay.last_batch for instance, relay in self._relays.items()}

    def linked(self) -> tuple[LinkedRelay, ...]:
        """Return the relays that are linked, by name."""
        found = [
            LinkedRelay(relay.name, len(relay.mailboxes), relay.last_batch)
            for relay in self._relays.values()
        ]
        return tuple(sorted(found, key=lambda relay: relay.relay_name))

    def acknowledge(self, taken: dict[str, int]) -> None:
        """Tell the relays what the hub has on disk."""
        for instance, batch in taken.items():
            self._kept[instance] = batch
            if relay := self._relays.get(instance):
                relay.acknowledge(batch)

    async def Relay(
        self, request_iterator: AsyncIterator[relay_link_pb2.RelayRequest], context: _Context
    ) -> AsyncIterator[relay_link_pb2.RelayResponse]:
        """One relay's stream, until either side closes it."""
        hello = await self._greeted(request_iterator, context)
        relay = _Relay(hello.relay_name)
        last = self._last.get(hello.instance_id, -1)
        relay.last_batch = max(last, hello.oldest_batch - 1)
        self._relays[hello.instance_id] = relay
        reader = asyncio.create_task(self._read(request_iterator, relay, hello.instance_id))
        try:
            yield relay_link_pb2.RelayResponse(
                welcome=relay_link_pb2.RelayWelcome(
                    hub_version=__version__,
                    last_batch=self._kept.get(hello.instance_id, -1),
                    sent_time_unix_ns=time.time_ns(),
                )
            )
            while not reader.done():
                yield await relay.next()
            if error := reader.exception():
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            reader.cancel()
            self._last[hello.instance_id] = relay.last_batch
            if self._relays.get(hello.instance_id) is relay:
                del self._relays[hello.instance_id]
            for number in list(relay.mailboxes):
                self._unlink(relay, number)

    async def _greeted(
        self, requests: AsyncIterator[relay_link_pb2.RelayRequest], context: _Context
    ) -> relay_link_pb2.RelayHello:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            first = None
        if (
            first is None
            or not first.HasField("hello")
            or not NODE_NAME.fullmatch(first.hello.relay_name)
        ):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "hello.relay_name: 1 to 253 letters, digits, '.', '_' or '-' must come first",
            )
        assert first is not None
        return first.hello

    async def _read(
        self,
        requests: AsyncIterator[relay_link_pb2.RelayRequest],
        relay: _Relay,
        instance_id: str,
    ) -> None:
        try:
            async for request in requests:
                self._take(relay, request)
                if request.batch:
                    relay.last_batch = self._last[instance_id] = request.batch
        except FrameError as error:
            self._intake.note("", Severity.WARNING, "relay.refused", f"{relay.name}: {error}")
            LOG.warning("relay=%r batch=refused error=%r", relay.name, str(error))
            raise
        finally:
            relay.wake()

    def _take(self, relay: _Relay, request: relay_link_pb2.RelayRequest) -> None:
        if request.batch and request.batch <= relay.last_batch:
            return  # it had come, and its acknowledgement was lost with the link
        for link in request.links:
            self._take_link(relay, link)
        if request.frames:
            numbers = b"".join([batch.node_numbers for batch in request.frames])
            self._intake.take_frames(relay.rows_of(numbers), request.frames)
        for table in request.steps:
            self._intake.take_steps(table)
        for saved in request.checkpoints:
            self._intake.take_checkpoints(saved)
        for one in request.messages:
            if request.replayed:
                one.message.replayed = True
            self._intake.take_relayed(self._intake.record(relay.row(one.node_number)), one.message)

    def _take_link(self, relay: _Relay, link: relay_link_pb2.NodeLink) -> None:
        number = link.node_number
        if not 0 <= number < NODE_LIMIT:
            raise FrameError(f"links.node_number: 0 to {NODE_LIMIT - 1}")
        if not link.HasField("hello"):
            self._unlink(relay, number)
            return
        if not NODE_NAME.fullmatch(link.hello.node_name):
            raise FrameError("links.hello.node_name: 1 to 253 letters, digits, '.', '_' or '-'")
        mailbox = RelayMailbox(link.hello.node_name, number, relay)
        record, _ = self._intake.link(link.hello, mailbox)
        relay.place(number, record.rows.node_row)
        relay.mailboxes[number] = mailbox

    def _unlink(self, relay: _Relay, number: int) -> None:
        mailbox = relay.mailboxes.pop(number, None)
        if mailbox is not None:
            self._intake.unlink(self._intake.record(relay.row(number)), mailbox)
