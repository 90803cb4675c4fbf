"""What waits to go up: the newest frame of each node, and what must not be lost, in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import Message

from colossus_protos.v1 import agent_link_pb2, relay_link_pb2, run_pb2
from colossus_tui.hub.runs.checkpoints import CheckpointRows
from colossus_tui.hub.runs.steps import StepRows
from colossus_tui.hub.store import Rows

FRAMES = 64  # in a batch
FRAME_BATCHES = 16  # in a message, where so many wait
FRAME_BYTES = 1 << 20  # with so many a message has enough
_STEP_COLUMNS = (
    "ranks",
    "steps",
    "times_unix_ns",
    "losses",
    "grad_norms",
    "tokens",
    "step_seconds",
)
_SAVED_COLUMNS = ("ranks", "steps", "times_unix_ns", "sizes_bytes", "on_disk", "save_seconds")
T = TypeVar("T", relay_link_pb2.StepTable, relay_link_pb2.CheckpointTable)
P = TypeVar("P", bound=Message)
BYTE_LIMIT = 256 * 1024 * 1024
BATCH_BYTES = 1 << 20
LARGEST_BYTES = 3 << 20  # a parent takes 4 MiB in a message: what is larger would never pass


class _Batch(NamedTuple):
    """Steps and messages that were numbered and are not yet acknowledged."""

    number: int
    body: bytes


class Batches:
    """Collects what nodes say until it is written, and keeps what is not acknowledged.

    Frames and reports are of the moment: a newer one takes the place of one that waits. Steps and
    numbered messages are kept until the parent has them; beyond `byte_limit` the oldest are given
    up.

    Attributes:
        frame_count: Frames that wait.
        dropped_batches: Batches that were given up.
        replaced_frames: Frames that a newer one took the place of before they were written.
    """

    def __init__(self, byte_limit: int = BYTE_LIMIT) -> None:
        self._byte_limit = byte_limit
        self._frames: dict[int, dict[int, agent_link_pb2.LinkRequest]] = {}  # kind, node
        self._ready: dict[bytes, relay_link_pb2.FrameBatch] = {}
        self._links: list[relay_link_pb2.NodeLink] = []
        self._steps: dict[tuple[str, int], list[relay_link_pb2.StepTable]] = {}
        self._saved: dict[tuple[str, int, str], list[relay_link_pb2.CheckpointTable]] = {}
        self._messages: list[relay_link_pb2.NodeMessage] = []
        self._waiting: deque[_Batch] = deque()
        self._written: deque[_Batch] = deque()
        self._bytes = 0
        self.last_batch = 0
        self.frame_count = 0
        self.dropped_batches = 0
        self.replaced_frames = 0

    # --- what comes in ---------------------------------------------------------------------

    def link(self, number: int, hello: Any) -> None:
        """Note that a node came, or that it went when there is no Hello."""
        self._links.append(relay_link_pb2.NodeLink(node_number=number, hello=hello))
        self._forget_frames(number)

    def _forget_frames(self, number: int) -> None:
        """Drop what waits of a node's frames: after a new Hello they may have another shape."""
        for kind in [kind for kind, frames in self._frames.items() if number in frames]:
            del self._frames[kind][number]
            if not self._frames[kind]:
                del self._frames[kind]
            self._give_up(1)
        for key in [key for key in self._ready if number in np.frombuffer(key, dtype=np.intp)]:
            self._give_up(len(self._ready.pop(key).node_numbers) // 4)

    def _give_up(self, frames: int) -> None:
        self.frame_count -= frames
        self.replaced_frames += frames

    def frame(self, number: int, kind: int, message: agent_link_pb2.LinkRequest) -> None:
        """Note a node's newest frame."""
        frames = self._frames.setdefault(kind, {})
        is_new = number not in frames
        self.frame_count += is_new
        self.replaced_frames += not is_new
        frames[number] = message

    def frames(self, numbers: Rows, batch: relay_link_pb2.FrameBatch) -> None:
        """Note the newest frames of several nodes of one kind that come together each time."""
        key = numbers.tobytes()
        if key in self._ready:
            self.replaced_frames += numbers.size
        else:
            self.frame_count += numbers.size
        self._ready[key] = batch

    def steps(self, table: relay_link_pb2.StepTable) -> None:
        """Note steps."""
        self._steps.setdefault((table.run_id, table.attempt), []).append(table)

    def checkpoints(self, table: relay_link_pb2.CheckpointTable) -> None:
        """Note parts of checkpoints."""
        key = table.run_id, table.attempt, table.path_pattern
        self._saved.setdefault(key, []).append(table)

    def message(self, number: int, message: agent_link_pb2.LinkRequest) -> None:
        """Note a message, to follow what came before it."""
        self._messages.append(relay_link_pb2.NodeMessage(node_number=number, message=message))

    @property
    def link_count(self) -> int:
        """How much waits to be said of nodes that came and went."""
        return len(self._links)

    # --- what goes out ---------------------------------------------------------------------

    def begin_link(self, last_batch: int) -> None:
        """Start with what the parent does not have; what is said on each link anew is forgotten."""
        self.acknowledge(last_batch)
        self._number()
        self._waiting.extendleft(reversed(self._written))
        self._written.clear()
        self._links.clear()
        self._frames.clear()
        self._ready.clear()
        self.replaced_frames += self.frame_count
        self.frame_count = 0

    def acknowledge(self, last_batch: int) -> None:
        """Forget what the parent has."""
        for queue in (self._written, self._waiting):
            while queue and queue[0].number <= last_batch:
                self._bytes -= len(queue.popleft().body)

    @property
    def oldest_batch(self) -> int:
        """Number of the oldest batch that can still be sent."""
        for queue in (self._written, self._waiting):
            if queue:
                return queue[0].number
        return self.last_batch + 1

    def mark(self) -> int:
        """Return the batch that holds the last of what was noted until now."""
        self._number()
        return self.last_batch

    def next_links(self) -> bytes | None:
        """Return what is to be said of nodes that came and went."""
        if not self._links:
            return None
        links, self._links = self._links[:FRAMES], self._links[FRAMES:]
        return relay_link_pb2.RelayRequest(links=links).SerializeToString()

    def next_frames(self) -> bytes | None:
        """Return up to FRAME_BATCHES batches, those that came as one first."""
        batches: list[relay_link_pb2.FrameBatch] = []
        size = 0
        while len(batches) < FRAME_BATCHES and size < FRAME_BYTES:
            if self._ready:
                batches.append(self._ready.pop(next(iter(self._ready))))
            elif self._frames:
                batches.append(self._next_of_a_kind())
            else:
                break
            size += len(batches[-1].gpu_values)
        if not batches:
            return None
        self.frame_count -= sum(len(batch.node_numbers) // 4 for batch in batches)
        return relay_link_pb2.RelayRequest(frames=batches).SerializeToString()

    def _next_of_a_kind(self) -> relay_link_pb2.FrameBatch:
        kind, frames = next(iter(self._frames.items()))
        taken = dict(itertools.islice(frames.items(), FRAMES))
        for number in taken:
            del frames[number]
        if not frames:
            del self._frames[kind]
        return _frames(taken)

    def next_batch(self, *, replayed: bool) -> bytes | None:
        """Return the oldest batch of steps and messages that is not written to this link."""
        self._number()
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        self._written.append(batch)
        header = relay_link_pb2.RelayRequest(batch=batch.number, replayed=replayed)
        return header.SerializeToString() + batch.body

    def _number(self) -> None:
        """Make a batch of all steps and messages that wait, or several of what is large."""
        requests = [
            *(
                relay_link_pb2.RelayRequest(steps=[_joined(part, _STEP_COLUMNS)])
                for parts in self._steps.values()
                for part in _chunks(parts)
            ),
            *(
                relay_link_pb2.RelayRequest(checkpoints=[_joined(part, _SAVED_COLUMNS)])
                for parts in self._saved.values()
                for part in _chunks(parts)
            ),
            *(relay_link_pb2.RelayRequest(messages=part) for part in _chunks(self._messages)),
        ]
        self._steps, self._saved, self._messages = {}, {}, []
        together = b""  # one body after the other is one message with all of their parts
        for request in requests:
            body = request.SerializeToString()
            if len(body) > LARGEST_BYTES:
                self.dropped_batches += 1
            elif together and len(together) + len(body) > BATCH_BYTES:
                self._append(together)
                together = body
            else:
                together += body
        if together:
            self._append(together)

    def _append(self, body: bytes) -> None:
        self.last_batch += 1
        self._waiting.append(_Batch(self.last_batch, body))
        self._bytes += len(body)
        while self._bytes > self._byte_limit and len(self._written) + len(self._waiting) > 1:
            queue = self._written or self._waiting
            self._bytes -= len(queue.popleft().body)
            self.dropped_batches += 1


def _frames(messages: dict[int, agent_link_pb2.LinkRequest]) -> relay_link_pb2.FrameBatch:
    frames = [message.frame for message in messages.values()]
    times = np.array([frame.sample_time_unix_ns for frame in frames], dtype="<i8")
    return relay_link_pb2.FrameBatch(
        node_numbers=np.array(list(messages), dtype="<i4").tobytes(),
        sample_times_unix_ns=times.tobytes(),
        gpu_values=b"".join(frame.gpu_values for frame in frames),
        host_values=b"".join(frame.host_values for frame in frames),
    )


def _chunks(parts: Iterable[P]) -> Iterator[list[P]]:
    """Yield messages in lists of up to BATCH_BYTES, or of one that is larger."""
    chunk: list[P] = []
    size = 0
    for part in parts:
        if chunk and size + part.ByteSize() > BATCH_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += part.ByteSize()
    if chunk:
        yield chunk


def _joined(parts: list[T], columns: tuple[str, ...]) -> T:
    """Return tables of one run as one."""
    first = parts[0]
    for column in columns if len(parts) > 1 else ():
        setattr(first, column, b"".join(getattr(part, column) for part in parts))
    return first


def step_table(rows: StepRows) -> relay_link_pb2.StepTable:
    """Return steps as they go over the wire."""
    return relay_link_pb2.StepTable(
        run_id=rows.run_id,
        attempt=rows.attempt,
        ranks=rows.ranks.astype("<i4").tobytes(),
        steps=rows.steps.astype("<i8").tobytes(),
        times_unix_ns=rows.times_unix_ns.astype("<i8").tobytes(),
        losses=rows.losses.astype("<f8").tobytes(),
        grad_norms=rows.grad_norms.astype("<f8").tobytes(),
        tokens=rows.tokens.astype("<i8").tobytes(),
        step_seconds=rows.step_seconds.astype("<f8").tobytes(),
    )


def checkpoint_table(rows: CheckpointRows) -> relay_link_pb2.CheckpointTable:
    """Return parts of checkpoints as they go over the wire."""
    return relay_link_pb2.CheckpointTable(
        run_id=rows.run_id,
        attempt=rows.attempt,
        ranks=rows.ranks.astype("<i4").tobytes(),
        steps=rows.steps.astype("<i8").tobytes(),
        times_unix_ns=rows.times_unix_ns.astype("<i8").tobytes(),
        sizes_bytes=rows.sizes_bytes.astype("<i8").tobytes(),
        on_disk=rows.on_disk.astype("<i1").tobytes(),
        save_seconds=rows.save_seconds.astype("<f8").tobytes(),
        path_pattern=rows.path_pattern,
    )


def is_plain(batch: run_pb2.StepBatch) -> bool:
    """Return whether a rank's steps may go in a table with others'."""
    return not (batch.whole_run or batch.missed_count)
