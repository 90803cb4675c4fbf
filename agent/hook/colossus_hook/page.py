"""The rank page: one small shared file through which a rank and its agent talk.

The rank maps it; the agent uses pread and pwrite only, since a rank that truncates its page would
kill whoever maps it with SIGBUS. All numbers are little-endian. Nothing in a page is trusted.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import stat
import struct
from typing import NamedTuple

MAGIC = b"CLSPAGE1"
SIZE = 128 * 1024

VERB_NONE, VERB_CHECKPOINT, VERB_PAUSE = 0, 1, 2
PHASE_NONE, PHASE_PREPARED, PHASE_COMMITTED, PHASE_ABORTED = 0, 1, 2, 3
PHASE_READY = 4  # every rank has promised: who waits in vain acts, where in PREPARED he does not
ACTED_NONE, ACTED_DONE, ACTED_EXPIRED, ACTED_ABORTED = 0, 1, 2, 3

# magic, pid, start_time_ticks, rank, local_rank, world_size, attempt, created_unix_ns, run_id
IDENTITY = struct.Struct("<8sqqiiiiq64s")
IDENTITY_OFFSET = 0
FACTS = struct.Struct("<I1020s")
FACTS_OFFSET = 256

COUNTER = struct.Struct("<q")
STEP_COUNT_OFFSET = 2048  # step records ever written
CHECKPOINT_COUNT_OFFSET = 2056
CURRENT_STEP_OFFSET = 2064
ACTED = struct.Struct("<qqq")  # agreement, step, one of ACTED_*
ACTED_OFFSET = 2072

# What the agent writes. The serial is odd while the rest is being written.
SERIAL_OFFSET = 2304
ORDER = struct.Struct("<qqqqq")  # agreement, verb, phase, step, hold_ns
ORDER_OFFSET = 2312

STEP = struct.Struct("<qqqddd")  # step, unix_ns, tokens, loss, grad_norm, step_seconds
STEPS_OFFSET = 4096
STEPS_CAPACITY = 1024

# step, unix_ns, size_bytes, save_seconds, path length, path
CHECKPOINT = struct.Struct("<qqqdH1022s")
CHECKPOINTS_OFFSET = STEPS_OFFSET + STEPS_CAPACITY * STEP.size
CHECKPOINTS_CAPACITY = 16

RUN_ID_LIMIT = 63
NOT_GIVEN = -1  # tokens or size that the loop did not state


class PageError(Exception):
    """The file is not a rank page, or not one that can be read."""


class Identity(NamedTuple):
    """Who wrote the page."""

    pid: int
    start_time_ticks: int
    rank: int
    local_rank: int
    world_size: int
    attempt: int
    created_unix_ns: int
    run_id: str


class StepRecord(NamedTuple):
    """One finished step; NaN and -1 are values that the loop did not give."""

    step: int
    unix_ns: int
    tokens: int
    loss: float
    grad_norm: float
    step_seconds: float


class CheckpointRecord(NamedTuple):
    """One part of a checkpoint that its rank calls safe."""

    step: int
    unix_ns: int
    size_bytes: int
    save_seconds: float
    path: str


class Order(NamedTuple):
    """What the agent wants at a step."""

    agreement: int
    verb: int
    phase: int
    step: int
    hold_ns: int


class Acted(NamedTuple):
    """What the rank did about an order."""

    agreement: int
    step: int
    state: int


def start_time_ticks(pid: int) -> int:
    """Return the process's start time in kernel ticks since boot.

    Raises:
        OSError: There is no such process.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        return int(file.read().rpartition(b")")[2].split()[19])


def create(path: str, identity: Identity, facts: dict[str, float]) -> mmap.mmap:
    """Make a page at `path`, whole from the first moment that anybody sees it, and map it.

    Raises:
        OSError: The folder is missing or full, or may not be written.
    """
    partial = f"{path}.{os.getpid()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(partial, flags, 0o600)
    try:
        # Taken from the disk now: a full one must fail here, not as SIGBUS in a later step.
        os.posix_fallocate(descriptor, 0, SIZE)
        page = mmap.mmap(descriptor, SIZE)
    except OSError:
        os.unlink(partial)
        raise
    finally:
        os.close(descriptor)
    text = json.dumps(facts, separators=(",", ":")).encode()[:1020] if facts else b""
    FACTS.pack_into(page, FACTS_OFFSET, len(text), text)
    IDENTITY.pack_into(
        page,
        IDENTITY_OFFSET,
        MAGIC,
        *identity[:-1],
        identity.run_id.encode()[:RUN_ID_LIMIT],
    )
    COUNTER.pack_into(page, CURRENT_STEP_OFFSET, NOT_GIVEN)
    os.rename(partial, path)
    return page


