"""The plan of a shed, or of its undoing, as the command line shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colossus_tui.cli.output import table
from colossus_tui.model import ShedLeft, ShedPlan
from colossus_tui.text import duration, fine_watts, hours, safe

HEADS = ("#", "STEP", "RUN", "CLASS", "SAVES", "SITE THEN", "AT RISK", "FORGOES", "TAKES", "WHY")
LEFT_SHOWN = 10


def plan_lines(plan: ShedPlan) -> Iterator[str]:
    """Yield the steps with what each saves and costs, then the runs that are left as they are."""
    yield ""
    yield from table(HEADS, list(_rows(plan)), "rlllrrrrrl").splitlines()
    if plan.left:
        yield ""
        yield from _left(plan.left)


def _rows(plan: ShedPlan) -> Iterator[tuple[str, ...]]:
    then = plan.site_watts
    for number, step in enumerate(plan.steps, 1):
        then -= step.saved_watts
        yield (
            f"{number}" if not step.is_reserve else "if not enough",
            step.words,
            safe(step.run_id, 63),
            f"{step.priority_class}",
            fine_watts(step.saved_watts),
            fine_watts(then),
            hours(step.work_at_risk_hours, step.work_unit),
            hours(step.work_forgone_hours, step.work_unit),
            duration(step.seconds or None),
            safe(step.why, 120),
        )


def _left(left: Sequence[ShedLeft]) -> Iterator[str]:
    rows = [
        (
            safe(one.run_id, 63),
            f"{one.priority_class}",
            fine_watts(one.power_watts),
            safe(one.why, 160),
        )
        for one in left[:LEFT_SHOWN]
    ]
    yield from table(("LEFT AS IT IS", "CLASS", "POWER", "WHY"), rows, "llrl").splitlines()
    if (more := len(left) - LEFT_SHOWN) > 0:
        yield f"and {more} more"
