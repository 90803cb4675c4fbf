"""An agent that has runs, does what it is told at once, and links again when its hub was killed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc

from colossus_protos.v1 import run_pb2
from tests.fakes.fake_agent import FakeAgent, frame, hello, local_run

RELINK_SECONDS = 0.2


class AnsweringAgent:
    """Keeps a link to a hub up; use it as a context manager.

    Attributes:
        obeyed: Identity of each directive, in order.
        is_deaf: Whether it hears of directives and does nothing.
    """

    def __init__(self, address: str, node_name: str, run_ids: Sequence[str]) -> None:
        self.address = address
        self.obeyed: list[str] = []
        self.is_deaf = False
        self._node_name = node_name
        self._runs = {run_id: local_run(run_id, label=f"of {node_name}") for run_id in run_ids}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._agent: FakeAgent | None = None
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._serve, self._sample)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        if (agent := self._agent) is not None:
            agent.close()
        for thread in self._threads:
            thread.join(10)

    def steps(self, run_id: str, steps: Sequence[int]) -> None:
        """Say that a run's rank finished steps, if the link is up."""
        with self._lock:
            if self._agent is not None:
                self._agent.steps(run_id, steps)

    def _serve(self) -> None:
        while not self._closed.is_set():
            agent = FakeAgent(self.address)
            with suppress(grpc.RpcError, StopIteration, AssertionError):
                agent.greet(hello(self._node_name))
                with self._lock:
                    self._agent = agent
                    agent.report(*self._runs.values())
                while True:
                    self._obey(agent)
            with self._lock:
                self._agent = None
            agent.close()
            self._closed.wait(RELINK_SECONDS)

    def _obey(self, agent: FakeAgent) -> None:
        directive = agent.directive()
        with self._lock:
            self.obeyed.append(directive.directive_id)
            if self.is_deaf:
                return
            agent.answer(directive)
            if directive.HasField("terminate"):
                self._runs[directive.run_id] = _ended(self._runs[directive.run_id])
            agent.report(*self._runs.values())

    def _sample(self) -> None:
        while not self._closed.wait(0.5):
            with self._lock:
                if self._agent is not None:
                    self._agent.send(frame=frame([(50.0, 300.0), (51.0, 300.0)], (1.0, 1e9)))


def _ended(run: run_pb2.LocalRun) -> run_pb2.LocalRun:
    ended = run_pb2.LocalRun()
    ended.CopyFrom(run)
    ended.process_count = 0
    ended.state = run_pb2.LOCAL_RUN_STATE_ENDED
    for rank in ended.ranks:
        rank.alive, rank.pid = False, 0
        rank.exit.known, rank.exit.exit_signal = True, 15
    return ended