class RankPage:
    """An agent's view of one page.

    Raises:
        PageError: The file is missing, too short, not a regular file or not a page.
    """

    def __init__(self, path: str, *, writable: bool = True) -> None:
        mode = os.O_RDWR if writable else os.O_RDONLY
        try:
            self._descriptor = os.open(path, mode | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise PageError(str(error)) from None
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size != SIZE:
                raise PageError("not a regular file of a page's size")
            if self._read(0, len(MAGIC)) != MAGIC:
                raise PageError("not a rank page of this version")
        except PageError:
            os.close(self._descriptor)
            raise

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _read(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, offset)
        except OSError as error:
            raise PageError(str(error)) from None
        if len(data) != size:
            raise PageError("the page was cut short")
        return data

    def _counter(self, offset: int) -> int:
        return int(COUNTER.unpack(self._read(offset, COUNTER.size))[0])

    def identity(self) -> Identity:
        """Return who wrote the page."""
        values = IDENTITY.unpack(self._read(IDENTITY_OFFSET, IDENTITY.size))
        run_id = values[-1].rstrip(b"\0").decode("utf-8", "replace")
        return Identity._make((*values[1:-1], run_id))

    def facts(self) -> dict[str, float]:
        """Return the facts that the loop stated; anything but finite numbers is left out."""
        length, text = FACTS.unpack(self._read(FACTS_OFFSET, FACTS.size))
        try:
            facts = json.loads(text[:length].decode("utf-8")) if length else {}
        except ValueError:
            return {}
        if not isinstance(facts, dict):
            return {}
        return {
            str(name)[:64]: float(value)
            for name, value in facts.items()
            if isinstance(value, (int, float))
            and not isinstance(value, bool)
            and math.isfinite(value)
        }

    def current_step(self) -> int:
        """Return the last finished step; -1 before the first."""
        return self._counter(CURRENT_STEP_OFFSET)

    def acted(self) -> Acted:
        """Return what the rank last did about an order."""
        return Acted(*ACTED.unpack(self._read(ACTED_OFFSET, ACTED.size)))

    def read_steps(self, since_count: int) -> tuple[int, int, list[StepRecord]]:
        """Return the new count, how many records were missed, and the records in between.

        Records that the rank may have been overwriting while they were read count as missed.
        """
        count = self._counter(STEP_COUNT_OFFSET)
        if count < since_count:  # another page took this one's place
            since_count = 0
        if count == since_count:
            return count, 0, []
        first = max(since_count, count - STEPS_CAPACITY)
        data = self._ring(STEPS_OFFSET, STEPS_CAPACITY, STEP.size, first, count)
        # The slot after the newest may be half written, so it does not count either.
        safe = self._counter(STEP_COUNT_OFFSET) - STEPS_CAPACITY + 1
        kept = max(first, safe)
        records = [
            StepRecord(*STEP.unpack_from(data, (index - first) * STEP.size))
            for index in range(min(kept, count), count)
        ]
        return count, count - since_count - len(records), records

    def read_checkpoints(self, since_count: int) -> tuple[int, list[CheckpointRecord]]:
        """Return the new count and the checkpoint records since `since_count`."""
        count = self._counter(CHECKPOINT_COUNT_OFFSET)
        if count < since_count:
            since_count = 0
        if count == since_count:
            return count, []
        first = max(since_count, count - CHECKPOINTS_CAPACITY + 1)
        size = CHECKPOINT.size
        data = self._ring(CHECKPOINTS_OFFSET, CHECKPOINTS_CAPACITY, size, first, count)
        records = []
        for index in range(first, count):
            step, unix_ns, size_bytes, save_seconds, length, path = CHECKPOINT.unpack_from(
                data, (index - first) * size
            )
            text = os.fsdecode(path[: min(length, len(path))])
            records.append(CheckpointRecord(step, unix_ns, size_bytes, save_seconds, text))
        return count, records

    def _ring(self, offset: int, capacity: int, size: int, first: int, count: int) -> bytes:
        """Read records first..count-1 of a ring with at most two reads."""
        start, end = first % capacity, (count - 1) % capacity + 1
        if start < end:
            return self._read(offset + start * size, (end - start) * size)
        return self._read(offset + start * size, (capacity - start) * size) + self._read(
            offset, end * size
        )

    def order(self) -> Order:
        """Return the order that stands in the page."""
        return Order(*ORDER.unpack(self._read(ORDER_OFFSET, ORDER.size)))

    def write_order(self, order: Order) -> None:
        """Replace the order. It is delivered when this returns."""
        serial = self._counter(SERIAL_OFFSET) | 1
        try:
            os.pwrite(self._descriptor, COUNTER.pack(serial), SERIAL_OFFSET)
            os.pwrite(self._descriptor, ORDER.pack(*order), ORDER_OFFSET)
            os.pwrite(self._descriptor, COUNTER.pack(serial + 1), SERIAL_OFFSET)
        except OSError as error:
            raise PageError(str(error)) from None


def read_order(page: mmap.mmap) -> tuple[int, Order] | None:
    """Return the serial and the order as the rank sees them, or None while they change."""
    before = COUNTER.unpack_from(page, SERIAL_OFFSET)[0]
    order = Order(*ORDER.unpack_from(page, ORDER_OFFSET))
    after = COUNTER.unpack_from(page, SERIAL_OFFSET)[0]
    if before != after or before & 1:
        return None
    return before, order
