"""Reads a recording: heads at once, blocks when they are wanted, nothing after the first damage."""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Self

from colossus_protos.v1 import recording_pb2
from colossus_tui.recording.format import (
    BLOCK_HEAD,
    BLOCK_LIMIT,
    FILE_HEAD,
    BlockHead,
    CutError,
    DamageError,
    Kind,
    RecordingError,
    block_head,
    check_file_head,
    check_payload,
    unpack,
)
from colossus_tui.text import bytes_, clock

BLOCKS_KEPT = 8  # unpacked


class Recording:
    """One file, read up to its first damage.

    Attributes:
        path: The file.
        size: Its length, bytes.
        damage: Where and why it is cut, as known so far; "" while it is whole.

    Raises:
        RecordingError: Nothing of it can be replayed, or it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise RecordingError(f"{path}: {error.strerror}") from None
        try:
            self.size = os.fstat(self._file).st_size
            check_file_head(self._read(0, FILE_HEAD.size))
            self._blocks: list[BlockHead] = []
            self._scan()
            if not self._blocks:
                raise RecordingError(f"nothing of it is whole: {self.damage}")
        except RecordingError as error:
            os.close(self._file)
            raise RecordingError(f"{path}: {error}") from None
        except OSError as error:
            os.close(self._file)
            raise RecordingError(f"{path}: {error.strerror}") from None
        self._unpacked = lru_cache(maxsize=BLOCKS_KEPT)(self._unpack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file, length, offset)

    # --- what is whole -----------------------------------------------------------------------

    def _scan(self) -> None:
        """Read every head; what a block holds is looked at when it is wanted."""
        offset, last = FILE_HEAD.size, 0
        while offset < self.size:
            try:
                head = block_head(self._read(offset, BLOCK_HEAD.size), offset)
                if head.end > self.size:
                    raise CutError("it ends within a block")
                if head.first_time_unix_ns < last:
                    raise DamageError("a block is older than the one before it")
                if not self._blocks and head.kind is not Kind.KEYFRAME:
                    raise DamageError("it does not begin with a keyframe")
                if len(self._blocks) >= BLOCK_LIMIT:
                    raise DamageError("it has more blocks than any that is written")
            except DamageError as error:
                self._cut(offset, error)
                return
            offset, last = head.end, head.last_time_unix_ns
            if head.kind is Kind.END:
                if offset < self.size:
                    self._cut(offset, DamageError("something follows the end"))
                return
            self._blocks.append(head)
        self._cut(offset, CutError("no end was written"))

    def _cut(self, offset: int, error: DamageError) -> None:
        """Note that nothing from this byte on is replayed."""
        at = f" at {clock(self.end_time_unix_ns)}" if self._blocks else ""
        self.damage = (
            f"{error.word}{at}: {error}; "
            f"{bytes_(offset)} of {bytes_(self.size)} are whole and replayed"
        )

    def verify(self) -> None:
        """Look at every byte, and cut the recording where one is not what was written."""
        self.cut_at(self.first_damage())

    def first_damage(self) -> tuple[int, DamageError] | None:
        """Return the first block that is not what was written, and why; any thread may ask."""
        for place, head in enumerate(list(self._blocks)):
            try:
                check_payload(head, self._read(head.offset, head.length))
            except DamageError as error:
                return place, error
        return None

    def cut_at(self, damage: tuple[int, DamageError] | None) -> None:
        """End the recording before a block that is damaged."""
        if damage is not None and damage[0] < len(self._blocks):
            self._drop_from(*damage)

    def _drop_from(self, place: int, error: DamageError) -> None:
        offset = self._blocks[place].offset - BLOCK_HEAD.size
        del self._blocks[place:]
        self._cut(offset, error)

    # --- what it holds -----------------------------------------------------------------------

    @property
    def blocks(self) -> Sequence[BlockHead]:
        """Heads of the blocks that are whole as far as is known; may become fewer."""
        return self._blocks

    @property
    def start_time_unix_ns(self) -> int:
        """First instant."""
        return self._blocks[0].first_time_unix_ns if self._blocks else 0

    @property
    def end_time_unix_ns(self) -> int:
        """Last instant that is whole."""
        return self._blocks[-1].last_time_unix_ns if self._blocks else 0

    def keyframe_before(self, time_unix_ns: int) -> int:
        """Return the place of the newest keyframe that is not later; else of the first."""
        found = bisect.bisect_right(self._blocks, time_unix_ns, key=lambda b: b.first_time_unix_ns)
        while found > 1 and self._blocks[found - 1].kind is not Kind.KEYFRAME:
            found -= 1
        return max(found - 1, 0)

    def raw(self, chunk: int) -> Iterator[bytes]:
        """Yield the bytes of all blocks that are whole, without the file's head and its end."""
        self.verify()
        offset = FILE_HEAD.size
        end = self._blocks[-1].end if self._blocks else offset
        while offset < end:
            yield self._read(offset, min(chunk, end - offset))
            offset += chunk

    def changes(self, place: int) -> Sequence[recording_pb2.RecordedChange]:
        """Return what a block holds; nothing of one that is damaged, where the recording ends then.

        The block itself is the first that is not there any more.
        """
        if place >= len(self._blocks):
            return ()
        try:
            return self._unpacked(self._blocks[place])
        except DamageError as error:
            self._drop_from(place, error)
            return ()

    def _unpack(self, head: BlockHead) -> Sequence[recording_pb2.RecordedChange]:
        return unpack(head, self._read(head.offset, head.length)).changes
