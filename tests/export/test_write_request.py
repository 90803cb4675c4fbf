"""The wire format, read back by protobuf itself; which series end; how requests are cut."""

from __future__ import annotations

import struct
from typing import Any

import cramjam
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.export.family import BATCH_BYTES, BATCH_SAMPLES, Family, Outgoing
from colossus_tui.hub.export.names import SeriesName
from colossus_tui.hub.export.write_request import (
    STALE,
    Shell,
    encode,
    label,
    raw_label,
    series_size,
    varint,
)

FIELD = descriptor_pb2.FieldDescriptorProto
TYPES = {"string": FIELD.TYPE_STRING, "double": FIELD.TYPE_DOUBLE, "int64": FIELD.TYPE_INT64}
MESSAGES = {
    "Label": (("name", "string"), ("value", "string")),
    "Sample": (("value", "double"), ("timestamp", "int64")),
    "TimeSeries": (("labels", "Label"), ("samples", "Sample")),
    "WriteRequest": (("timeseries", "TimeSeries"),),
}


def write_request() -> Any:
    """Return protobuf's own class of the message, made from the specification's fields."""
    file = descriptor_pb2.FileDescriptorProto(name="remote_write.proto", package="t")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            if kind in TYPES:
                message.field.add(
                    name=field, number=number, type=TYPES[kind], label=FIELD.LABEL_OPTIONAL
                )
            else:
                message.field.add(
                    name=field, number=number, type=FIELD.TYPE_MESSAGE, type_name=f".t.{kind}",
                    label=FIELD.LABEL_REPEATED,
                )  # fmt: skip
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.WriteRequest"))


WriteRequest = write_request()
Decoded = dict[tuple[tuple[str, str], ...], tuple[float, int]]


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


STALE_BITS = STALE.tobytes()


def decoded(body: bytes) -> Decoded:
    """Return each series' sample by its labels, in the order that they came in."""
    found: Decoded = {}
    for series in WriteRequest.FromString(body).timeseries:
        labels = tuple((each.name, each.value) for each in series.labels)
        (sample,) = series.samples
        assert labels not in found
        found[labels] = sample.value, sample.timestamp
    return found


def sent(outgoing: Outgoing) -> Decoded:
    """Return what all requests of it say."""
    found: Decoded = {}
    for batch in outgoing.batches():
        part = decoded(bytes(cramjam.snappy.decompress_raw(batch.body())))
        assert len(part) == batch.sample_count
        assert not set(part) & set(found)
        found |= part
    return found


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=300)
THINGS = st.integers(0, 200).flatmap(
    lambda size: st.lists(st.text("abc", min_size=size, max_size=size), min_size=1, max_size=6)
)


