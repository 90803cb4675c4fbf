"""An agent for hub tests: a real gRPC stream of AgentLink that says whatever a test wants."""

from __future__ import annotations

import itertools
import queue
import struct
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
import pytest

from colossus_protos.v1 import (
    agent_link_pb2,
    agent_link_pb2_grpc,
    common_pb2,
    directive_pb2,
    frame_pb2,
    run_pb2,
)

GPU_COLUMNS = (("gpu_temperature", "C"), ("power", "W"))
HOST_COLUMNS = (("load_1m", "count"), ("memory_total", "B"))
ANSWER_SECONDS = 10.0


def hello(node_name: str = "node-1", gpu_count: int = 2, **changes: Any) -> frame_pb2.Hello:
    """Return a Hello of a node whose GPUs have a temperature and a power."""
    message = frame_pb2.Hello(
        node_name=node_name,
        agent_version="0.1.0",
        instance_id="instance-1",
        gpu_columns=[frame_pb2.MetricColumn(name=name, unit=unit) for name, unit in GPU_COLUMNS],
        host_columns=[frame_pb2.MetricColumn(name=name, unit=unit) for name, unit in HOST_COLUMNS],
        host=frame_pb2.HostInventory(cpu_count=4, memory_total_bytes=1 << 30),
        gpus=[
            frame_pb2.GpuInventory(gpu_index=index, gpu_uuid=f"GPU-{index}", product_name="H100")
            for index in range(gpu_count)
        ],
        sample_period_seconds=1.0,
        oldest_sequence=1,
    )
    message.MergeFrom(frame_pb2.Hello(**changes))
    return message


def frame(gpus: Sequence[tuple[float, float]], host: tuple[float, float]) -> frame_pb2.Frame:
    """Return a frame of now."""
    flat = list(itertools.chain(*gpus))
    return frame_pb2.Frame(
        sample_time_unix_ns=time.time_ns(),
        gpu_values=struct.pack(f"<{len(flat)}f", *flat),
        host_values=struct.pack("<2f", *host),
    )


def local_run(run_id: str = "r", **changes: Any) -> run_pb2.LocalRun:
    """Return a run with one live, hooked rank."""
    message = run_pb2.LocalRun(
        run_id=run_id,
        attempt=1,
        state=run_pb2.LOCAL_RUN_STATE_RUNNING,
        priority_class=common_pb2.PRIORITY_CLASS_P2,
        ranks=[run_pb2.LocalRank(rank=0, pid=1, alive=True, hooked=True, state="S", step=1)],
        process_count=1,
        rank_count=1,
        command="python train.py",
    )
    message.MergeFrom(run_pb2.LocalRun(**changes))
    return message


class FakeAgent:
    """One link; use it as a context manager."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)
        self._outgoing: queue.SimpleQueue[agent_link_pb2.LinkRequest | None] = queue.SimpleQueue()
        blocking: Any = self._channel  # the stub's types are those of asyncio
        self.call: Any = agent_link_pb2_grpc.AgentLinkStub(blocking).Link(
            self._requests(), timeout=60
        )
        self._answers: Any = self.call
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _requests(self) -> Iterator[agent_link_pb2.LinkRequest]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def close(self) -> None:
        """Break the link."""
        self._outgoing.put(None)
        self.call.cancel()
        self._channel.close()

    def greet(self, message: frame_pb2.Hello | None = None) -> agent_link_pb2.Welcome:
        """Send Hello and return the welcome.

        Raises:
            grpc.RpcError: The hub refused it.
        """
        self._outgoing.put(agent_link_pb2.LinkRequest(hello=message or hello()))
        welcome: agent_link_pb2.Welcome = next(self._answers).welcome
        return welcome

    def send(self, *, sequence: int | None = None, replayed: bool = False, **body: Any) -> int:
        """Send one numbered message and return its number."""
        if sequence is None:
            self._sequence += 1
            sequence = self._sequence
        self._outgoing.put(agent_link_pb2.LinkRequest(sequence=sequence, replayed=replayed, **body))
        return sequence

    def report(self, *runs: run_pb2.LocalRun) -> None:
        """Say that these are the node's runs."""
        self.send(sequence=0, run_report=run_pb2.RunReport(runs=runs))

    def steps(self, run_id: str, steps: Sequence[int], *, rank: int = 0, attempt: int = 1) -> None:
        """Say that a rank finished steps."""
        count = len(steps)
        self.send(
            step_batch=run_pb2.StepBatch(
                run_id=run_id,
                attempt=attempt,
                rank=rank,
                steps=steps,
                times_unix_ns=[time.time_ns()] * count,
                losses=[2.0] * count,
                grad_norms=[1.0] * count,
                tokens=[10] * count,
                step_seconds=[0.5] * count,
            )
        )

    def until_acknowledged(self, sequence: int) -> None:
        """Wait until the hub says that this is safe with it."""
        for answer in self._answers:
            if answer.acknowledgement.sequence >= sequence:
                return
        raise AssertionError("the link ended")

    def directive(self) -> directive_pb2.Directive:
        """Return the next directive."""
        for answer in self._answers:
            if answer.HasField("directive"):
                directive: directive_pb2.Directive = answer.directive
                return directive
        raise AssertionError("the link ended")

    def answer(self, directive: directive_pb2.Directive, detail: str = "", **changes: Any) -> None:
        """Say that a directive was carried out, or what `changes` say of it."""
        result = directive_pb2.DirectiveResult(
            directive_id=directive.directive_id,
            outcome=directive_pb2.DIRECTIVE_OUTCOME_DONE,
            detail=detail,
        )
        result.MergeFrom(directive_pb2.DirectiveResult(**changes))
        self.send(directive_result=result)

    def refusal(self) -> grpc.Call:
        """Return the error with which the hub ends the link."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self._answers:
                pass
        call: grpc.Call = caught.value  # type: ignore[assignment]  # as grpcio raises it
        return call
