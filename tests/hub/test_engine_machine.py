"""The engine under any order of orders, deadlines and crashes: what must hold, always holds.

Real engine, gate and journal on a real SQLite file; who carries actions out, the clock and the
moment of a crash are the test's. `tests/hub/engine_world.py` checks at every write and at every
begin; here is checked what must hold whenever the hub has come to rest.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from colossus_tui.hub.actions import engine as engine_module
from colossus_tui.hub.actions.gate import Caller
from colossus_tui.hub.backends.base import Stage
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    PriorityClass,
    ReasonCode,
    RunState,
    Verb,
)
from tests.hub.engine_world import (
    FAILURES,
    GUARDED,
    RUNS,
    START_NS,
    TIMEOUT_SECONDS,
    Clock,
    Hub,
    Loop,
    World,
    since,
)

T = TypeVar("T")
AGAIN_SECONDS = 30.0  # what an action gets at least after a crash
BEATS = st.integers(0, 6)  # turns of the event loop between two things that happen at once
REST = 50  # turns after which nothing moves any more
CHUNK = 40.0  # seconds that pass at once
OPERATORS = st.sampled_from(["alice", "bob"])
VERBS = st.sampled_from([Verb.CHECKPOINT, Verb.PAUSE, Verb.REPRIORITIZE, Verb.STOP])
RUN_IDS = st.sampled_from([*RUNS, *RUNS, "nobody"])
SELDOM = st.sampled_from([False, False, False, True])
STEPS = st.one_of(
    st.builds(Stage, st.just("a step further"), can_cancel=st.sampled_from([None, None, False])),
    st.sampled_from(FAILURES),
    st.just("seen to have happened"),
)


class EngineMachine(RuleBasedStateMachine):
    """One world, and one hub of it after another."""

    @initialize()
    def begin(self) -> None:
        """Start the first hub."""
        self.folder = tempfile.TemporaryDirectory(prefix="colossus-")
        self.clock = Clock()
        self.loop = Loop(self.clock)
        asyncio.set_event_loop(self.loop)
        self.time = mock.patch.object(engine_module, "time", self.clock)
        self.time.start()
        self.world = World(self.clock)
        self.first: dict[str, Action] = {}
        self.taken_back: set[str] = set()
        self.new_hub()

    def teardown(self) -> None:
        """Let go of the last hub."""
        if hasattr(self, "hub"):
            self.loop.run_until_complete(self.hub.drop())
            self.time.stop()
            asyncio.set_event_loop(None)
            self.loop.close()
            self.folder.cleanup()

    def new_hub(self) -> None:
        """Start a hub on what is on disk; whatever was open must be taken up at once."""
        self.hub = Hub(self.world, Path(self.folder.name) / "hub.sqlite3")
        self.started = self.clock.now
        self.turn(REST)
        if self.world.linked:
            begun = {a for a, kept in self.open_actions().items() if kept.state != "requested"}
            assert begun == set(self.world.script)

    # --- the passing of time ---------------------------------------------------------------

    def turn(self, beats: int) -> None:
        """Let the event loop turn so often."""

        async def turn() -> None:
            for _ in range(beats):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())
        if self.hub.task.done():
            self.hub.task.result()  # the engine has ended, which it never does by itself

    def call(self, work: Coroutine[Any, Any, T], beats: int = REST) -> T | None:
        """Let something be done and everything come to rest; None when the hub died in it."""
        task = self.loop.create_task(work)
        self.turn(beats)
        if self.hub.disk.is_dead:
            self.crash()
        elif beats >= REST:
            assert task.done(), "the hub does not answer"
        return task.result() if task.done() and not task.cancelled() else None

    def crash(self) -> None:
        """Drop the hub as it is and start the next."""
        self.loop.run_until_complete(self.hub.drop())
        self.taken_back.clear()  # that somebody took an action back is not on disk
        self.new_hub()

    def open_actions(self) -> dict[str, Action]:
        """Return the actions that have not ended."""
        return {
            identity: action
            for identity, action in self.world.on_disk().items()
            if not action.state.is_end
        }

    # --- what may happen -------------------------------------------------------------------

    @rule(
        verb=VERBS,
        run_id=RUN_IDS,
        operator=OPERATORS,
        stale=SELDOM,
        known=st.integers(-8, 3),
        twice=SELDOM,
    )
    def submit(
        self, verb: Verb, run_id: str, operator: str, stale: bool, known: int, twice: bool
    ) -> None:
        """Ask for an action: anew or with an id that is known, having looked now or long ago."""
        ids = list(self.first)
        identity = ids[known % len(ids)] if known >= 0 and ids else str(uuid.uuid4())
        parameters = ActionParameters(priority_class=PriorityClass.P1)
        action = Action(identity, verb, run_id, parameters=parameters)
        run = self.world.runs.get(run_id)
        generation = run.generation if run and stale else 0
        caller = Caller("operator", operator)
        if run and stale:
            self.world.change(run_id)
        once = self.hub.engine.submit(action, generation, caller)
        if not twice:
            answers = [self.call(once)]
        else:
            again = self.hub.engine.submit(action, generation, caller)
            both = asyncio.gather(once, again)

            async def wait() -> list[Action]:
                return list(await both)

            answers = list(self.call(wait()) or [])
        for answer in answers:
            if answer is not None:
                self._answered(answer, stale=stale)

    def _answered(self, answer: Action, *, stale: bool) -> None:
        is_first = answer.action_id not in self.first
        first = self.first.setdefault(answer.action_id, answer)
        assert (answer.verb, answer.run_id, answer.operator, answer.requested_time_unix_ns) == (
            first.verb,
            first.run_id,
            first.operator,
            first.requested_time_unix_ns,
        )
        assert answer.action_id in self.world.on_disk(), "answered before it was on disk"
        if is_first and stale:
            assert answer.state is ActionState.REFUSED

    @precondition(lambda self: self.first)
    @rule(which=st.integers(0, 20), operator=OPERATORS)
    def approve(self, which: int, operator: str) -> None:
        """Approve some action, whether it waits for that or not."""
        identity = list(self.first)[which % len(self.first)]
        before = self.world.on_disk()[identity]
        answer = self.call(self.hub.engine.approve(identity, Caller("operator", operator)))
        if answer is not None and not answer[1]:
            assert before.state is ActionState.REQUESTED
            assert operator not in before.approvals
            assert answer[0].state is ActionState.ACCEPTED

    @precondition(lambda self: self.first)
    @rule(which=st.integers(0, 5), step=st.none() | STEPS, beats=BEATS)
    def cancel(self, which: int, step: Any, beats: int) -> None:
        """Take some action back, maybe in the very moment in which it goes on."""
        identity = list(self.first)[-1 - which % len(self.first)]
        if step is not None and (script := self.world.script.get(identity)):
            script.put_nowait(step)
        self.turn(beats)
        if self.hub.disk.is_dead:
            self.crash()
            return
        before = self.hub.journal.get(identity)
        assert before is not None
        answer = self.call(self.hub.engine.cancel(identity, Caller("operator", "alice")))
        if answer is None:
            return
        if not answer[1]:
            assert before.can_cancel
            assert not before.state.is_end
            self.taken_back.add(identity)
        else:
            ended = self.world.on_disk()[identity].state.is_end
            assert ended or not before.can_cancel

    @precondition(lambda self: self.world.script)
    @rule(which=st.integers(0, 2), steps=st.lists(STEPS, min_size=1, max_size=3))
    def progress(self, which: int, steps: list[Any]) -> None:
        """Let the backend come some steps further with some action, maybe to its end."""
        script = list(self.world.script.values())[which % len(self.world.script)]
        for step in steps:
            script.put_nowait(step)
        self.call(asyncio.sleep(0))

    @rule(run_id=st.sampled_from(RUNS), paused=SELDOM)
    def change(self, run_id: str, paused: bool) -> None:
        """Let a run change by itself."""
        self.world.change(run_id, state=RunState.PAUSED if paused else RunState.RUNNING)

    @rule(broken=SELDOM)
    def link(self, broken: bool) -> None:
        """Let the agents' links break or come back; who waited for them goes on."""
        self.world.linked = not broken
        self.advance(1)

    @rule(seconds=st.sampled_from([1, 20, 90, 200, 4_000]))
    def advance(self, seconds: int) -> None:
        """Let time pass."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now = min(self.clock.now + CHUNK, until)
            self.call(asyncio.sleep(0))

    @rule(writes=st.integers(0, 4))
    def die(self, writes: int) -> None:
        """Let the hub die now or with one of its next writes, on disk as that one may be."""
        if writes:
            self.hub.disk.writes_left = writes
        else:
            self.crash()

    # --- what must hold --------------------------------------------------------------------

    @invariant()
    def a_run_is_held_by_the_one_action_that_is_open_on_it(self) -> None:
        """None other, on disk or in memory, and nothing else holds anything."""
        held: dict[str, str] = {}
        for identity, action in self.open_actions().items():
            assert action.run_id not in held, "two actions hold a run"
            held[action.run_id] = identity
        assert self.hub.holding == held
        for run_id, run in self.world.runs.items():
            assert run.open_action_id == held.get(run_id, "")

    @invariant()
    def the_journal_in_memory_is_the_one_on_disk(self) -> None:
        """Also what the console reads."""
        kept = self.world.on_disk()
        assert {identity: self.hub.journal.get(identity) for identity in kept} == kept

    @invariant()
    def what_was_taken_back_ends_so(self) -> None:
        """Nobody is told that it was taken back when it was done."""
        for identity in self.taken_back:
            action = self.world.on_disk()[identity]
            assert action.state.is_end
            assert action.reason_code is ReasonCode.CANCELLED
            assert identity not in self.world.sealed

    @invariant()
    def what_is_accepted_is_carried_out_or_ends_in_time(self) -> None:
        """No action stays open without anybody who carries it out."""
        for identity, action in self.open_actions().items():
            if action.state is ActionState.REQUESTED:
                assert action.run_id == GUARDED
                continue
            assert identity in self.world.script or not self.world.linked
            accepted = (since(action) - START_NS) / 1e9
            latest = max(accepted + TIMEOUT_SECONDS + 5, self.started + AGAIN_SECONDS)
            assert self.clock.now <= latest + CHUNK


TestEngine = EngineMachine.TestCase
TestEngine.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
