"""Which steps bring the site under a power, in which order: a pure function of what is known.

There is one order of all steps that could be taken, and no target has a part in it: higher flex
tiers first, of each first the caps, which risk no work, then the pauses by the work at risk for
each watt. A plan is the shortest beginning of that order that is enough. So a lower target only
ever adds steps, and no plan sheds more than was asked for by more than its largest step. A step
that would bring a class below its floor, or that takes too long, is not in the order at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from colossus_tui.hub.backends.cap import CAP_SECONDS, slowdown
from colossus_tui.hub.shed.config import ShedConfig
from colossus_tui.model import PriorityClass, ShedLeft, ShedPlan, ShedStep, Verb
from colossus_tui.text import safe, significant

LEAST_SAVING = 0.01  # of a run's draw: a smaller step is none
RESERVES = 3
LEFT_LIMIT = 100
ROUNDING = 1e-9  # of sums of shares


@dataclass(frozen=True, slots=True)
class Load:
    """One run as the planner sees it.

    Attributes:
        gpu_count: GPUs that it holds, or held when it was paused.
        reporting_count: GPUs whose power is in `watts`.
        watts: What it draws; None: not measured.
        limit_watts: The highest limit that each GPU takes; None: not known.
        lowest_watts: The lowest that it takes.
        cap_watts: Limit in force on each GPU; 0 for the device's default.
        is_going: Whether it computes; only then there is something to shed.
        pause_seconds: How long a save and an exit take.
        refusals: Why a verb cannot be done with it now; a verb that can is not named.
    """

    run_id: str
    priority_class: PriorityClass = PriorityClass.P2
    flex_tier: int = 2
    gpu_count: int = 0
    reporting_count: int = 0
    watts: float | None = None
    limit_watts: float | None = None
    lowest_watts: float = 0.0
    cap_watts: float = 0.0
    work_at_risk_hours: float | None = None
    work_unit: str = "GPU·h"
    is_going: bool = True
    pause_seconds: float = 60.0
    refusals: Mapping[Verb, str] = field(default_factory=dict)

    def speed(self, idle_watts: float) -> float:
        """Return its share of full speed now; of a limited one at least what it is."""
        if not self.is_going:
            return 0.0
        return speed(self.limit_watts or 0.0, self.cap_watts, idle_watts) if self.cap_watts else 1.0


_Candidate: TypeAlias = tuple[tuple[float, ...], Load, ShedStep]  # its place in the order first


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every step of one plan.

    Attributes:
        idle_watts: What a GPU draws once its run is gone.
        within_seconds: A step that takes longer is left out.
        duration_seconds: For how long it shall last; 0: not known.
    """

    config: ShedConfig
    idle_watts: float
    within_seconds: float
    duration_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """All steps that could be taken, the gentlest first, each on top of those before it.

    Attributes:
        left: Why a run gives no more, by its name.
    """

    steps: tuple[ShedStep, ...]
    left: Mapping[str, str]


def speed(each_watts: float, cap_watts: float, idle_watts: float) -> float:
    """Return the modelled share of its speed that a GPU keeps when its power is limited.

    Returns:
        0 where the limit is so near to what it draws idle that nothing can be said.
    """
    return 1 / (slowdown(each_watts, cap_watts, idle_watts) or math.inf)


def order(loads: Sequence[Load], terms: Terms) -> Order:
    """Return every step that may be taken, in the one order of all plans."""
    candidates: list[_Candidate] = []
    left: dict[str, str] = {}
    for load in loads:
        if not load.is_going:
            continue
        if why := _untouchable(load):
            left[load.run_id] = why
            continue
        caps, why = _caps(load, terms)
        candidates += caps
        pause, why_not = _pause(load, caps[-1][2] if caps else None, terms)
        candidates += pause
        left[load.run_id] = why_not or why
    candidates.sort(key=lambda one: (one[0], one[1].run_id))
    floors = _Floors(loads, terms)
    steps = []
    for _, load, step in candidates:
        if why := floors.forbids(load, step):
            left[load.run_id] = why
            continue
        floors.take(load, step)
        steps.append(_placed(step, floors.taken(load)))
    return Order(tuple(steps), left)


def plan(loads: Sequence[Load], terms: Terms, site: ShedPlan) -> ShedPlan:
    """Return the plan that brings the site to its target, or as near as anything may.

    Args:
        site: What the site draws and shall draw; its steps are not looked at.
    """
    whole = order(loads, terms)
    count, watts = 0, site.site_watts
    while watts > site.target_watts and count < len(whole.steps):
        watts -= whole.steps[count].saved_watts
        count += 1
    reserves = whole.steps[count : count + RESERVES]
    steps = merged(whole.steps[:count])
    return replace(
        site,
        planned_watts=watts,
        seconds=_seconds(steps),
        steps=(*steps, *(replace(step, is_reserve=True) for step in reserves)),
        left=_left(loads, {step.run_id for step in steps}, whole, short=watts > site.target_watts),
    )


