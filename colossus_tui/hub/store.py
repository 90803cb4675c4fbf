"""The live figures of every GPU and node as columns: a frame is one slice copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from colossus_protos.v1 import frame_pb2

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
COLUMN_LIMIT = 256  # of a node, and of all nodes together
COLUMN_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
UNIT_BYTES = 16
APART = "\0"  # between hall and rack in the name of a rack's code
GPU_LIMIT = 1024  # on a node
UUID_BYTES = 96
GROWTH = 1.25  # of a table that is full: twice as large would cost a site's memory again


class FrameError(ValueError):
    """A frame or a Hello does not fit; the message names the field."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What the frames of nodes of one kind look like: matrix [GPU, column] and vector [column]."""

    number: int
    gpu_count: int
    gpu_columns: Rows
    host_columns: Rows


@dataclass(frozen=True, slots=True)
class NodeRows:
    """Where one node's figures are: GPU rows [first, first + gpu_count) and one host row."""

    node_row: int
    first: int
    kind: Kind

    @property
    def gpu_count(self) -> int:
        """GPUs of the node."""
        return self.kind.gpu_count

    @property
    def gpus(self) -> slice:
        """Its GPU rows."""
        return slice(self.first, self.first + self.kind.gpu_count)


class Names:
    """Codes of names: what is the same for many rows is stored once."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._codes: dict[str, int] = {}

    def code(self, name: str) -> int:
        """Return the name's code, a new one for a new name; -1 for an empty one."""
        if not name:
            return -1
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self.names)
            self.names.append(name)
        return code

    def known(self, name: str) -> int:
        """Return the name's code; -1 for one that has none."""
        return self._codes.get(name, -1)


class _Columns:
    """A growing matrix [column, row] whose columns are found by name."""

    def __init__(self) -> None:
        self.names: dict[str, int] = {}
        self.units: dict[str, str] = {}
        self.values: Floats = np.full((0, 16), np.nan, dtype=np.float32)
        self.row_count = 0

    def columns(self, table: Sequence[frame_pb2.MetricColumn]) -> Rows:
        fresh = [column for column in table if column.name not in self.names]
        if len(self.names) + len(fresh) > COLUMN_LIMIT:
            raise FrameError(
                f"columns: {fresh[0].name} is one too many; all nodes together have {COLUMN_LIMIT}"
            )
        for column in fresh:
            self.names[column.name] = len(self.names)
            self.units[column.name] = column.unit
        missing = len(self.names) - self.values.shape[0]
        if missing:
            blank = np.full((missing, self.values.shape[1]), np.nan, dtype=np.float32)
            self.values = np.vstack((self.values, blank))
        return np.array([self.names[column.name] for column in table], dtype=np.intp)

    def rows(self, count: int) -> int:
        first = self.row_count
        self.row_count += count
        if self.row_count > self.values.shape[1]:
            size = _capacity(self.row_count, self.values.shape[1])
            grown = np.full((self.values.shape[0], size), np.nan, dtype=np.float32)
            grown[:, :first] = self.values[:, :first]
            self.values = grown
        return first

    def column(self, name: str) -> Floats:
        """Return one column over all rows; all NaN when nobody reports it."""
        index = self.names.get(name)
        if index is None:
            return np.full(self.row_count, np.nan, dtype=np.float32)
        return self.values[index, : self.row_count]


