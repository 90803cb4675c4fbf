"""The expression that chooses runs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.model import Job, PriorityClass, Run, RunState
from colossus_tui.model.match import MatchError, parse

RUN = Run(
    "imagine-v2",
    label="Imagine V2",
    command="python train.py",
    priority_class=PriorityClass.P3,
    state=RunState.RUNNING,
    gpu_count=64,
    node_names=("n1", "n2"),
    job=Job(user="ada", queue="gpu"),
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("class>=P3", True),
        ("class>P3", False),
        ("class=p3 state=RUNNING", True),
        ("state!=paused gpus>=64", True),
        ("gpus>64", False),
        ("node=n2", True),
        ("node!=n2", False),
        ("user=ada queue=gpu backend=local", True),
        ("imagine", True),
        ("train.py IMAGINE", True),
        ("10t", False),
        ("loss<3", False),  # not available is never small
        ("loss>=0", False),
    ],
)
def test_an_expression_chooses_by_all_its_terms(text: str, expected: bool) -> None:
    assert parse(text)(RUN) is expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour=red", "known: class, state"),
        ("class>=P7", "none of P0, P1"),
        ("state=runing", "none of starting, running"),
        ("state>paused", "= and != only"),
        ("gpus>many", "is no number"),
        ("gpus>", "a value must follow"),
        ("=3", "write FIELD"),
        ("a " * 17, "at most 16 terms"),
    ],
)
def test_a_wrong_term_is_named_with_the_remedy(text: str, named: str) -> None:
    with pytest.raises(MatchError, match=named):
        parse(text)


@given(st.text(max_size=80))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        match = parse(text)
    except MatchError:
        return
    match(RUN)
