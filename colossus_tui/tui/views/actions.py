"""The journal of actions: a row each, and one in full."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import Action, ActionState
from colossus_tui.text import age, clock, duration, fit, number, safe
from colossus_tui.tui.views import GAP, LEFT, Line, Span
from colossus_tui.tui.views.card import approval_lines, counts, stage_lines
from colossus_tui.tui.views.detail import action_style
from colossus_tui.tui.views.words import in_columns, labelled, wrapped

# (head, cells, right aligned), in the order in which room is given; the last takes what is left.
ACTION_COLUMNS = (
    ("STATE", 11, False),
    ("VERB", 12, False),
    ("ON", 16, False),
    ("AGE", 7, True),
    ("BY", 10, False),
    ("CONFIRMED", 15, False),
    ("WHAT IT SAYS", 20, False),
)
SAYS_COLUMN = ACTION_COLUMNS[-1]


def ordered(actions: Sequence[Action]) -> list[Action]:
    """Return the open ones first, each part newest first."""
    newest = sorted(actions, key=lambda action: -action.requested_time_unix_ns)
    return sorted(newest, key=lambda action: action.state.is_end)


def action_columns(cells: int) -> list[tuple[str, int, bool]]:
    """Return the columns that fit; what it says is the first to be kept after its state."""
    head, width, right = SAYS_COLUMN
    used, chosen = LEFT + width + GAP, []
    for column in ACTION_COLUMNS[:-1]:
        if used + column[1] + GAP > cells:
            break
        chosen.append(column)
        used += column[1] + GAP
    return [*chosen, (head, width + max(cells - used, 0), right)]


def action_cells(action: Action) -> dict[str, Span]:
    """Return an action's cells by the heads of ACTION_COLUMNS."""
    return {
        "STATE": (action.state.value, action_style(action.state)),
        "VERB": (action.verb.value, "plain"),
        "ON": (safe(action.subject, 63), "strong"),
        "AGE": (age(action.requested_time_unix_ns), "dim"),
        "BY": (safe(action.operator, 40), "plain"),
        "CONFIRMED": _confirmed(action),
        "WHAT IT SAYS": (safe(action.detail, 200), "plain"),
    }


def _confirmed(action: Action) -> Span:
    if action.state is ActionState.REQUESTED and action.approvals_needed > 1:
        return f"approval {len(action.approvals)}/{action.approvals_needed}", "accent"
    for word, done, count in (
        ("ranks", action.confirmed_rank_count, action.rank_count),
        ("nodes", action.confirmed_node_count, action.node_count),
    ):
        if count:
            return f"{done}/{count} {word}", "plain" if done == count else "warn"
    return "-", "faint"


def action_lines(action: Action, journal: Sequence[Action], answer: str, cells: int) -> list[Line]:
    """Return one action in full.

    Args:
        journal: Where its parent and its parts are found.
        answer: What the hub last said to a cancel or an approval.
    """
    style = action_style(action.state)
    lines: list[Line] = [
        (
            (f"{action.verb} {safe(action.subject, 63)}  ", "strong"),
            (action.state.value, style),
            (f"  {action.reason_code}" if action.reason_code else "", "dim"),
        ),
        *wrapped(action.detail, style, cells),
    ]
    if answer:
        lines += wrapped(answer, "warn", cells)
    lines += [(), *_facts(action, cells)]
    lines += [line for line in (counts(action),) if line]
    lines += approval_lines(action, cells)
    lines += _family(action, journal, cells)
    lines += [(), (("STAGES", "head"),)]
    for stage in action.stages:
        lines += stage_lines(stage.time_unix_ns, stage.state, stage.detail, cells)
    if action.missing_nodes:
        head = f"NODES THAT DID NOT CONFIRM ({len(action.missing_nodes)})"
        lines += [(), ((head, "head"),), *in_columns(action.missing_nodes, cells, "warn")]
    return lines + _ranks(action, cells)


def _facts(action: Action, cells: int) -> list[Line]:
    wanted = action.parameters
    took = (action.updated_time_unix_ns - action.requested_time_unix_ns) / 1e9
    asked = f"{clock(action.requested_time_unix_ns)}, {age(action.requested_time_unix_ns)} ago"
    more = [
        f"class {wanted.priority_class}" if wanted.priority_class else "",
        f"fuse {duration(wanted.fuse_seconds)}" if wanted.fuse_seconds else "",
        "force" if wanted.force else "",
        f"grace {duration(wanted.grace_seconds)}" if wanted.grace_seconds else "",
        f"deadline {duration(wanted.timeout_seconds)}" if wanted.timeout_seconds else "",
        f"node {safe(wanted.node_name, 63)}" if wanted.node_name else "",
    ]
    pairs = [
        ("by", action.operator),
        ("reason", action.reason or "none given"),
        ("asked", asked),
        ("took", duration(max(took, 0.0)) if action.state.is_end else ""),
        ("with", ", ".join(filter(None, more))),
        ("agreed step", number(action.agreed_step) if action.agreed_step >= 0 else ""),
        ("attempt", str(action.attempt) if action.attempt else ""),
        ("action", action.action_id),
    ]
    return [line for name, text in pairs if text for line in labelled(name, text, cells)]


def _family(action: Action, journal: Sequence[Action], cells: int) -> list[Line]:
    lines: list[Line] = []
    if action.parent_action_id:
        parent = next((one for one in journal if one.action_id == action.parent_action_id), None)
        text = f"{parent.verb} {parent.subject}: {parent.state}" if parent else ""
        lines += labelled("part of", f"{action.parent_action_id} {text}".strip(), cells)
    parts = [one for one in journal if one.parent_action_id == action.action_id]
    if parts:
        lines += [(), (("PARTS", "head"),)]
    for one in reversed(parts):
        label = f"{one.verb} {safe(one.subject, 63)}"
        text = f"{one.state}: {one.detail}"
        lines += labelled(label, text, cells, action_style(one.state), 28)
    return lines


def _ranks(action: Action, cells: int) -> list[Line]:
    if not action.ranks:
        return []
    lines: list[Line] = [(), (("RANKS", "head"),)]
    for rank in sorted(action.ranks, key=lambda rank: (rank.ok, rank.rank)):
        step = f"step {number(rank.step)}" if rank.step >= 0 else ""
        text = ", ".join(filter(None, (step, rank.detail))) or "confirmed"
        label = fit(f"rank {rank.rank}", 10) + ("yes" if rank.ok else "NO")
        lines += labelled(label, text, cells, "plain" if rank.ok else "warn")
    return lines