@given(
    things=THINGS,
    names=st.lists(st.tuples(TEXTS, st.one_of(st.just(""), TEXTS)), min_size=1, max_size=5),
    unix_ms=st.integers(0, 2**62),
    data=st.data(),
)
def test_protobuf_reads_what_was_written(
    things: list[str], names: list[tuple[str, str]], unix_ms: int, data: st.DataObject
) -> None:
    shape = len(things), len(names)
    flat = st.lists(st.floats(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    values = np.array(data.draw(flat), dtype=np.float64).reshape(shape)
    shells = [Shell(label("__name__", name), label("statistic", after)) for name, after in names]
    labels = [label("node", thing) for thing in things]

    body = encode(labels, shells, values, unix_ms)

    series = list(WriteRequest.FromString(body).timeseries)
    assert len(body) == sum(
        series_size(shell, len(labels[0]), unix_ms) for shell in shells for _ in things
    )
    for (row, thing), found in zip(
        ((row, thing) for row in range(shape[0]) for thing in range(shape[1])), series, strict=True
    ):
        name, after = names[thing]
        expected = [("__name__", name), ("node", things[row]), ("statistic", after)]
        assert [(each.name, each.value) for each in found.labels] == [e for e in expected if e[1]]
        assert [bits(sample.value) for sample in found.samples] == [bits(values[row, thing])]
        assert found.samples[0].timestamp == unix_ms


@given(number=st.integers(0, 2**63 - 1))
def test_a_varint_has_seven_bits_a_byte(number: int) -> None:
    encoded = varint(number)

    assert sum((byte & 0x7F) << 7 * at for at, byte in enumerate(encoded)) == number
    assert all(byte & 0x80 for byte in encoded[:-1])
    assert not encoded[-1] & 0x80


NAMES = (SeriesName("power"), SeriesName("clock", factor=1e6))
NONE = np.nan


def family(*things: str, names: tuple[SeriesName, ...] = NAMES) -> Family:
    """Return a family of things with a label each."""
    made = Family(names, {})
    made.relabel(np.arange(len(things)), [label("node", thing) for thing in things])
    return made


def key(name: str, node: str) -> tuple[tuple[str, str], ...]:
    return ("__name__", name), ("node", node)


def values_of(found: Decoded) -> dict[tuple[str, str], object]:
    """Return values by name and node; "stale" for the end of a series."""
    return {
        (labels[0][1], labels[1][1]): "stale" if bits(value) == STALE_BITS else value
        for labels, (value, _) in found.items()
    }


def test_values_are_in_base_units_and_what_is_not_available_is_not_sent() -> None:
    made = family("a", "bb")

    found = sent(made.advance(np.array([[1.0, NONE], [2.0, np.inf]]), 5))

    assert found == {key("power", "a"): (1.0, 5), key("clock", "a"): (2e6, 5)}


def test_a_series_ends_once_and_may_begin_again() -> None:
    made = family("a")
    here, gone = np.array([[1.0], [2.0]]), np.array([[1.0], [NONE]])

    assert values_of(sent(made.advance(here, 1))) == {("power", "a"): 1, ("clock", "a"): 2e6}
    assert values_of(sent(made.advance(gone, 2))) == {("power", "a"): 1, ("clock", "a"): "stale"}
    assert values_of(sent(made.advance(gone, 3))) == {("power", "a"): 1}
    assert values_of(sent(made.advance(here, 4))) == {("power", "a"): 1, ("clock", "a"): 2e6}


def test_other_labels_end_the_series_of_the_old_ones() -> None:
    made = family("a", "b")
    made.advance(np.array([[1.0, 2.0], [NONE, NONE]]), 1)
    made.relabel(np.array([0]), [label("node", "c")])

    found = values_of(sent(made.advance(np.array([[3.0, 4.0], [NONE, NONE]]), 2)))

    assert found == {("power", "a"): "stale", ("power", "c"): 3, ("power", "b"): 4}


def test_labels_that_move_to_another_row_go_on() -> None:
    made = family("a")
    made.advance(np.array([[1.0], [2.0]]), 1)
    made.relabel(np.array([0, 1]), [b"", label("node", "a")])

    found = values_of(sent(made.advance(np.array([[NONE, 5.0], [NONE, NONE]]), 2)))

    assert found == {("power", "a"): 5, ("clock", "a"): "stale"}


@given(
    st.lists(
        st.lists(st.sampled_from([NONE, 1.0, 2.0]), min_size=6, max_size=6), min_size=1, max_size=6
    )
)
def test_each_series_that_was_sent_is_sent_or_ended_the_next_time(rows: list[list[float]]) -> None:
    made = family("a", "bb", "ccc")
    alive: set[tuple[str, str]] = set()
    for unix_ms, row in enumerate(rows):
        found = values_of(sent(made.advance(np.array(row).reshape(2, 3), unix_ms)))
        ended = {series for series, value in found.items() if value == "stale"}
        assert ended <= alive <= set(found)
        alive = set(found) - ended


def test_requests_are_bounded() -> None:
    count = 4_000
    long = "x" * 400
    made = family(*(f"{long}{number:05}" for number in range(count)))
    values = np.ones((2, count))
    values[0, ::7] = NONE

    batches = list(made.advance(values, 1_700_000_000_000).batches())
    bodies = [cramjam.snappy.decompress_raw(batch.body()) for batch in batches]

    assert sum(batch.sample_count for batch in batches) == np.isfinite(values).sum()
    assert max(batch.sample_count for batch in batches) <= BATCH_SAMPLES
    assert max(map(len, bodies)) <= BATCH_BYTES
    assert min(map(len, bodies[:-1])) > BATCH_BYTES // 2


def test_labels_are_in_the_order_of_their_names_whatever_the_site_adds() -> None:
    names = (SeriesName("power", "sum"),)
    extra = {"zone": "z", "area": "a", "tenant": "t"}
    made = Family(names, extra)
    made.relabel(np.array([0]), [label("area", "a") + raw_label("run", b"r")])

    (labels,) = sent(made.advance(np.array([[1.0]]), 1))

    assert [name for name, _ in labels] == [
        "__name__",
        "area",
        "run",
        "statistic",
        "tenant",
        "zone",
    ]
