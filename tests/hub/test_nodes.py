"""Numbered messages across links, freshness, and the store's columns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_protos.v1 import frame_pb2
from colossus_tui.hub.nodes import Nodes, freshness
from colossus_tui.hub.sequences import Sequences
from colossus_tui.hub.store import FrameError, Store
from colossus_tui.model import Freshness


@given(numbers=st.permutations(range(1, 30)), repeats=st.lists(st.integers(1, 29), max_size=20))
def test_each_message_counts_once_in_any_order(numbers: list[int], repeats: list[int]) -> None:
    sequences = Sequences()
    assert sequences.begin(7, "a", 1) == 0

    taken = [number for number in [*numbers, *repeats] if sequences.is_new(7, number)]

    assert taken == numbers
    assert sequences.low[7] == 29


@given(sent=st.integers(1, 50), lost_before=st.integers(1, 60), have=st.sets(st.integers(1, 50)))
def test_what_the_agent_can_never_send_is_not_waited_for(
    sent: int, lost_before: int, have: set[int]
) -> None:
    sequences = Sequences()
    sequences.begin(7, "a", 1)
    for number in sorted(number for number in have if number <= sent):
        sequences.is_new(7, number)

    low = sequences.begin(7, "a", lost_before)

    assert low >= lost_before - 1
    assert not sequences.is_new(7, low) or low == 0
    assert sequences.is_new(7, max(low, sent, lost_before) + 1)


def test_another_instance_starts_anew() -> None:
    sequences = Sequences()
    sequences.begin(7, "a", 1)
    for number in (1, 2, 3):
        sequences.is_new(7, number)

    assert sequences.begin(7, "b", 1) == 0
    assert sequences.is_new(7, 1)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, Freshness.LIVE),
        (4.9, Freshness.LIVE),
        (5, Freshness.GREY),
        (15, Freshness.STALE),
        (60, Freshness.LOST),
        (float("inf"), Freshness.LOST),
    ],
)
def test_freshness_follows_age(age: float, expected: Freshness) -> None:
    assert freshness(age) is expected


def hello(name: str, gpus: int, *columns: str) -> frame_pb2.Hello:
    return frame_pb2.Hello(
        node_name=name,
        gpu_columns=[frame_pb2.MetricColumn(name=column, unit="W") for column in columns],
        host_columns=[frame_pb2.MetricColumn(name="load_1m", unit="count")],
        gpus=[frame_pb2.GpuInventory(gpu_index=index) for index in range(gpus)],
    )


def frame(values: list[list[float]], load: float = 1.0) -> frame_pb2.Frame:
    return frame_pb2.Frame(
        gpu_values=np.array(values, dtype="<f4").tobytes(),
        host_values=np.array([load], dtype="<f4").tobytes(),
    )


def test_columns_are_found_by_name_whatever_their_order() -> None:
    store = Store()
    nodes = Nodes(store, lambda: 10.0)
    first = nodes.admit(hello("a", 2, "power", "xid"))
    second = nodes.admit(hello("b", 1, "xid", "power", "new"))

    store.put(first.rows, frame([[100, 0], [200, 79]]), 10.0)
    store.put(second.rows, frame([[13, 300, 7]]), 10.0)

    assert store.gpus.column("power").tolist() == [100, 200, 300]
    assert store.gpus.column("xid").tolist() == [0, 79, 13]
    assert np.isnan(store.gpus.column("new")[:2]).all()
    assert np.isnan(store.gpus.column("nobody")).all()


def test_a_node_that_comes_back_keeps_its_rows_and_one_with_other_gpus_does_not_lie() -> None:
    store = Store()
    nodes = Nodes(store, lambda: 10.0)
    record = nodes.admit(hello("a", 2, "power"))
    store.put(record.rows, frame([[1], [2]]), 10.0)

    again = nodes.admit(hello("a", 2, "power"))
    assert again.rows.first == record.rows.first

    fewer = nodes.admit(hello("a", 1, "power"))
    store.put(fewer.rows, frame([[9]]), 11.0)
    power = store.gpus.column("power")
    assert power[np.isfinite(power)].tolist() == [9]


def test_a_column_that_a_node_no_longer_has_does_not_keep_its_last_value() -> None:
    store = Store()
    nodes = Nodes(store, lambda: 10.0)
    record = nodes.admit(hello("a", 1, "power", "xid"))
    store.put(record.rows, frame([[500, 79]]), 10.0)

    again = nodes.admit(hello("a", 1, "power"))
    store.put(again.rows, frame([[600]]), 11.0)

    assert store.gpus.column("power").tolist() == [600]
    assert np.isnan(store.gpus.column("xid")).all()


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (frame([[1.0]]), "gpu_values"),
        (frame_pb2.Frame(gpu_values=b"\0" * 8, host_values=b""), "host_values"),
        (frame_pb2.Frame(gpu_values=b"\0" * 9, host_values=b"\0" * 4), "gpu_values"),
    ],
)
def test_a_matrix_of_the_wrong_size_names_the_field(broken: frame_pb2.Frame, field: str) -> None:
    store = Store()
    record = Nodes(store).admit(hello("a", 2, "power"))

    with pytest.raises(FrameError, match=field):
        store.put(record.rows, broken, 1.0)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (hello("a", 1, "power", "power"), "gpu_columns"),
        (hello("a", 1, *(f"c{n}" for n in range(257))), "gpu_columns"),
        (hello("a", 1025, "power"), "gpus"),
        (hello("a", 1, "\x1b]0;x\x07"), "gpu_columns.name"),
        (hello("a", 1, ""), "gpu_columns.name"),
        (
            frame_pb2.Hello(host_columns=[frame_pb2.MetricColumn(name="n", unit="\x1b[2J")]),
            "host_columns.unit",
        ),
        (
            frame_pb2.Hello(host_columns=[frame_pb2.MetricColumn(name="n", unit="x" * 17)]),
            "host_columns.unit",
        ),
    ],
)
def test_an_unusable_hello_names_the_field(bad: frame_pb2.Hello, field: str) -> None:
    with pytest.raises(FrameError, match=field):
        Nodes(Store()).admit(bad)


def test_all_nodes_together_have_a_bounded_number_of_columns() -> None:
    nodes = Nodes(Store())
    nodes.admit(hello("a", 1, *(f"c{n}" for n in range(200))))
    nodes.admit(hello("b", 1, *(f"c{n}" for n in range(50, 256))))

    with pytest.raises(FrameError, match="c256 is one too many"):
        nodes.admit(hello("c", 1, "c1", "c256"))

    nodes.admit(hello("c", 1, "c1", "c255"))


def test_a_name_that_is_no_runs_holds_no_gpu() -> None:
    store = Store()
    record = Nodes(store).admit(hello("a", 1, "power"))
    process = frame_pb2.ProcessSample(pid=1, run_id="\x1b[2J", gpu_indices=[0])

    holders, ranks = record.take_processes(frame_pb2.ProcessReport(processes=[process]))

    assert (holders, ranks, record.run_ids) == ([""], [-1], ())


def test_thousands_of_nodes_fit() -> None:
    store = Store()
    nodes = Nodes(store, lambda: 1.0)
    records = [nodes.admit(hello(f"n{index}", 8, "power")) for index in range(2_000)]
    for index, record in enumerate(records):
        store.put(record.rows, frame([[float(index)]] * 8), 1.0)

    assert store.gpus.column("power").sum() == pytest.approx(8 * sum(range(2_000)))
    assert nodes.age("n1999") == 0.0
    assert nodes.age("stranger") == float("inf")
