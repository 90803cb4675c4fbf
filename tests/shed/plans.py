"""A plan to show."""

from __future__ import annotations

from colossus_tui.model import PriorityClass, ShedLeft, ShedPlan, ShedStep, Verb

STEPS = (
    ShedStep(
        Verb.CAP,
        "6t",
        PriorityClass.P1,
        1,
        cap_watts=960,
        saved_watts=4.2e6,
        work_at_risk_hours=0,
        work_forgone_hours=90.0,
        seconds=20,
        why="tier 1; 2% slower (modelled), no work at risk",
    ),
    ShedStep(
        Verb.PAUSE,
        "1t-b",
        PriorityClass.P3,
        3,
        saved_watts=9.1e6,
        work_at_risk_hours=812.0,
        seconds=95,
        why="tier 3",
    ),
    ShedStep(Verb.PAUSE, "scrap", PriorityClass.P4, 3, saved_watts=1e6, is_reserve=True),
)
PLAN = ShedPlan(
    site_name="north",
    site_watts=163.3e6,
    power_basis="GPUs",
    target_watts=150.4e6,
    planned_watts=150e6,
    steps=STEPS,
    left=(
        ShedLeft("10t", PriorityClass.P0, 0, 56.2e6, "flex tier 0 is never touched"),
        ShedLeft("x\x1b[2J", PriorityClass.P2, 2, None, "no power of it is measured"),
    ),
)
