"""SHED: the plan that an operator sees, and its steps carried out as actions of their own."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable

from colossus_tui.hub.backends.base import (
    ActionFailedError,
    Order,
    RefusalError,
    Stage,
    part_id,
)
from colossus_tui.hub.journal import Journal
from colossus_tui.hub.shed import planner
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.hub.shed.loads import Loads, Refusal
from colossus_tui.hub.shed.planner import Load, Terms
from colossus_tui.model import (
    Action,
    ActionParameters,
    ActionState,
    PowerPlace,
    ReasonCode,
    Shed,
    ShedPlan,
    ShedStep,
    Verb,
)
from colossus_tui.model.power import METER
from colossus_tui.model.shed import WITHIN_SECONDS
from colossus_tui.text import clock, duration, fine_watts, named, number, safe

CHANGED_RATIO = 0.02  # of the site's draw: a plan that ends so much elsewhere is another plan
COVERED_RATIO = 0.95  # of the GPUs that the plan's power was a sum of: with fewer it says nothing
LATE_SECONDS = 1_800.0  # the longest that a pause may take by itself
SETTLE_SECONDS = 20.0  # after a step until the nodes' power shows it
METER_SECONDS = 90.0  # and until a building's meter does, which tells each minute
LOOK_SECONDS = 1.0
LOOKS = 10  # whose mean is what the site draws: a run that saves draws less for a while
REPORT_LOOKS = 5


class Gauge:
    """What the site draws, as the mean of a few looks at it.

    Args:
        plan: What it began with. A sum over fewer GPUs, as after a start of the hub, or of other
            things, as when a meter fails, says nothing about its target.
    """

    def __init__(self, site: Callable[[], PowerPlace], plan: ShedPlan) -> None:
        self._site = site
        self._basis = plan.power_basis
        self._least = COVERED_RATIO * plan.reporting_gpu_count
        self._looks: deque[float] = deque(maxlen=LOOKS)
        self._newest = site()

    def look(self) -> None:
        """Look again."""
        self._newest = self._site()
        site, power = self._newest, self._newest.drawn_watts
        if power is None or site.basis != self._basis or site.reporting_gpu_count < self._least:
            self._looks.clear()
        else:
            self._looks.append(power)

    @property
    def watts(self) -> float | None:
        """What it draws; None where too little of it reports."""
        return sum(self._looks) / len(self._looks) if self._looks else None

    @property
    def is_sure(self) -> bool:
        """Whether it was looked at for long enough to judge by it."""
        return len(self._looks) == LOOKS

    @property
    def coverage(self) -> str:
        """What the power is a sum of, and how much of that reports."""
        site = self._newest
        gpus = f"{number(site.reporting_gpu_count)}/{number(site.gpu_count)} GPUs reporting"
        return f"{site.basis}, {gpus}" if site.basis else gpus


class Shedding:
    """Plans, and carries plans out.

    Args:
        site: Tells the site's power.
    """

    def __init__(
        self,
        site_name: str,
        loads: Loads,
        config: ShedConfig,
        journal: Journal,
        site: Callable[[], PowerPlace],
    ) -> None:
        self._site_name = site_name
        self._loads = loads
        self._config = config
        self._journal = journal
        self._site = site

    # --- before ----------------------------------------------------------------------------

    def plan(self, shed: Shed, refusal: Refusal) -> ShedPlan:
        """Return the plan for what is asked.

        Raises:
            RefusalError: There is nothing to plan.
        """
        ground, loads, terms = self._known(shed, refusal)
        if ground.site_watts <= ground.target_watts:
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"the site draws {fine_watts(ground.site_watts)}, which is not above "
                f"{fine_watts(ground.target_watts)}; nothing is to be shed",
            )
        plan = planner.plan(loads, terms, ground)
        if not plan.planned:
            why = "; ".join(f"{safe(one.run_id, 63)}: {one.why}" for one in plan.left[:3])
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"nothing can be shed: {why or 'no run goes on here'}; see [shed] and flex_tier in "
                "the hub's settings",
            )
        return plan

    def _known(self, shed: Shed, refusal: Refusal) -> tuple[ShedPlan, list[Load], Terms]:
        """Return what the site draws and shall draw, as a plan without steps, its runs and terms.

        Raises:
            RefusalError: Its power is not measured.
        """
        site = self._site()
        if site.drawn_watts is None:
            raise RefusalError(
                ReasonCode.UNSUPPORTED,
                "no power of this site is measured: its nodes tell none, so no plan can be made",
            )
        loads, more = self._loads.now(refusal)
        drawn = site.drawn_watts + more
        ground = ShedPlan(
            site_name=self._site_name,
            site_watts=drawn,
            power_basis=site.basis,
            reporting_gpu_count=site.reporting_gpu_count,
            gpu_count=site.gpu_count,
            target_watts=shed.target_watts or drawn * (1 - shed.cut_ratio),
        )
        within = shed.within_seconds or WITHIN_SECONDS
        terms = Terms(self._config, self._loads.idle_watts(), within, shed.duration_seconds)
        return ground, loads, terms

    def check_plan(self, shed: Shed, refusal: Refusal) -> None:
        """Return when the plan that an operator saw is still what would be done, and ends there.

        Raises:
            RefusalError: The site has changed; how.
        """
        assert shed.plan is not None
        now, loads, terms = self._known(shed, refusal)
        saved, problems = planner.again(loads, terms, shed.plan.steps)
        end, seen = now.site_watts - saved, shed.plan.planned_watts
        if not problems and abs(end - seen) > CHANGED_RATIO * now.site_watts:
            problems = [f"it would draw {fine_watts(end)} after the steps, not {fine_watts(seen)}"]
        if problems:
            raise RefusalError(
                ReasonCode.CONFLICT,
                f"the site has changed since you looked: {named(problems, 3)}; look at the plan "
                "again, then ask again",
            )

    def timeout_seconds(self, shed: Shed) -> float:
        """Return how long the effect may take to be observed."""
        return (shed.within_seconds or WITHIN_SECONDS) + LATE_SECONDS

    # --- doing -----------------------------------------------------------------------------

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was.

        Raises:
            ActionFailedError: The site did not come under its target.
        """
        return await _Carrying(order, self._journal, self._site).all()