def again(
    loads: Iterable[Load], terms: Terms, steps: Iterable[ShedStep]
) -> tuple[float, list[str]]:
    """Return what steps of an earlier plan would save now, and what has come in their way.

    Only what those save counts that are no reserve.
    """
    loads = list(loads)
    known = {load.run_id: load for load in loads if load.is_going}
    floors, saved, problems = _Floors(loads, terms), 0.0, []
    for step in steps:
        load = known.get(step.run_id)
        why = "it does not go on any more" if load is None else _against(load, step, terms)
        if load is not None and not why:
            why = floors.forbids(load, step)
        if load is None or why:
            problems.append(f"{step.verb} {safe(step.run_id, 63)}: {why}")
            continue
        floors.take(load, step)
        if not step.is_reserve:
            each = step.cap_watts or terms.idle_watts
            saved += (load.watts or 0.0) - each * load.reporting_count
    return saved, problems


def _against(load: Load, step: ShedStep, terms: Terms) -> str:
    """Return why a step cannot be taken now, its class's floor aside; "" when it can."""
    if why := _untouchable(load):
        return why
    caps, no_cap = _caps(load, terms)
    pauses, no_pause = _pause(load, None, terms)
    for _, _, one in (*caps, *pauses):
        if (one.verb, one.cap_watts) == (step.verb, step.cap_watts):
            return ""
    return (no_cap if step.verb is Verb.CAP else no_pause) or "it would save next to nothing now"


def merged(steps: Iterable[ShedStep]) -> tuple[ShedStep, ...]:
    """Return the steps with one for each run, the furthest, which saves what all of them save."""
    furthest: dict[str, ShedStep] = {}
    for step in steps:
        before = furthest.pop(step.run_id, None)
        saved = before.saved_watts if before is not None else 0.0
        furthest[step.run_id] = replace(step, saved_watts=step.saved_watts + saved)
    return tuple(furthest.values())


def waves(steps: Iterable[ShedStep]) -> list[list[ShedStep]]:
    """Return steps that may go on at once together: of one tier and one verb, a reserve alone."""
    found: list[list[ShedStep]] = []
    for step in steps:
        last = found[-1][-1] if found else None
        alike = last is not None and (last.flex_tier, last.verb) == (step.flex_tier, step.verb)
        if alike and not step.is_reserve:
            found[-1].append(step)
        else:
            found.append([step])
    return found


def _seconds(steps: Iterable[ShedStep]) -> float:
    return sum(max(step.seconds for step in wave) for wave in waves(steps))


# --- one run's steps -------------------------------------------------------------------------


def _untouchable(load: Load) -> str:
    if load.flex_tier == 0:
        return "flex tier 0 is never touched"
    if load.watts is None or not load.reporting_count:
        return "no power of it is measured"
    return ""


def _caps(load: Load, terms: Terms) -> tuple[list[_Candidate], str]:
    """Return the limits that may be set, each saving what the one before it does not."""
    if Verb.CAP in load.refusals:
        return [], load.refusals[Verb.CAP]
    if not load.limit_watts:
        return [], "its GPUs tell no power limit"
    if terms.within_seconds < CAP_SECONDS:
        return [], f"a power limit takes {CAP_SECONDS:.0f} s"
    assert load.watts is not None
    each = now = load.watts / load.reporting_count
    caps: list[_Candidate] = []
    for level, ratio in enumerate(terms.config.cap_ratios):
        cap = round(ratio * load.limit_watts)
        lost = 1 - speed(now, cap, terms.idle_watts)
        is_low = cap < max(terms.config.cap_floor_watts, load.lowest_watts) or lost == 1
        if is_low or each - cap < LEAST_SAVING * now:
            continue
        saved = (each - cap) * load.reporting_count
        step = ShedStep(
            Verb.CAP,
            load.run_id,
            load.priority_class,
            load.flex_tier,
            float(cap),
            load.cap_watts,
            load.gpu_count,
            saved,
            0.0,
            _forgone(load, lost, terms),
            load.work_unit,
            CAP_SECONDS,
            why=f"tier {load.flex_tier}; {lost:.0%} slower (modelled), no work at risk",
        )
        caps.append(((-load.flex_tier, 0, level, round(lost / (each - cap), 9)), load, step))
        each = float(cap)
    return caps, ""


