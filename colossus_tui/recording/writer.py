"""Writes what has changed, append-only: a block each few seconds, all in full each minute."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import BinaryIO, Protocol

from google.protobuf.message import Message

from colossus_protos.v1 import recording_pb2
from colossus_tui.recording.format import Kind, MarkFlag, RecordingError, block, file_head
from colossus_tui.recording.marks import FLAGS, Marks
from colossus_tui.recording.topics import split

BLOCK_SECONDS, BLOCK_BYTES = 5.0, 4 * 1024 * 1024
KEYFRAME_SECONDS = 60.0
MARK_TOPIC = "mark:mark"  # of one instant: no keyframe has it


class Sink(Protocol):
    """Where blocks go."""

    def begin(self, time_unix_ns: int) -> None:
        """Take note that a keyframe of this instant comes: what was before is not needed for it."""

    def write(self, data: bytes) -> None:
        """Take a block."""

    def close(self) -> None:
        """Take that nothing more comes."""


class FileSink:
    """One file, the whole recording.

    Raises:
        RecordingError: It is there already, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._file = new_file(path)
        self.size = 0
        self.write(file_head())

    def begin(self, time_unix_ns: int) -> None:
        """One file has all."""

    def write(self, data: bytes) -> None:
        """Append it; a program that is killed has written what it was given."""
        self._file.write(data)
        self._file.flush()
        self.size += len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def new_file(path: Path) -> BinaryIO:
    """Return a new file, its owner's alone: it shows what runs are started with.

    Raises:
        RecordingError: It is there already, or cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb")
    except FileExistsError:
        raise RecordingError(f"{path} is there already; name another file with -o") from None
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None


class Writer:
    """Takes answers, keeps what is new of each, and packs it into blocks; any thread may call.

    Args:
        sink: Where blocks go; what it raises is raised here.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.RLock()
        self._closed = False
        self._state: dict[str, dict[str, tuple[int, bytes]]] = {}  # topics by scope
        self._changes: list[recording_pb2.RecordedChange] = []
        self._size = 0
        self._marks, self._flags = Marks(), MarkFlag(0)
        self._now = 0
        self._flushed = self._keyframed = 0

    @property
    def last_time_unix_ns(self) -> int:
        """Instant of the newest answer."""
        return self._now

    def put(self, scope: str, answer: Message, time_unix_ns: int = 0) -> None:
        """Take the answer to a question.

        Args:
            time_unix_ns: When it was so; 0 for when the answer itself says, else now. A clock that
                was set back stands still until it is where it was.
        """
        with self._lock:
            if not self._closed:  # an answer may come when nobody waits for it any more
                self._put(scope, answer, time_unix_ns)

    def _put(self, scope: str, answer: Message, time_unix_ns: int) -> None:
        header = getattr(answer, "header", None)
        stated = time_unix_ns or (header.time_unix_ns if header is not None else 0)
        now = self._now = max(stated or self._now or time.time_ns(), self._now)
        known, parts = self._state.setdefault(scope, {}), split(answer)
        for name, value in parts.items():
            if name not in known or known[name][1] != value:
                known[name] = (now, value)
                self._change(f"{scope}:{name}", value)
        for name in [name for name in known if name not in parts]:
            del known[name]
            self._change(f"{scope}:{name}", removed=True)
        for mark in self._marks.of(scope, answer, now):
            self._flags |= FLAGS[mark.kind]
            self._change(MARK_TOPIC, mark.SerializeToString())
        self._flushed = self._flushed or now
        if now - self._flushed >= BLOCK_SECONDS * 1e9 or self._size > BLOCK_BYTES:
            self._flush()

    def drop(self, scope: str) -> None:
        """Take that a question is asked no more: what it is about is gone."""
        with self._lock:
            for name in self._state.pop(scope, ()):
                self._change(f"{scope}:{name}", removed=True)

    def _change(self, topic: str, value: bytes = b"", *, removed: bool = False) -> None:
        self._changes.append(
            recording_pb2.RecordedChange(
                time_unix_ns=self._now, topic=topic, value=value, removed=removed
            )
        )
        self._size += len(topic) + len(value)

    def flush(self) -> None:
        """Write what is new; each minute, and first of all, everything in full."""
        with self._lock:
            if self._now and not self._closed:
                self._flush()

    def _flush(self) -> None:
        is_first = not self._keyframed
        if self._changes and not is_first:
            first, last = self._changes[0].time_unix_ns, self._changes[-1].time_unix_ns
            self._sink.write(block(Kind.CHANGES, first, last, self._changes, self._flags))
        self._changes, self._size, self._flags = [], 0, MarkFlag(0)
        self._flushed = self._now
        if is_first or self._now - self._keyframed >= KEYFRAME_SECONDS * 1e9:
            self._sink.begin(self._now)
            self._sink.write(block(Kind.KEYFRAME, self._now, self._now, self._full()))
            self._keyframed = self._now

    def _full(self) -> list[recording_pb2.RecordedChange]:
        return [
            recording_pb2.RecordedChange(time_unix_ns=changed, topic=f"{scope}:{name}", value=value)
            for scope, parts in self._state.items()
            for name, (changed, value) in parts.items()
        ]

    def close(self) -> None:
        """Write what is left, and that nothing follows."""
        with self._lock:
            if self._now and not self._closed:
                self._flush()
                self._sink.write(block(Kind.END, self._now, self._now))
            self._closed = True
            self._sink.close()
