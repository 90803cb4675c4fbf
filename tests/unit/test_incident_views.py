"""Incidents and the timeline as rows and lines: any width, any words, one clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.model import (
    Action,
    ActionState,
    AffectedRun,
    Event,
    Incident,
    IncidentEffect,
    IncidentNote,
    IncidentState,
    NextStep,
    Series,
    Severity,
    Site,
    Timeline,
    Verb,
    by_weight,
)
from colossus_tui.text import show_as_of, width
from colossus_tui.tui.theme import ASCII, UNICODE
from colossus_tui.tui.views import GAP, LEFT, Line
from colossus_tui.tui.views.incidents import (
    beside_lines,
    header_spans,
    incident_cells,
    incident_columns,
    incident_lines,
    note_lines,
    state_span,
    step_text,
)
from colossus_tui.tui.views.timeline import (
    LANE_CELLS,
    LEAST_SECONDS,
    MOST_SECONDS,
    SPAN_SECONDS,
    Window,
    entries,
    entry_lines,
    lane_lines,
)

NOW = 1_790_000_000 * 10**9
HOSTILE = "\x1b[2J\x1b]0;owned\x07[bold red]boo[/]\r\n\u202e" + "宽" * 300


@pytest.fixture(autouse=True)
def _now() -> object:
    show_as_of(NOW)
    yield
    show_as_of(None)


def ago(seconds: float) -> int:
    return NOW - int(seconds * 1e9)


def incident(number: int = 17, **more: object) -> Incident:
    known = Incident(
        number,
        "node.lost",
        Severity.CRITICAL,
        title="rack h/r1: 18 nodes lost (72 GPUs)",
        reason="no frame comes from 18 of its 18 nodes",
        hall="h",
        rack="r1",
        first_seen_unix_ns=ago(190),
        last_seen_unix_ns=NOW,
        member_count=18,
        peak_member_count=18,
        node_count=18,
        members=tuple(f"n{node}" for node in range(18)),
        runs=(AffectedRun("10t", 72, "0-71"),),
        run_count=1,
        next_step=NextStep(screen="map", subject="h/r1"),
    )
    return replace(known, **more)  # type: ignore[arg-type]


def text_of(lines: list[Line]) -> str:
    return "\n".join("".join(text for text, _ in line) for line in lines)


@pytest.mark.parametrize("cells", [40, 80, 120, 200])
def test_the_columns_fill_the_screen_and_no_more(cells: int) -> None:
    columns = incident_columns(cells)
    used = LEFT + sum(wide + GAP for _, wide, _ in columns)

    assert [head for head, _, _ in columns][:2] == ["SEVERITY", "WHAT"]
    assert used == max(cells, 60) or (cells == 40 and used <= 60)
    assert {head for head, _, _ in columns} <= set(incident_cells(incident(), UNICODE))


def test_the_header_counts_in_words_with_the_worst_glyph() -> None:
    def said(count: int, critical: int) -> str:
        site = Site(open_incident_count=count, critical_incident_count=critical)
        return "".join(text for text, _ in header_spans(site, ASCII)).strip()

    assert said(0, 0) == ""
    assert said(1, 0) == "! 1 incident"
    assert said(2, 1) == "x 2 incidents, 1 critical"


def test_a_state_is_a_word_with_who_and_how_long() -> None:
    def said(one: Incident) -> str:
        return state_span(one)[0]

    assert said(incident()) == "open"
    assert said(incident(flap_count=3)) == "open, 3x back"
    assert said(incident(state=IncidentState.CLEARING)) == "clearing"
    assert said(incident(acknowledged_by="ada")) == "ack by ada"
    silenced = incident(acknowledged_by="ada", silenced_until_unix_ns=NOW + 2_390 * 10**9)
    assert said(silenced) == "silenced 40m"
    assert said(incident(silenced_until_unix_ns=ago(1))) == "open"
    assert said(incident(state=IncidentState.CLOSED, merged_into=18)) == "part of 18"


@pytest.mark.parametrize(
    ("step", "shown"),
    [
        (NextStep(Verb.DRAIN, subject="n17"), "D drain n17"),
        (NextStep(Verb.CHECKPOINT, subject="10t"), "c checkpoint 10t"),
        (NextStep(Verb.RESUME, subject="10t"), "r resume 10t"),
        (NextStep(Verb.STOP, subject="10t"), "S stop 10t"),
        (NextStep(screen="map", subject="h/r1"), "m map h/r1"),
        (NextStep(screen="timeline", subject="10t"), "t timeline 10t"),
        (NextStep(screen="power"), "w power"),
        (NextStep(screen="nowhere"), ""),
        (None, ""),
    ],
)
def test_the_next_step_is_a_key(step: NextStep | None, shown: str) -> None:
    assert step_text(step) == shown


def test_what_waits_comes_first_and_in_one_order_always() -> None:
    ones = [
        incident(1, acknowledged_by="ada"),
        incident(2, severity=Severity.WARNING),
        incident(3),
        incident(4),
        incident(5, state=IncidentState.CLOSED, closed_time_unix_ns=ago(10)),
        incident(6, state=IncidentState.CLOSED, closed_time_unix_ns=ago(5)),
    ]
    ordered = sorted(ones, key=lambda one: by_weight(one, NOW))

    assert [one.incident_id for one in ordered] == [3, 4, 2, 1, 6, 5]


def test_an_incident_in_full_has_what_its_rules_promise() -> None:
    one = incident(
        effects=(IncidentEffect("run.hang", "10t", "no step for 130 s", Severity.CRITICAL),),
        notes=(IncidentNote(ago(180), "ada", "acknowledged"),),
    )
    text = text_of([*incident_lines(one, "", 78, UNICODE), *note_lines(one, 78)])

    for piece in (
        "✗ critical: rack h/r1: 18 nodes lost (72 GPUs)",
        "next step:  m map h/r1",
        "3m10s ago",
        "18 of 18 nodes now",
        "WHAT FOLLOWS FROM IT",
        "no step for 130 s",
        "RUNS AFFECTED (1)",
        "72 ranks: 0-71",
        "MEMBERS (18 at most, 18 now)",
        "n17",
        "ada: acknowledged",
    ):
        assert piece in text


@pytest.mark.parametrize("cells", [16, 80, 120, 200])
def test_hostile_words_are_harmless_and_no_line_is_too_wide(cells: int) -> None:
    one = incident(
        title=HOSTILE,
        reason=HOSTILE,
        members=(HOSTILE,),
        runs=(AffectedRun(HOSTILE, 1, HOSTILE),),
        effects=(IncidentEffect("x", HOSTILE, HOSTILE),),
        notes=(IncidentNote(NOW, HOSTILE, HOSTILE),),
        next_step=NextStep(Verb.DRAIN, subject=HOSTILE),
        acknowledged_by=HOSTILE,
        silenced_by=HOSTILE,
        silenced_until_unix_ns=NOW + 10**12,
    )
    event = Event(1, ago(5), Severity.CRITICAL, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    action = Action("a", Verb.PAUSE, HOSTILE, ActionState.FAILED, detail=HOSTILE, operator=HOSTILE)
    action = replace(action, requested_time_unix_ns=ago(50), updated_time_unix_ns=ago(40))
    timeline = Timeline("", ago(100), NOW, (event,), 3, (action,), (one,))
    lines = [
        *incident_lines(one, HOSTILE, cells, UNICODE),
        *beside_lines(one, HOSTILE, 9, cells),
        *note_lines(one, cells),
        *lane_lines(timeline, cells, UNICODE, ago(5)),
        *[line for entry in entries(timeline, UNICODE) for line in entry_lines(entry, cells, 9)],
    ]
    cells_of = [text for text, _ in incident_cells(one, UNICODE).values()]

    for text in [*text_of(lines).split("\n"), *cells_of]:
        assert text.isprintable()
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    for line in lane_lines(timeline, cells, UNICODE, ago(5)):
        assert sum(width(text) for text, _ in line) <= max(cells, LANE_CELLS + 8)


# --- the timeline --------------------------------------------------------------------------


def timeline() -> Timeline:
    action = Action("a1", Verb.PAUSE, "10t", ActionState.OBSERVED, detail="saved", operator="ada")
    return Timeline(
        "10t",
        ago(100),
        NOW,
        (
            Event(2, ago(1), Severity.CRITICAL, "gpu.xid", "XID 79", "n1", gpu_index=2),
            Event(1, ago(99), Severity.INFO, "run.running", "runs", run_id="10t"),
        ),
        0,
        (replace(action, requested_time_unix_ns=ago(60), updated_time_unix_ns=ago(40)),),
        (incident(3, first_seen_unix_ns=ago(500)),),
        Series(
            "step_seconds", "s", tuple(ago(s) for s in (90, 50, 10)), (1, 2, 3), (1.0, 1.0, 9.0)
        ),
    )


def test_everything_is_on_one_clock() -> None:
    cells = LANE_CELLS + 100  # a second a cell
    lines = [
        "".join(text for text, _ in line)[LANE_CELLS:]
        for line in lane_lines(timeline(), cells, UNICODE, ago(60))
    ]
    by_label = {
        "".join(text for text, _ in line)[:LANE_CELLS].strip(): row
        for line, row in zip(lane_lines(timeline(), cells, UNICODE, ago(60)), lines, strict=True)
    }

    assert by_label["xids"].index("✗") == 99
    assert by_label["runs"].index("·") == 1
    assert by_label["pause 10t"].index("✓") == 40
    assert by_label["pause 10t"].rstrip().rindex("-") == 60
    assert by_label["no. 3"].startswith("<✗-")
    assert by_label["no. 3"].rstrip().endswith("-")
    assert by_label["clock"].index("^") == 40
    assert {len(row) for row in by_label.values() if row} == {100}


@pytest.mark.parametrize("most", range(4, 30))
def test_the_lanes_keep_to_their_room_and_the_clock_is_always_there(most: int) -> None:
    many = replace(
        timeline(),
        incidents=tuple(incident(number) for number in range(20)),
        actions=tuple(replace(timeline().actions[0], action_id=str(n)) for n in range(20)),
    )
    lines = lane_lines(many, 100, ASCII, None, most)

    assert len(lines) <= most
    assert "clock" in text_of(lines[-1:])


def test_without_anything_it_says_so() -> None:
    text = text_of(lane_lines(Timeline("", ago(9), NOW), 80, ASCII))

    assert "nothing happened" in text


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("zoom"), st.sampled_from([0.5, 2.0])),
        st.tuples(st.just("pan"), st.floats(-2, 2)),
    ),
    max_size=40,
)


@given(STEPS, st.floats(0, 1))
def test_a_window_keeps_its_instant_and_never_shows_what_is_to_come(
    steps: list[tuple[str, float]], share: float
) -> None:
    window = Window()
    for what, by in steps:
        since, until = window.bounds(NOW)
        around = since + int((until - since) * share)
        window = window.panned(by, NOW) if what == "pan" else window.zoomed(by, around, NOW)
        begin, end = window.bounds(NOW)
        assert end <= NOW
        assert LEAST_SECONDS <= window.seconds <= MOST_SECONDS
        assert begin < end
        if what == "zoom" and end < NOW:  # it was not pushed back by now
            assert begin - 2 <= around <= end + 2
    assert Window().seconds == SPAN_SECONDS
