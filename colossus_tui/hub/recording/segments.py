"""The recording in a folder: a file for each minute, the oldest removed. Touched by one thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from colossus_tui.hub.recording.config import RecordingConfig
from colossus_tui.recording.format import SUFFIX, Kind, RecordingError, block, file_head
from colossus_tui.recording.reader import Recording

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    start_time_unix_ns: int
    end_time_unix_ns: int  # when it was last written
    size: int


class Segments:
    """A sink of which each file begins with a keyframe, so that any of them may be removed.

    Args:
        folder: Its own; what else is in it stays.
    """

    def __init__(self, folder: Path, config: RecordingConfig) -> None:
        self._folder = folder
        self._config = config
        self._file: BinaryIO | None = None

    def begin(self, time_unix_ns: int) -> None:
        """Begin the next file, and remove what is too old or too much."""
        self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._remove_old(time_unix_ns)
        path = self._folder / f"{time_unix_ns}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        self._file.write(file_head())

    def write(self, data: bytes) -> None:
        """Append it; a hub that is killed has written what it was given."""
        if self._file is not None:  # what comes before the first keyframe says nothing
            self._file.write(data)
            self._file.flush()

    def close(self) -> None:
        """Close the file that is written."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def abandon(self) -> None:
        """Close the file whatever happens: the disk is full."""
        with suppress(OSError):
            self.close()

    def _all(self) -> list[_Segment]:
        """Return the files, oldest first."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(ValueError, OSError):  # not one of these, or removed meanwhile
                status = path.stat()
                found.append(_Segment(path, int(path.stem), status.st_mtime_ns, status.st_size))
        return sorted(found, key=lambda one: one.start_time_unix_ns)

    def _remove_old(self, now: int) -> None:
        segments = self._all()
        oldest = now - self._config.keep_minutes * 60 * 10**9
        total = sum(one.size for one in segments)
        for one in segments:
            if one.end_time_unix_ns < oldest or total > self._config.max_megabytes * 1_000_000:
                one.path.unlink(missing_ok=True)
                total -= one.size

    def export(self, since_unix_ns: int) -> Iterator[bytes]:
        """Yield one recording: all from the newest keyframe that is not after an instant.

        Raises:
            RecordingError: There is nothing.
        """
        chosen = [one for one in self._all() if one.size]
        while len(chosen) > 1 and chosen[1].start_time_unix_ns <= since_unix_ns:
            del chosen[0]
        last, wrote = 0, False
        for segment in chosen:
            with suppress(RecordingError), Recording(segment.path) as recording:
                if recording.start_time_unix_ns < last:
                    continue  # the clock was set back
                if not wrote:
                    yield file_head()
                wrote = True
                yield from recording.raw(CHUNK_BYTES)
                last = recording.end_time_unix_ns
        if not wrote:
            raise RecordingError("the hub has recorded nothing yet")
        yield block(Kind.END, last, last)
