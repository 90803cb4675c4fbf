"""How a run learned: bounded, in order, redone steps replaced, kept on disk."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_protos.v1 import curve_pb2
from colossus_tui.hub.runs.curve import POINT_LIMIT, LossCurve
from colossus_tui.hub.runs.history import StepPoint
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.wire import to_proto


def point(step: int, tokens: int, loss: float = 2.0) -> StepPoint:
    return StepPoint(step, step * 10**9, loss, 0.5, 0.1, tokens)


def taught(run: LiveRun, first: int, last: int, tokens: int = 64, loss: float = 2.0) -> None:
    for step in range(first, last + 1):
        run.take_step(point(step, tokens, loss), 0.0)


def test_few_steps_are_all_points() -> None:
    run = LiveRun("r")
    taught(run, 1, 20)

    shown = run.curve.shown("r")

    assert shown.run_id == "r"
    assert shown.steps == tuple(range(1, 21))
    assert shown.tokens == tuple(range(64, 64 * 21, 64))
    assert shown.times_unix_ns[-1] == 20 * 10**9


def test_a_long_life_is_even_in_the_logarithm_of_tokens() -> None:
    run = LiveRun("r")
    taught(run, 1, 40_000)

    shown = run.curve.shown("r")

    assert POINT_LIMIT / 4 < len(shown.tokens) <= POINT_LIMIT
    assert (shown.steps[-1], shown.tokens[-1]) == (40_000, 40_000 * 64)
    widths = [math.log2(after / before) for before, after in pairwise(shown.tokens)]
    late = widths[len(widths) // 2 : -1]  # the first steps are further apart than points need be
    assert max(late) < 2.5 * min(late)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 400),
            st.integers(0, 1 << 30),
            st.floats(0.1, 20) | st.just(math.nan),
        ),
        max_size=400,
    )
)
def test_whatever_steps_come_it_is_bounded_and_grows(
    steps: list[tuple[int, int, float]],
) -> None:
    run, most = LiveRun("r"), 0
    for step, tokens, loss in steps:
        run.take_step(point(step, tokens, loss), 0.0)
        shown = run.curve.shown("r")
        assert len(shown.tokens) <= POINT_LIMIT
        assert list(shown.tokens) == sorted(set(shown.tokens))
        assert list(shown.steps) == sorted(set(shown.steps))
        assert all(0.1 <= one <= 20 for one in shown.losses)
        most = max(most, run.total_tokens)
        assert not shown.tokens or shown.tokens[-1] <= most + sum(part[1] for part in steps)
        again = LossCurve.from_json(run.curve.state_json()).shown("r")
        assert again.tokens == shown.tokens
        assert again.losses == pytest.approx(shown.losses, rel=1e-6)


@given(st.integers(2, 3_000), st.data())
def test_redone_steps_take_the_place_of_what_they_redo(top: int, data: st.DataObject) -> None:
    durable = data.draw(st.integers(0, top - 1))
    run = LiveRun("r")
    taught(run, 1, top, loss=3.0)
    taught(run, durable + 1, top, loss=1.0)

    shown = run.curve.shown("r")

    assert shown.tokens[-1] == top * 64 == run.tokens
    assert shown.steps[-1] == top
    for step, tokens, loss in zip(shown.steps, shown.tokens, shown.losses, strict=True):
        assert tokens == step * 64  # also of a point that was cut
        assert step > durable or loss == pytest.approx(3.0)
    assert shown.losses[-1] < 3.0


def test_more_tokens_than_the_contract_can_say_end_at_its_most() -> None:
    run = LiveRun("r")
    taught(run, 1, 3, tokens=1 << 62)
    taught(run, 1, 3, tokens=1 << 62)

    assert run.curve.shown("r").tokens == (1 << 62, (1 << 63) - 1)
    to_proto(curve_pb2.Curve, run.curve.shown("r"))


def test_a_loop_without_tokens_has_no_curve() -> None:
    run = LiveRun("r")
    taught(run, 1, 20, tokens=0)

    assert run.curve.shown("r").tokens == ()


EARLIER = {
    "tokens": [100, 1_000, 10_000],
    "losses": [9.0, 5.0, 3.0],
    "steps": [1, 10, 100],
    "times_unix_ns": [1, 2, 3],
}


def facts(earlier: object) -> str:
    return json.dumps({"earlier_curve": earlier})


def test_an_earlier_life_is_taken_up_once_and_goes_on() -> None:
    run = LiveRun("r")
    run.merge_facts(facts(EARLIER), {})
    taught(run, 101, 105, tokens=100, loss=2.5)
    run.merge_facts(facts(EARLIER | {"losses": [1.0] * 3}), {})

    shown = run.curve.shown("r")

    assert shown.tokens == (100, 1_000, 10_000, 10_100, 10_200, 10_300, 10_400, 10_500)
    assert shown.losses[:3] == (9.0, 5.0, 3.0)
    assert run.total_tokens == 10_500
    assert run.tokens == 500


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        [],
        EARLIER | {"tokens": [100, 1_000]},
        EARLIER | {"tokens": [100, 100, 10_000]},
        EARLIER | {"steps": [1, 1, 2]},
        EARLIER | {"losses": [9.0, "5", 3.0]},
        EARLIER | {"losses": [9.0, True, 3.0]},
        EARLIER | {"losses": [9.0, math.nan, 3.0]},
        EARLIER | {"tokens": [100, 1_000, 1e40]},
        EARLIER | {"times_unix_ns": [-1, 2, 3]},
        {name: list(range(1, POINT_LIMIT + 2)) for name in EARLIER},
        {name: [] for name in EARLIER},
    ],
)
def test_an_earlier_life_that_cannot_be_is_left_out(wrong: object) -> None:
    run = LiveRun("r")
    run.merge_facts(facts(wrong), {})
    taught(run, 1, 3)

    assert run.curve.shown("r").tokens == (64, 128, 192)
    assert run.total_tokens == 192


def test_an_earlier_life_of_more_steps_than_tokens_leaves_no_point_without_tokens() -> None:
    run = LiveRun("r")
    few = {"tokens": [1, 2], "losses": [9.0, 5.0], "steps": [1_000, 2_000], "times_unix_ns": [1, 2]}
    run.merge_facts(facts(few), {})
    taught(run, 400, 402)

    shown = run.curve.shown("r")

    assert shown.steps == (400, 401, 402)
    assert shown.tokens[0] >= 64


def test_a_point_without_tokens_that_is_on_disk_is_left_out() -> None:
    run = LiveRun("r")
    taught(run, 1, 3)
    state = json.loads(run.curve.state_json())
    state["parts"] = [[0, 0, 0, 0, 1, 9.0, 1.0], *state["parts"]]

    run.curve = LossCurve.from_json(json.dumps(state))
    taught(run, 4, 4)

    assert run.curve.shown("r").tokens == (64, 128, 192, 256)


def test_many_runs_get_fewer_points_and_always_the_last() -> None:
    run = LiveRun("r")
    taught(run, 1, 200)

    shown = run.curve.shown("r", 16)

    assert len(shown.tokens) <= 16
    assert shown.steps[-1] == 200
