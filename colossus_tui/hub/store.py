"""The live figures of every GPU and node as columns: a frame is one slice copy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import frame_pb2

Floats = npt.NDArray[np.float32]


class FrameError(ValueError):
    """A frame or a Hello does not fit; the message names the field."""


@dataclass(slots=True)
class NodeRows:
    """Where one node's figures are: GPU rows [first, first + gpu_count) and one host row."""

    node_row: int
    first: int
    gpu_count: int
    gpu_columns: npt.NDArray[np.intp]
    host_columns: npt.NDArray[np.intp]


class _Columns:
    """A growing matrix whose columns are found by name."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.units: dict[str, str] = {}
        self.values: Floats = np.full((16, 0), np.nan, dtype=np.float32)
        self.row_count = 0

    def columns(self, table: Sequence[frame_pb2.MetricColumn]) -> npt.NDArray[np.intp]:
        for column in table:
            if column.name not in self.names:
                self.names[column.name] = len(self.names)
                self.units[column.name] = column.unit
        missing = len(self.names) - self.values.shape[1]
        if missing:
            blank = np.full((self.values.shape[0], missing), np.nan, dtype=np.float32)
            self.values = np.hstack((self.values, blank))
        return np.array([self.names[column.name] for column in table], dtype=np.intp)

    def rows(self, count: int) -> int:
        first = self.row_count
        self.row_count += count
        while self.row_count > self.values.shape[0]:
            self.values = np.vstack((self.values, np.full_like(self.values, np.nan)))
        return first

    def column(self, name: str) -> Floats:
        """Return one column over all rows; all NaN when nobody reports it."""
        index = self.names.get(name)
        if index is None:
            return np.full(self.row_count, np.nan, dtype=np.float32)
        return self.values[: self.row_count, index]


class Store:
    """Values [GPU row, column], host values [node row, column] and the time of each node."""

    def __init__(self) -> None:
        self.gpus = _Columns()
        self.hosts = _Columns()
        self.received = np.full(16, -np.inf)  # monotonic seconds of each node's newest frame
        self.node_of = np.zeros(0, dtype=np.int32)  # node row of each GPU row

    def admit(self, hello: frame_pb2.Hello, known: NodeRows | None) -> NodeRows:
        """Make room for a node, or find its old rows again.

        Raises:
            FrameError: The Hello's columns are unusable.
        """
        for field, table in (
            ("gpu_columns", hello.gpu_columns),
            ("host_columns", hello.host_columns),
        ):
            names = [column.name for column in table]
            if len(set(names)) != len(names) or len(names) > 256:
                raise FrameError(f"{field}: at most 256 columns, each named once")
        count = len(hello.gpus)
        if count > 1024:
            raise FrameError("gpus: at most 1024 on a node")
        if known is not None and known.gpu_count == count:
            node_row, first = known.node_row, known.first
        else:
            node_row = known.node_row if known is not None else self.hosts.rows(1)
            first = self.gpus.rows(count)
            self.node_of = np.append(self.node_of, np.full(count, node_row, dtype=np.int32))
            if known is not None:  # GPUs have come or gone; the old rows stay blank
                self.gpus.values[known.first : known.first + known.gpu_count] = np.nan
        if node_row >= self.received.size:
            self.received = np.append(self.received, np.full(self.received.size, -np.inf))
        return NodeRows(
            node_row,
            first,
            count,
            self.gpus.columns(hello.gpu_columns),
            self.hosts.columns(hello.host_columns),
        )

    def put(self, rows: NodeRows, frame: frame_pb2.Frame, now: float) -> None:
        """Take one frame in.

        Raises:
            FrameError: A matrix has the wrong length.
        """
        gpu = _matrix("gpu_values", frame.gpu_values, rows.gpu_count, len(rows.gpu_columns))
        host = _matrix("host_values", frame.host_values, 1, len(rows.host_columns))
        end = rows.first + rows.gpu_count
        self.gpus.values[rows.first : end, rows.gpu_columns] = gpu
        self.hosts.values[rows.node_row, rows.host_columns] = host[0]
        self.received[rows.node_row] = now

    def age(self, rows: NodeRows, now: float) -> float:
        """Return the age of a node's newest frame, seconds."""
        return float(now - self.received[rows.node_row])

    def gpu_values(self, rows: NodeRows) -> Floats:
        """Return a node's matrix [GPU, its own columns]."""
        end = rows.first + rows.gpu_count
        return self.gpus.values[rows.first : end][:, rows.gpu_columns]

    def host_values(self, rows: NodeRows) -> Floats:
        """Return a node's host vector in its own columns' order."""
        values: Floats = self.hosts.values[rows.node_row, rows.host_columns]
        return values


def _matrix(field: str, data: bytes, row_count: int, column_count: int) -> Floats:
    wanted = row_count * column_count * 4
    if len(data) != wanted:
        raise FrameError(
            f"{field}: {len(data)} bytes, but {row_count} x {column_count} float32 are {wanted}"
        )
    return np.frombuffer(data, dtype="<f4").reshape(row_count, column_count)