def _pause(load: Load, capped: ShedStep | None, terms: Terms) -> tuple[list[_Candidate], str]:
    """Return the run's pause, which saves what is left of its draw once it is limited."""
    if Verb.PAUSE in load.refusals:
        return [], load.refusals[Verb.PAUSE]
    if load.pause_seconds > terms.within_seconds:
        takes = f"{load.pause_seconds:.0f} s of {terms.within_seconds:.0f}"
        return [], f"its pause takes too long: {takes}"
    assert load.watts is not None
    each = capped.cap_watts if capped is not None else load.watts / load.reporting_count
    saved = (each - terms.idle_watts) * load.reporting_count
    if saved < LEAST_SAVING * load.watts:
        return [], "its GPUs draw hardly more than idle ones"
    risk = load.work_at_risk_hours
    step = ShedStep(
        Verb.PAUSE,
        load.run_id,
        load.priority_class,
        load.flex_tier,
        gpu_count=load.gpu_count,
        cap_before_watts=load.cap_watts,
        saved_watts=saved,
        work_at_risk_hours=risk,
        work_forgone_hours=_forgone(load, 1.0, terms),
        work_unit=load.work_unit,
        seconds=load.pause_seconds,
        why=f"tier {load.flex_tier}; {_per_megawatt(risk, saved, load.work_unit)}",
    )
    cost = math.inf if risk is None else risk / saved
    return [((-load.flex_tier, 1, 0, cost), load, step)], ""


def _per_megawatt(risk: float | None, saved: float, unit: str) -> str:
    if risk is None:
        return "work at risk not known, so last of its tier"
    return f"{significant(risk / saved * 1e6, 3)} {unit} at risk for each MW"


def _forgone(load: Load, lost: float, terms: Terms) -> float | None:
    if not terms.duration_seconds:
        return None
    return lost * load.gpu_count * terms.duration_seconds / 3_600


# --- floors ----------------------------------------------------------------------------------


class _Floors:
    """How much of each class's computing goes on while steps are taken one after another."""

    def __init__(self, loads: Iterable[Load], terms: Terms) -> None:
        self._terms = terms
        self._whole: dict[PriorityClass, float] = {}
        self._going: dict[PriorityClass, float] = {}
        self._speeds: dict[str, float] = {}
        for load in loads:
            kind = load.priority_class
            self._whole[kind] = self._whole.get(kind, 0.0) + load.gpu_count
            self._speeds[load.run_id] = pace = load.speed(terms.idle_watts)
            self._going[kind] = self._going.get(kind, 0.0) + load.gpu_count * pace

    def forbids(self, load: Load, step: ShedStep) -> str:
        """Return why the class's floor does not let the step be taken; "" when it does."""
        kind = load.priority_class
        floor = self._terms.config.floors.get(kind, 0.0)
        if self._after(load, step) >= floor * self._whole[kind] - ROUNDING:
            return ""
        share = self._going[kind] / self._whole[kind] if self._whole[kind] else 0.0
        return f"the floor of {kind} is {floor:.0%} of its computing, of which {share:.0%} goes on"

    def take(self, load: Load, step: ShedStep) -> None:
        """Take the step."""
        self._going[load.priority_class] = self._after(load, step)
        self._speeds[load.run_id] = self._speed_after(load, step)

    def taken(self, load: Load) -> float:
        """Return the share of its class's computing that still goes on."""
        whole = self._whole[load.priority_class]
        return max(self._going[load.priority_class], 0.0) / whole if whole else 0.0

    def _after(self, load: Load, step: ShedStep) -> float:
        slower = self._speeds[load.run_id] - self._speed_after(load, step)
        return self._going[load.priority_class] - load.gpu_count * slower

    def _speed_after(self, load: Load, step: ShedStep) -> float:
        if step.verb is not Verb.CAP:
            return 0.0
        each, idle = (load.watts or 0.0) / max(load.reporting_count, 1), self._terms.idle_watts
        return load.speed(idle) * speed(each, step.cap_watts, idle)


def _placed(step: ShedStep, share: float) -> ShedStep:
    return replace(step, why=f"{step.why}; {share:.0%} of {step.priority_class} goes on")


# --- what is left ----------------------------------------------------------------------------


def _left(
    loads: Sequence[Load], touched: set[str], whole: Order, *, short: bool
) -> tuple[ShedLeft, ...]:
    """Return the runs that stay as they are, those that draw most first, and why.

    Args:
        short: The target is not reached: then also the runs that give something, but no more.
    """
    could = {step.run_id for step in whole.steps}
    found = []
    for load in loads:
        why = whole.left.get(load.run_id, "")
        if not load.is_going or (load.run_id in touched and not (short and why)):
            continue
        if load.run_id in could and not short:
            why = "not needed"
        found.append(ShedLeft(load.run_id, load.priority_class, load.flex_tier, load.watts, why))
    found.sort(key=lambda one: (-(one.power_watts or 0.0), one.run_id))
    return tuple(found[:LEFT_LIMIT])
