"""Directives to simulated nodes: each does what a real agent would, and answers so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from colossus_protos.v1 import agent_link_pb2, common_pb2, directive_pb2, run_pb2
from colossus_tui.hub.backends.cap import IDLE_RATIO, slowdown
from colossus_tui.sim.physics import LIMIT_WATTS, POWER_REASON, Mode
from colossus_tui.sim.reports import Checkpoints
from colossus_tui.sim.simulation import Simulation
from tests.sim.sites import SECOND_NS, START_NS, after, column, rows, site, ticks

DONE = directive_pb2.DIRECTIVE_OUTCOME_DONE
FAILED = directive_pb2.DIRECTIVE_OUTCOME_FAILED
REFUSED = directive_pb2.DIRECTIVE_OUTCOME_REFUSED
RUN = "10t"
NODES = range(13, 20)  # of the run on a site of 20


class Hub:
    """Gives directives to the nodes of a run, each with an id of its own."""

    def __init__(self, simulation: Simulation, second: int = 0) -> None:
        self.simulation = simulation
        self.second = second
        self._count = 0

    def pass_to(self, second: int) -> list[Checkpoints]:
        """Let time pass; return what was saved."""
        first, self.second = self.second + 1, second
        return [
            saved
            for tick in ticks(self.simulation, first, second)
            for saved in tick.checkpoints
            if saved.run_id == RUN
        ]

    def ask(
        self, nodes: range = NODES, run_id: str = RUN, **order: Message | Mapping[str, Any]
    ) -> list[directive_pb2.DirectiveResult]:
        """Return what each node answers."""
        return [self.messages(node, run_id, **order)[0].directive_result for node in nodes]

    def messages(
        self, node: int, run_id: str = RUN, **order: Message | Mapping[str, Any]
    ) -> list[agent_link_pb2.LinkRequest]:
        """Return all that a node says at once."""
        self._count += 1
        directive = directive_pb2.Directive(directive_id=f"d-{self._count}", run_id=run_id)
        ((name, part),) = order.items()
        field = getattr(directive, name)
        field.SetInParent()
        if isinstance(part, Message):
            field.CopyFrom(part)
        else:
            field.MergeFrom(type(field)(**part))
        return self.simulation.obey(node, directive, START_NS + self.second * SECOND_NS)


@pytest.fixture
def hub() -> Hub:
    hub = Hub(site(20))
    hub.pass_to(3)
    return hub


def prepare(step: int, verb: int = common_pb2.VERB_CHECKPOINT, hold: float = 15) -> dict[str, Any]:
    return {"verb": verb, "step": step, "hold_seconds": hold, "agreement": 7}


def step_of(hub: Hub) -> int:
    return hub.simulation.gangs[-1].step


def test_all_ranks_save_at_the_agreed_step_and_go_on(hub: Hub) -> None:
    step = step_of(hub) + 2
    answers = hub.ask(prepare_step=prepare(step))
    answers += hub.ask(ready_step={"agreement": 7})
    answers += hub.ask(commit_step={"agreement": 7})

    assert {answer.outcome for answer in answers} == {DONE}
    assert [rank.rank for rank in answers[0].ranks] == [0, 1, 2, 3]
    (saved,) = hub.pass_to(25)
    assert (saved.step, saved.attempt) == (step, 1)
    assert saved.ranks.tolist() == list(range(28))
    assert hub.simulation.gangs[-1].durable_step == step
    hub.pass_to(32)
    assert step_of(hub) > step


def test_ranks_wait_at_the_step_for_the_commit(hub: Hub) -> None:
    step = step_of(hub) + 1
    hub.ask(prepare_step=prepare(step, hold=30))
    hub.pass_to(14)

    assert step_of(hub) == step
    assert hub.simulation.mode(14) is Mode.WAITING
    hub.ask(commit_step={"agreement": 7})
    (saved,) = hub.pass_to(22)
    assert saved.step == step


def test_ranks_that_wait_in_vain_train_on(hub: Hub) -> None:
    step = step_of(hub) + 1
    hub.ask(prepare_step=prepare(step, hold=5))

    assert hub.pass_to(20) == []
    assert step_of(hub) > step
    answers = hub.ask(commit_step={"agreement": 7})
    assert {answer.outcome for answer in answers} == {FAILED}
    assert answers[0].detail == "rank 0: waited too long for the commit"


def test_ranks_that_are_ready_act_without_the_commit(hub: Hub) -> None:
    step = step_of(hub) + 1
    hub.ask(prepare_step=prepare(step, hold=5))
    hub.ask(ready_step={"agreement": 7})
    (saved,) = hub.pass_to(22)

    assert saved.step == step
    assert {answer.outcome for answer in hub.ask(abort_step={"agreement": 7})} == {FAILED}
    assert {answer.outcome for answer in hub.ask(commit_step={"agreement": 7})} == {DONE}


def test_a_promise_can_be_taken_back(hub: Hub) -> None:
    step = step_of(hub) + 1
    hub.ask(prepare_step=prepare(step, hold=30))
    hub.pass_to(9)
    assert {answer.outcome for answer in hub.ask(abort_step={"agreement": 7})} == {DONE}

    assert hub.pass_to(16) == []
    assert step_of(hub) > step


def test_a_passed_step_is_not_promised(hub: Hub) -> None:
    answer = hub.ask(prepare_step=prepare(step_of(hub)))[1]

    assert answer.outcome == REFUSED
    assert answer.detail == f"rank 4: already finished step {step_of(hub)}"
    assert not any(rank.ok for rank in answer.ranks)


def test_an_unknown_agreement_cannot_be_committed(hub: Hub) -> None:
    assert {answer.outcome for answer in hub.ask(commit_step={"agreement": 8})} == {FAILED}


def test_a_pause_ends_the_ranks_and_frees_their_gpus(hub: Hub) -> None:
    step = step_of(hub) + 1
    hub.ask(prepare_step=prepare(step, common_pb2.VERB_PAUSE))
    hub.ask(commit_step={"agreement": 7})
    found = [tick for tick in ticks(hub.simulation, 4, 25) if len(tick.changed)]
    run = hub.simulation.run_report(14).run_report.runs[0]
    memory = column(after(hub.simulation, 26, 26), "memory_used")[rows(hub.simulation, RUN)]

    assert len(found) == 1
    assert found[0].changed.tolist() == list(NODES)
    assert [saved.step for saved in found[0].checkpoints] == [step]
    assert run.state == run_pb2.LOCAL_RUN_STATE_ENDED
    assert [(r.alive, r.exit.known, r.exit.exit_code) for r in run.ranks] == [(False, True, 0)] * 4
    assert memory.max() < 512 << 20


def resume(hub: Hub, attempt: int, step: int | None = None) -> list[directive_pb2.DirectiveResult]:
    points = [] if step is None else [directive_pb2.ResumePoint(rank=0, step=step)]
    start = directive_pb2.StartRun(
        spec=run_pb2.RunSpec(run_id=RUN), attempt=attempt, recorded=True, resume_points=points
    )
    return hub.ask(start_run=start)


def test_a_run_that_was_ended_starts_again_as_the_next_attempt(hub: Hub) -> None:
    messages = hub.messages(13, terminate={"grace_seconds": 600})
    run = messages[2].run_report.runs[0]
    hub.ask(range(14, 20), terminate={"grace_seconds": 600})

    assert messages[0].directive_result.detail == "SIGTERM to 4 processes"
    assert not messages[1].process_report.processes
    assert [(rank.exit.exit_code, rank.exit.exit_signal) for rank in run.ranks] == [(-1, 15)] * 4
    hub.pass_to(8)
    assert {answer.outcome for answer in resume(hub, 2, 500)} == {DONE}
    steps = [s for t in ticks(hub.simulation, 9, 40) for s in t.steps if s.run_id == RUN]
    assert (steps[0].attempt, int(steps[0].steps[0])) == (2, 501)
    assert hub.simulation.run_report(15).run_report.runs[0].attempt == 2


def test_a_half_started_attempt_makes_no_step(hub: Hub) -> None:
    hub.ask(terminate={"grace_seconds": 1})
    start = {"spec": run_pb2.RunSpec(run_id=RUN), "attempt": 2, "recorded": True}
    hub.ask(range(13, 19), start_run=start)
    found = [s for t in ticks(hub.simulation, 4, 30) for s in t.steps if s.run_id == RUN]

    assert found == []
    assert hub.simulation.mode(13) is Mode.WAITING
    assert hub.simulation.mode(19) is Mode.IDLE


def test_a_live_attempt_is_not_started_over(hub: Hub) -> None:
    assert {answer.detail for answer in resume(hub, 1)} == {"already started"}
    assert {answer.outcome for answer in resume(hub, 2)} == {REFUSED}


def test_a_freeze_thaws_at_its_fuse(hub: Hub) -> None:
    step = step_of(hub)
    messages = hub.messages(13, freeze={"fuse_seconds": 20})
    hub.ask(range(14, 20), freeze={"fuse_seconds": 20})
    run = messages[2].run_report.runs[0]
    hub.pass_to(22)

    assert messages[0].directive_result.detail == "frozen by cgroup v2"
    assert run.state == run_pb2.LOCAL_RUN_STATE_FROZEN
    assert run.fuse_deadline_unix_ns == START_NS + 23 * SECOND_NS
    assert step_of(hub) == step
    assert hub.simulation.mode(13) is Mode.FROZEN
    tick = after(hub.simulation, 23, 23)
    assert tick.changed.tolist() == list(NODES)
    assert [(n, e.kind, e.run_id) for n, e in tick.events] == [
        (node, "run.thawed", RUN) for node in NODES
    ]
    after(hub.simulation, 24, 30)
    assert step_of(hub) > step


def test_one_frozen_node_lets_the_others_wait(hub: Hub) -> None:
    hub.ask(range(15, 16), freeze={"fuse_seconds": 60})
    hub.pass_to(6)

    assert hub.simulation.mode(15) is Mode.FROZEN
    assert hub.simulation.mode(16) is Mode.WAITING
    hub.ask(thaw={})
    hub.pass_to(7)
    assert hub.simulation.mode(15) is Mode.BUSY


def test_a_freeze_must_end_before_the_watchdog_and_cannot_release_gpus(hub: Hub) -> None:
    late = hub.ask(freeze={"fuse_seconds": 500})
    released = hub.ask(freeze={"fuse_seconds": 10, "release_gpus": True})

    assert {answer.outcome for answer in (*late, *released)} == {REFUSED}
    assert "at most 480 s" in late[0].detail
    assert not hub.simulation.hello(13, "x").can_release_gpus


def test_a_class_is_read_back_as_a_nice_value(hub: Hub) -> None:
    messages = hub.messages(13, set_priority={"priority_class": common_pb2.PRIORITY_CLASS_P3})
    run = messages[2].run_report.runs[0]

    assert {(r.ok, r.nice, r.detail) for r in messages[0].directive_result.ranks} == {
        (True, 10, "nice 10")
    }
    assert run.priority_class == common_pb2.PRIORITY_CLASS_P3
    assert {rank.nice for rank in run.ranks} == {10}


def test_an_ended_run_can_be_forgotten(hub: Hub) -> None:
    assert hub.ask(forget_run={})[0].outcome == REFUSED
    hub.ask(terminate={"grace_seconds": 1})
    messages = hub.messages(13, forget_run={})

    assert messages[0].directive_result.outcome == DONE
    assert not messages[2].run_report.runs
    assert hub.ask(thaw={})[0].outcome == REFUSED
    assert resume(hub, 2)[0].outcome == REFUSED


def test_the_same_directive_is_answered_the_same_and_done_once(hub: Hub) -> None:
    directive = directive_pb2.Directive(directive_id="once", run_id=RUN)
    directive.terminate.grace_seconds = 1
    first = hub.simulation.obey(13, directive, START_NS)
    resume(hub, 2)
    again = hub.simulation.obey(13, directive, START_NS)

    assert len(again) == 1
    assert again[0].directive_result.repeated_answer
    again[0].directive_result.repeated_answer = False
    assert again[0] == first[0]
    assert hub.simulation.run_report(13).run_report.runs[0].ranks[0].alive


def test_what_makes_no_sense_is_refused(hub: Hub) -> None:
    wrong = [
        hub.ask(prepare_step=prepare(10**9, common_pb2.VERB_STOP)),
        hub.ask(prepare_step=prepare(10**9, hold=0)),
        hub.ask(freeze={"fuse_seconds": 0}),
        hub.ask(terminate={"grace_seconds": -1}),
        hub.ask(set_priority={}),
        hub.ask(start_run={"spec": run_pb2.RunSpec(run_id="other"), "attempt": 2}),
        hub.ask(run_id="6t", thaw={}),
    ]
    empty = directive_pb2.Directive(directive_id="x", run_id=RUN)
    nameless = directive_pb2.Directive(run_id=RUN)

    assert {answer.outcome for answers in wrong for answer in answers} == {REFUSED}
    assert wrong[-1][0].detail == "this node has no run 6t"
    for directive in (empty, nameless):
        (message,) = hub.simulation.obey(13, directive, START_NS)
        assert message.directive_result.outcome == REFUSED


def test_a_node_that_is_down_answers_nothing() -> None:
    fault = '[[fault]]\nkind = "node_loss"\nat = 1\nduration = 60\nnode = "a-r001-n15"'
    hub = Hub(site(20, fault))
    hub.pass_to(2)

    assert hub.messages(14, freeze={"fuse_seconds": 10}) == []


def test_a_run_that_was_ended_while_a_node_was_lost_stays_ended() -> None:
    fault = '[[fault]]\nkind = "node_loss"\nat = 1\nduration = 10\nnode = "a-r001-n15"'
    hub = Hub(site(20, fault))
    hub.pass_to(2)
    for node in NODES:
        hub.messages(node, terminate={"grace_seconds": 1})
    hub.pass_to(30)

    assert not hub.simulation.gangs[-1].alive.any()
    lost = hub.simulation.run_report(14).run_report.runs[0]
    assert lost.state == run_pb2.LOCAL_RUN_STATE_LOST
    assert not lost.ranks[0].exit.known


ORDERS: list[dict[str, Any]] = [
    {"prepare_step": "soon"},
    {"ready_step": {"agreement": 7}},
    {"commit_step": {"agreement": 7}},
    {"abort_step": {"agreement": 7}},
    {"freeze": {"fuse_seconds": 5}},
    {"thaw": {}},
    {"terminate": {"grace_seconds": 1}},
    {"start_run": "next"},
    {"set_priority": {"priority_class": common_pb2.PRIORITY_CLASS_P4}},
    {"forget_run": {}},
]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.sampled_from(ORDERS)), max_size=25)
)
def test_no_order_of_directives_breaks_the_site(
    script: list[tuple[int, int, dict[str, Any]]],
) -> None:
    simulation = site(2, '[[fault]]\nkind = "node_loss"\nat = 9\nduration = 4\nnode = "a-r001-n02"')
    hub, gang = Hub(simulation), simulation.gangs[-1]
    for seconds, node, order in script:
        filled = dict(order)
        if filled.get("prepare_step"):
            filled["prepare_step"] = prepare(gang.step + 1, common_pb2.VERB_PAUSE, hold=3)
        if filled.get("start_run"):
            filled["start_run"] = {
                "spec": run_pb2.RunSpec(run_id=gang.run.run_id),
                "attempt": int(gang.attempts.max()) + 1,
                "recorded": True,
            }
        hub.messages(node, gang.run.run_id, **filled)
        hub.pass_to(hub.second + seconds)

    hub.pass_to(hub.second + 60)
    run = simulation.run_report(1).run_report
    alive = len(simulation.process_report(1).process_report.processes)
    assert sum(rank.alive for local in run.runs for rank in local.ranks) == alive
    assert gang.durable_step <= gang.step
    assert not gang.fuse_ns.any()


def test_a_cap_holds_each_gpu_of_the_run_to_it_and_its_steps_take_as_long_as_is_modelled(
    hub: Hub,
) -> None:
    gpus, cap = rows(hub.simulation, RUN), 600.0
    before = column(after(hub.simulation, 4, 5), "power")
    answers = hub.ask(set_power_limit={"watts": cap})

    assert {answer.outcome for answer in answers} == {DONE}
    assert [gpu.watts for answer in answers for gpu in answer.gpu_power_limits] == [cap] * 28
    tick = after(hub.simulation, 6, 12)
    power = column(tick, "power")
    assert power[gpus].max() <= cap + 1
    others = np.ones(len(power), np.bool_)
    others[gpus] = False
    assert power[others] == pytest.approx(before[others], rel=0.15)
    assert (column(tick, "clock_event_reasons")[gpus] == POWER_REASON).all()
    factor = slowdown(float(before[gpus].mean()), cap, IDLE_RATIO * LIMIT_WATTS)
    pace = hub.simulation.physics.pace[gpus]
    assert 1 / pace.min() == pytest.approx(factor, rel=0.06)
    (report,) = [m.run_report for m in [hub.simulation.run_report(13)]]
    assert report.runs[0].power_cap_watts == cap

    hub.ask(set_power_limit={"watts": 0})

    tick = after(hub.simulation, 13, 20)
    assert column(tick, "power")[gpus].min() > 800
    assert not hub.simulation.run_report(13).run_report.runs[0].power_cap_watts


def test_a_cap_ends_when_the_ranks_leave_their_gpus(hub: Hub) -> None:
    hub.ask(set_power_limit={"watts": 600})
    hub.ask(terminate={"grace_seconds": 1})
    hub.ask(start_run={"spec": {"run_id": RUN}, "attempt": 2, "recorded": True})

    tick = after(hub.simulation, 4, 120)

    assert column(tick, "power")[rows(hub.simulation, RUN)].max() > 800
    assert not hub.simulation.run_report(13).run_report.runs[0].power_cap_watts


@pytest.mark.parametrize(
    ("watts", "says"),
    [(299, "takes 300 to 1200 W"), (1201, "takes 300 to 1200 W"), (-1, "set_power_limit.watts")],
)
def test_a_cap_that_the_devices_do_not_take_is_refused(hub: Hub, watts: float, says: str) -> None:
    (answer,) = hub.ask(range(13, 14), set_power_limit={"watts": watts})

    assert answer.outcome == REFUSED
    assert says in answer.detail
