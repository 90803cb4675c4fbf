"""The file's bytes: its head, and blocks that each stand for themselves. docs/recording.md has all.

Numbers are little-endian. A block's head and its payload have a CRC-32 (zlib's) each, so a flipped
bit is never taken for data; the payload is one zstd frame of a RecordedBlock.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import zstandard
from google.protobuf.message import DecodeError

from colossus_protos.v1 import recording_pb2

MAGIC = b"\x89CLREC\r\n"
VERSION = 1
SUFFIX = ".clrec"
# Magic, version, 0, CRC-32 of the bytes before it.
FILE_HEAD = struct.Struct("<8sHHI")
# Marker, kind, marks, 0, payload's length, its length unpacked, first time, last time (both Unix
# nanoseconds), CRC-32 of the payload, CRC-32 of the bytes before it.
BLOCK_HEAD = struct.Struct("<4sBBHIIqqII")
MARKER = b"CLB1"
CRC_BYTES = 4
LEVEL = 3  # of zstd: at 9 a minute is a tenth smaller and takes four times the processor

# What a file that nobody trusts may ask of its reader.
PAYLOAD_LIMIT = 32 * 1024 * 1024
UNPACKED_LIMIT = 128 * 1024 * 1024
CHANGE_LIMIT = 500_000
TOPIC_LIMIT = 2_048
BLOCK_LIMIT = 1_000_000  # 57 days of 5 s each
TIME_LIMIT = 2**62  # in the year 2116
# RecordedBlock.changes on the wire: its number, and that a length of at most so many bytes follows.
CHANGES_TAG = recording_pb2.RecordedBlock.CHANGES_FIELD_NUMBER << 3 | 2
VARINT_BYTES = 5  # at most, of a tag or a length


class RecordingError(ValueError):
    """A file cannot be replayed at all, or not be written; the message says why."""


class DamageError(ValueError):
    """A part of a recording is not what was written; the message says what is wrong with it."""

    word = "damaged"


class CutError(DamageError):
    """A recording stops before its end."""

    word = "cut"


class Kind(enum.IntEnum):
    """What a block is."""

    KEYFRAME = 1  # every topic, in full
    CHANGES = 2
    END = 3  # nothing follows: the recording was ended, not cut


class MarkFlag(enum.IntFlag):
    """What happened within a block that is worth a look, as its head tells."""

    ALERT = 1
    ACTION = 2


@dataclass(frozen=True, slots=True)
class BlockHead:
    """A block's head, and where in the file its payload begins."""

    offset: int
    kind: Kind
    marks: MarkFlag
    length: int
    unpacked_length: int
    first_time_unix_ns: int
    last_time_unix_ns: int
    crc: int

    @property
    def end(self) -> int:
        """Offset of the byte after the payload."""
        return self.offset + self.length


def file_head(version: int = VERSION) -> bytes:
    """Return what a file begins with."""
    head = FILE_HEAD.pack(MAGIC, version, 0, 0)[:-CRC_BYTES]
    return head + struct.pack("<I", zlib.crc32(head))


def check_file_head(head: bytes) -> None:
    """Check what a file begins with.

    Raises:
        RecordingError: It is no recording, damaged in its first bytes, or of another version.
    """
    if len(head) < FILE_HEAD.size or not head.startswith(MAGIC):
        raise RecordingError("it is no recording of colossus")
    _, version, _, crc = FILE_HEAD.unpack(head)
    if crc != zlib.crc32(head[:-CRC_BYTES]):
        raise RecordingError("its first bytes are damaged")
    if version != VERSION:
        raise RecordingError(
            f"its format is version {version}, this program reads version {VERSION}; "
            "replay it with the colossus that recorded it"
        )


