"""The verbs on the site, for the gate: which of the two does what."""

from __future__ import annotations

import time
from collections.abc import Collection

from colossus_tui.hub.backends.base import Order
from colossus_tui.hub.shed import request
from colossus_tui.hub.shed.loads import Refusal
from colossus_tui.hub.shed.restoring import Restoring
from colossus_tui.hub.shed.shedding import Shedding
from colossus_tui.model import (
    ActionParameters,
    Confirmation,
    Figure,
    Preflight,
    Shed,
    ShedPlan,
    Verb,
)
from colossus_tui.text import fine_watts

SCHEDULED = (
    "its scheduler may begin other work on the nodes that a pause frees: hold its queue, or drain "
    "the nodes"
)


class SiteVerbs:
    """Checks, previews and carries out what is done to the site.

    Attributes:
        site_name: What rules call the site.
    """

    def __init__(self, shedding: Shedding, restoring: Restoring, site_name: str) -> None:
        self._shedding = shedding
        self._restoring = restoring
        self.site_name = site_name

    def check(self, verb: Verb, asked: Shed | None, refusal: Refusal, *, to_do: bool) -> None:
        """Return when it can be done.

        Raises:
            RefusalError: It can not; why, and the remedy.
        """
        shed = request.check(verb, asked, to_do=to_do)
        if verb is Verb.RESTORE:
            self._restoring.check(shed)
        elif to_do:
            self._shedding.check_plan(shed, refusal)

    def plan(self, verb: Verb, shed: Shed, refusal: Refusal) -> ShedPlan:
        """Return what would be done, in its order.

        Raises:
            RefusalError: Nothing would be done.
        """
        if verb is Verb.RESTORE:
            return self._restoring.plan(shed)
        return self._shedding.plan(shed, refusal)

    def timeout_seconds(self, verb: Verb, asked: ActionParameters) -> float:
        """Return how long the effect may take to be observed."""
        shed = asked.shed or Shed()
        if verb is Verb.RESTORE:
            return self._restoring.timeout_seconds(shed)
        return self._shedding.timeout_seconds(shed)

    async def execute(self, order: Order) -> str:
        """Do it, and return what was observed once it was.

        Raises:
            ActionFailedError: It did not happen, or not in full.
        """
        if order.action.verb is Verb.RESTORE:
            return await self._restoring.execute(order)
        return await self._shedding.execute(order)


def preflight(verb: Verb, plan: ShedPlan, needed: int, backends: Collection[str]) -> Preflight:
    """Return what a plan would cost and save, and what the operator must do to mean it.

    Args:
        backends: Whose runs it pauses.
    """
    is_shed = verb is Verb.SHED
    return Preflight(
        verb=verb,
        run_id="",
        allowed=True,
        effect=_effect(verb, plan),
        figures=_figures(plan, is_shed=is_shed),
        warnings=_warnings(plan, backends) if is_shed else (),
        confirmation=Confirmation.TYPE_NAME if is_shed else Confirmation.YES_NO,
        time_unix_ns=time.time_ns(),
        approvals_needed=needed,
        plan=plan,
    )


def _effect(verb: Verb, plan: ShedPlan) -> str:
    count = len(plan.planned)
    steps = "1 step" if count == 1 else f"{count} steps"
    if verb is Verb.RESTORE:
        return f"{steps} undo it; the site then draws about {fine_watts(plan.planned_watts)}"
    before, after = fine_watts(plan.site_watts), fine_watts(plan.planned_watts)
    target = fine_watts(plan.target_watts)
    return f"{steps} bring the site from {before} to {after}, target {target}"


def _figures(plan: ShedPlan, *, is_shed: bool) -> tuple[Figure, ...]:
    basis = f"{plan.power_basis}, {plan.reporting_gpu_count}/{plan.gpu_count} GPUs reporting"
    if is_shed:
        basis += "; the last minute's median of runs"
    change = plan.planned_watts - plan.site_watts
    found = [
        Figure("site_power", "site draws", plan.site_watts, "W", basis),
        Figure("power_change", "change", change, "W", "modelled"),
    ]
    if is_shed:
        unit = plan.steps[0].work_unit if plan.steps else "GPU·h"
        risks = [step.work_at_risk_hours for step in plan.planned]
        forgone = [step.work_forgone_hours for step in plan.planned]
        found += [
            _sum("work_at_risk", "work at risk", risks, unit, "lost if the saves fail"),
            _sum("work_forgone", "work forgone", forgone, unit, "while it lasts, modelled"),
            Figure("seconds", "takes about", plan.seconds, "s", "modelled, from saves measured"),
        ]
    return tuple(found)


def _sum(name: str, label: str, values: list[float | None], unit: str, basis: str) -> Figure:
    known = [value for value in values if value is not None]
    if not known:
        basis = "no duration was given" if name == "work_forgone" else "not known"
    elif len(known) < len(values):
        basis = f"{basis}; {len(known)}/{len(values)} steps known"
    return Figure(name, label, sum(known) if known else None, unit, basis)


def _warnings(plan: ShedPlan, backends: Collection[str]) -> tuple[str, ...]:
    found = [f"{name}: {SCHEDULED}" for name in sorted(set(backends) - {"local"})]
    if not plan.reaches:
        above = fine_watts(plan.planned_watts - plan.target_watts)
        found.append(f"it stays {above} above the target: what forbids the rest is said below")
    return tuple(found)
