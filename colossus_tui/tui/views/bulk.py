"""One verb on several runs: one card for all, a line a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set

from colossus_tui.model import Action, ActionState, BulkPreflight, Figure, Preflight, Verb
from colossus_tui.text import fit, measured, safe
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.card import figure_lines
from colossus_tui.tui.views.detail import action_style
from colossus_tui.tui.views.words import labelled, wrapped

NAME_CELLS = 18
# Figures of a run's line, in the order in which room is given, with their heads.
SHOWN = (
    ("work_at_risk", "AT RISK"),
    ("redo_steps", "TO REDO"),
    ("save_seconds", "TO SAVE"),
    ("power_change", "POWER"),
    ("interruption_cost", "INTERRUPTION"),
)
FIGURE_CELLS = 13


def runs(count: int) -> str:
    """Return a number of runs in words."""
    return f"{count} run{'' if count == 1 else 's'}"


def bulk_lines(bulk: BulkPreflight, hidden: Set[str], cells: int) -> list[Line]:
    """Return what one verb on all marked runs would cost; `hidden` are those out of sight."""
    refused = len(bulk.preflights) - bulk.allowed_count
    lines: list[Line] = [
        (
            (f"{bulk.verb} {runs(len(bulk.preflights))}", "strong"),
            (f"   {bulk.allowed_count} can", "good" if bulk.allowed_count else "dim"),
            (f", {refused} refused" if refused else "", "warn"),
        )
    ]
    if unseen := [one.run_id for one in bulk.preflights if one.run_id in hidden]:
        text = f"{len(unseen)} of them hidden by the filter: {', '.join(unseen)}"
        lines += wrapped(text, "warn", cells)
    effects = dict.fromkeys(one.effect for one in bulk.preflights if one.allowed)
    for effect in effects:
        lines += wrapped(effect, "plain", cells)
    lines.append(())
    heads = [head for name, head in SHOWN if _has(bulk, name)]
    room = max((cells - NAME_CELLS) // FIGURE_CELLS, 1)
    if bulk.allowed_count:
        columns = "".join(fit(head, FIGURE_CELLS, right=True) for head in heads[:room])
        lines.append(((fit("RUN", NAME_CELLS) + columns, "head"),))
    for one in bulk.preflights:
        lines += _run(one, [name for name, _ in SHOWN if _has(bulk, name)][:room], cells)
    if bulk.figures:
        lines += [(), (("TOGETHER", "head"),)]
        for figure in bulk.figures:
            lines += figure_lines(figure, cells)
    return lines + _notes(bulk, cells)


def _notes(bulk: BulkPreflight, cells: int) -> list[Line]:
    """Return each warning once, with the runs that it is about."""
    found: dict[str, list[str]] = {}
    for one in bulk.preflights:
        needs = one.approvals_needed
        asks = [f"needs {needs} operators' approval"] if needs > 1 else []
        for note in (*one.warnings, *asks):
            found.setdefault(note, []).append(one.run_id)
    lines: list[Line] = [()] if found else []
    for note, about in found.items():
        whose = "all" if len(about) == bulk.allowed_count else ", ".join(about)
        lines += wrapped(f"! {whose}: {note}", "warn", cells)
    return lines


def _has(bulk: BulkPreflight, name: str) -> bool:
    return any(figure.name == name for one in bulk.preflights for figure in one.figures)


def _run(one: Preflight, names: Sequence[str], cells: int) -> list[Line]:
    name = safe(one.run_id, 63)
    if not one.allowed:
        text = f"refused: {one.refusal}: {one.refusal_detail}"
        return labelled(name, text, cells, "warn", NAME_CELLS)
    figures: dict[str, Figure] = {figure.name: figure for figure in one.figures}
    spans: list[Span] = [(fit(name, NAME_CELLS), "strong")]
    for wanted in names:
        figure = figures.get(wanted)
        text = measured(figure.value, figure.unit) if figure else "-"
        spans.append((fit(text, FIGURE_CELLS, right=True), "plain" if figure else "faint"))
    return [tuple(spans)]


def bulk_progress_lines(
    verb: Verb,
    bulk: BulkPreflight,
    actions: Mapping[str, Action],
    problems: Mapping[str, str],
    answers: Mapping[str, str],
    cells: int,
) -> list[Line]:
    """Return how all actions stand, a line a run.

    Args:
        actions: By run.
        problems: Why the hub could not be asked, by run.
        answers: What the hub said to a cancel, by run.
    """
    tally = Counter(action.state for action in actions.values())
    states = ", ".join(f"{tally[state]} {state}" for state in ActionState if tally[state])
    lines: list[Line] = [
        ((f"{verb} {runs(len(bulk.preflights))}", "strong"), (f"   {states}", "plain")),
        (),
    ]
    for one in bulk.preflights:
        name = safe(one.run_id, 63)
        if not one.allowed:
            text = f"refused: {one.refusal}: {one.refusal_detail}"
            lines += labelled(name, text, cells, "warn", NAME_CELLS)
        elif (action := actions.get(one.run_id)) is not None:
            text = f"{action.state}: {action.detail}"
            lines += labelled(name, text, cells, action_style(action.state), NAME_CELLS)
            if (answer := answers.get(one.run_id)) and not action.state.is_end:
                lines += wrapped(answer, "warn", cells, NAME_CELLS)
        elif one.run_id in problems:
            lines += labelled(name, problems[one.run_id], cells, "bad", NAME_CELLS)
        else:
            lines += labelled(name, "asking the hub ...", cells, "dim", NAME_CELLS)
    return lines


def bulk_end(verb: Verb, actions: Sequence[Action]) -> tuple[str, bool]:
    """Return how all ended in one sentence, and whether all were observed."""
    tally = Counter(action.state for action in actions)
    states = ", ".join(f"{tally[state]} {state}" for state in ActionState if tally[state])
    return f"{verb} {runs(len(actions))}: {states}", set(tally) <= {ActionState.OBSERVED}
