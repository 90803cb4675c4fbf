"""Shedding power: what is asked for, the plan that an operator sees, and its steps."""

from __future__ import annotations

from dataclasses import replace

from colossus_tui.model.dataclass import dataclass
from colossus_tui.model.priority import PriorityClass
from colossus_tui.model.verb import Verb

WITHIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class ShedStep:
    """One step on one run; meanings and units as in shed.proto. What it saves is modelled."""

    verb: Verb = Verb.PAUSE
    run_id: str = ""
    priority_class: PriorityClass = PriorityClass.P2
    flex_tier: int = 0
    cap_watts: float = 0.0
    cap_before_watts: float = 0.0
    gpu_count: int = 0
    saved_watts: float = 0.0
    work_at_risk_hours: float | None = None
    work_forgone_hours: float | None = None
    work_unit: str = "GPU·h"
    seconds: float = 0.0
    is_reserve: bool = False
    why: str = ""

    @property
    def words(self) -> str:
        """What is done, in short: "cap 960 W", "pause"."""
        if self.verb is not Verb.CAP:
            return self.verb.value
        return f"cap {self.cap_watts:g} W" if self.cap_watts else "cap off"


@dataclass(frozen=True, slots=True)
class ShedLeft:
    """A run that the plan leaves as it is, and why; `why` is untrusted text."""

    run_id: str = ""
    priority_class: PriorityClass = PriorityClass.P2
    flex_tier: int = 0
    power_watts: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class ShedPlan:
    """The steps in their order; meanings and units as in shed.proto."""

    site_name: str = ""
    site_watts: float = 0.0
    power_basis: str = ""
    reporting_gpu_count: int = 0
    gpu_count: int = 0
    target_watts: float = 0.0
    planned_watts: float = 0.0
    seconds: float = 0.0
    steps: tuple[ShedStep, ...] = ()
    left: tuple[ShedLeft, ...] = ()
    shed_action_id: str = ""

    @property
    def planned(self) -> tuple[ShedStep, ...]:
        """The steps that are no reserve."""
        return tuple(step for step in self.steps if not step.is_reserve)

    @property
    def reaches(self) -> bool:
        """Whether the site would be at or below the target."""
        return self.planned_watts <= self.target_watts


@dataclass(frozen=True, slots=True)
class Shed:
    """What a shed, or its undoing, needs; meanings and units as in shed.proto."""

    target_watts: float = 0.0
    cut_ratio: float = 0.0
    within_seconds: float = WITHIN_SECONDS
    duration_seconds: float = 0.0
    auto_restore: bool = False
    plan: ShedPlan | None = None
    shed_action_id: str = ""

    def approved(self, plan: ShedPlan) -> Shed:
        """Return what is submitted once an operator has seen the plan and wants it."""
        if plan.shed_action_id:
            return replace(self, shed_action_id=plan.shed_action_id)
        return replace(self, target_watts=plan.target_watts, cut_ratio=0.0, plan=plan)
