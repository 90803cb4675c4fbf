"""Agents by the thousand, each linked to the hub itself: `python -m bench.crowd HOST:PORT COUNT`.

Each is a gRPC stream on a connection of its own, with 4 GPUs and one rank. It greets, tells what it
holds, sends a frame each second and its steps every 20 s. When its link breaks it links again as an
agent does: full jitter below a ceiling that doubles from 1 s to 30 s. Each line on stdin is
answered with one line of JSON: links, frames sent, processor time. {"mark": [N]} on it makes the
first GPU of node N hot.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import random
import resource
import select
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.nodes import GPU_COLUMNS, GPU_COUNT, HOST_COLUMNS, METHOD, Node
from bench.streams import Stream
from colossus_protos.v1 import agent_link_pb2, run_pb2

STEP_SECONDS = 20.0
MARK = 97.0  # temperature of a marked node's first GPU
BASE_SECONDS, CAP_SECONDS, SETTLED_SECONDS = 1.0, 30.0, 30.0
Call = Callable[[float], None]


@dataclass(slots=True)
class Agent:
    """One node's agent; `node` knows its words."""

    node: Node
    stream: Stream | None = None
    linked_at: float = 0.0
    is_welcome: bool = False
    attempt: int = 0
    step: int = 0


class Crowd:
    """All of them, on one thread."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._by_fd: dict[int, Agent] = {}
        self._due: list[tuple[float, int, Call]] = []
        self._tie = itertools.count()
        self._random = random.Random(7)
        busy = [55.0, 900.0, 1e6, 1.0, 7e10, 0.9, 0.5, 0.4, 1900.0, 0.0][: len(GPU_COLUMNS)]
        self._gpu_values = struct.pack(f"<{GPU_COUNT * len(busy)}f", *busy * GPU_COUNT)
        self._marked_values = struct.pack("<f", MARK) + self._gpu_values[4:]
        self._marked: set[int] = set()
        self._host_values = struct.pack(f"<{len(HOST_COLUMNS)}f", 20.0, 2.0**40, 2.0**39)
        unlinked: Stream = None  # type: ignore[assignment]  # each gets one when it links
        self._agents = [Agent(Node(index, count, unlinked)) for index in range(count)]
        self.sent = 0
        now = time.monotonic()
        for agent in self._agents:  # as after a restart of all: within a few seconds
            self._later(now + self._random.uniform(0.0, 5.0), self._linking(agent))

    def _later(self, due: float, call: Call) -> None:
        heapq.heappush(self._due, (due, next(self._tie), call))

    def _linking(self, agent: Agent) -> Call:
        def link(now: float) -> None:
            try:
                agent.stream = Stream(self._address, METHOD)
            except OSError:
                self._again(agent, now)
                return
            agent.linked_at, agent.is_welcome = now, False
            self._by_fd[agent.stream.fileno()] = agent
            self._epoll.register(agent.stream.fileno(), select.EPOLLIN)
            self._send(agent, now, agent.node.hello())

        return link

    def _again(self, agent: Agent, now: float) -> None:
        """Break what there is of a link, and link again later."""
        if agent.stream is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(agent.stream.fileno())
            self._by_fd.pop(agent.stream.fileno(), None)
            agent.stream.close()
            agent.stream = None
        settled = agent.is_welcome and now - agent.linked_at > SETTLED_SECONDS
        agent.is_welcome = False
        agent.attempt = 0 if settled else agent.attempt + 1
        ceiling = min(CAP_SECONDS, BASE_SECONDS * 2.0 ** min(agent.attempt, 16))
        self._later(now + self._random.uniform(0.0, ceiling) + 0.05, self._linking(agent))

    def _send(self, agent: Agent, now: float, *messages: bytes) -> None:
        if agent.stream is not None:
            try:
                agent.stream.send(*messages)
            except OSError:
                self._again(agent, now)

    def _tick(self, agent: Agent, linked_at: float) -> Call:
        def tick(now: float) -> None:
            if not agent.is_welcome or agent.linked_at != linked_at:
                return
            self._later(now + 1.0, tick)
            is_marked = agent.node.index in self._marked
            values = self._marked_values if is_marked else self._gpu_values
            messages = [agent.node.frame(values, self._host_values)]
            step = int((now + agent.node.index % 20) / STEP_SECONDS)
            if step > agent.step:
                agent.step = step
                messages.append(self._steps(agent, step))
            self.sent += 1
            self._send(agent, now, *messages)

        return tick

    def _steps(self, agent: Agent, step: int) -> bytes:
        batch = run_pb2.StepBatch(
            run_id="giant",
            attempt=1,
            rank=agent.node.index,
            steps=[step],
            times_unix_ns=[time.time_ns()],
            losses=[2.0],
            grad_norms=[1.0],
            tokens=[4096],
            step_seconds=[STEP_SECONDS],
        )
        return agent.node.wrap(step_batch=batch)

    def _hear(self, agent: Agent, now: float) -> None:
        assert agent.stream is not None
        try:
            for body in agent.stream.receive():
                message = agent_link_pb2.LinkResponse.FromString(body)
                if message.HasField("welcome"):
                    agent.is_welcome = True
                    self._send(agent, now, *agent.node.report())
                    first = now + agent.node.index / len(self._agents)
                    self._later(first, self._tick(agent, agent.linked_at))
        except OSError:
            self._again(agent, now)

    def run(self) -> None:
        """Serve until standard input ends."""
        self._epoll.register(0, select.EPOLLIN)
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else 1.0
            for descriptor, _ in self._epoll.poll(max(wait, 0), 512):
                if not descriptor:
                    if not (line := sys.stdin.readline()):
                        return
                    self._marked = set(json.loads(line or "{}").get("mark", ()))
                    print(json.dumps(self._state()), flush=True)
                elif descriptor in self._by_fd:
                    self._hear(self._by_fd[descriptor], time.monotonic())
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2](now)

    def _state(self) -> dict[str, float]:
        return {
            "linked": sum(agent.is_welcome for agent in self._agents),
            "sent": self.sent,
            "cpu_seconds": sum(os.times()[:2]),
        }


def main() -> None:
    """Run the agents."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    host, _, port = sys.argv[1].rpartition(":")
    Crowd((host, int(port)), int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
