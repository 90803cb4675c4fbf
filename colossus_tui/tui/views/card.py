"""The cards' texts: what an action would cost, the question, then what became of it."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import (
    Action,
    ActionState,
    Confirmation,
    Figure,
    Preflight,
    PriorityClass,
    Run,
    Verb,
)
from colossus_tui.text import clock, fit, measured, named, ranges, safe, watts, width
from colossus_tui.tui.actions import key_of
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.detail import action_style
from colossus_tui.tui.views.shed import plan_lines
from colossus_tui.tui.views.words import wrapped

LATEST_STAGES = 10
MOST_CAP_WATTS = 100_000  # of one GPU
CLOSES: Line = (("esc", "key"), (" closes", "dim"))


def choose_class(subject: str, current: PriorityClass | None) -> list[Line]:
    """Return the question for a new class."""
    lines: list[Line] = [((f"reprioritize {safe(subject, 63)}", "strong"),), ()]
    lines += [
        (
            (f"  {index} ", "key"),
            (f" {member} {member.meaning}", "plain"),
            ("   now" if member is current else "", "dim"),
        )
        for index, member in enumerate(PriorityClass)
    ]
    return [*lines, (), (("press 0 to 4, or escape", "dim"),)]


def choose_cap(subject: str, run: Run | None, typed: str, wrong: str) -> list[Line]:
    """Return the question for a power limit.

    Args:
        run: As it is now; None for several.
        wrong: Why what was entered is no limit; "" while nothing is wrong.
    """
    lines: list[Line] = [((f"cap {safe(subject, 63)}", "strong"),), ()]
    if run is not None:
        cap = f"capped at {run.power_cap_watts:g} W" if run.power_cap_watts else "not capped"
        known = run.reporting_gpu_count
        each = watts(run.power_watts / known) if run.power_watts and known else "n/a"
        lines.append((("now", "dim"), (f"   {each} a GPU on average, {cap}", "plain")))
    lines.append((("watts of each GPU: ", "plain"), (f"{safe(typed, 20)}_", "strong")))
    if wrong:
        lines.append(((wrong, "warn"),))
    help_text = "enter shows what it does, 0 takes the cap off, escape leaves"
    return [*lines, (), ((help_text, "dim"),)]


def cap_watts(typed: str) -> float:
    """Return the power limit that was typed; 0 takes a cap off.

    Raises:
        ValueError: It is none; what is.
    """
    text = typed.strip().removesuffix("W").strip()
    if not text.isdecimal() or not text.isascii() or int(text) > MOST_CAP_WATTS:
        raise ValueError(f"type whole watts, 1 to {MOST_CAP_WATTS}, or 0")
    return float(text)


def asking(verb: Verb, subject: str) -> list[Line]:
    """Return the card while the hub is asked."""
    return [((f"{verb} {safe(subject, 63)}", "strong"),), (), (("asking the hub ...", "dim"),)]


def problem(verb: Verb, subject: str, detail: str, cells: int, *, sent: bool) -> list[Line]:
    """Return the card when the hub could not be asked, or went away after it was."""
    end = (
        "it may go on: the run's actions tell once the hub is back" if sent else "nothing was done"
    )
    return [
        ((f"{verb} {safe(subject, 63)}", "strong"),),
        (),
        *wrapped(detail, "bad", cells),
        (),
        ((f"{end}; escape closes", "dim"),),
    ]


def preflight_lines(preflight: Preflight, subject: str, cells: int) -> list[Line]:
    """Return what the action would cost, or why it would be refused."""
    if preflight.verb.is_on_site and preflight.subject:
        subject = f"{subject}, {preflight.subject}"  # on a low terminal it is seen nowhere else
    lines: list[Line] = [((f"{preflight.verb} {safe(subject, 75)}", "strong"),), ()]
    if not preflight.allowed:
        lines += [((f"refused: {preflight.refusal}", "warn"),)]
        lines += wrapped(preflight.refusal_detail, "plain", cells)
        return [*lines, (), (("nothing was done; escape closes", "dim"),)]
    lines += [*wrapped(preflight.effect, "plain", cells), ()]
    for figure in preflight.figures:
        lines += figure_lines(figure, cells)
    for warning in preflight.warnings:
        lines += wrapped(f"! {warning}", "warn", cells)
    if preflight.approvals_needed > 1:
        more = preflight.approvals_needed - 1
        who = "another operator" if more == 1 else f"{more} other operators"
        lines += wrapped(f"! {who} must approve it before anything is done", "warn", cells)
    if preflight.plan is not None:
        lines += [(), *plan_lines(preflight.plan, cells)]
    if preflight.runs:
        lines += [(), (("RUNS ON IT", "head"),), *_outlooks(preflight, cells)]
    return lines


def figure_lines(figure: Figure, cells: int) -> list[Line]:
    """Return one figure with its basis, on as many lines as that needs."""
    value = f"{measured(figure.value, figure.unit):>14}   "
    at = 16 + width(value)
    first, *more = wrapped(figure.basis, "dim", cells, at)
    ((basis, _),) = first
    return [((fit(figure.label, 16), "dim"), (value, "strong"), (basis[at:], "dim")), *more]


def _outlooks(preflight: Preflight, cells: int) -> list[Line]:
    lines: list[Line] = []
    for run in preflight.runs:
        word, style = ("moves", "good") if run.can_move else ("stays", "warn")
        name = f"  {fit(safe(run.run_id, 63), 16)}  "
        at = width(name) + 7
        first, *more = wrapped(run.detail, "plain", cells, at)
        ((text, _),) = first
        lines += [((name, "strong"), (fit(word, 7), style), (text[at:], "plain")), *more]
    return lines


def question_lines(question: Question, cells: int) -> list[Line]:
    """Return what the operator must do to mean it."""
    match question.confirmation:
        case Confirmation.TYPE_NAME:
            wrong = question.wrong and not question.typed
            typed = safe(question.typed, 63) or "_"
            ask = f"type {question.asked}, then enter: "
            lines: list[Line] = [((f"that is not {question.asked}", "warn"),)] if wrong else []
            if len(ask) + width(typed) > cells:
                return [*lines, ((ask, "plain"),), ((typed, "strong"),)]
            return [*lines, ((ask, "plain"), (typed, "strong"))]
        case Confirmation.NONE:
            return [
                (("enter", "key"), (" does it   ", "dim"), ("escape", "key"), (" leaves", "dim"))
            ]
        case _:
            return [(("y", "key"), (" does it   ", "dim"), ("n", "key"), (" leaves", "dim"))]


def progress_lines(action: Action, answer: str, cells: int) -> list[Line]:
    """Return the card while the action goes on, and when it has ended.

    Args:
        answer: What the hub last said to a cancel or an approval.
    """
    lines: list[Line] = [
        (
            (f"{action.verb} {safe(action.subject, 63)}  ", "strong"),
            (action.state.value, action_style(action.state)),
        ),
        (),
    ]
    latest = action.stages[-LATEST_STAGES:]
    for stage in latest[:-1] if action.state.is_end else latest:
        lines += stage_lines(stage.time_unix_ns, stage.state, stage.detail, cells)
    lines += [line for line in (counts(action),) if line]
    lines += missing_lines(action, cells)
    lines += approval_lines(action, cells)
    if action.state.is_end:
        lines += [(), *wrapped(action.detail, action_style(action.state), cells)]
    if answer:
        lines += [(), *wrapped(answer, "warn", cells)]
    return lines


def stage_lines(time_unix_ns: int, state: ActionState, detail: str, cells: int) -> list[Line]:
    """Return one stage with all it says."""
    at = 22
    first, *more = wrapped(detail, "plain", cells, at)
    ((text, _),) = first
    return [
        (
            (f"{clock(time_unix_ns)}  ", "faint"),
            (fit(state.value, 12), action_style(state)),
            (text[at:], "plain"),
        ),
        *more,
    ]


def counts(action: Action) -> Line:
    """Return how many ranks and nodes have confirmed; nothing where none was asked."""
    spans: list[Span] = []
    for word, done, count in (
        ("ranks", action.confirmed_rank_count, action.rank_count),
        ("nodes", action.confirmed_node_count, action.node_count),
    ):
        if count:
            text = f"{done}/{count} {word} confirmed   "
            spans.append((text, "good" if done == count else "warn"))
    if spans and action.agreed_step >= 0:
        spans.append((f"at step {action.agreed_step:,}", "dim"))
    return tuple(spans)


def missing_lines(action: Action, cells: int) -> list[Line]:
    """Return who has not confirmed, in short; the action in full names all."""
    lines: list[Line] = []
    wrong = sorted(rank.rank for rank in action.ranks if not rank.ok)
    if wrong:
        lines += wrapped(f"missing: rank {ranges(wrong)}", "warn", cells)
        first = next(rank for rank in action.ranks if rank.rank == wrong[0])
        lines += wrapped(f"rank {first.rank}: {first.detail}", "dim", cells, 2)
    if action.missing_nodes:
        lines += wrapped(f"missing: {named(action.missing_nodes)}", "warn", cells)
    return lines


def approval_lines(action: Action, cells: int) -> list[Line]:
    """Return how an action that needs more than one operator stands."""
    if action.approvals_needed < 2:
        return []
    have = f"{len(action.approvals)}/{action.approvals_needed}"
    who = ", ".join(safe(name, 63) for name in action.approvals)
    if action.state is not ActionState.REQUESTED:
        return wrapped(f"approvals {have}: {who}", "dim", cells)
    others = f"others: {key_of('actions')} shows it, {key_of('approve')} approves"
    return wrapped(f"waits for approval {have} (so far {who}); {others}", "accent", cells)


def progress_keys(actions: Sequence[Action]) -> list[Line]:
    """Return what can be done while one or more actions go on."""
    one = len(actions) == 1
    spans: list[Span] = []
    if any(action.can_cancel for action in actions):
        back = " takes it back   " if one else " takes all back   "
        spans += [(key_of("cancel"), "key"), (back, "dim")]
    if actions:
        spans += [(key_of("open"), "key"), (" all of it   " if one else " each one   ", "dim")]
    if actions and all(action.state.is_end for action in actions):
        return [(*spans, *CLOSES)]
    what = "the action goes on" if one else "the actions go on"
    return [(*spans, ("esc", "key"), (f" closes this; {what}", "dim"))]
