"""Series of one kind of thing, as GPUs or racks: labels kept encoded, and which have ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from cramjam import snappy

from colossus_tui.hub.export import write_request
from colossus_tui.hub.export.names import STATISTIC, SeriesName
from colossus_tui.hub.export.write_request import STALE, Shell
from colossus_tui.hub.store import Rows

BATCH_SAMPLES = 5_000
BATCH_BYTES = 1 << 20  # before they are compressed
Flags = npt.NDArray[np.bool_]  # [series, thing]
Figures = npt.NDArray[np.float32] | npt.NDArray[np.float64]  # [series, thing]; NaN has no sample


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Things whose labels are of one size and that have samples of the same series."""

    things: Rows
    series: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """What one kind of thing has to say at one instant.

    Attributes:
        labels: Of each thing.
        values: In the hub's units.
        sent: Which samples there are.
        ended: Which of them say that the series has ended.
    """

    labels: Sequence[bytes]
    sizes: npt.NDArray[np.int64]
    shells: Sequence[Shell]
    factors: npt.NDArray[np.float64]
    values: Figures
    sent: Flags
    ended: Flags
    unix_ms: int

    def batches(self) -> Iterator[Batch]:
        """Yield it in requests of a bounded size, each as full as it can be."""
        parts: list[Part] = []
        samples = size = 0
        for things, series in self._alike():
            each = self._size(things[0], series)
            while things.size:
                room = min((BATCH_SAMPLES - samples) // series.size, (BATCH_BYTES - size) // each)
                if room < 1 and parts:
                    yield Batch(self, tuple(parts), samples)
                    parts, samples, size = [], 0, 0
                    continue
                taken = Part(things[: max(room, 1)], series)
                parts.append(taken)
                samples += taken.things.size * series.size
                size += taken.things.size * each
                things = things[taken.things.size :]
        if parts:
            yield Batch(self, tuple(parts), samples)

    def _alike(self) -> Iterator[tuple[Rows, Rows]]:
        """Yield things with labels of one size and samples of the same series, and those series."""
        pattern = np.zeros(self.sent.shape[1], dtype=np.int64)
        for number, sent in enumerate(self.sent):
            pattern |= sent.astype(np.int64) << number
        things = np.flatnonzero(pattern)
        keys = np.stack((pattern[things], self.sizes[things]))
        order = np.lexsort(keys)
        things, keys = things[order], keys[:, order]
        starts = np.flatnonzero((np.diff(keys, axis=1, prepend=-1) != 0).any(axis=0))
        for alike in np.split(things, starts[1:]) if things.size else ():
            yield alike, np.flatnonzero(self.sent[:, alike[0]])

    def _size(self, thing: int, series: Rows) -> int:
        """Return the bytes of a thing with a sample of each of these series."""
        labels_size = int(self.sizes[thing])
        return sum(
            write_request.series_size(self.shells[number], labels_size, self.unix_ms)
            for number in series.tolist()
        )

    def encode(self, part: Part) -> bytes:
        """Return a part's series and samples in the wire format."""
        at = np.ix_(part.series, part.things)
        values = self.values[at].astype(np.float64) * self.factors[part.series, None]
        values.view(np.uint64)[self.ended[at]] = STALE
        return write_request.encode(
            [self.labels[thing] for thing in part.things.tolist()],
            [self.shells[number] for number in part.series.tolist()],
            values.T,
            self.unix_ms,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What goes into one request."""

    _outgoing: Outgoing
    _parts: tuple[Part, ...]
    sample_count: int

    def body(self) -> bytes:
        """Return the request's body, compressed; this takes milliseconds."""
        return bytes(snappy.compress_raw(b"".join(map(self._outgoing.encode, self._parts))))


class Family:
    """All series of one kind of thing; a thing is a row, and each has the same named series."""

    def __init__(self, names: Sequence[SeriesName], extra: Mapping[str, str]) -> None:
        self._shells = tuple(_shell(name, extra) for name in names)
        self._factors = np.array([name.factor for name in names])
        self._labels: list[bytes] = []
        self._sizes = np.zeros(0, dtype=np.int64)
        self._active: Flags = np.zeros((len(names), 0), dtype=np.bool_)
        self._left: list[bytes] = []  # labels that a thing no longer has, though series had them
        self._left_active: list[npt.NDArray[np.bool_]] = []

    @property
    def count(self) -> int:
        """Things that have labels."""
        return len(self._labels)

    def relabel(self, things: Rows, labels: Sequence[bytes]) -> None:
        """Give things other labels, or new things their first.

        The series of labels that nothing has any more end; where another thing has them now, they
        go on as its own.
        """
        self._grow(int(things.max(initial=-1)) + 1)
        was = self._active[:, things]
        gone = np.flatnonzero(was.any(axis=0))
        old = [self._labels[thing] for thing in things[gone].tolist()]
        leaving = dict(zip(old, was[:, gone].T, strict=True))
        self._active[:, things] = False
        for thing, new in zip(things.tolist(), labels, strict=True):
            self._labels[thing] = new
            if leaving and (goes_on := leaving.pop(new, None)) is not None:
                self._active[:, thing] = goes_on
        self._sizes[things] = np.fromiter(map(len, labels), dtype=np.int64, count=len(labels))
        self._left += leaving
        self._left_active += leaving.values()

    def _grow(self, count: int) -> None:
        more = count - self.count
        if more > 0:
            self._labels += [b""] * more
            self._sizes = np.append(self._sizes, np.zeros(more, dtype=np.int64))
            blank = np.zeros((len(self._shells), more), dtype=np.bool_)
            self._active = np.hstack((self._active, blank))

    def advance(self, values: Figures, unix_ms: int) -> Outgoing:
        """Return the samples of now: of each value, and one for each series that has ended."""
        present = np.isfinite(values)
        ended = self._active & ~present
        sent = self._active | present
        self._active = present
        labels, sizes = self._labels, self._sizes
        if self._left:
            left = np.stack(self._left_active, axis=1)
            sent, ended = np.hstack((sent, left)), np.hstack((ended, left))
            values = np.hstack((values, np.full(left.shape, np.nan, dtype=values.dtype)))
            labels = labels + self._left
            sizes = np.append(sizes, np.array([len(each) for each in self._left]))
            self._left, self._left_active = [], []
        return Outgoing(labels, sizes, self._shells, self._factors, values, sent, ended, unix_ms)


def thing_labels(own: Mapping[str, str], extra: Mapping[str, str]) -> bytes:
    """Return the labels of a thing that has statistics: those that sort before that word."""
    merged = {**own, **{name: text for name, text in extra.items() if name < STATISTIC}}
    return b"".join(write_request.label(name, merged[name]) for name in sorted(merged))


def _shell(name: SeriesName, extra: Mapping[str, str]) -> Shell:
    """Return the labels around a thing's own; all are in the order of their names."""
    after = {each: text for each, text in extra.items() if each > STATISTIC}
    after[STATISTIC] = name.statistic
    return Shell(
        write_request.label("__name__", name.name),
        b"".join(write_request.label(each, after[each]) for each in sorted(after)),
    )
