"""Actions and preflights as the command line shows them; everything foreign made harmless."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from colossus_tui.cli.output import table
from colossus_tui.cli.plans import plan_lines
from colossus_tui.model import Action, BulkPreflight, Figure, Preflight, RunOutlook, Verb
from colossus_tui.text import (
    age,
    clock,
    duration,
    fit,
    measured,
    named,
    number,
    safe,
    verdict,
)

NODES_WIDTH = 96


def preflight_text(preflight: Preflight) -> str:
    """Return the preflight card."""
    lines = [f"{preflight.verb} {safe(preflight.subject, 253)}"]
    if not preflight.allowed:
        lines.append(refusal(preflight))
        return "\n".join(lines)
    lines.append(f"  {safe(preflight.effect, 200)}")
    lines += [_figure(figure) for figure in preflight.figures]
    lines += [f"  {_outlook(run)}" for run in preflight.runs]
    if preflight.plan is not None:
        lines += plan_lines(preflight.plan)
    lines += [f"  ! {safe(warning, 200)}" for warning in preflight.warnings]
    if preflight.approvals_needed > 1:
        lines.append(f"  ! it then waits until {_others(preflight.approvals_needed)} approved it")
    return "\n".join(lines)


def refusal(preflight: Preflight) -> str:
    """Return why the hub would not take it, in the hub's words."""
    return verdict("refused", preflight.refusal, preflight.refusal_detail)


def _figure(figure: Figure) -> str:
    value = measured(figure.value, figure.unit)
    return f"  {fit(figure.label, 16)} {value:>14}   {safe(figure.basis, 100)}"


def _outlook(run: RunOutlook) -> str:
    fate = "moves" if run.can_move else "STAYS"
    return f"{fit(safe(run.run_id, 63), 16)} {fate}: {safe(run.detail)}"


def _others(approvals_needed: int) -> str:
    others = approvals_needed - 1
    return "another operator has" if others == 1 else f"{others} other operators have"


# --- several runs --------------------------------------------------------------------------


def bulk_text(bulk: BulkPreflight) -> str:
    """Return one card for several runs: a row each, the sums, and who refuses."""
    allowed = [one for one in bulk.preflights if one.allowed]
    refused = [one for one in bulk.preflights if not one.allowed]
    lines = [f"{bulk.verb} {len(allowed)} of {len(bulk.preflights)} runs"]
    if allowed:
        lines += [f"  {line}" for line in _rows(allowed).splitlines()]
    lines += _grouped("", ((one.run_id, one.effect) for one in allowed))
    lines += _grouped("! ", ((one.run_id, text) for one in allowed for text in one.warnings))
    waiting = [(one.run_id, one.approvals_needed) for one in allowed if one.approvals_needed > 1]
    lines += _grouped("! ", ((name, f"waits until {_others(count)} approved it")
                             for name, count in waiting))  # fmt: skip
    lines += [f"  {safe(one.run_id, 63)}: {refusal(one)}" for one in refused]
    if bulk.figures:
        lines.append(f"together, {len(allowed)} runs:")
        lines += [_figure(figure) for figure in bulk.figures]
    return "\n".join(lines)


def _rows(allowed: Sequence[Preflight]) -> str:
    labels = {figure.name: figure.label for one in allowed for figure in one.figures}
    rows = []
    for one in allowed:
        known = {figure.name: measured(figure.value, figure.unit) for figure in one.figures}
        rows.append((safe(one.run_id, 63), *(known.get(name, "-") for name in labels)))
    return table(("RUN", *(label.upper() for label in labels.values())), rows, "l" + "r" * 16)


def _grouped(sign: str, said: Iterable[tuple[str, str]]) -> list[str]:
    """Return each sentence once, with the runs that it is said of."""
    groups: dict[str, list[str]] = {}
    for run_id, text in said:
        groups.setdefault(text, []).append(safe(run_id, 63))
    return [f"  {sign}{named(runs, 3)}: {safe(text, 200)}" for text, runs in groups.items()]


# --- actions -------------------------------------------------------------------------------


def actions_table(actions: Sequence[Action]) -> str:
    """Return actions, a row each."""
    rows = [
        (
            clock(action.requested_time_unix_ns),
            action.action_id,
            action.verb.value,
            safe(action.subject, 63),
            action.state.value,
            safe(action.operator, 32),
            duration((action.updated_time_unix_ns - action.requested_time_unix_ns) / 1e9),
            safe(action.detail, 100) + (f" [{safe(action.reason, 60)}]" if action.reason else ""),
        )
        for action in actions
    ]
    heads = ("TIME", "ACTION", "VERB", "RUN", "STATE", "OPERATOR", "TOOK", "WHAT")
    return table(heads, rows, "llllllrl")