def block(
    kind: Kind,
    first: int,
    last: int,
    changes: Sequence[recording_pb2.RecordedChange] = (),
    marks: MarkFlag | None = None,
) -> bytes:
    """Return a block's head and payload.

    Raises:
        RecordingError: It would be larger than a reader takes.
    """
    payload, size = b"", 0
    if kind is not Kind.END:
        unpacked = recording_pb2.RecordedBlock(changes=changes).SerializeToString()
        payload, size = zstandard.ZstdCompressor(level=LEVEL).compress(unpacked), len(unpacked)
        if size > UNPACKED_LIMIT or len(payload) > PAYLOAD_LIMIT or len(changes) > CHANGE_LIMIT:
            raise RecordingError(f"a block of {size} bytes is too large")
    crc = zlib.crc32(payload)
    head = BLOCK_HEAD.pack(MARKER, kind, marks or 0, 0, len(payload), size, first, last, crc, 0)
    head = head[:-CRC_BYTES]
    return head + struct.pack("<I", zlib.crc32(head)) + payload


def block_head(head: bytes, offset: int) -> BlockHead:
    """Return a block's head.

    Args:
        offset: Where in the file the head begins.

    Raises:
        DamageError: It is cut, damaged, or says what no writer would.
    """
    if len(head) < BLOCK_HEAD.size:
        raise CutError("it ends within the head of a block")
    marker, kind, marks, _, length, size, first, last, crc, own = BLOCK_HEAD.unpack(head)
    if marker != MARKER or own != zlib.crc32(head[:-CRC_BYTES]):
        raise DamageError("the head of a block's checksum is wrong")
    if kind not in tuple(Kind):
        raise DamageError(f"a block is of kind {kind}, which this program does not know")
    if length > PAYLOAD_LIMIT or size > UNPACKED_LIMIT:
        raise DamageError("a block is larger than any that is written")
    if not 0 <= first <= last <= TIME_LIMIT or (kind == Kind.END) != (length == 0):
        raise DamageError("the head of a block contradicts itself")
    return BlockHead(
        offset + BLOCK_HEAD.size, Kind(kind), MarkFlag(marks & 3), length, size, first, last, crc
    )


def unpack(head: BlockHead, payload: bytes) -> recording_pb2.RecordedBlock:
    """Return what a block holds.

    Raises:
        DamageError: It is not what was written, or says what no writer would.
    """
    check_payload(head, payload)
    try:
        # The frame says how much memory it wants before a byte of it is unpacked.
        if zstandard.get_frame_parameters(payload).content_size != head.unpacked_length:
            raise DamageError("a block is not as long as its head says")
        unpacked = zstandard.ZstdDecompressor().decompress(payload)
        _check_count(unpacked)
        found = recording_pb2.RecordedBlock.FromString(unpacked)
    except zstandard.ZstdError as error:
        raise DamageError(f"a block cannot be unpacked: {error}") from None
    except DecodeError:
        raise DamageError("a block holds what is no recording") from None
    if any(len(change.topic) > TOPIC_LIMIT for change in found.changes):
        raise DamageError("a block holds more than any that is written")
    return found


def _check_count(unpacked: bytes) -> None:
    """Check how many changes a block has; decoded, one of 2 bytes takes many times as much.

    Raises:
        DamageError: It has too many, or holds something else.
    """
    place = count = 0
    while place < len(unpacked):
        count += 1
        if count > CHANGE_LIMIT:
            raise DamageError("a block holds more than any that is written")
        tag, place = _varint(unpacked, place)
        if tag != CHANGES_TAG:
            raise DamageError("a block holds what is no recording")
        length, place = _varint(unpacked, place)
        place += length
    if place > len(unpacked):
        raise DamageError("a block holds what is no recording")


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a varint and the place after it."""
    value = 0
    for shift, byte in enumerate(content[place : place + VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place + shift + 1
    raise DamageError("a block holds what is no recording")


def check_payload(head: BlockHead, payload: bytes) -> None:
    """Check that these are the bytes that were written.

    Raises:
        DamageError: They are not.
    """
    if len(payload) < head.length:
        raise CutError("it ends within a block")
    if zlib.crc32(payload) != head.crc:
        raise DamageError("a block's checksum is wrong")