class _Carrying:
    """One plan on its way: wave after wave, for as long as the site is above the target."""

    def __init__(self, order: Order, journal: Journal, site: Callable[[], PowerPlace]) -> None:
        shed = order.action.parameters.shed
        assert shed is not None
        assert shed.plan is not None
        self._order, self._shed, self._plan = order, shed, shed.plan
        self._gauge = Gauge(site, shed.plan)
        self._deadline = accepted(order.action) + (shed.within_seconds or WITHIN_SECONDS)
        self._begun = {  # by an earlier hub, too
            step for step in self._plan.steps if journal.get(step_id(order.action, step))
        }
        self._going: set[str] = set()
        self._changed = asyncio.Event()  # a step has ended, or the power was looked at
        self._done: list[ShedStep] = []
        self._failed: dict[str, str] = {}
        self._spared: list[ShedStep] = []

    async def all(self) -> str:
        """Carry out what is needed; return what was observed."""
        if self._shed.auto_restore:
            await self._arrange_restore()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch())
            await self._in_waves(tasks)
            await self._until(self._has_rest)
            await self._settle()
            watching.cancel()
        return self._verdict()

    async def _in_waves(self, tasks: asyncio.TaskGroup) -> None:
        waves = planner.waves(self._plan.steps)
        for index, wave in enumerate(waves):
            if wave[0].is_reserve:
                await self._until(self._has_rest, self._deadline)
                await self._settle()
            if self._begun.isdisjoint(wave) and not self._is_needed(wave):
                self._spared = [step for rest in waves[index:] for step in rest]
                return
            for step in wave:
                self._going.add(step.run_id)
                tasks.create_task(self._step(step))
            following = waves[index + 1] if index + 1 < len(waves) else []
            longest = max((step.seconds for step in following), default=0.0)
            # The next begin when these have ended, or when they must to be done in time.
            await self._until(self._has_rest, self._deadline - longest)

    async def _until(self, condition: Callable[[], bool], latest: float = math.inf) -> None:
        """Return when it holds, or at the latest at this time, Unix seconds."""
        while not condition() and time.time() < latest:
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS)

    def _has_rest(self) -> bool:
        """Whether no step goes on now."""
        return not self._going

    async def _settle(self) -> None:
        """Return when the site is under the target, or its power has had time to show it."""
        is_meter = self._plan.power_basis.startswith(METER)
        time_to_show = METER_SECONDS if is_meter else SETTLE_SECONDS
        await self._until(self._is_under, time.time() + time_to_show)

    def _is_needed(self, wave: list[ShedStep]) -> bool:
        """Whether the site is above the target; a reserve must be sure of it, and be in time."""
        if not wave[0].is_reserve:
            return not self._is_under()
        return self._gauge.is_sure and not self._is_under() and time.time() < self._deadline

    def _is_under(self) -> bool:
        now = self._gauge.watts
        return now is not None and self._gauge.is_sure and now <= self._plan.target_watts

    async def _step(self, step: ShedStep) -> None:
        state, detail = ActionState.FAILED, ""
        try:
            async for action in self._order.part(step.verb, step.run_id, parameters(step)):
                state, detail = action.state, action.detail
        except RefusalError as error:  # it could not be journaled
            detail = str(error)
        self._going.discard(step.run_id)
        self._changed.set()
        if state is ActionState.OBSERVED:
            self._done.append(step)
        else:
            self._failed[step.run_id] = f"{step.verb} {state}: {safe(detail, 160)}"
        await self._tell()

    async def _watch(self) -> None:
        """Look at the site's power, and tell of it now and then."""
        looks = 0
        while True:
            self._gauge.look()
            self._changed.set()
            if looks % REPORT_LOOKS == 0:
                await self._tell()
            looks += 1
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self) -> None:
        await self._order.report(Stage(f"{self._counts()}; {self._power()}", can_cancel=False))

    def _counts(self) -> str:
        count = len(self._plan.planned)
        extra = max(len(self._done) + len(self._going) - count, 0)
        text = f"{len(self._done)}/{count + extra} steps"
        return text + (f", {len(self._going)} going on" if self._going else "")

    def _power(self) -> str:
        now = self._gauge.watts
        drawn = "power not known yet" if now is None else fine_watts(now)
        return f"{drawn}, target {fine_watts(self._plan.target_watts)}"

    async def _arrange_restore(self) -> None:
        """Have its undoing journaled before anything is done, so that nothing forgets it."""
        later = Shed(
            duration_seconds=self._shed.duration_seconds,
            shed_action_id=self._order.action.action_id,
        )
        part = self._order.part(Verb.RESTORE, "", ActionParameters(shed=later))
        async with contextlib.aclosing(part) as states:
            async for action in states:
                if action.state is ActionState.REFUSED:
                    raise ActionFailedError(
                        action.reason_code or ReasonCode.POLICY,
                        f"the hub could not undo it: {action.detail}; nothing was done",
                    )
                break

    def _verdict(self) -> str:
        planned = f"planned {fine_watts(self._plan.planned_watts)}"
        parts = [self._counts(), self._power(), planned, self._gauge.coverage]
        if spared := sum(not step.is_reserve for step in self._spared):
            parts.append(f"{spared} more {'was' if spared == 1 else 'were'} not needed")
        if self._shed.auto_restore and self._done:
            due = time.time() + self._shed.duration_seconds
            parts.append(f"the hub undoes it at {clock(int(due * 1e9))}")
        if (late := time.time() - self._deadline) > 0:
            parts.append(f"{duration(late)} later than asked")
        parts += [f"{safe(run_id, 63)}: {why}" for run_id, why in sorted(self._failed.items())[:3]]
        text = "; ".join(parts)
        if self._is_under():
            return text
        state = ActionState.PARTIAL if self._done else ActionState.FAILED
        raise ActionFailedError(ReasonCode.BACKEND_FAILED, f"above the target: {text}", state)


def step_id(whole: Action, step: ShedStep) -> str:
    """Return the identity of the action that carries a step of a shed out."""
    return part_id(whole.action_id, step.verb, step.run_id, parameters(step))


def parameters(step: ShedStep) -> ActionParameters:
    """Return what the action needs that carries a step out."""
    return ActionParameters(cap_watts=step.cap_watts)


def accepted(action: Action) -> float:
    """Return when it could begin, Unix seconds: what it waited for approvals does not count."""
    times = (s.time_unix_ns for s in action.stages if s.state is ActionState.ACCEPTED)
    return next(times, action.requested_time_unix_ns) / 1e9
