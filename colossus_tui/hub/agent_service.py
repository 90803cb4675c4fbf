"""The agents' service: admits each node, takes its messages in, and writes directives down."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import agent_link_pb2, agent_link_pb2_grpc, common_pb2
from colossus_tui import __version__
from colossus_tui.hub.events import Events
from colossus_tui.hub.links import Links, Mailbox
from colossus_tui.hub.nodes import NodeRecord, Nodes
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.store import FrameError, Store
from colossus_tui.model import Event, Severity
from colossus_tui.wire import from_proto

LOG = logging.getLogger(__name__)
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
HELLO_SECONDS = 10.0
_Context = grpc.aio.ServicerContext[Any, Any]


class AgentService(agent_link_pb2_grpc.AgentLinkServicer):
    """Takes links from agents."""

    def __init__(
        self,
        store: Store,
        nodes: Nodes,
        links: Links,
        registry: Registry,
        events: Events,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._nodes = nodes
        self._links = links
        self._registry = registry
        self._events = events
        self._clock = clock

    async def Link(
        self, request_iterator: AsyncIterator[agent_link_pb2.LinkRequest], context: _Context
    ) -> AsyncIterator[agent_link_pb2.LinkResponse]:
        """One agent's stream, until either side closes it."""
        record = await self._admit(request_iterator, context)
        name = record.hello.node_name
        mailbox, replaced = self._links.open(name)
        if replaced:
            self._note(name, Severity.WARNING, "agent.replaced", "a newer link took its place")
        self._nodes.revision += 1
        reader = asyncio.create_task(self._read(request_iterator, record, mailbox))
        try:
            yield self._welcome(record)
            while (message := await mailbox.queue.get()) is not None:
                yield message
            if reader.done() and (error := reader.exception()):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            reader.cancel()
            self._links.close(mailbox)
            self._nodes.revision += 1

    async def _admit(
        self, requests: AsyncIterator[agent_link_pb2.LinkRequest], context: _Context
    ) -> NodeRecord:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                first = await anext(aiter(requests), None)
        except TimeoutError:
            first = None
        if first is None or not first.HasField("hello"):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "hello: must be the first message of a link"
            )
        assert first is not None
        name = first.hello.node_name
        if not NODE_NAME.fullmatch(name):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "hello.node_name: 1 to 253 letters, digits, '.', '_' or '-'",
            )
        try:
            record = self._nodes.admit(first.hello)
        except FrameError as error:
            self._note(name, Severity.WARNING, "agent.refused", f"hello.{error}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"hello.{error}")
        return record

    def _welcome(self, record: NodeRecord) -> agent_link_pb2.LinkResponse:
        hello = record.hello
        last = record.sequences.begin(hello.instance_id, hello.oldest_sequence)
        return agent_link_pb2.LinkResponse(
            welcome=agent_link_pb2.Welcome(
                hub_version=__version__, last_sequence=last, sent_time_unix_ns=time.time_ns()
            )
        )

    async def _read(
        self,
        requests: AsyncIterator[agent_link_pb2.LinkRequest],
        record: NodeRecord,
        mailbox: Mailbox,
    ) -> None:
        try:
            async for message in requests:
                if record.sequences.is_new(message.sequence):
                    self._take(message, record)
        except FrameError as error:
            name = record.hello.node_name
            self._note(name, Severity.WARNING, "agent.refused", f"frame.{error}")
            LOG.warning("node=%r frame=refused error=%r", name, str(error))
            raise
        finally:
            mailbox.close()

    def _take(self, message: agent_link_pb2.LinkRequest, record: NodeRecord) -> None:
        name = record.hello.node_name
        match message.WhichOneof("body"):
            case "frame":
                if not message.replayed:  # an old frame must not pass for the present
                    self._store.put(record.rows, message.frame, self._clock())
            case "step_batch":
                self._registry.take_steps(message.step_batch)
            case "run_report":
                self._registry.take_report(name, message.run_report)
            case "process_report":
                record.take_processes(message.process_report)
            case "sensor_report":
                record.sensors = list(message.sensor_report.sensors)
                record.collectors = list(message.sensor_report.collectors)
            case "checkpoint_report":
                self._registry.take_checkpoint(message.checkpoint_report)
            case "event":
                self._take_event(name, message.event)
            case "directive_result":
                self._links.answer(name, message.directive_result)
            case _:
                LOG.info("node=%r message=unknown", name)  # of a newer agent

    def _take_event(self, node_name: str, message: common_pb2.Event) -> None:
        message.node_name = node_name
        message.event_id = 0
        self._events.add(from_proto(Event, message))

    def _note(self, node_name: str, severity: Severity, kind: str, message: str) -> None:
        self._events.add(Event(severity=severity, kind=kind, message=message, node_name=node_name))
