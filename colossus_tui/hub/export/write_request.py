"""Remote write 1.0's WriteRequest in protobuf's wire format, thousands of series at a time.

The specification is https://prometheus.io/docs/specs/remote_write_spec (1.0). Of its messages this
is what is used:

    WriteRequest { repeated TimeSeries timeseries = 1; }
    TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2; }
    Label        { string name = 1; string value = 2; }
    Sample       { double value = 1; int64 timestamp = 2; }    milliseconds since 1970
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

STALE = np.uint64(0x7FF0000000000002)  # the NaN that says: this series has ended
_DELIMITED, _DOUBLE, _VARINT = 2, 1, 0  # wire types
_VALUE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Shell:
    """The labels of a series on both sides of those of the thing that it is of, encoded."""

    before: bytes
    after: bytes = b""


def varint(number: int) -> bytes:
    """Return a number that is not negative as a base-128 varint."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def label(name: str, value: str) -> bytes:
    """Return one label as a field of TimeSeries; nothing for an empty value."""
    return raw_label(name, value.encode()) if value else b""


def raw_label(name: str, value: bytes) -> bytes:
    """Return one label whose value is UTF-8 already; nothing for an empty one."""
    return _label_start(name, len(value)) + value if value else b""


@functools.cache
def _label_start(name: str, size: int) -> bytes:
    """Return all of a label before its value."""
    start = _field(1, name.encode()) + _tag(2, _DELIMITED) + varint(size)
    return _tag(1, _DELIMITED) + varint(len(start) + size) + start


def series_size(shell: Shell, labels_size: int, unix_ms: int) -> int:
    """Return the bytes of a series with one sample."""
    body = _body_size(shell, labels_size, len(_sample_end(unix_ms)))
    return 1 + len(varint(body)) + body


def encode(
    labels: Sequence[bytes],
    shells: Sequence[Shell],
    values: npt.NDArray[np.float64],
    unix_ms: int,
) -> bytes:
    """Return series with one sample each as fields of WriteRequest, thing after thing.

    Args:
        labels: Encoded labels of each thing, all of one size.
        shells: What is around them, one a series of each thing.
        values: [thing, shell]; copied bit by bit.
        unix_ms: Time of all samples.
    """
    count, size = len(labels), len(labels[0])
    shared = np.frombuffer(b"".join(labels), dtype=np.uint8).reshape(count, size)
    end = _sample_end(unix_ms)
    sample_start = _tag(2, _DELIMITED) + varint(1 + _VALUE_BYTES + len(end)) + _tag(1, _DOUBLE)
    columns: list[bytes | npt.NDArray[np.uint8]] = []
    for number, shell in enumerate(shells):
        body = _body_size(shell, size, len(end))
        bits = np.ascontiguousarray(values[:, number], dtype="<f8").view(np.uint8)
        columns.append(_tag(1, _DELIMITED) + varint(body) + shell.before)
        columns.append(shared)
        columns.append(shell.after + sample_start)
        columns.append(bits.reshape(count, _VALUE_BYTES))
        columns.append(end)
    return _beside(columns, count)


def _beside(columns: Sequence[bytes | npt.NDArray[np.uint8]], count: int) -> bytes:
    """Return rows of bytes, each made of columns: what is the same in all rows, and matrices."""
    widths = [each.shape[1] if isinstance(each, np.ndarray) else len(each) for each in columns]
    rows = np.empty((count, sum(widths)), dtype=np.uint8)
    at = 0
    for width, each in zip(widths, columns, strict=True):
        part = each if isinstance(each, np.ndarray) else np.frombuffer(each, dtype=np.uint8)
        rows[:, at : at + width] = part
        at += width
    return rows.tobytes()


def _body_size(shell: Shell, labels_size: int, end_size: int) -> int:
    sample = 1 + _VALUE_BYTES + end_size
    return len(shell.before) + labels_size + len(shell.after) + 1 + len(varint(sample)) + sample


def _sample_end(unix_ms: int) -> bytes:
    return _tag(2, _VARINT) + varint(unix_ms)


def _tag(number: int, wire_type: int) -> bytes:
    return varint(number << 3 | wire_type)


def _field(number: int, body: bytes) -> bytes:
    return _tag(number, _DELIMITED) + varint(len(body)) + body
