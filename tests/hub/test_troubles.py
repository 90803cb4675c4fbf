"""What GPUs betray of a run: a straggler after three ticks, a hang only with every sign of it."""

from __future__ import annotations

import re

import pytest

from colossus_tui.hub.runs.live import LiveRun
from colossus_tui.hub.site.troubles import HANG_SECONDS, SLOW_TICKS, Troubles
from colossus_tui.model import Alert, RunState, Severity
from tests.sim.rolled import NOW, SmallSite

CLOCK, WATTS = 2_000.0, 1_000.0
MEDIAN = "(1,99.|2,000)"  # to a thousandth of the range


class Training:
    """A run of one rank a GPU, on nodes of four."""

    def __init__(self, node_count: int = 10, *, spare_count: int = 2) -> None:
        self.site = SmallSite()
        self.run = LiveRun("r", state=RunState.RUNNING, step_seen=NOW)
        self.site.runs["r"] = self.run
        self.names = [f"n{number:02}" for number in range(node_count)]
        for node, name in enumerate(self.names):
            self.site.admit(name, 4)
            self.site.hold(name, *[("r", node * 4 + gpu) for gpu in range(4)])
        self.spares = [f"spare{number}" for number in range(spare_count)]
        for name in self.spares:
            self.site.admit(name, 4)
        self._troubles = Troubles(self.site.roll_ups)

    def tick(
        self,
        slow: dict[tuple[int, int], float] | None = None,
        *,
        busy: float = 0.99,
        watts: float = WATTS,
        seconds: float = 1.0,
        steps: bool = True,
    ) -> tuple[Alert, ...]:
        """Let time pass; clocks are CLOCK but for those given by node and GPU."""
        self.site.now += seconds
        if steps:
            self.run.step_seen = self.site.now
        for node, name in enumerate(self.names):
            clocks = [(slow or {}).get((node, gpu), CLOCK) for gpu in range(4)]
            self.site.tell(name, sm_clock=clocks, gpu_utilisation=[busy] * 4, power=[watts] * 4)
        for name in self.spares:
            self.site.tell(name, sm_clock=[345.0] * 4, gpu_utilisation=[0.0] * 4, power=[90.0] * 4)
        self.site.tick()
        self._troubles.tick(self.site.runs, self.site.now)
        return self._troubles.of("r")


def kinds(alerts: tuple[Alert, ...]) -> list[str]:
    return [alert.kind for alert in alerts]


def test_a_slow_gpu_is_told_at_the_third_tick_with_its_name_and_rank() -> None:
    training = Training()
    seen = [training.tick({(3, 2): 1_000.0}) for _ in range(SLOW_TICKS)]

    assert SLOW_TICKS == 3
    assert seen[:2] == [(), ()]
    assert [(alert.severity, alert.kind) for alert in seen[2]] == [
        (Severity.WARNING, "run.straggler")
    ]
    assert re.fullmatch(
        rf"n03 GPU 2 \(rank 14\) at 1,000 of {MEDIAN} MHz: "
        r"slower than 0.7 of the run's median clock",
        seen[2][0].message,
    )


def test_a_straggler_is_gone_with_the_first_good_tick_and_counts_anew() -> None:
    training = Training()
    for _ in range(5):
        training.tick({(0, 0): 500.0})

    assert training.tick() == ()
    assert [len(training.tick({(0, 0): 500.0})) for _ in range(3)] == [0, 0, 1]


@pytest.mark.parametrize(("clock", "expected"), [(1_399.0, ["run.straggler"]), (1_401.0, [])])
def test_a_straggler_is_below_seven_tenths_of_the_median(clock: float, expected: list[str]) -> None:
    training = Training()
    for _ in range(SLOW_TICKS):
        alerts = training.tick({(1, 1): clock})

    assert kinds(alerts) == expected


def test_many_slow_gpus_are_all_counted_however_they_take_turns_at_the_lower_end() -> None:
    training = Training()
    for tick in range(SLOW_TICKS):
        slow = {
            (node, gpu): 900.0 + (node * 4 + gpu + tick * 7) % 16
            for node in range(4)
            for gpu in range(4)
        }
        alerts = training.tick(slow)

    assert kinds(alerts) == ["run.straggler"]
    named = sorted(slow, key=lambda place: slow[place])[:4]
    names = [
        rf"n{node:02} GPU {gpu} \(rank {node * 4 + gpu}\) at {slow[node, gpu]:.0f} of {MEDIAN} MHz"
        for node, gpu in named
    ]
    assert re.match(", ".join(names) + " and 12 more: ", alerts[0].message)


