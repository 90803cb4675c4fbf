"""What the agent has not yet been told that its hub has: the bounded gap buffer."""

from __future__ import annotations

from collections import deque

from colossus_protos.v1 import agent_link_pb2

FRAME_LIMIT = 900  # 15 minutes at 1 Hz
BYTE_LIMIT = 16 * 1024 * 1024


class Outbox:
    """Numbered messages, kept until the hub acknowledges them.

    Frames give way first: the oldest frame is dropped beyond FRAME_LIMIT, and beyond BYTE_LIMIT any
    oldest message is. `dropped_count` tells how many.
    """

    def __init__(self, frame_limit: int = FRAME_LIMIT, byte_limit: int = BYTE_LIMIT) -> None:
        self._frame_limit = frame_limit
        self._byte_limit = byte_limit
        self._kept: deque[agent_link_pb2.LinkRequest] = deque()  # all but frames
        self._frames: deque[agent_link_pb2.LinkRequest] = deque()
        self._bytes = 0
        self._last = 0
        self.dropped_count = 0

    def __len__(self) -> int:
        return len(self._kept) + len(self._frames)

    @property
    def last_sequence(self) -> int:
        """Number of the newest message."""
        return self._last

    @property
    def oldest_sequence(self) -> int:
        """Number of the oldest message that can still be sent."""
        oldest = [queue[0].sequence for queue in (self._kept, self._frames) if queue]
        return min(oldest, default=self._last + 1)

    def add(self, message: agent_link_pb2.LinkRequest) -> None:
        """Number the message and keep it."""
        self._last += 1
        message.sequence = self._last
        queue = self._frames if message.HasField("frame") else self._kept
        queue.append(message)
        self._bytes += message.ByteSize()
        if len(self._frames) > self._frame_limit:
            self._drop(self._frames)
        while self._bytes > self._byte_limit and len(self) > 1:
            self._drop(self._frames or self._kept)

    def _drop(self, queue: deque[agent_link_pb2.LinkRequest]) -> None:
        self._bytes -= queue.popleft().ByteSize()
        self.dropped_count += 1

    def acknowledge(self, sequence: int) -> None:
        """Forget every message up to this number."""
        for queue in (self._kept, self._frames):
            while queue and queue[0].sequence <= sequence:
                self._bytes -= queue.popleft().ByteSize()

    def after(self, sequence: int, limit: int) -> list[agent_link_pb2.LinkRequest]:
        """Return up to `limit` messages with larger numbers, in order."""
        messages = [
            message
            for queue in (self._kept, self._frames)
            for message in queue
            if message.sequence > sequence
        ]
        messages.sort(key=lambda message: message.sequence)
        return messages[:limit]
