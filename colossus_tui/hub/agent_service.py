"""The agents' service: admits each node, takes its messages in, and writes directives down."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from colossus_protos.v1 import agent_link_pb2, agent_link_pb2_grpc, frame_pb2
from colossus_tui import __version__
from colossus_tui.hub.admission import Admission, BusyError
from colossus_tui.hub.intake import Intake
from colossus_tui.hub.links import DirectMailbox
from colossus_tui.hub.nodes import NodeRecord
from colossus_tui.hub.store import FrameError
from colossus_tui.model import Severity

LOG = logging.getLogger(__name__)
NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
HELLO_SECONDS = 10.0
_Context = grpc.aio.ServicerContext[Any, Any]


class AgentService(agent_link_pb2_grpc.AgentLinkServicer):
    """Takes links from agents."""

    def __init__(self, intake: Intake, admission: Admission) -> None:
        self._intake = intake
        self._admission = admission

    async def Link(
        self, request_iterator: AsyncIterator[agent_link_pb2.LinkRequest], context: _Context
    ) -> AsyncIterator[agent_link_pb2.LinkResponse]:
        """One agent's stream, until either side closes it."""
        del request_iterator  # reading from the context saves a generator's turn a message
        hello = await self._greeted(context)
        mailbox = DirectMailbox(hello.node_name)
        try:
            record, last = self._intake.link(hello, mailbox)
        except FrameError as error:
            self._refuse(hello.node_name, f"hello.{error}")
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"hello.{error}")
        reader = asyncio.create_task(self._read(context, record, mailbox))
        try:
            yield welcome(last)
            while (message := await mailbox.queue.get()) is not None:
                yield message
            if reader.done() and (failure := reader.exception()):
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(failure))
        finally:
            reader.cancel()
            self._intake.unlink(record, mailbox)

    async def _greeted(self, context: _Context) -> frame_pb2.Hello:
        first = None
        with suppress(TimeoutError):
            async with asyncio.timeout(HELLO_SECONDS):
                first = await context.read()
        if not isinstance(first, agent_link_pb2.LinkRequest) or not first.HasField("hello"):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "hello: must be the first message of a link"
            )
        if not NODE_NAME.fullmatch(first.hello.node_name):
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                "hello.node_name: 1 to 253 letters, digits, '.', '_' or '-'",
            )
        try:
            await self._admission.turn()
        except BusyError as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        return first.hello

    async def _read(self, context: _Context, record: NodeRecord, mailbox: DirectMailbox) -> None:
        try:
            while isinstance(message := await context.read(), agent_link_pb2.LinkRequest):
                self._intake.take(record, message)
        except FrameError as error:
            self._refuse(record.node_name, f"frame.{error}")
            LOG.warning("node=%r frame=refused error=%r", record.node_name, str(error))
            raise
        except Exception:
            LOG.error("node=%r message=failed trace=%r", record.node_name, traceback.format_exc())
            raise
        finally:
            mailbox.close()

    def _refuse(self, node_name: str, why: str) -> None:
        self._intake.note(node_name, Severity.WARNING, "agent.refused", why)


def welcome(last_sequence: int) -> agent_link_pb2.LinkResponse:
    """Return the first answer to an agent."""
    return agent_link_pb2.LinkResponse(
        welcome=agent_link_pb2.Welcome(
            hub_version=__version__,
            last_sequence=last_sequence,
            sent_time_unix_ns=time.time_ns(),
        )
    )
