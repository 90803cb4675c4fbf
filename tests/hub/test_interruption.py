"""What it costs to interrupt a run, with its basis in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from colossus_tui.hub.actions.gate import _sums
from colossus_tui.hub.money.interruption import NAME, interruption
from colossus_tui.model import NO_PRICES, Money, Preflight, Run, Verb

RUN = Run(
    "10t",
    gpu_count=100,
    durable_step=40,
    checkpoint_seconds=36.0,
    money=Money("$", per_hour=500.0, at_risk=123.4),
)


@pytest.mark.parametrize("verb", [Verb.CHECKPOINT, Verb.PAUSE])
def test_a_save_costs_what_the_gpus_cost_meanwhile(verb: Verb) -> None:
    (figure,) = interruption(verb, RUN, 60.0)

    assert (figure.name, figure.unit) == (NAME, "$")
    assert figure.value == pytest.approx(5.0)
    assert figure.basis == "its GPUs held for 36 s while it saves, at $500.00/h"


def test_a_save_that_was_never_timed_costs_nobody_knows_what() -> None:
    (figure,) = interruption(Verb.PAUSE, replace(RUN, checkpoint_seconds=None), 60.0)

    assert figure.value is None
    assert figure.basis == "no checkpoint of this run was timed yet"


def test_a_freeze_costs_at_most_what_the_gpus_cost_until_the_fuse() -> None:
    (figure,) = interruption(Verb.FREEZE, RUN, 72.0)

    assert figure.value == pytest.approx(10.0)
    assert figure.basis == "its GPUs held for 1m12s until the fuse at most, at $500.00/h"


def test_a_stop_costs_the_work_that_is_lost() -> None:
    (figure,) = interruption(Verb.STOP, RUN, 60.0)
    (first,) = interruption(Verb.STOP, replace(RUN, durable_step=None), 60.0)
    unknown = replace(RUN, money=replace(RUN.money, at_risk=None))
    (nothing,) = interruption(Verb.STOP, unknown, 60.0)

    assert (figure.value, figure.basis) == (
        123.4,
        "the work since step 40 at the present $500.00/h",
    )
    assert "since the start" in first.basis
    assert (nothing.value, nothing.basis) == (None, "what work is at risk is not known")


@pytest.mark.parametrize("verb", [Verb.RESUME, Verb.REPRIORITIZE])
def test_what_interrupts_nothing_has_no_such_cost(verb: Verb) -> None:
    assert interruption(verb, RUN, 60.0) == []


def test_without_prices_the_remedy_stands_there_where_gpus_are_held() -> None:
    bare = replace(RUN, money=Money())

    (figure,) = interruption(Verb.PAUSE, bare, 60.0)

    assert (figure.value, figure.basis) == (None, NO_PRICES)
    assert interruption(Verb.PAUSE, replace(bare, gpu_count=0), 60.0) == []


def test_of_several_runs_the_costs_add_up_and_say_what_they_cover() -> None:
    known = Preflight(Verb.PAUSE, "a", figures=tuple(interruption(Verb.PAUSE, RUN, 60.0)))
    untimed = replace(RUN, checkpoint_seconds=None)
    unknown = Preflight(Verb.PAUSE, "b", figures=tuple(interruption(Verb.PAUSE, untimed, 60.0)))

    (total,) = _sums([known, known, unknown])

    assert (total.name, total.unit) == (NAME, "$")
    assert total.value == pytest.approx(10.0)
    assert total.basis == "2/3 runs known"
