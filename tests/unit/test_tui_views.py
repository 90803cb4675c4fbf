"""What the console shows, as text: pure functions, no terminal."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from textual.binding import Binding

from colossus_tui.model import (
    Action,
    ActionState,
    BulkPreflight,
    Confirmation,
    Figure,
    Header,
    Job,
    Node,
    NodeDetail,
    Preflight,
    RankResult,
    ReasonCode,
    Run,
    RunDetail,
    RunOutlook,
    RunState,
    Site,
    Verb,
    View,
)
from colossus_tui.model.node import HostInventory
from colossus_tui.text import width
from colossus_tui.tui.actions import COMMANDS, offered
from colossus_tui.tui.confirm import Question
from colossus_tui.tui.theme import ASCII
from colossus_tui.tui.views import Line
from colossus_tui.tui.views.actions import action_columns, action_lines, ordered
from colossus_tui.tui.views.bulk import bulk_lines
from colossus_tui.tui.views.card import preflight_lines, progress_keys, progress_lines
from colossus_tui.tui.views.detail import run_lines
from colossus_tui.tui.views.nodes import node_cells, node_columns, node_lines
from colossus_tui.tui.views.runs import columns_for
from colossus_tui.tui.views.site import Link, header
from colossus_tui.tui.views.words import in_columns, wrapped
from colossus_tui.tui.widgets.table import Table

HOSTILE = "\x1b[2J[bold red]boo[/]\r\n\u202e"
CELLS = 75


def text(lines: Sequence[Line]) -> str:
    return "\n".join("".join(part for part, _ in line).rstrip() for line in lines)


def refused(run_id: str, why: str) -> Preflight:
    return Preflight(Verb.PAUSE, run_id, refusal=ReasonCode.POLICY, refusal_detail=why)


def allowed(run_id: str, risk: float | None, *warnings: str) -> Preflight:
    figures = (Figure("work_at_risk", "work at risk", risk, "GPU·h", "since step 9"),)
    return Preflight(
        Verb.PAUSE, run_id, allowed=True, effect="saves", figures=figures, warnings=warnings
    )


def test_wrapping_loses_no_word_and_never_grows_too_wide() -> None:
    sentence = "one two " + "x" * 200 + " 日本語" * 30 + " end"

    lines = wrapped(sentence, "plain", 40, 4)

    assert "".join(text(lines).split()) == "".join(sentence.split())
    assert max(width(row) for row in text(lines).splitlines()) <= 40
    assert all(row.startswith("    ") for row in text(lines).splitlines())


def test_foreign_text_stays_harmless_in_every_new_view() -> None:
    action = Action(
        "id",
        Verb.PAUSE,
        HOSTILE,
        ActionState.PARTIAL,
        detail=HOSTILE,
        operator=HOSTILE,
        reason=HOSTILE,
        missing_nodes=(HOSTILE,),
        ranks=(RankResult(0, False, HOSTILE),),
        approvals=(HOSTILE,),
        approvals_needed=2,
    )
    job = Job(HOSTILE, HOSTILE, HOSTILE, HOSTILE, user=HOSTILE, queue=HOSTILE, part_of=HOSTILE)
    run = Run(HOSTILE, backend=HOSTILE, job=job)
    node = Node(HOSTILE, scheduler_state=HOSTILE, scheduler_reason=HOSTILE)
    shown = [
        *action_lines(action, (), HOSTILE, CELLS),
        *progress_lines(action, HOSTILE, CELLS),
        *bulk_lines(BulkPreflight(Verb.PAUSE, (refused(HOSTILE, HOSTILE),)), {HOSTILE}, CELLS),
        *run_lines(RunDetail(run), (), CELLS, ASCII),
        *node_lines(NodeDetail(node, HostInventory()), 0, CELLS, ASCII),
        tuple(node_cells(node).values()),
    ]

    assert "boo" in text(shown)
    assert text(shown).replace("\n", "").isprintable()


def test_a_bulk_card_tells_each_run_the_sums_and_what_is_hidden() -> None:
    why = "only alice may do this " + "because " * 12 + "so it is"
    figure = Figure("work_at_risk", "work at risk", 30.0, "GPU·h", "1/2 runs known")
    bulk = BulkPreflight(
        Verb.PAUSE,
        (allowed("a", 30.0, "old"), allowed("b", None), refused("c", why)),
        (figure,),
        allowed_count=2,
    )

    shown = text(bulk_lines(bulk, {"b", "c"}, CELLS))

    assert "pause 3 runs   2 can, 1 refused" in shown
    assert "2 of them hidden by the filter: b, c" in shown
    assert [row.split() for row in shown.splitlines() if row.startswith(("a ", "b "))] == [
        ["a", "30", "GPU·h"],
        ["b", "n/a"],
    ]
    assert " ".join(why.split()) in " ".join(shown.split())
    assert "1/2 runs known" in shown
    assert "! a: old" in shown


def test_a_bulk_card_says_a_warning_of_all_once() -> None:
    bulk = BulkPreflight(
        Verb.PAUSE, tuple(allowed(f"r{i}", 1.0, "no watchdog") for i in range(40)), (), 40
    )

    assert text(bulk_lines(bulk, set(), CELLS)).count("no watchdog") == 1


def test_the_card_of_a_drain_says_of_each_run_whether_it_can_move() -> None:
    preflight = Preflight(
        Verb.DRAIN,
        "",
        allowed=True,
        effect="takes it out",
        node_name="n1",
        runs=(RunOutlook("6t", True, "saves and goes on"), RunOutlook("old", False, "no hook")),
    )

    shown = [row.split() for row in text(preflight_lines(preflight, "n1", CELLS)).splitlines()]

    assert ["drain", "n1"] in shown
    assert ["6t", "moves", "saves", "and", "goes", "on"] in shown
    assert ["old", "stays", "no", "hook"] in shown


def test_a_refusal_is_shown_to_its_last_word() -> None:
    why = " ".join(f"word{i}" for i in range(300))

    shown = text(preflight_lines(refused("r", why), "r", CELLS))

    assert why in " ".join(shown.split())


def test_progress_names_who_is_missing_and_what_can_be_done() -> None:
    action = Action(
        "id",
        Verb.PAUSE,
        "10t",
        ActionState.DISPATCHED,
        detail="14/16 ranks saved step 48,200",
        agreed_step=48_200,
        ranks=(RankResult(3, False, "on n1: not saved yet"), RankResult(7, False, "late")),
        confirmed_rank_count=14,
        rank_count=16,
        missing_nodes=tuple(f"n{i}" for i in range(8)),
        can_cancel=True,
    )

    shown = text(progress_lines(action, "cancel: too late", CELLS))
    in_full = text(action_lines(action, (), "", CELLS))

    assert "14/16 ranks confirmed" in shown
    assert "step 48,200" in shown
    assert "missing: rank 3, 7" in shown
    assert "n4 and 3 more" in shown
    assert "cancel: too late" in shown
    assert "x takes it back" in text(progress_keys([action]))
    assert all(f"n{i}" in in_full for i in range(8))
    assert "late" in in_full


def test_an_approval_that_is_waited_for_says_how_many_and_where() -> None:
    action = Action("id", Verb.STOP, "r", approvals=("ann",), approvals_needed=2)

    shown = " ".join(text(progress_lines(action, "", CELLS)).split())

    assert "waits for approval 1/2 (so far ann); others: a shows it, A approves" in shown


def test_an_action_in_full_names_its_parent_and_its_parts() -> None:
    parent = Action("p1", Verb.DRAIN, "", ActionState.DISPATCHED)
    part = Action("c1", Verb.PAUSE, "6t", ActionState.OBSERVED, parent_action_id="p1")

    assert "pause 6t" in text(action_lines(parent, (parent, part), "", CELLS))
    assert "p1 drain" in text(action_lines(part, (parent, part), "", CELLS))


def test_open_actions_come_first_and_each_part_is_newest_first() -> None:
    old_open = Action("a", Verb.STOP, "r", requested_time_unix_ns=1)
    ended = Action("b", Verb.STOP, "r", ActionState.OBSERVED, requested_time_unix_ns=3)
    newer = Action("c", Verb.STOP, "r", requested_time_unix_ns=2)

    assert [one.action_id for one in ordered([ended, old_open, newer])] == ["c", "a", "b"]


def test_what_an_action_says_has_room_at_any_width() -> None:
    for cells in (40, 80, 200):
        columns = action_columns(cells)
        assert columns[-1][0] == "WHAT IT SAYS"
        assert sum(one + 2 for _, one, _ in columns) + 2 <= max(cells, 40)


def test_a_run_shows_all_that_its_scheduler_says() -> None:
    job = Job(
        "1234_7",
        state="PENDING",
        reason="Resources",
        held=True,
        restart_count=2,
        user="ann",
        queue="gpu",
        quality="high",
        priority=4_294,
        part_of="array 1234",
        age_seconds=3.0,
    )
    run = Run("job", backend="slurm", state=RunState.PENDING, job=job)

    shown = " ".join(text(run_lines(RunDetail(run), (), 100, ASCII)).split())

    for wanted in (
        "slurm job 1234_7, part of array 1234",
        "user ann",
        "queue gpu, high",
        "its state PENDING, held, 3.0 s old",
        "raw priority 4,294",
        "restarts 2, may not be requeued",
        "its steps n/a",
        "why it waits Resources",
    ):
        assert wanted in shown
    assert "raw priority" not in text(run_lines(RunDetail(Run("r")), (), 100, ASCII))


def test_a_node_shows_its_scheduler_only_where_there_is_one() -> None:
    plain = Node("a")
    out = Node("b", scheduler_state="IDLE+DRAIN", scheduler_reason="bad GPU 3")
    heads = [head for head, _, _ in node_columns([plain])]

    assert "SCHEDULER" not in heads
    assert "SCHEDULER" in [head for head, _, _ in node_columns([plain, out])]
    assert node_cells(out)["SCHEDULER"] == ("IDLE+DRAIN", "warn")
    assert node_cells(plain)["SCHEDULER"][0] == "n/a"
    shown = text(node_lines(NodeDetail(out, HostInventory()), 0, 80, ASCII))
    assert "IDLE+DRAIN" in shown
    assert "bad GPU 3" in shown


def test_names_stand_side_by_side_and_none_is_left_out() -> None:
    names = [f"node-{i}" for i in range(100)]

    lines = in_columns(names, 40)

    assert text(lines).split() == names
    assert len(lines) < 50


def test_a_question_is_answered_by_nothing_but_what_it_asks_for() -> None:
    typed = Question(Confirmation.TYPE_NAME, "the run's name", "10t")
    assert [typed.press(key, key) for key in "10x"] == [None, None, None]
    assert typed.press("backspace", None) is None
    assert typed.press("t", "t") is None
    assert typed.press("enter", None) is True

    spaced = Question(Confirmation.TYPE_NAME, "the site's name", "hall 3 (north)")
    assert [spaced.press("space" if key == " " else key, key) for key in "hall 3 (north)"]
    assert spaced.press("enter", None) is True

    wrong = Question(Confirmation.TYPE_NAME, "the run's name", "10t")
    assert wrong.press("y", "y") is None
    assert wrong.press("enter", None) is None
    assert (wrong.wrong, wrong.typed) == (True, "")

    yes_no = Question(Confirmation.YES_NO)
    assert [yes_no.press(key, None) for key in ("enter", "Y", "n", "y")] == [
        None,
        None,
        False,
        True,
    ]


def test_no_screen_offers_one_key_twice() -> None:
    moves = {
        key
        for binding in Table.BINDINGS
        if isinstance(binding, Binding)
        for key in binding.key.split(",")
    }
    for scope in {scope for one in COMMANDS for scope in one.scope} - {"all", "replay"}:
        for replaying in (False, True):
            found = offered(scope, replaying=replaying)
            keys = [key for command in found for key in command.keys.split(",")]
            assert len(keys) == len(set(keys)), scope
            assert not moves & set(keys) - {"enter"}, scope
    assert all(command.help for command in COMMANDS)


def test_a_runs_name_gets_the_room_that_it_needs() -> None:
    def name_cells(cells: int, *names: str) -> int:
        columns = columns_for(cells, [Run(name) for name in names])
        assert sum(wide + 2 for _, wide in columns) + 2 <= cells
        assert {"state", "class", "run", "step", "alerts"} <= {one.name for one, _ in columns}
        return next(wide for one, wide in columns if one.name == "run")

    assert name_cells(80, "10t") == 12
    assert name_cells(80, "10t", "slurm-54664575") == 14
    assert name_cells(80, "x" * 63) == 18
    assert name_cells(200, "x" * 63) == 30


@given(st.integers(1, 999_999), st.sampled_from(["viewer", "operator"]), st.booleans())
def test_on_80_columns_what_is_wrong_is_in_the_header(nodes: int, role: str, linked: bool) -> None:
    site = Site(
        site_name="a",
        node_count=nodes,
        reporting_node_count=nodes,
        gpu_count=8 * nodes,
        reporting_gpu_count=8 * nodes,
        power_watts=9e8,
        power_basis="devices and hosts",
        power_node_count=nodes,
        age_seconds=75.0,
        open_incident_count=123,
        critical_incident_count=19,
    )
    view = View(Header(role=role), site=site)

    _, figures = header(view, Link(linked), "map", ASCII, 80)

    shown = "".join(text for text, _ in figures)[:80]
    assert (not linked) == ("hub lost" in shown)
    if linked:
        assert "age 1m15s" in shown
        assert "x 123 incidents, 19 critical" in shown
        assert (role == "viewer") == ("viewer: read-only" in shown)


def test_a_cap_and_costs_take_no_room_where_no_run_has_any() -> None:
    bare, capped = Run("a"), Run("b", power_cap_watts=600.0)

    def names(*runs: Run) -> set[str]:
        return {column.name for column, _ in columns_for(200, runs)}

    assert {"cap", "cost"}.isdisjoint(names(bare))
    assert names(bare, capped) == names(bare) | {"cap"}


@given(st.integers(20, 250))
def test_a_figure_of_the_header_is_whole_or_not_there(cells: int) -> None:
    site = Site(
        site_name="a",
        node_count=1_000,
        reporting_node_count=1_000,
        gpu_count=4_000,
        reporting_gpu_count=4_000,
        power_watts=3.57e6,
        power_basis="GPUs + CPUs",
        power_node_count=998,
        cpu_utilisation_ratio=0.21,
    )
    _, line = header(View(Header(), site=site), Link(True), "map", ASCII, cells)
    texts = [text.strip() for text, _ in line]

    whole = {
        "GPUs 4000/4000",
        "power 3.6 MW (GPUs + CPUs, 998/1000 nodes)",
        "power 3.6 MW (998/1000 nodes)",
        "CPU 21 %",
    }
    assert set(texts[2:]) <= whole  # after the nodes and what a viewer may do
    assert cells < 60 or len("".join(text for text, _ in line)) <= cells
    assert (cells >= 150) <= ("CPU 21 %" in texts)
