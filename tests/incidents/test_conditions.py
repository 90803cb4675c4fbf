"""What is wrong with runs, limits and the database becomes findings; what an action does, none."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from colossus_tui.hub.backends.base import Sighting
from colossus_tui.hub.database import Database
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.facility.loops import LoopConfig
from colossus_tui.hub.gpus import RunGpuFigures
from colossus_tui.hub.incidents.conditions import (
    LASTED_SECONDS,
    SETTLE_SECONDS,
    RunConditions,
    SiteConditions,
)
from colossus_tui.hub.incidents.sources import Storm
from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.runs.registry import Registry
from colossus_tui.hub.runs.reports import NodeAges
from colossus_tui.hub.runs.scheduled import Scheduled
from colossus_tui.hub.site.limits import Limits
from colossus_tui.hub.site.troubles import Troubles
from colossus_tui.model import (
    Alert,
    Job,
    NamedLimit,
    NextStep,
    PriorityClass,
    RunState,
    Severity,
    Verb,
)
from tests.sim.rolled import NOW, SmallSite

WALL = 1_800_000_000.0


class Training:
    """A run of one rank a GPU on ten nodes of four; its third node has a slow GPU when told so."""

    def __init__(self, *, can_drain: bool = True) -> None:
        self.site = SmallSite()
        self.run = LiveRun("10t", state=RunState.RUNNING, step_seen=NOW, rank_count=40)
        self.site.runs["10t"] = self.run
        self.names = [f"n{number:02}" for number in range(10)]
        for node, name in enumerate(self.names):
            self.site.admit(name, 4)
            self.site.hold(name, *[("10t", node * 4 + gpu) for gpu in range(4)])
        self.troubles = Troubles(self.site.roll_ups)
        gpus = RunGpuFigures(self.site.store, self.site.nodes, lambda: self.site.now)
        gpus.troubles = self.troubles.of
        registry = SimpleNamespace(runs=self.site.runs, node_ages=self._ages)
        self.conditions = RunConditions(
            self.site.store,
            self.site.nodes,
            cast(Registry, registry),
            gpus,
            self.troubles,
            can_drain=can_drain,
        )

    def _ages(self, run: LiveRun) -> NodeAges:
        return NodeAges(tuple(self.names), np.zeros(len(self.names)))

    def tick(self, slow: Mapping[tuple[int, int], float] | None = None) -> None:
        """Let a second pass; clocks are 2,000 MHz but for those given by node and GPU."""
        self.site.now += 1
        self.run.step_seen = self.site.now
        for node, name in enumerate(self.names):
            clocks = [(slow or {}).get((node, gpu), 2_000.0) for gpu in range(4)]
            self.site.tell(name, sm_clock=clocks, gpu_utilisation=[0.99] * 4, power=[900.0] * 4)
        self.site.tick()
        self.troubles.tick(self.site.runs, self.site.now)

    def kinds(self, now: float = WALL) -> list[str]:
        """Return the kinds of what is found."""
        return [one.kind for one in self.conditions.look(now, ())]


def test_a_straggler_names_its_rank_its_gpu_and_the_node_to_drain() -> None:
    training = Training()
    for _ in range(3):
        training.tick({(3, 2): 900.0})
    (one,) = training.conditions.look(WALL, ())

    assert one.title == "run 10t: waits for rank 14"
    assert one.members == ("n03 GPU 2",)
    assert [(run.rank_count, run.ranks) for run in one.runs] == [(1, "14")]
    assert one.next_step == NextStep(Verb.DRAIN, subject="n03")


def test_where_nothing_can_be_drained_the_timeline_is_next() -> None:
    training = Training(can_drain=False)
    for _ in range(3):
        training.tick({(3, 2): 900.0, (4, 0): 800.0})
    (one,) = training.conditions.look(WALL, ())

    assert one.title == "run 10t: waits for ranks 14, 16"
    assert one.next_step == NextStep(screen="timeline", subject="10t")


def test_what_an_action_does_to_its_run_is_no_incident_and_is_one_later() -> None:
    training = Training()
    for _ in range(3):
        training.tick({(3, 2): 900.0})
    training.run.open_action_id = "a1"
    assert training.kinds() == []
    training.run.open_action_id = ""
    assert training.kinds(WALL + SETTLE_SECONDS - 1) == []

    assert training.kinds(WALL + 2 * SETTLE_SECONDS) == ["run.straggler"]


def test_a_frozen_or_waiting_or_finished_run_is_none() -> None:
    training = Training()
    training.tick()
    for state in (RunState.FROZEN, RunState.PAUSED, RunState.COMPLETED, RunState.STOPPED):
        training.run.state = state
        assert training.kinds() == []


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.LOST])
def test_a_run_that_ended_badly_is_told_since_when_and_not_of_yesterday(state: RunState) -> None:
    training = Training()
    training.tick()
    training.run.state = state
    training.run.state_since_unix_ns = int((WALL - 30) * 1e9)
    (one,) = training.conditions.look(WALL, ())

    assert (one.kind, one.since) == (f"run.{state}", WALL - 30)
    assert one.next_step == NextStep(Verb.RESUME, subject="10t")
    assert one.severity is Severity.WARNING
    assert training.kinds(WALL + LASTED_SECONDS[PriorityClass.P2]) == []


def test_the_end_of_a_run_weighs_as_much_as_its_class() -> None:
    training = Training()
    training.tick()
    training.run.state = RunState.FAILED
    training.run.state_since_unix_ns = int((WALL - 30) * 1e9)
    training.run.priority_class = PriorityClass.P1
    assert [one.severity for one in training.conditions.look(WALL, ())] == [Severity.CRITICAL]
    training.run.priority_class = PriorityClass.P3

    assert training.kinds() == []


def test_a_silent_scheduler_is_one_thing_however_many_runs_it_has() -> None:
    training = Training()
    job = Job(job_id="7", name="x")
    sighting = Sighting("", job, RunState.RUNNING, "", 1, None, 0, "")
    for number in range(3):
        name = f"s{number}"
        run = LiveRun(name, state=RunState.RUNNING, backend="slurm")
        run.scheduled = Scheduled(sighting, -1e6, 0.0)
        training.site.runs[name] = run
    training.tick()
    found = [one for one in training.conditions.look(WALL, ()) if one.kind == "scheduler.silent"]

    assert [one.title for one in found] == ["scheduler slurm: silent"]
    assert "3 runs" in found[0].reason


def test_a_storm_of_xids_says_how_many_where() -> None:
    training = Training()
    training.tick()
    xids = tuple((WALL + number, f"n{number % 2:02}", number % 3, 94) for number in range(6))
    (one,) = training.conditions.look(WALL, [Storm("10t", xids)])

    assert one.title == "run 10t: XID errors of its own on 6 GPUs"
    assert one.reason == "XID 94, 6 times in 10 min on 6 GPUs of 2 nodes: the run's own"


def test_a_limit_is_told_by_its_name_with_the_runs_in_its_hall() -> None:
    limit = NamedLimit("hall B contract", "hall-b", 180e6, 176e6)
    alert = Alert(Severity.CRITICAL, "power.limit", "hall B contract: 176.00 of 180.00 MW")
    limits: Any = SimpleNamespace(now=lambda: (limit,), reached=lambda: ((limit.name, alert),))
    database: Any = SimpleNamespace(away="")
    site = SiteConditions(
        cast(Limits, limits), cast(Database, database), lambda hall: ["6t"], Facility(None)
    )
    (one,) = site.look(WALL)

    assert one.title == "limit hall B contract: nearly reached or passed"
    assert (one.severity, one.spot.subject) == (Severity.CRITICAL, "hall B contract")
    assert [run.run_id for run in one.runs] == ["6t"]
    assert one.next_step == NextStep(screen="power", subject="hall-b")
    database.away = "the database x is away"
    assert [one.kind for one in site.look(WALL)] == ["power.limit", "database.away"]


def test_a_leak_is_told_by_its_loop_with_the_runs_in_its_hall() -> None:
    nothing: Any = SimpleNamespace(now=lambda: (), reached=lambda: (), away="")
    facility = Facility(None, [LoopConfig("1", ("hall-b",))])
    site = SiteConditions(nothing, nothing, lambda hall: [f"run-of-{hall}"], facility)
    assert facility.values.take("colossus/facility/loop/1/leak", b"1")
    facility.tick()
    (one,) = site.look(WALL)

    assert (one.kind, one.title) == ("cooling.leak", "cooling loop 1: leak")
    assert one.reason == "cooling loop 1: leak detected; runs there: run-of-hall-b"
    assert (one.severity, one.spot.hall) == (Severity.CRITICAL, "hall-b")
    assert one.next_step == NextStep(screen="power", subject="hall-b")
    assert [again.reason for again in site.look(WALL + 9)] == [one.reason]
    assert facility.values.take("colossus/facility/loop/1/leak", b"0")
    facility.tick()
    assert site.look(WALL + 10) == []
