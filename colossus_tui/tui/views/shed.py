"""A shed: the line in which it is asked for, and the plan, a line a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colossus_tui.model import ShedLeft, ShedPlan, ShedStep, Site, Verb
from colossus_tui.model.amounts import SHED_EXAMPLES
from colossus_tui.text import duration, fine_watts, fit, hours, safe
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.words import labelled, wrapped

# Columns of a step with their cells; what stands first is kept where room is short.
STEP_CELLS, NAME_CELLS, FIGURE_CELLS, TIME_CELLS = 12, 14, 10, 8
NUMBER_CELLS = 4
WHY_CELLS = 100  # a card so wide also says why
LEFT_SHOWN = 12


def asking_lines(site: Site | None, typed: str, wrong: str, cells: int) -> list[Line]:
    """Return the question for what is to be shed.

    Args:
        wrong: Why what was entered is not understood; "" while nothing is wrong.
    """
    lines: list[Line] = [(("shed power", "strong"),), ()]
    if site is not None and site.power_watts is not None:
        gpus = f"{site.reporting_gpu_count:,}/{site.gpu_count:,} GPUs reporting"
        now = f"{fine_watts(site.power_watts)} ({site.power_basis}, {gpus})"
        lines += labelled("the site draws", now, cells)
    lines += [(("come under, for, within: ", "plain"), (f"{safe(typed, 40)}_", "strong")), ()]
    lines += wrapped(wrong or f"such as {SHED_EXAMPLES}", "warn" if wrong else "dim", cells)
    lines += wrapped("with a time for which it lasts the hub restores it by itself", "dim", cells)
    return [*lines, (), (("enter shows the plan, escape leaves", "dim"),)]


def plan_lines(plan: ShedPlan, cells: int) -> list[Line]:
    """Return the steps with what each saves and costs, and the runs that are left as they are."""
    is_shed = bool(plan.target_watts)
    heads = [("SAVES" if is_shed else "BACK", FIGURE_CELLS), ("SITE THEN", FIGURE_CELLS + 1)]
    if is_shed:
        heads += [("AT RISK", FIGURE_CELLS + 1), ("TAKES", TIME_CELLS)]
    head = fit("#", NUMBER_CELLS) + fit("STEP", STEP_CELLS) + fit("RUN", NAME_CELLS)
    head += "".join(fit(word, wide, right=True) for word, wide in heads)
    lines: list[Line] = [((head.rstrip(), "head"),)]
    then, is_reserve = plan.site_watts, False
    for number, step in enumerate(plan.steps, 1):
        if step.is_reserve and not is_reserve:
            is_reserve = True
            lines += wrapped("only if the site is still above the target then:", "dim", cells)
        then -= step.saved_watts
        lines += _step(number, step, then, cells, is_shed=is_shed)
    if plan.left:
        lines += [(), (("LEFT AS IT IS", "head"),), *_left(plan.left, cells)]
    return lines


def _step(number: int, step: ShedStep, then: float, cells: int, *, is_shed: bool) -> Iterator[Line]:
    name = fit(safe(step.run_id, 63), NAME_CELLS - 1) + " "
    figures = [
        (fine_watts(abs(step.saved_watts)), FIGURE_CELLS),
        (fine_watts(then), FIGURE_CELLS + 1),
    ]
    if is_shed:
        risk = hours(step.work_at_risk_hours, step.work_unit) if step.verb is Verb.PAUSE else "-"
        figures += [(risk, FIGURE_CELLS + 1), (duration(step.seconds), TIME_CELLS)]
    used = NUMBER_CELLS + STEP_CELLS + NAME_CELLS + sum(wide for _, wide in figures)
    why = fit(safe(step.why, 200), max(cells - used - 2, 1)).rstrip()
    yield (
        (fit(str(number), NUMBER_CELLS), "dim"),
        (fit(step.words, STEP_CELLS), "accent"),
        (name, "strong"),
        ("".join(fit(text, wide, right=True) for text, wide in figures), "plain"),
        (f"  {why}" if cells >= WHY_CELLS else "", "dim"),
    )


def _left(left: Sequence[ShedLeft], cells: int) -> Iterator[Line]:
    for one in left[:LEFT_SHOWN]:
        power = f"{fine_watts(one.power_watts)}: " if one.power_watts is not None else ""
        yield from labelled(safe(one.run_id, 63), f"{power}{one.why}", cells)
    if (more := len(left) - LEFT_SHOWN) > 0:
        yield ((f"and {more} more", "dim"),)