class Store:
    """Every figure of every GPU and node, and what a roll-up groups them by.

    Arrays have room to grow: the first `gpus.row_count` and `hosts.row_count` rows are in use.
    Codes are -1 for none.

    Attributes:
        received: Monotonic seconds of each node's newest frame.
        sampled: Unix nanoseconds at which it was measured.
        run_of: Code of the run that holds each GPU now.
        holder_of: The same, kept once it has let go.
        rank_of: Rank of the run that is on each GPU now.
        frame_count: Frames taken in.
        revision: Grows when rows come or groups change, runs among them.
        place_revision: Grows when rows come or places change.
    """

    def __init__(self) -> None:
        self.gpus = _Columns()
        self.hosts = _Columns()
        self.runs, self.halls, self.racks, self.products = Names(), Names(), Names(), Names()
        self.received = np.full(16, -np.inf)
        self.sampled = np.zeros(16, dtype=np.int64)
        self.first_of = np.zeros(16, dtype=np.int64)
        self.kind_of = np.full(16, -1, dtype=np.int32)
        self.hall_of = np.full(16, -1, dtype=np.int32)
        self.rack_of = np.full(16, -1, dtype=np.int32)
        self.node_of = np.zeros(16, dtype=np.int32)
        self.run_of = np.full(16, -1, dtype=np.int32)
        self.holder_of = np.full(16, -1, dtype=np.int32)
        self.rank_of = np.full(16, -1, dtype=np.int32)
        self.product_of = np.full(16, -1, dtype=np.int32)
        self.peak_flops = np.zeros(16)
        self.uuids = np.zeros(16, dtype="S40")
        self.frame_count = 0
        self.revision = self.place_revision = 0
        self._kinds: dict[tuple[bytes, bytes, int], Kind] = {}
        self._by_number: list[Kind] = []

    # --- rows ------------------------------------------------------------------------------

    def admit(self, hello: frame_pb2.Hello, kind: Kind, known: NodeRows | None) -> NodeRows:
        """Make room for a node, or find its old rows again.

        Raises:
            FrameError: A GPU's identity is unusable.
        """
        uuids = [gpu.gpu_uuid.encode() for gpu in hello.gpus]
        if any(len(uuid) > UUID_BYTES for uuid in uuids):
            raise FrameError(f"gpus.gpu_uuid: at most {UUID_BYTES} bytes")
        hall = self.halls.code(hello.hall)
        rack = self.racks.code(f"{hello.hall}{APART}{hello.rack}" if hello.rack else "")
        if known is not None and known.gpu_count == kind.gpu_count:
            rows = NodeRows(known.node_row, known.first, kind)
            if kind is not known.kind:  # what it no longer tells of must not pass for the present
                self.gpus.values[:, rows.gpus] = np.nan
                self.hosts.values[:, rows.node_row] = np.nan
            there = self.hall_of[rows.node_row], self.rack_of[rows.node_row]
            has_moved = there != (hall, rack)
        else:
            has_moved = True
            node_row = known.node_row if known is not None else self._new_node()
            if known is not None:  # GPUs have come or gone; the old rows stay blank
                self._blank(known)
            rows = NodeRows(node_row, self._new_gpus(kind.gpu_count), kind)
        self.revision += has_moved
        self.place_revision += has_moved
        row = rows.node_row
        self.first_of[row], self.kind_of[row] = rows.first, kind.number
        self.hall_of[row], self.rack_of[row] = hall, rack
        self.node_of[rows.gpus] = row
        self.peak_flops[rows.gpus] = [gpu.peak_bf16_flops for gpu in hello.gpus]
        self.product_of[rows.gpus] = [self.products.code(gpu.product_name) for gpu in hello.gpus]
        self._set_uuids(rows, uuids)
        return rows

    def kind(self, hello: frame_pb2.Hello) -> Kind:
        """Return what the frames of such a node look like.

        Raises:
            FrameError: The Hello's columns or GPUs are unusable.
        """
        for field, table in (
            ("gpu_columns", hello.gpu_columns),
            ("host_columns", hello.host_columns),
        ):
            names = [column.name for column in table]
            if len(set(names)) != len(names) or len(names) > COLUMN_LIMIT:
                raise FrameError(f"{field}: at most {COLUMN_LIMIT} columns, each named once")
            for column in table:
                if not COLUMN_NAME.fullmatch(column.name):
                    raise FrameError(f"{field}.name: 1 to 64 letters, digits and _.:/-")
                if not (column.unit.isprintable() and len(column.unit.encode()) <= UNIT_BYTES):
                    raise FrameError(f"{field}.unit: at most {UNIT_BYTES} printable bytes")
        count = len(hello.gpus)
        if count > GPU_LIMIT:
            raise FrameError(f"gpus: at most {GPU_LIMIT} on a node")
        gpu_columns = self.gpus.columns(hello.gpu_columns)
        host_columns = self.hosts.columns(hello.host_columns)
        key = gpu_columns.tobytes(), host_columns.tobytes(), count
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(len(self._kinds), count, gpu_columns, host_columns)
            self._by_number.append(kind)
        return kind

    def _new_node(self) -> int:
        row = self.hosts.rows(1)
        size = self.hosts.values.shape[1] if self.hosts.values.size else row + 1
        if row >= self.received.size:
            size = max(_capacity(row + 1, self.received.size), size)
            self.received = _grown(self.received, size, -np.inf)
            self.sampled = _grown(self.sampled, size, 0)
            self.first_of = _grown(self.first_of, size, 0)
            self.kind_of = _grown(self.kind_of, size, -1)
            self.hall_of = _grown(self.hall_of, size, -1)
            self.rack_of = _grown(self.rack_of, size, -1)
        return row

    def _new_gpus(self, count: int) -> int:
        first = self.gpus.rows(count)
        end = first + count
        if end > self.node_of.size:
            size = _capacity(end, self.node_of.size)
            self.node_of = _grown(self.node_of, size, 0)
            self.run_of = _grown(self.run_of, size, -1)
            self.holder_of = _grown(self.holder_of, size, -1)
            self.rank_of = _grown(self.rank_of, size, -1)
            self.product_of = _grown(self.product_of, size, -1)
            self.peak_flops = _grown(self.peak_flops, size, 0)
            self.uuids = _grown(self.uuids, size, b"")
        return first

    def _blank(self, rows: NodeRows) -> None:
        self.gpus.values[:, rows.gpus] = np.nan
        self.run_of[rows.gpus] = self.holder_of[rows.gpus] = -1
        self.uuids[rows.gpus] = b""
        self.node_of[rows.gpus] = -1

    def _set_uuids(self, rows: NodeRows, uuids: Sequence[bytes]) -> None:
        longest = max(map(len, uuids), default=0)
        if longest > self.uuids.itemsize:
            self.uuids = self.uuids.astype(f"S{longest}")
        self.uuids[rows.gpus] = uuids

    def hold(self, rows: NodeRows, run_ids: Sequence[str], ranks: Sequence[int]) -> None:
        """Note which run holds each GPU of a node now, "" for none, and which rank of it."""
        self.rank_of[rows.gpus] = ranks
        codes = np.array([self.runs.code(run_id) for run_id in run_ids], dtype=np.int32)
        if not np.array_equal(codes, self.run_of[rows.gpus]):
            self.run_of[rows.gpus] = codes
            self.revision += 1
        holders = self.holder_of[rows.gpus]  # a view
        holders[codes >= 0] = codes[codes >= 0]

    # --- frames ----------------------------------------------------------------------------

    def put(self, rows: NodeRows, frame: frame_pb2.Frame, now: float) -> None:
        """Take one frame in.

        Raises:
            FrameError: A matrix has the wrong length.
        """
        kind = rows.kind
        gpu = _matrix("gpu_values", frame.gpu_values, kind.gpu_count, kind.gpu_columns.size)
        host = _matrix("host_values", frame.host_values, 1, kind.host_columns.size)
        self.gpus.values[kind.gpu_columns, rows.gpus] = gpu.T
        self.hosts.values[kind.host_columns, rows.node_row] = host[0]
        self.received[rows.node_row] = now
        self.sampled[rows.node_row] = frame.sample_time_unix_ns
        self.frame_count += 1

    def put_many(
        self, nodes: Rows, sampled: npt.NDArray[np.int64], gpu: bytes, host: bytes, now: float
    ) -> None:
        """Take frames of nodes of one kind in, one row of each matrix a node.

        Raises:
            FrameError: They are not of one kind, or a matrix has the wrong length.
        """
        kinds = self.kind_of[nodes]
        kind = self._by_number[kinds[0]]
        if (kinds != kind.number).any():
            raise FrameError("node_numbers: nodes of more than one kind in a batch")
        size, count = nodes.size, kind.gpu_count
        gpu_matrix = _matrix("gpu_values", gpu, size * count, kind.gpu_columns.size)
        host_matrix = _matrix("host_values", host, size, kind.host_columns.size)
        first = self.first_of[nodes]
        if (np.diff(first) == count).all() and size:  # of one rack, say: a plain copy
            self.gpus.values[kind.gpu_columns, first[0] : first[0] + size * count] = gpu_matrix.T
        else:
            rows = (first[:, None] + np.arange(count)).ravel()
            self.gpus.values[kind.gpu_columns[:, None], rows] = gpu_matrix.T
        self.hosts.values[kind.host_columns[:, None], nodes] = host_matrix.T
        self.received[nodes] = now
        self.sampled[nodes] = sampled
        self.frame_count += size

    # --- answers ---------------------------------------------------------------------------

    def age(self, rows: NodeRows, now: float) -> float:
        """Return the age of a node's newest frame, seconds."""
        return float(now - self.received[rows.node_row])

    def ages(self, now: float) -> npt.NDArray[np.float64]:
        """Return the age of every node's newest frame, seconds; infinite for none yet."""
        ages: npt.NDArray[np.float64] = now - self.received[: self.hosts.row_count]
        return ages

    def gpu_values(self, rows: NodeRows) -> Floats:
        """Return a node's matrix [GPU, its own columns]."""
        values: Floats = self.gpus.values[rows.kind.gpu_columns, rows.gpus].T
        return values

    def host_values(self, rows: NodeRows) -> Floats:
        """Return a node's host vector in its own columns' order."""
        values: Floats = self.hosts.values[rows.kind.host_columns, rows.node_row]
        return values

    def run_ids(self, rows: NodeRows) -> list[str]:
        """Return which run holds each GPU of a node, "" for none."""
        return [self.runs.names[code] if code >= 0 else "" for code in self.run_of[rows.gpus]]


def vector(field: str, data: bytes, dtype: type, size: int = -1) -> npt.NDArray[Any]:
    """Return little-endian numbers as an array; `size` -1 is any.

    Raises:
        FrameError: They are of another number.
    """
    width = np.dtype(dtype).itemsize
    if len(data) % width or (size >= 0 and len(data) != size * width):
        raise FrameError(f"{field}: {len(data)} bytes are not {size} numbers of {width} bytes")
    return np.frombuffer(data, dtype=np.dtype(dtype).newbyteorder("<"))


def _capacity(needed: int, now: int) -> int:
    return max(needed, int(now * GROWTH) + 16)


def _grown(array: npt.NDArray[Any], size: int, fill: object) -> npt.NDArray[Any]:
    grown = np.full(size, fill, dtype=array.dtype)
    grown[: array.size] = array
    return grown


def _matrix(field: str, data: bytes, row_count: int, column_count: int) -> Floats:
    wanted = row_count * column_count * 4
    if len(data) != wanted:
        raise FrameError(
            f"{field}: {len(data)} bytes, but {row_count} x {column_count} float32 are {wanted}"
        )
    return np.frombuffer(data, dtype="<f4").reshape(row_count, column_count)
