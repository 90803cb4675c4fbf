"""The preflight card: what an action would cost, then what became of it."""

from __future__ import annotations

from colossus_tui.model import Action, Confirmation, Preflight, PriorityClass, Verb
from colossus_tui.text import clock, fit, measured, safe
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.detail import action_style

CARD_CELLS = 76


def choose_class(run_id: str, current: PriorityClass | None) -> list[Line]:
    """Return the question for a new class."""
    lines: list[Line] = [((f"reprioritize {safe(run_id, 63)}", "strong"),), ()]
    lines += [
        (
            (f"  {index} ", "key"),
            (f" {member} {member.meaning}", "plain"),
            ("   now" if member is current else "", "dim"),
        )
        for index, member in enumerate(PriorityClass)
    ]
    return [*lines, (), (("press 0 to 4, or escape", "dim"),)]


def asking(verb: Verb, run_id: str) -> list[Line]:
    """Return the card while the hub computes the preflight."""
    return [((f"{verb} {safe(run_id, 63)}", "strong"),), (), (("asking the hub ...", "dim"),)]


def problem(verb: Verb, run_id: str, detail: str, *, sent: bool) -> list[Line]:
    """Return the card when the hub could not be asked, or went away after it was."""
    end = (
        "it may go on: the run's actions tell once the hub is back" if sent else "nothing was done"
    )
    return [
        ((f"{verb} {safe(run_id, 63)}", "strong"),),
        (),
        *_wrapped(detail, "bad"),
        (),
        ((f"{end}; escape closes", "dim"),),
    ]


def preflight_lines(preflight: Preflight, typed: str, *, wrong: bool) -> list[Line]:
    """Return the card with the figures and the question."""
    lines: list[Line] = [
        ((f"{preflight.verb} {safe(preflight.run_id, 63)}", "strong"),),
        (),
    ]
    if not preflight.allowed:
        lines += [((f"refused: {preflight.refusal}", "warn"),)]
        lines += _wrapped(preflight.refusal_detail, "plain")
        return [*lines, (), (("nothing was done; escape closes", "dim"),)]
    lines += _wrapped(preflight.effect, "plain")
    lines.append(())
    for figure in preflight.figures:
        lines.append(
            (
                (fit(figure.label, 16), "dim"),
                (f"{measured(figure.value, figure.unit):>14}   ", "strong"),
                (fit(safe(figure.basis, 80), CARD_CELLS - 33), "dim"),
            )
        )
    lines += [(("! " + safe(warning, 120), "warn"),) for warning in preflight.warnings]
    lines.append(())
    match preflight.confirmation:
        case Confirmation.TYPE_NAME:
            question = "that is not its name; " if wrong and not typed else ""
            lines.append(
                (
                    (question, "warn"),
                    ("type the run's name, then enter: ", "plain"),
                    (safe(typed, 63) or "_", "strong"),
                )
            )
        case Confirmation.NONE:
            lines.append(
                (("enter", "key"), (" does it   ", "dim"), ("escape", "key"), (" leaves", "dim"))
            )
        case _:
            lines.append((("y", "key"), (" does it   ", "dim"), ("n", "key"), (" leaves", "dim")))
    return lines


def progress_lines(action: Action) -> list[Line]:
    """Return the card while the action goes on, and when it has ended."""
    lines: list[Line] = [
        (
            (f"{action.verb} {safe(action.run_id, 63)}  ", "strong"),
            (action.state.value, action_style(action.state)),
        ),
        (),
    ]
    lines += [
        (
            (f"{clock(stage.time_unix_ns)}  ", "faint"),
            (fit(stage.state.value, 12), action_style(stage.state)),
            (safe(stage.detail, CARD_CELLS - 24), "plain"),
        )
        for stage in action.stages[-10:]
    ]
    wrong = [rank for rank in action.ranks if not rank.ok]
    lines += [((f"rank {rank.rank}: {safe(rank.detail, 60)}", "bad"),) for rank in wrong[:5]]
    lines.append(())
    if action.state.is_end:
        lines += _wrapped(action.detail, action_style(action.state))
        lines.append((("escape", "key"), (" closes", "dim")))
    else:
        lines.append((("escape", "key"), (" closes this; the action goes on", "dim")))
    return lines


def _wrapped(text: str, style: str) -> list[Line]:
    lines: list[Line] = []
    current = ""
    for word in safe(text, 600).split(" "):
        if current and len(current) + 1 + len(word) > CARD_CELLS:
            lines.append(((current, style),))
            current = ""
        current = f"{current} {word}" if current else word[:CARD_CELLS]
    return [*lines, ((current, style),)]
