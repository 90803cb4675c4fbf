"""RESTORE: what a shed did is undone in reverse order, as far as it is still as the shed left it.

An undoing that waits for its time is an action that goes on: so it is in the journal, outlives
the hub, and can be taken back like any other.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from colossus_tui.hub.actions.ports import RunRegistry
from colossus_tui.hub.backends.base import ActionFailedError, Order, RefusalError, Stage, part_id
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.shed import planner
from colossus_tui.hub.shed.shedding import parameters, step_id
from colossus_tui.model import (
    Action,
    ActionState,
    PowerPlace,
    ReasonCode,
    Run,
    RunState,
    Shed,
    ShedLeft,
    ShedPlan,
    ShedStep,
    Verb,
    sheds_in_force,
)
from colossus_tui.text import clock, fine_watts, named, safe

RESTORE_SECONDS = 3_600.0
WAIT_SECONDS = 86_400.0  # how long a later shed may keep an undoing from beginning
LOOK_SECONDS = 1.0
SAME_WATTS = 1.0  # limits are told in whole watts
# What somebody else may have done since with a run that was paused.
_SINCE = (Verb.START, Verb.PAUSE, Verb.FREEZE, Verb.RESUME, Verb.STOP)


@dataclass(frozen=True, slots=True)
class Undoing:
    """What can be undone of a shed, in order, and what is left as it is."""

    steps: tuple[ShedStep, ...]  # of the shed itself, the last first
    left: tuple[ShedLeft, ...]


class Restoring:
    """Undoes sheds.

    Args:
        site: Tells the site's power.
    """

    def __init__(
        self,
        site_name: str,
        registry: RunRegistry,
        journal: Journal,
        site: Callable[[], PowerPlace],
    ) -> None:
        self._site_name = site_name
        self._registry = registry
        self._journal = journal
        self._site = site

    # --- before ----------------------------------------------------------------------------

    def check(self, shed: Shed) -> None:
        """Return when the shed can be undone.

        Raises:
            RefusalError: It can not; why.
        """
        whole = self._whole(shed)
        if shed.duration_seconds:
            return  # it is looked at when its time has come
        if not whole.state.is_end:
            raise RefusalError(
                ReasonCode.CONFLICT, f"that shed is {whole.state}: wait for its end, then undo it"
            )
        undoing = self.undoing(whole)
        if not undoing.steps:
            raise RefusalError(
                ReasonCode.CONFLICT, f"nothing of that shed is left to undo{_why(undoing)}"
            )

    def _whole(self, shed: Shed) -> Action:
        if not shed.shed_action_id:
            held = sheds_in_force(self._journal.on_site())
            if not held:
                raise RefusalError(
                    ReasonCode.NOT_FOUND, "no shed holds now; colossus actions lists those that did"
                )
            return held[0]
        whole = self._journal.get(shed.shed_action_id)
        if whole is None or whole.verb is not Verb.SHED or _plan(whole) is None:
            raise RefusalError(
                ReasonCode.NOT_FOUND,
                f"there is no shed {safe(shed.shed_action_id, 64)}; colossus actions lists them",
            )
        return whole

    def plan(self, shed: Shed) -> ShedPlan:
        """Return what the undoing would do, with what the site then draws more; modelled."""
        whole = self._whole(shed)
        undoing = self.undoing(whole)
        steps = tuple(_undone(step) for step in undoing.steps)
        site = self._site()
        now = site.drawn_watts or 0.0
        return ShedPlan(
            site_name=self._site_name,
            site_watts=now,
            power_basis=site.basis,
            reporting_gpu_count=site.reporting_gpu_count,
            gpu_count=site.gpu_count,
            planned_watts=now - sum(step.saved_watts for step in steps),
            steps=steps,
            left=undoing.left,
            shed_action_id=whole.action_id,
        )

    def undoing(self, whole: Action, restore_id: str = "") -> Undoing:
        """Return what is still as the shed left it.

        Args:
            restore_id: The undoing that asks: what it has begun itself is still to be followed.
        """
        steps, left = [], []
        for step in reversed(planner.merged(self._begun(whole))):
            own = restore_id and self._journal.get(_undo_id(restore_id, step))
            if own:
                steps.append(step)
            elif why := self._changed(whole, step):
                left.append(ShedLeft(step.run_id, step.priority_class, step.flex_tier, why=why))
            else:
                steps.append(step)
        return Undoing(tuple(steps), tuple(left))

    def _begun(self, whole: Action) -> list[ShedStep]:
        """Return the steps of a shed that may have changed their run."""
        plan = _plan(whole)
        assert plan is not None
        parts = ((step, self._journal.get(step_id(whole, step))) for step in plan.steps)
        return [step for step, part in parts if part is not None and _acted(part)]

    def _changed(self, whole: Action, step: ShedStep) -> str:
        """Return how a run is no longer as the step left it; "" when it is."""
        run = self._registry.get(step.run_id)
        if run is None:
            return "it is no run of this hub any more"
        if why := _other_state(step, run):
            return why
        if step.verb is Verb.CAP:
            return ""  # whoever has set this very limit since: it is the one to take off
        part = self._journal.get(step_id(whole, step))
        assert part is not None  # it has begun
        for action in self._journal.since(part):
            if action.verb in _SINCE and action.state is not ActionState.REFUSED:
                return f"{safe(action.operator, 63)} asked for a {action.verb} since"
        return ""

    def timeout_seconds(self, shed: Shed) -> float:
        """Return how long the effect may take to be observed."""
        wait = shed.duration_seconds + WAIT_SECONDS if shed.duration_seconds else 0.0
        return wait + RESTORE_SECONDS

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, when its time has come, and return what was observed once it was.

        Raises:
            ActionFailedError: It did not happen, or not for every run.
        """
        shed = order.action.parameters.shed
        assert shed is not None
        if shed.duration_seconds:
            await self._wait(order, shed)
        # On disk, which may be away for a while: from here on it is not taken back.
        await order.report(Stage("looks what is still as the shed left it", can_cancel=False))
        undoing = self.undoing(self._whole(shed), order.action.action_id)
        done: list[str] = []
        failed: dict[str, str] = {}
        for wave in planner.waves(undoing.steps):
            await order.report(Stage(_progress(done, undoing)))
            async with asyncio.TaskGroup() as tasks:
                for step in wave:
                    tasks.create_task(self._undo(order, step, done, failed))
        text = _progress(done, undoing) + _why(undoing) + self._power()
        if failed:
            each = [f"{safe(run_id, 63)}: {why}" for run_id, why in sorted(failed.items())]
            state = ActionState.PARTIAL if done else ActionState.FAILED
            raise ActionFailedError(
                ReasonCode.BACKEND_FAILED, f"{text}; {'; '.join(each[:3])}", state
            )
        return text

    async def _wait(self, order: Order, shed: Shed) -> None:
        """Wait for its time after the shed's end, and for later sheds that still hold."""
        await order.report(Stage("waits for the shed's end"))
        due = math.inf
        while time.time() < due or self._is_held(order.action):
            if math.isinf(due) and (whole := self._whole(shed)).state.is_end:
                if not self._begun(whole):
                    return
                due = whole.updated_time_unix_ns / 1e9 + shed.duration_seconds
                await order.report(Stage(f"waits until {clock(int(due * 1e9))} to undo it"))
            if (other := self._other(order.action)) is not None:
                raise ActionFailedError(
                    ReasonCode.CANCELLED,
                    f"{safe(other.operator, 63)} undid it before: action {other.action_id}",
                )
            await asyncio.sleep(LOOK_SECONDS)

    def _is_held(self, action: Action) -> bool:
        """Whether a shed goes on, or one that began later is still to be undone in its time."""
        for one in self._journal.recent(10_000, open_only=True):
            if not one.verb.is_on_site or one.state is ActionState.REQUESTED:
                continue
            is_later = one.requested_time_unix_ns > action.requested_time_unix_ns
            if one.action_id != action.action_id and (one.verb is Verb.SHED or is_later):
                return True
        return False

    def _other(self, action: Action) -> Action | None:
        """Return another undoing of the same shed that somebody asked for."""
        assert action.parameters.shed is not None
        for one in self._journal.recent(10_000):
            shed = one.parameters.shed
            if one.verb is not Verb.RESTORE or shed is None or one.action_id == action.action_id:
                continue
            taken = one.state not in (ActionState.REFUSED, ActionState.REQUESTED)
            if taken and shed.shed_action_id == action.parameters.shed.shed_action_id:
                return one
        return None

    async def _undo(
        self, order: Order, step: ShedStep, done: list[str], failed: dict[str, str]
    ) -> None:
        for part in _parts(step):
            state, detail = ActionState.FAILED, ""
            try:
                async for action in order.part(part.verb, step.run_id, parameters(part)):
                    state, detail = action.state, action.detail
            except RefusalError as error:  # it could not be journaled
                detail = str(error)
            if state is not ActionState.OBSERVED:
                failed[step.run_id] = f"{part.verb} {state}: {safe(detail, 160)}"
                return
        done.append(step.run_id)

    def _power(self) -> str:
        power = self._site().drawn_watts
        return "" if power is None else f"; the site draws {fine_watts(power)}"


