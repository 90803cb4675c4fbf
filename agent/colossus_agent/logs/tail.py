"""The new lines of a file that somebody else writes, a bounded piece at a time."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from colossus_agent.logs.printed import LINE_LIMIT

HEAD_BYTES = 256 * 1024  # where frameworks state their settings
PIECE_BYTES = 64 * 1024  # read at once
KEPT_BYTES = 512 * 1024  # a reader farther behind jumps there


class Tail:
    """Follows a path, also when its file is replaced or made shorter.

    Args:
        path: Of a regular file; anything else has no lines.
        is_old: Whether what stands there now is of another time: only its settings count.
    """

    def __init__(self, path: str, *, is_old: bool = False) -> None:
        self.path = path
        self._is_old = is_old
        self._descriptor = -1
        self._identity = (0, 0)
        self._offset = 0
        self._partial = b""
        self._cut = False  # in a line of which the start is lost, or has been given
        self._head: list[bytes] = []
        self.written_unix_ns = 0

    def read(self) -> tuple[list[bytes], list[bytes]]:
        """Return lines of the file's head that may state settings, and the new lines."""
        lines = self._piece()
        if self._open_anew():
            lines += self._piece()
        head, self._head = self._head, []
        return head, lines

    @property
    def is_over(self) -> bool:
        """Whether it was there and is gone, and all of it has been read."""
        return self._descriptor >= 0 and not os.path.exists(self.path)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def _open_anew(self) -> bool:
        """Open the file when the path has become another one's; return whether it has."""
        try:
            status = os.stat(self.path)
            identity = (status.st_dev, status.st_ino)
            if not stat.S_ISREG(status.st_mode) or identity == self._identity:
                return False
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
            descriptor = os.open(self.path, flags)
        except OSError:
            return False
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return False
        self.close()
        self._descriptor, self._identity = descriptor, (status.st_dev, status.st_ino)
        self._offset, self._partial, self._cut = 0, b"", False
        if self._is_old or status.st_size > HEAD_BYTES + KEPT_BYTES:
            with suppress(OSError):
                self._head = os.pread(descriptor, HEAD_BYTES, 0).split(b"\n")
        if self._is_old:
            self._offset, self._is_old = status.st_size, False
            self._cut = os.pread(descriptor, 1, max(0, status.st_size - 1)) not in (b"", b"\n")
        return True

    def _piece(self) -> list[bytes]:
        if self._descriptor < 0:
            return []
        try:
            status = os.fstat(self._descriptor)
            if status.st_size < self._offset:  # made shorter: it begins again
                self._offset, self._partial, self._cut = 0, b"", False
            if status.st_size - self._offset > HEAD_BYTES + KEPT_BYTES:
                self._offset = status.st_size - KEPT_BYTES
                self._partial, self._cut = b"", True
            piece = os.pread(self._descriptor, PIECE_BYTES, self._offset)
        except OSError:
            return []
        self._offset += len(piece)
        self.written_unix_ns = status.st_mtime_ns
        return self._lines(piece)

    def _lines(self, piece: bytes) -> list[bytes]:
        *whole, rest = piece.split(b"\n")
        if whole:
            first = b"" if self._cut else self._partial + whole[0]
            whole[0], self._partial, self._cut = first, b"", False
        if not self._cut:
            self._partial += rest
        if len(self._partial) > LINE_LIMIT:  # the rest of an endless line is not kept
            whole.append(self._partial)
            self._partial, self._cut = b"", True
        return whole
