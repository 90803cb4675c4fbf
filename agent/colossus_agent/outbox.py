"""What the hub has not yet said it has: what is to be written, and the bounded gap buffer.

A message gets its number when it is first written to a link, so that the numbers of what was
written have no holes, whatever had to be dropped before it could be written.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from colossus_protos.v1 import agent_link_pb2

FRAME_SECONDS = 900.0
BYTE_LIMIT = 16 * 1024 * 1024


class _Written(NamedTuple):
    """A message that was written to a link and is not yet acknowledged."""

    sequence: int
    body: bytes


class _Lane:
    """One kind of message, oldest first: what was written to earlier links, then what waits."""

    def __init__(self) -> None:
        self.waiting: deque[bytes] = deque()
        self.written: deque[_Written] = deque()
        self.again: deque[_Written] = deque()
        self.waited_count = 0  # how many of the waiting are older than the link

    def __len__(self) -> int:
        return len(self.waiting) + len(self.written)

    def begin_link(self) -> None:
        self.again = deque(self.written)
        self.waited_count = len(self.waiting)

    def pop_waiting(self) -> tuple[bytes, bool]:
        """Return the oldest that waits, and whether it is older than the link."""
        is_old = self.waited_count > 0
        self.waited_count -= is_old
        return self.waiting.popleft(), is_old

    def acknowledge(self, sequence: int) -> int:
        """Forget what was written up to a number; return its size."""
        size = 0
        while self.again and self.again[0].sequence <= sequence:
            self.again.popleft()
        while self.written and self.written[0].sequence <= sequence:
            size += len(self.written.popleft().body)
        return size


class Outbox:
    """Encoded messages, kept until the hub acknowledges them.

    Steps, checkpoints, events and results leave in the order in which they came. Of frames the
    newest leaves first. Beyond `frame_limit` or `byte_limit` the oldest frame is dropped, and the
    oldest of the others only when there is no frame left.

    Attributes:
        dropped_frames: Frames that were given up.
        dropped_others: Other messages that were given up.
        last_sequence: Number of the last message that was written.
    """

    def __init__(self, frame_limit: int, byte_limit: int = BYTE_LIMIT) -> None:
        self._frame_limit = frame_limit
        self._byte_limit = byte_limit
        self._newest_frame: bytes | None = None
        self._frames = _Lane()
        self._others = _Lane()
        self._gone: set[int] = set()  # numbers written and given up before an acknowledgement
        self._bytes = 0
        self.dropped_frames = 0
        self.dropped_others = 0
        self.last_sequence = 0

    def __len__(self) -> int:
        return len(self._frames) + len(self._others) + (self._newest_frame is not None)

    @property
    def byte_count(self) -> int:
        """Size of all kept messages."""
        return self._bytes

    @property
    def oldest_sequence(self) -> int:
        """Number of the oldest message that a new link may still bring."""
        lanes = (self._frames, self._others)
        oldest = [lane.written[0].sequence for lane in lanes if lane.written]
        return min([*oldest, *self._gone], default=self.last_sequence + 1)

    def add(self, message: agent_link_pb2.LinkRequest) -> None:
        """Keep a message. A frame takes the place of one that waits; that one joins the gap."""
        body = message.SerializeToString()
        self._bytes += len(body)
        if message.HasField("frame"):
            if self._newest_frame is not None:
                self._frames.waiting.append(self._newest_frame)
            self._newest_frame = body
        else:
            self._others.waiting.append(body)
        while len(self._frames) >= self._frame_limit or self._bytes > self._byte_limit:
            if self._drop(self._frames):
                self.dropped_frames += 1
            elif len(self._others) > 1 and self._drop(self._others):
                self.dropped_others += 1
            else:
                return

    def _drop(self, lane: _Lane) -> bool:
        if lane.written:
            message = lane.written.popleft()
            if lane.again and lane.again[0].sequence <= message.sequence:
                lane.again.popleft()
            self._gone.add(message.sequence)
            self._bytes -= len(message.body)
        elif lane.waiting:
            self._bytes -= len(lane.pop_waiting()[0])
        else:
            return False
        return True

    def begin_link(self) -> None:
        """Let what is kept now be the gap: it is written again or at last, marked as replayed."""
        self._frames.begin_link()
        self._others.begin_link()

    def acknowledge(self, sequence: int) -> None:
        """Forget what was written up to this number."""
        self._bytes -= self._frames.acknowledge(sequence) + self._others.acknowledge(sequence)
        if self._gone:
            self._gone = {number for number in self._gone if number > sequence}

    def fillers(self) -> list[bytes]:
        """Return an empty message for each number that is gone, so that the hub need not wait."""
        return [_headed(number, b"", replayed=True) for number in sorted(self._gone)]

    def next_frame(self) -> bytes | None:
        """Return the newest frame if it has not been written."""
        body, self._newest_frame = self._newest_frame, None
        return None if body is None else self._number(body, self._frames, replayed=False)

    def next_other(self) -> bytes | None:
        """Return the next message that is no frame; None when all have been written."""
        return self._next(self._others)

    def next_old_frame(self) -> bytes | None:
        """Return the next frame of the gap; None when it is closed."""
        return self._next(self._frames, are_old=True)

    def _next(self, lane: _Lane, *, are_old: bool = False) -> bytes | None:
        if lane.again:
            return _headed(*lane.again.popleft(), replayed=True)
        if not lane.waiting:
            return None
        body, is_old = lane.pop_waiting()
        return self._number(body, lane, replayed=is_old or are_old)

    def _number(self, body: bytes, lane: _Lane, *, replayed: bool) -> bytes:
        self.last_sequence += 1
        lane.written.append(_Written(self.last_sequence, body))
        return _headed(self.last_sequence, body, replayed=replayed)


def _headed(sequence: int, body: bytes, *, replayed: bool) -> bytes:
    """Return the message with its header: encoded messages that are joined are merged."""
    header = agent_link_pb2.LinkRequest(sequence=sequence, replayed=replayed)
    return header.SerializeToString() + body
