"""Simulated nodes for bench.actions: `python -m bench.nodes HOST:PORT COUNT`, told more on stdin.

Each node is a gRPC stream on a connection of its own, with 4 GPUs and one rank of one run. It
greets, sends a frame and its new steps each second, and obeys directives at once as an agent does.
A line on stdin is JSON: {"dead": [3, 5]} makes nodes deaf and mute, {"closed": [3]} breaks their
links, {"link": true} links again what is dead or broken, {} changes nothing. Each is answered with
one line: what the ranks do, and how much processor time was used.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import struct
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bench.streams import Stream
from colossus_protos.v1 import (
    agent_link_pb2,
    common_pb2,
    directive_pb2,
    frame_pb2,
    run_pb2,
)

RUN_ID = "giant"
GPU_COUNT = 4
GPU_BYTES, IDLE_BYTES = 70 << 30, 5 << 20
STEP_SECONDS = 0.5
METHOD = "/colossus.v1.AgentLink/Link"
GPU_COLUMNS = {
    "gpu_temperature": "C",
    "power": "W",
    "energy": "J",
    "gpu_utilisation": "ratio",
    "memory_used": "B",
    "sm_active": "ratio",
    "tensor_active": "ratio",
    "dram_active": "ratio",
    "sm_clock": "MHz",
    "clock_event_reasons": "mask",
}
HOST_COLUMNS = {"load_1m": "count", "memory_total": "B", "memory_used": "B"}
NICE = {common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_P{n}"): 5 * n - 10 for n in range(5)}
REFUSED, DONE = directive_pb2.DIRECTIVE_OUTCOME_REFUSED, directive_pb2.DIRECTIVE_OUTCOME_DONE


@dataclass(slots=True)
class Promise:
    """What a rank has promised to do at a step."""

    agreement: int
    verb: int
    step: int
    is_bound: bool = False


@dataclass(slots=True)
class Node:
    """One node with its one rank."""

    index: int
    count: int
    stream: Stream
    attempt: int = 1
    is_alive: bool = True
    is_dead: bool = False
    frozen_at: float = 0.0  # monotonic; 0 while it runs
    fuse_unix_ns: int = 0
    began: float = 0.0  # monotonic: when step `base` ended
    base: int = 0
    told: int = 0  # last step that the hub heard of
    nice: int = 0
    promise: Promise | None = None
    acted: list[int] = field(default_factory=list)  # steps acted at
    sequence: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return f"node-{self.index:04}"

    def step(self, now: float) -> int:
        """Return the last finished step; a rank waits at a promised one until it is bound."""
        done = self.base + int(((self.frozen_at or now) - self.began) / STEP_SECONDS)
        if self.promise is not None and not self.promise.is_bound:
            return min(done, self.promise.step)
        return done

    def wrap(self, **body: object) -> bytes:
        """Return a numbered message."""
        self.sequence += 1
        message = agent_link_pb2.LinkRequest(sequence=self.sequence, **body)  # type: ignore[arg-type]  # one of its bodies
        return message.SerializeToString()

    def hello(self) -> bytes:
        """Return its first message."""
        hello = frame_pb2.Hello(
            node_name=self.name,
            agent_version="0.1.0",
            instance_id=f"{self.index}-{time.time_ns()}",
            rack=f"rack-{self.index // 18}",
            gpu_columns=_columns(GPU_COLUMNS),
            host_columns=_columns(HOST_COLUMNS),
            host=frame_pb2.HostInventory(cpu_count=144, memory_total_bytes=1 << 40),
            gpus=[
                frame_pb2.GpuInventory(
                    gpu_index=gpu,
                    gpu_uuid=f"GPU-{self.index}-{gpu}",
                    product_name="GB200",
                    memory_total_bytes=192 << 30,
                    power_limit_watts=1200,
                    peak_bf16_flops=2.5e15,
                )
                for gpu in range(GPU_COUNT)
            ],
            sample_period_seconds=1.0,
            oldest_sequence=1,
        )
        self.sequence = 0
        return agent_link_pb2.LinkRequest(hello=hello).SerializeToString()

    def report(self) -> list[bytes]:
        """Return the run and the process as they are now."""
        rank = run_pb2.LocalRank(
            rank=self.index,
            pid=1000,
            alive=self.is_alive,
            state="T" if self.frozen_at else "S",
            nice=self.nice,
            hooked=self.is_alive,
            step=self.told,
            process_count=1,
        )
        if not self.is_alive:
            rank.exit.known = True
        state = (
            run_pb2.LOCAL_RUN_STATE_FROZEN if self.frozen_at else run_pb2.LOCAL_RUN_STATE_RUNNING
        )
        run = run_pb2.LocalRun(
            run_id=RUN_ID,
            attempt=self.attempt,
            state=state if self.is_alive else run_pb2.LOCAL_RUN_STATE_ENDED,
            priority_class=common_pb2.PRIORITY_CLASS_P2,
            ranks=[rank],
            fuse_deadline_unix_ns=self.fuse_unix_ns,
            process_count=int(self.is_alive),
            command="python train.py",
            rank_count=self.count,
            facts_json='{"parameters_count": 1e13}',
        )
        process = frame_pb2.ProcessSample(
            pid=1000,
            name="python",
            run_id=RUN_ID,
            rank=self.index,
            gpu_indices=range(GPU_COUNT),
            gpu_memory_bytes=[GPU_BYTES] * GPU_COUNT,
        )
        processes = frame_pb2.ProcessReport(processes=[process] * self.is_alive)
        return [
            agent_link_pb2.LinkRequest(process_report=processes).SerializeToString(),
            agent_link_pb2.LinkRequest(
                run_report=run_pb2.RunReport(runs=[run])
            ).SerializeToString(),
        ]

    def frame(self, gpu_values: bytes, host_values: bytes) -> bytes:
        """Return a frame of now."""
        frame = frame_pb2.Frame(
            sample_time_unix_ns=time.time_ns(), gpu_values=gpu_values, host_values=host_values
        )
        return self.wrap(frame=frame)

    def steps(self, now: float) -> list[bytes]:
        """Return the steps that were finished since the last time, if any."""
        first, last = self.told + 1, self.step(now)
        if not self.is_alive or last < first:
            return []
        self.told = last
        new = range(first, last + 1)
        batch = run_pb2.StepBatch(
            run_id=RUN_ID,
            attempt=self.attempt,
            rank=self.index,
            steps=new,
            times_unix_ns=[time.time_ns()] * len(new),
            losses=[2.0 + 1 / step for step in new],
            grad_norms=[1.0] * len(new),
            tokens=[4096] * len(new),
            step_seconds=[STEP_SECONDS] * len(new),
        )
        return [self.wrap(step_batch=batch)]

    def act(self, now: float) -> list[bytes]:
        """Do at the promised step what was promised; return what is to be told."""
        promise = self.promise
        assert promise is not None
        messages = self.steps(now)
        self.promise = None
        self.acted.append(promise.step)
        if promise.step <= self.base:
            self.told = promise.step
        self.base, self.began = promise.step, now  # who waited goes on from here
        saved = run_pb2.CheckpointReport(
            run_id=RUN_ID,
            attempt=self.attempt,
            rank=self.index,
            step=promise.step,
            time_unix_ns=time.time_ns(),
            size_bytes=1 << 30,
            path=f"/scratch/giant/step-{promise.step}/rank-{self.index}",
            on_disk=True,
            save_seconds=0.01,
        )
        messages.append(self.wrap(checkpoint_report=saved))
        if promise.verb == common_pb2.VERB_PAUSE:
            self.is_alive = False
            messages += self.report()
        return messages


class Nodes:
    """All of them, on one thread."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._address = address
        self._epoll = select.epoll()
        self._by_fd: dict[int, Node] = {}
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._tie = itertools.count()
        busy = [55.0, 900.0, 1e6, 1.0, float(GPU_BYTES), 0.9, 0.5, 0.4, 1900.0, 0.0]
        idle = [35.0, 120.0, 1e6, 0.0, float(IDLE_BYTES), 0.0, 0.0, 0.0, 345.0, 1.0]
        self._gpu_values = {
            is_alive: struct.pack(f"<{GPU_COUNT * len(gpu)}f", *gpu * GPU_COUNT)
            for is_alive, gpu in ((True, busy), (False, idle))
        }
        self._host_values = struct.pack("<3f", 20.0, 2.0**40, 2.0**39)
        self.nodes = []
        for index in range(count):
            node = Node(index, count, Stream(address, METHOD))
            self.nodes.append(node)
            self._greet(node)
        begin = time.monotonic()
        for node in self.nodes:
            node.began = begin
            self._later(begin + node.index / count, self._ticks(node))

    def _greet(self, node: Node) -> None:
        self._by_fd[node.stream.fileno()] = node
        self._epoll.register(node.stream.fileno(), select.EPOLLIN)
        node.stream.send(node.hello(), *node.report())

    def _later(self, due: float, call: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (due, next(self._tie), call))

    def _ticks(self, node: Node) -> Callable[[float], None]:
        def tick(now: float) -> None:
            self._later(now + 1.0, tick)
            if node.frozen_at and time.time_ns() > node.fuse_unix_ns:
                self._thaw(node)
                self._send(node, *node.report())
            values = self._gpu_values[bool(node.is_alive)]
            self._send(node, node.frame(values, self._host_values), *node.steps(now))

        return tick

    def _send(self, node: Node, *messages: bytes) -> None:
        if not node.is_dead and node.stream.fileno() >= 0:
            node.stream.send(*messages)

    def run(self) -> None:
        """Serve until standard input ends."""
        self._epoll.register(0, select.EPOLLIN)
        while True:
            wait = self._due[0][0] - time.monotonic() if self._due else 1.0
            for descriptor, _ in self._epoll.poll(max(wait, 0)):
                if not descriptor:
                    if not self._told():
                        return
                elif (node := self._by_fd.get(descriptor)) is not None:  # else just told to close
                    self._hear(node)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2](now)

    def _told(self) -> bool:
        line = sys.stdin.readline()
        if not line:
            return False
        wish = json.loads(line)
        for index in wish.get("dead", ()):
            self.nodes[index].is_dead = True
        for index in wish.get("closed", ()):
            self._close(self.nodes[index])
        if wish.get("link"):
            for node in self.nodes:
                if node.is_dead or node.stream.fileno() < 0:
                    self._close(node)
                    node.is_dead, node.promise = False, None
                    node.stream = Stream(self._address, METHOD)
                    self._greet(node)
        now = time.monotonic()
        state = {
            "alive": sum(node.is_alive for node in self.nodes),
            "frozen": sum(bool(node.frozen_at) for node in self.nodes),
            "promised": sum(node.promise is not None for node in self.nodes if not node.is_dead),
            "acted": sum(len(node.acted) for node in self.nodes),
            "acted_apart": len({tuple(node.acted) for node in self.nodes}) - 1,
            "step": min(node.step(now) for node in self.nodes),
            "cpu_seconds": sum(os.times()[:2]),
        }
        print(json.dumps(state), flush=True)
        return True

    def _close(self, node: Node) -> None:
        if (descriptor := node.stream.fileno()) >= 0:
            self._epoll.unregister(descriptor)
            del self._by_fd[descriptor]
            node.stream.close()

    # --- what an agent does ----------------------------------------------------------------

    def _hear(self, node: Node) -> None:
        for body in node.stream.receive():
            if node.is_dead:
                continue
            message = agent_link_pb2.LinkResponse.FromString(body)
            if message.HasField("directive"):
                node.stream.send(*self._obey(node, message.directive))

    def _obey(self, node: Node, directive: directive_pb2.Directive) -> Iterator[bytes]:
        order, now, why = directive.WhichOneof("order") or "", time.monotonic(), ""
        after: list[bytes] = []
        if order == "prepare_step":
            why = self._prepare(node, directive.prepare_step, now)
        elif order == "commit_step" and node.promise is not None:
            node.promise.is_bound = True
            due = node.began + (node.promise.step - node.base) * STEP_SECONDS
            self._later(max(due, now), lambda at: self._send(node, *node.act(at)))
        elif order == "abort_step":
            node.promise = None
        else:
            after = self._move(node, directive, order, now)
        rank = directive_pb2.RankResult(
            rank=node.index, ok=not why, detail=why, step=node.step(now), nice=node.nice
        )
        result = directive_pb2.DirectiveResult(
            directive_id=directive.directive_id,
            run_id=directive.run_id,
            outcome=REFUSED if why else DONE,
            detail=why,
            ranks=[rank],
        )
        yield node.wrap(directive_result=result)
        yield from after

    def _prepare(self, node: Node, order: directive_pb2.PrepareStep, now: float) -> str:
        if order.step <= node.step(now):
            return f"rank {node.index}: already finished step {node.step(now)}"
        node.promise = Promise(order.agreement, order.verb, order.step)
        return ""

    def _move(
        self, node: Node, directive: directive_pb2.Directive, order: str, now: float
    ) -> list[bytes]:
        match order:
            case "freeze":
                node.frozen_at = now
                node.fuse_unix_ns = time.time_ns() + int(directive.freeze.fuse_seconds * 1e9)
            case "thaw":
                self._thaw(node)
            case "set_priority":
                node.nice = NICE[directive.set_priority.priority_class]
            case "start_run":
                start = directive.start_run
                points = [p.step for p in start.resume_points if p.rank == node.index]
                node.attempt, node.is_alive, node.began = start.attempt, True, now
                node.base = node.told = points[0] if points else 0
            case "terminate":
                node.is_alive = False
            case _:
                return []
        return node.report()

    def _thaw(self, node: Node) -> None:
        if node.frozen_at:
            node.began += time.monotonic() - node.frozen_at
            node.frozen_at, node.fuse_unix_ns = 0.0, 0


def _columns(units: dict[str, str]) -> list[frame_pb2.MetricColumn]:
    return [frame_pb2.MetricColumn(name=name, unit=unit) for name, unit in units.items()]


def main() -> None:
    """Serve as many nodes as asked for."""
    host, _, port = sys.argv[1].rpartition(":")
    Nodes((host, int(port)), int(sys.argv[2])).run()


if __name__ == "__main__":
    main()