def standing(action: Action) -> str:
    """Return how an action stands, with what it still waits for counted."""
    counts = []
    if action.approvals_needed > 1 and not action.state.is_end:
        counts.append(f"{len(action.approvals)}/{action.approvals_needed} approvals")
    if action.rank_count:
        counts.append(f"{number(action.confirmed_rank_count)}/{number(action.rank_count)} ranks")
    if action.node_count > 1:
        counts.append(f"{number(action.confirmed_node_count)}/{number(action.node_count)} nodes")
    state = f"{action.state} [{', '.join(counts)}]" if counts else action.state.value
    return verdict(state, action.reason_code, action.detail)


def goes_on(action: Action) -> str:
    """Return how to look at an action that goes on, and how to take it back."""
    text = f"action {action.action_id} goes on: colossus show {action.action_id} shows it"
    return f"{text}, colossus cancel {action.action_id} takes it back" if _is_open(action) else text


def _is_open(action: Action) -> bool:
    return action.can_cancel and not action.state.is_end


def action_text(action: Action, parts: Sequence[Action] = ()) -> str:
    """Return one action in full: stages, ranks, nodes, approvals and parts."""
    asked = f"{safe(action.operator, 64)} {age(action.requested_time_unix_ns)} ago"
    facts = [
        ("action", action.action_id),
        ("asked by", asked + (f': "{safe(action.reason)}"' if action.reason else "")),
    ]
    if action.approvals_needed > 1:
        names = ", ".join(safe(name, 64) for name in action.approvals)
        facts.append(
            ("approvals", f"{len(action.approvals)} of {action.approvals_needed}: {names}")
        )
    if action.agreed_step >= 0:
        facts.append(("step", f"{number(action.agreed_step)}, agreed on by the ranks"))
    facts += [
        (kind, f"{number(confirmed)} of {number(count)} confirmed")
        for kind, confirmed, count in (
            ("ranks", action.confirmed_rank_count, action.rank_count),
            ("nodes", action.confirmed_node_count, action.node_count),
        )
        if count
    ]
    if action.attempt:
        facts.append(("attempt", str(action.attempt)))
    if action.parent_action_id:
        facts.append(("part of", f"{action.parent_action_id}: colossus show shows it"))
    if _is_open(action):
        facts.append(("cancel", f"colossus cancel {action.action_id} takes it back"))
    return "\n".join(
        [
            f"{action.verb} {safe(action.subject, 253)}: {standing(action)}",
            *(f"{fit(name, 10)}{text}" for name, text in facts),
            *_stages(action),
            *_missing_nodes(action),
            *_ranks(action),
            *(["", "parts:", actions_table(parts)] if parts else []),
        ]
    )


def _stages(action: Action) -> list[str]:
    rows, before = [], action.requested_time_unix_ns
    for stage in action.stages:
        after = duration((stage.time_unix_ns - before) / 1e9)
        rows.append((clock(stage.time_unix_ns), after, stage.state.value, safe(stage.detail)))
        before = stage.time_unix_ns
    return ["", table(("TIME", "AFTER", "STATE", "WHAT"), rows, "lrll")] if rows else []


def _missing_nodes(action: Action) -> list[str]:
    if not action.missing_nodes:
        return []
    missing = max(action.node_count - action.confirmed_node_count, len(action.missing_nodes))
    head = f"{number(missing)} of {number(action.node_count)} nodes did not confirm"
    if (kept := len(action.missing_nodes)) < missing:
        head += f", {number(kept)} of them named"
    names = ", ".join(safe(name, 253) for name in action.missing_nodes)
    return ["", f"{head}:", *textwrap.wrap(names, NODES_WIDTH, break_on_hyphens=False)]


def _ranks(action: Action) -> list[str]:
    if not action.ranks:
        return []
    nice = action.verb is Verb.REPRIORITIZE
    rows = [
        (
            str(rank.rank),
            "yes" if rank.ok else "NO",
            number(rank.step) if rank.step >= 0 else "-",
            f"nice {rank.nice}" if nice and rank.ok else safe(rank.detail) or "-",
        )
        for rank in sorted(action.ranks, key=lambda rank: (rank.ok, rank.rank))
    ]
    return ["", table(("RANK", "CONFIRMED", "STEP", "WHAT"), rows, "rlrl")]
