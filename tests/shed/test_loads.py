"""What the planner is told of the site's runs."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from colossus_tui.hub.actions.ports import PowerRange, RunRegistry
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.shed.loads import EXIT_SECONDS, Loads
from colossus_tui.hub.store import Store
from colossus_tui.model import ActionParameters, PlaceKind, Run, RunState, Verb
from tests.fakes.fake_agent import frame, hello

GIVEN: dict[str, Any] = {
    "state": RunState.RUNNING,
    "flex_tier": 2,
    "gpu_count": 2,
    "reporting_gpu_count": 2,
    "power_watts": 800.0,
}


class Past:
    """What a run drew in its last minute."""

    def __init__(self, *watts: float) -> None:
        self.watts = list(watts)
        self.since = 0

    def history(
        self, kind: PlaceKind, name: str, series: str, since_unix_ns: int
    ) -> tuple[str, list[int], list[float]]:
        assert (kind, name, series) == (PlaceKind.RUN, "r", "power.sum")
        self.since = since_unix_ns
        return "W", list(range(len(self.watts))), self.watts


class Limits:
    """What power limits a run's GPUs take."""

    def power_range(self, run_id: str) -> PowerRange:
        return PowerRange(200.0, 700.0, "") if run_id == "r" else PowerRange()


def loads_of(run: Run, past: Past, store: Store | None = None) -> Loads:
    registry = cast("RunRegistry", Limits())
    return Loads(lambda: [run], registry, store or Store(), past, ShedConfig())


def allowed(verb: Verb, run: Run, parameters: ActionParameters) -> str:
    return ""


@pytest.mark.parametrize(
    ("drew", "usual", "more"),
    [
        ((800, 810, 400), 800, 400),  # it saves just now
        ((400, 410, 900), 900, 0),  # its cap was taken off just now
        ((), 800, 0),  # nothing is kept of it
    ],
)
def test_what_a_run_draws_is_what_it_draws_as_a_rule(
    drew: tuple[float, ...], usual: float, more: float
) -> None:
    (load,), above = loads_of(Run("r", **GIVEN), Past(*drew)).now(allowed)

    assert load.watts == usual
    assert above == more
    assert (load.limit_watts, load.lowest_watts) == (700, 200)


def test_what_it_drew_before_its_state_changed_is_no_rule() -> None:
    past, since = Past(800, 800), time.time_ns() - 10**9

    loads_of(Run("r", state_since_unix_ns=since, **GIVEN), past).now(allowed)

    assert past.since == since


def test_a_capped_run_draws_no_more_than_its_cap() -> None:
    (load,), more = loads_of(Run("r", power_cap_watts=300.0, **GIVEN), Past(800, 610)).now(allowed)

    assert load.watts == 600
    assert more == pytest.approx(-10)


def test_a_pause_takes_its_steps_its_save_and_its_exit() -> None:
    run = Run("r", step_seconds_p50=10.0, checkpoint_seconds=7.0, **GIVEN)
    unknown = Run("r", step_seconds_p50=10.0, **GIVEN)

    assert loads_of(run, Past()).now(allowed)[0][0].pause_seconds == 30 + 7 + EXIT_SECONDS
    assert loads_of(unknown, Past()).now(allowed)[0][0].pause_seconds == 30 + 60 + EXIT_SECONDS


def test_why_it_cannot_be_done_is_told_and_not_asked_for_a_run_that_is_never_touched() -> None:
    def refusal(verb: Verb, run: Run, parameters: ActionParameters) -> str:
        assert run.flex_tier
        return "it is protected" if verb is Verb.PAUSE else ""

    (load,), _ = loads_of(Run("r", **GIVEN), Past()).now(refusal)
    (other,), _ = loads_of(Run("r", **GIVEN | {"flex_tier": 0}), Past()).now(refusal)

    assert load.refusals == {Verb.PAUSE: "it is protected"}
    assert other.refusals == {}


def test_a_paused_run_counts_with_the_ranks_that_it_had() -> None:
    run = Run("r", state=RunState.PAUSED, rank_count=64)
    over = Run("r", state=RunState.COMPLETED, rank_count=64)

    (load,), more = loads_of(run, Past()).now(allowed)

    assert (load.gpu_count, load.is_going, more) == (64, False, 0)
    assert loads_of(over, Past()).now(allowed) == ([], 0)


def test_idle_is_what_nobody_holds_and_nobody_uses() -> None:
    store = Store()
    nodes = Nodes(store)
    message = hello(gpu_count=4)
    del message.gpu_columns[:]
    message.gpu_columns.add(name="gpu_utilisation", unit="ratio")
    message.gpu_columns.add(name="power", unit="W")
    record = nodes.admit(message)
    figures = loads_of(Run("r", **GIVEN), Past(), store)
    assert figures.idle_watts() == ShedConfig().idle_watts

    told = frame([(0, 90.0), (0, 110), (0.99, 1_000), (0.5, 500)], (0, 0))
    store.put(record.rows, told, time.monotonic())

    assert figures.idle_watts() == pytest.approx(100)
