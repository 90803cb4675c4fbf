"""Each verb, on each backend, under each fault: the end is right and nothing is left behind.

A test is a fault on a backend, and does every verb at the same time, each on a run of its own. Of
every cell it looks at: how the action ended; that an observed one has had its effect exactly once;
that no process is left stopped and no control group frozen; that nothing holds the run; and that
the run obeys the next action.

Cells that make no sense are in `Stand.absent`, with the reason. By default the hub is killed
on one backend only, at every third point of the journal or fewer (`Stand.stride`); `--thorough`
does it on each, at every point.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Mapping

import pytest

from colossus_tui.model import Action
from tests.actions.crashing_hub import point
from tests.actions.stand import Cell, Stand

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

ENDS = ("observed", "failed", "unconfirmed", "partial")


def judge(stand: Stand, cells: Iterable[Cell], allowed: Mapping[str, tuple[str, ...]]) -> None:
    """Look at every cell; all that is wrong is told at once."""
    found = stand.each(
        lambda cell: stand.problems(cell, allowed.get(cell.case, ("observed",))), cells
    )
    assert not (told := "\n".join(text for texts in found for text in texts)), told


def test_every_verb_does_what_it_promises(stand: Stand) -> None:
    cells = stand.prepare()

    stand.each(stand.submit, cells)

    judge(stand, cells, {})


def test_without_a_hook_no_save_is_promised_and_the_rest_works(stand: Stand) -> None:
    cells = stand.prepare(hooked=False)

    answers = dict(zip([cell.case for cell in cells], stand.each(stand.submit, cells), strict=True))

    for case in ("checkpoint", "pause"):
        assert (answers[case].state, answers[case].reason_code) == ("refused", "unsupported")
        assert "hook" in answers[case].detail
    judge(stand, cells, {"checkpoint": ("refused",), "pause": ("refused",)})


def test_a_rank_that_is_killed_midway_is_told_and_leaves_no_half(stand: Stand) -> None:
    cells = stand.prepare()
    stand.signal_agents(signal.SIGSTOP)  # so that nothing has been done yet when the rank dies
    try:
        stand.each(stand.submit, cells)
        stand.each(stand.dispatched, cells)
        for cell in cells:
            stand.kill_rank(cell)
    finally:
        stand.signal_agents(signal.SIGCONT)
    stand.each(stand.kill_new_rank, [cell for cell in cells if cell.case in ("resume", "start")])

    judge(stand, cells, stand.without_a_rank)


@pytest.mark.parametrize("moment", ["before it hears", "at its work"])
def test_an_agent_that_is_killed_midway_goes_on_where_it_was(stand: Stand, moment: str) -> None:
    cells = stand.prepare()
    if moment == "before it hears":
        stand.signal_agents(signal.SIGSTOP)
    stand.each(stand.submit, cells)
    stand.each(stand.dispatched, cells)

    stand.restart_agents()

    # An agent may be away for longer than an answer may take.
    judge(stand, cells, dict.fromkeys(stand.cases(), ENDS))


@pytest.mark.hub_decides
@pytest.mark.timeout(600)
def test_a_hub_that_is_killed_at_any_journal_point_finishes_or_says_that_it_cannot_tell(
    stand: Stand, pytestconfig: pytest.Config
) -> None:
    points = recorded(stand)
    stride = 1 if pytestconfig.getoption("--thorough") else stand.stride
    for number in range(1, max(points.values()) + 1, stride):
        cells = [cell for cell in stand.prepare() if number <= points[cell.case]]
        stand.arm({cell.action_id: number for cell in cells})
        for cell in cells:
            stand.pool.submit(stand.submit, cell)

        stand.revive_hub()

        judge(stand, cells, {})
        for cell in cells:
            assert stand.submit(cell) == stand.end(cell)  # the same id is the same action


def recorded(stand: Stand) -> dict[str, int]:
    """Return how many entries each case has in the journal when nothing goes wrong."""
    cells = stand.prepare()
    stand.each(stand.submit, cells)
    judge(stand, cells, {})
    return {cell.case: point(stand.end(cell)) for cell in cells}


def test_a_deadline_that_passes_leaves_nothing_undone_or_held(stand: Stand) -> None:
    cells = stand.prepare()
    stand.stall()
    try:
        for cell in cells:
            stand.hurry(cell)
        stand.each(stand.submit, cells)
        began = time.monotonic()
        ends: list[Action] = stand.each(stand.end, cells)
        assert time.monotonic() - began < 30
        for cell, action in zip(cells, ends, strict=True):
            late = "failed" if cell.case == "checkpoint" else "unconfirmed"
            assert action.state in (late, "unconfirmed"), (cell.case, action.state, action.detail)
    finally:
        stand.go_on()

    judge(stand, cells, dict.fromkeys(stand.cases(), ENDS))


def test_of_two_operators_at_once_one_acts_and_the_other_hears_of_it(stand: Stand) -> None:
    cells = stand.prepare()
    others = [Cell(cell.case, cell.run_id, cell.before, cell.parameters) for cell in cells]

    stand.each(stand.submit, [one for pair in zip(cells, others, strict=True) for one in pair])

    first = []
    for cell, other in zip(cells, others, strict=True):
        assert cell.answer is not None
        assert other.answer is not None
        winner, loser = (cell, other) if cell.answer.state != "refused" else (other, cell)
        assert loser.answer is not None
        assert loser.answer.reason_code == "conflict", loser.answer
        assert winner.action_id in loser.answer.detail
        first.append(winner)
    judge(stand, first, {})


def test_the_same_id_twice_is_done_once(stand: Stand) -> None:
    cells = stand.prepare()

    stand.each(stand.submit, [*cells, *cells, *cells])
    late = stand.each(stand.end, cells)

    assert stand.each(stand.submit, cells) == late
    judge(stand, cells, {})
