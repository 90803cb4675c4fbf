"""What a shed or its undoing must say to be looked at at all."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from colossus_tui.hub.backends.base import RefusalError
from colossus_tui.model import ReasonCode, Shed, ShedPlan, Verb

SITE_WATTS_LIMIT = 1e12
WITHIN_SECONDS = (5.0, 86_400.0)
DURATION_LIMIT_SECONDS = 30 * 86_400.0
STEP_LIMIT = 10_000
ACTION_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def check(verb: Verb, shed: Shed | None, *, to_do: bool) -> Shed:
    """Return what a verb on the site needs, when it is sound.

    Args:
        to_do: It shall be done, not only previewed: then it carries the plan that was seen.

    Raises:
        RefusalError: A field is wrong; the message names it and the remedy.
    """
    problem = "shed: say what to shed, or which shed to undo"
    if shed is not None:
        own = _restore(shed, to_do=to_do) if verb is Verb.RESTORE else _shed(shed, to_do=to_do)
        problem = next(own, "")
    if shed is None or problem:
        raise RefusalError(ReasonCode.INVALID, problem)
    return shed


def _restore(shed: Shed, *, to_do: bool) -> Iterator[str]:
    is_named = bool(shed.shed_action_id) or to_do
    if is_named and not ACTION_ID.fullmatch(shed.shed_action_id):
        yield "shed.shed_action_id: the id of the shed to undo, as colossus actions shows it"
    yield from _duration(shed)


def _shed(shed: Shed, *, to_do: bool) -> Iterator[str]:
    target, cut = shed.target_watts, shed.cut_ratio
    if not math.isfinite(target) or not 0 <= target < SITE_WATTS_LIMIT:
        yield f"shed.target_watts: {target:g} is no power from 0 W on"
    if not math.isfinite(cut) or not 0 <= cut < 1:
        yield f"shed.cut_ratio: {cut:g} is no share from 0 to below 1"
    if (target > 0) == (cut > 0):
        yield "shed.target_watts, shed.cut_ratio: give the power to come under, or the share to cut"
    low, high = WITHIN_SECONDS
    within = shed.within_seconds
    if within and not (math.isfinite(within) and low <= within <= high):
        yield f"shed.within_seconds: {within:g} is not from {low:g} to {high:g}"
    yield from _duration(shed)
    if shed.auto_restore and not shed.duration_seconds:
        yield "shed.auto_restore: needs shed.duration_seconds, after which to restore"
    if to_do and shed.plan is None:
        yield "shed.plan: preview the shed first, then ask for the plan that you saw"
    if shed.plan is not None:
        yield from _plan(shed.plan)


def _duration(shed: Shed) -> Iterator[str]:
    seconds = shed.duration_seconds
    if not math.isfinite(seconds) or not 0 <= seconds <= DURATION_LIMIT_SECONDS:
        yield f"shed.duration_seconds: {seconds:g} is not from 0 to {DURATION_LIMIT_SECONDS:g}"


def _plan(plan: ShedPlan) -> Iterator[str]:
    if not 0 < len(plan.steps) <= STEP_LIMIT:
        yield f"shed.plan.steps: 1 to {STEP_LIMIT} steps"
    known = [plan.site_watts, plan.planned_watts]
    for step in plan.steps:
        known += [step.saved_watts, step.cap_watts, step.cap_before_watts, step.seconds]
        if step.verb not in (Verb.CAP, Verb.PAUSE):
            yield f"shed.plan.steps: {step.verb} is no step of a shed"
    if not all(map(math.isfinite, known)):
        yield "shed.plan: its figures must be numbers"
