"""A hub for link tests: a real gRPC server of AgentLink that can be slow, silent or hostile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import grpc

from colossus_protos.v1 import agent_link_pb2, directive_pb2, frame_pb2

SERVICE = agent_link_pb2.DESCRIPTOR.services_by_name["AgentLink"].full_name


class FakeHub:
    """Takes links and keeps every message; `stop` and `start` are a hub's death and restart.

    Attributes:
        welcomes: Whether Hello is answered.
        acknowledges: Whether what was read is acknowledged.
        reads: Cleared, the hub leaves what comes unread.
        keeps_numbers: Whether it remembers across a restart what it has.
        hellos: Every Hello.
        messages: Every other message, in order.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.welcomes = True
        self.acknowledges = True
        self.reads = threading.Event()
        self.reads.set()
        self.keeps_numbers = True
        self.hellos: list[frame_pb2.Hello] = []
        self.messages: list[agent_link_pb2.LinkRequest] = []
        self.last_sequence = 0
        self._outgoing: queue.SimpleQueue[agent_link_pb2.LinkResponse | None] = queue.SimpleQueue()
        self._server: Any = None

    def __enter__(self) -> FakeHub:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; what an earlier life knew of numbers is kept or not."""
        if not self.keeps_numbers:
            self.last_sequence = -1
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.stream_stream_rpc_method_handler(
            self._link,
            request_deserializer=agent_link_pb2.LinkRequest.FromString,
            response_serializer=agent_link_pb2.LinkResponse.SerializeToString,
        )
        service = grpc.method_handlers_generic_handler(SERVICE, {"Link": handler})
        self._server.add_generic_rpc_handlers((service,))
        assert self._server.add_insecure_port(self.address)
        self._server.start()

    def stop(self) -> None:
        """Break every link at once."""
        if self._server is not None:
            self.reads.set()
            self._outgoing.put(None)
            self._server.stop(0).wait()
            self._server = None

    def order(self, directive: directive_pb2.Directive) -> None:
        """Write a directive to the newest link."""
        self._outgoing.put(agent_link_pb2.LinkResponse(directive=directive))

    def bodies(self, kind: str) -> list[agent_link_pb2.LinkRequest]:
        """Return the messages of one kind."""
        return [message for message in list(self.messages) if message.WhichOneof("body") == kind]

    def answers(self, directive_id: str) -> list[directive_pb2.DirectiveResult]:
        """Return the answers to one directive."""
        results = [message.directive_result for message in self.bodies("directive_result")]
        return [result for result in results if result.directive_id == directive_id]

    def _link(
        self, requests: Iterator[agent_link_pb2.LinkRequest], _: grpc.ServicerContext
    ) -> Iterator[agent_link_pb2.LinkResponse]:
        """One agent's stream."""
        hello = next(requests).hello
        self.hellos.append(hello)
        outgoing = self._outgoing = queue.SimpleQueue()
        if self.welcomes:
            yield agent_link_pb2.LinkResponse(
                welcome=agent_link_pb2.Welcome(hub_version="fake", last_sequence=self.last_sequence)
            )
        reader = threading.Thread(target=self._read, args=(requests, outgoing))
        reader.start()
        while (answer := outgoing.get()) is not None:
            yield answer

    def _read(
        self,
        requests: Iterator[agent_link_pb2.LinkRequest],
        outgoing: queue.SimpleQueue[agent_link_pb2.LinkResponse | None],
    ) -> None:
        try:
            for message in requests:
                self.reads.wait()
                self.messages.append(message)
                if message.sequence and self.acknowledges:
                    self.last_sequence = max(self.last_sequence, message.sequence)
                    outgoing.put(
                        agent_link_pb2.LinkResponse(
                            acknowledgement=agent_link_pb2.Acknowledgement(
                                sequence=message.sequence
                            )
                        )
                    )
        except grpc.RpcError:
            pass
        finally:
            outgoing.put(None)