def _plan(whole: Action) -> ShedPlan | None:
    return whole.parameters.shed.plan if whole.parameters.shed is not None else None


def _acted(part: Action) -> bool:
    """Whether a part of a shed may have changed its run."""
    return part.state is not ActionState.REFUSED


def _undone(step: ShedStep) -> ShedStep:
    """Return the step that undoes a step."""
    is_cap = step.verb is Verb.CAP
    return replace(
        step,
        verb=Verb.CAP if is_cap else Verb.RESUME,
        cap_watts=step.cap_before_watts if is_cap else 0.0,
        cap_before_watts=step.cap_watts,
        saved_watts=-step.saved_watts,
        work_at_risk_hours=None,
        work_forgone_hours=None,
        seconds=0.0,
        is_reserve=False,
        why="back to the limit before" if is_cap else "goes on where it was saved",
    )


def _parts(step: ShedStep) -> list[ShedStep]:
    """Return what undoes a step: a run that was limited before its pause is so again."""
    undone = _undone(step)
    if step.verb is Verb.CAP or not step.cap_before_watts:
        return [undone]
    return [undone, replace(undone, verb=Verb.CAP, cap_watts=step.cap_before_watts)]


def _undo_id(restore_id: str, step: ShedStep) -> str:
    undone = _undone(step)
    return part_id(restore_id, undone.verb, step.run_id, parameters(undone))


def _other_state(step: ShedStep, run: Run) -> str:
    if step.verb is Verb.PAUSE:
        return "" if run.state is RunState.PAUSED else f"it is {run.state}, not paused"
    now = run.power_cap_watts or 0.0
    if abs(now - step.cap_watts) < SAME_WATTS:
        return ""
    return f"its cap is {now:g} W, not {step.cap_watts:g} W" if now else "it has no cap any more"


def _progress(done: list[str], undoing: Undoing) -> str:
    return f"{len(done)}/{len(undoing.steps)} steps undone"


def _why(undoing: Undoing) -> str:
    if not undoing.left:
        return ""
    each = [f"{safe(one.run_id, 63)}: {one.why}" for one in undoing.left]
    return f"; left as they are: {named(each, 3)}"