def test_a_run_that_is_idle_has_no_straggler() -> None:
    training = Training()

    assert [training.tick({(0, 0): 345.0}, busy=0.3) for _ in range(10)] == [()] * 10


def test_a_run_that_does_not_run_has_no_trouble_and_begins_anew_after_it() -> None:
    training = Training()
    training.tick({(0, 0): 345.0})
    training.tick({(0, 0): 345.0})
    training.run.state = RunState.PAUSED
    assert training.tick({(0, 0): 345.0}) == ()
    training.run.state = RunState.RUNNING

    assert [len(training.tick({(0, 0): 345.0})) for _ in range(3)] == [0, 0, 1]


def test_a_run_that_let_its_gpus_go_is_forgotten() -> None:
    training = Training()
    for _ in range(SLOW_TICKS):
        assert training.tick({(0, 0): 345.0}) is not None
    for name in training.names:
        training.site.hold(name, *[("", -1)] * 4)
    assert training.tick({(0, 0): 345.0}) == ()
    for node, name in enumerate(training.names):
        training.site.hold(name, *[("r", node * 4 + gpu) for gpu in range(4)])

    assert [len(training.tick({(0, 0): 345.0})) for _ in range(3)] == [0, 0, 1]


def test_a_slow_gpu_that_is_no_longer_heard_of_is_not_told() -> None:
    training = Training()
    for _ in range(SLOW_TICKS):
        training.tick({(9, 0): 500.0})
    training.names.pop()

    assert [kinds(training.tick()) for _ in range(5)] == [["run.straggler"]] * 4 + [[]]


def quiet(training: Training, *, busy: float, watts: float, seconds: int) -> tuple[Alert, ...]:
    """Let a run make no step for some seconds."""
    for _ in range(seconds):
        alerts = training.tick(busy=busy, watts=watts, steps=False)
    return alerts


def test_a_hang_is_told_when_no_step_came_for_a_minute() -> None:
    training = Training()
    for _ in range(10):
        training.tick()

    assert quiet(training, busy=1.0, watts=380.0, seconds=int(HANG_SECONDS)) == ()
    assert training.tick(busy=1.0, watts=380.0, steps=False) == (
        Alert(
            Severity.CRITICAL,
            "run.collective_hang",
            "a collective hangs: utilisation 100%, but 380 W where 1,000 W are usual, "
            "and no step for 61 s",
        ),
    )


@pytest.mark.parametrize(
    ("busy", "watts"),
    [
        (1.0, 1_000.0),  # a long step
        (1.0, 510.0),
        (0.94, 380.0),
        (0.55, 260.0),  # it saves
        (0.0, 90.0),
    ],
)
def test_silence_alone_or_with_one_sign_is_no_hang(busy: float, watts: float) -> None:
    training = Training()
    for _ in range(10):
        training.tick()

    assert quiet(training, busy=busy, watts=watts, seconds=90) == ()


def test_little_power_at_full_utilisation_is_no_hang_while_steps_come() -> None:
    training = Training()
    for _ in range(10):
        training.tick()

    assert [training.tick(busy=1.0, watts=380.0) for _ in range(90)] == [()] * 90


def test_a_hang_stays_told_until_a_step_comes() -> None:
    training = Training()
    for _ in range(10):
        training.tick()

    assert kinds(quiet(training, busy=1.0, watts=380.0, seconds=300)) == ["run.collective_hang"]
    assert training.tick() == ()


def test_a_run_that_never_stepped_is_not_said_to_hang() -> None:
    training = Training()
    for _ in range(10):
        training.tick()
    training.run.step_seen = 0.0

    assert quiet(training, busy=1.0, watts=380.0, seconds=90) == ()


def test_a_hang_is_told_of_a_run_that_was_first_seen_while_it_saved() -> None:
    training = Training()
    for _ in range(10):
        training.tick(busy=0.55, watts=260.0)
    for _ in range(30):
        training.tick()

    assert kinds(quiet(training, busy=1.0, watts=380.0, seconds=61)) == ["run.collective_hang"]


def test_nothing_is_known_of_a_run_without_figures() -> None:
    site = SmallSite()
    site.admit("n", 2)
    site.hold("n", ("r", 0), ("r", 1))
    site.runs["r"] = LiveRun("r", state=RunState.RUNNING, step_seen=NOW - 90)
    site.tick()
    troubles = Troubles(site.roll_ups)
    for _ in range(5):
        troubles.tick(site.runs, site.now)

    assert troubles.of("r") == troubles.of("nobody") == ()
