"""The life of an incident: it waits, opens, clears, closes, comes back; one of each cause."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colossus_tui.hub.incidents.book import (
    REOPEN_SECONDS,
    Book,
    ClosedIncidentError,
    UnknownIncidentError,
)
from colossus_tui.hub.incidents.findings import Finding, Key, spot_of
from colossus_tui.hub.incidents.rules import EXPLAINED_BY, RULES
from colossus_tui.model import Incident, IncidentState, Severity
from tests.incidents.findings import BEGAN, KINDS, Night, finding, node, rack, run

C = Severity.CRITICAL


def test_what_is_so_for_less_than_its_time_is_no_incident() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN)
    night.pass_time(night.after("node.lost") - 1, lost)
    night.pass_time(300)

    assert night.book.all() == []
    assert night.events == []


def test_an_incident_opens_clears_and_closes_in_its_time() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN, severity=C)
    night.pass_time(night.after("node.lost"), lost)
    assert night.only().state is IncidentState.OPEN
    assert night.only().first_seen_unix_ns == BEGAN * 1e9
    night.pass_time(night.clear("node.lost") - 1)
    assert night.only().state is IncidentState.CLEARING
    night.pass_time(1)

    assert night.live == []
    (closed,) = night.book.all()
    assert closed.closed_time_unix_ns == night.now * 1e9
    assert [note.text for note in closed.notes] == ["opened", "over"]
    assert [event.kind for event in night.events] == ["incident.opened", "incident.closed"]
    assert [event.severity for event in night.events] == [C, Severity.INFO]


def test_a_flapping_node_is_one_incident_with_a_count() -> None:
    night = Night()
    for _ in range(10):
        lost = finding("node.lost", node("n1"), night.now - 60)
        night.pass_time(30, lost)
        night.pass_time(night.clear("node.lost") + 60)  # long enough to close

    (one,) = night.book.all()
    assert one.flap_count == 9
    kinds = Counter(event.kind for event in night.events)
    assert kinds["incident.opened"] == kinds["incident.back"] == 1  # the others are counted


def test_what_comes_back_after_long_is_another_incident() -> None:
    night = Night()
    for _ in range(2):
        night.pass_time(5, finding("node.lost", node("n1"), night.now - 60))
        night.pass_time(REOPEN_SECONDS + night.clear("node.lost") + 1)

    assert [one.flap_count for one in night.book.all()] == [0, 0]


def test_a_rack_takes_in_its_nodes_incidents() -> None:
    night = Night()
    early = finding("node.lost", node("n1"), BEGAN - 60)
    night.pass_time(2, early)
    single = night.only().incident_id
    whole = finding("node.lost", rack(), night.now, members=18)
    night.pass_time(night.after("node.lost") - 1, whole)
    assert night.only().incident_id == single  # it neither clears nor goes while the rack waits
    night.pass_time(1, whole)

    assert night.only().peak_member_count == 18
    closed = night.book.get(single)
    assert closed is not None
    assert closed.merged_into == night.only().incident_id
    assert f"incident {single} is a part of it" in [note.text for note in night.only().notes]


def test_the_most_that_there_were_stays_in_the_title() -> None:
    night = Night()
    night.pass_time(2, finding("node.lost", rack(), BEGAN - 60, members=18))
    night.pass_time(2, finding("node.lost", rack(), BEGAN - 60, members=3))

    one = night.only()
    assert (one.member_count, one.peak_member_count, len(one.members)) == (3, 18, 18)
    assert one.title == "node.lost 18"


def test_what_a_run_suffers_from_a_lost_rack_is_its_effect() -> None:
    night = Night()
    lost = finding("node.lost", rack(), BEGAN, members=18, runs=["10t"], severity=C)
    hang = finding("run.collective_hang", run("10t"), BEGAN + 50, severity=C)
    other = finding("run.collective_hang", run("6t"), BEGAN + 50)
    night.pass_time(70, lost, hang, other)

    run_one, rack_one = night.live
    assert (rack_one.kind, [effect.run_id for effect in rack_one.effects]) == ("node.lost", ["10t"])
    assert (run_one.kind, run_one.run_id) == ("run.collective_hang", "6t")


def test_an_effect_holds_its_cause_open_until_it_is_gone() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN, runs=["10t"])
    hang = finding("run.hang", run("10t"), BEGAN + 30, severity=C)
    night.pass_time(70, lost, hang)
    night.pass_time(500, hang)
    assert night.only().state is IncidentState.OPEN
    assert (night.only().severity, night.only().member_count) == (C, 0)
    night.pass_time(night.clear("node.lost") + 1)

    assert night.live == []


def test_an_incident_of_a_run_joins_its_cause_when_that_is_seen() -> None:
    night = Night()
    hang = finding("run.collective_hang", run("10t"), BEGAN, severity=C)
    night.pass_time(10, hang)
    late = finding("node.lost", node("n1"), BEGAN + 5, runs=["10t"])
    night.pass_time(100, hang, late)

    assert night.only().kind == "node.lost"
    assert [one.merged_into for one in night.book.all() if one.is_closed] == [2]


def test_an_old_incident_explains_nothing_that_begins_much_later() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN, runs=["10t"])
    night.pass_time(2_000, lost)
    hang = finding("run.collective_hang", run("10t"), night.now, severity=C)
    night.pass_time(20, lost, hang)

    assert [one.kind for one in night.live] == ["node.lost", "run.collective_hang"]


def test_what_waits_for_its_cause_is_not_told_before() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN, runs=["10t"])
    hang = finding("run.collective_hang", run("10t"), BEGAN + 1)
    night.pass_time(night.after("node.lost") - 1, lost, hang)

    assert night.book.all() == []


@pytest.mark.parametrize("kind", sorted(EXPLAINED_BY))
def test_no_kind_explains_itself_through_others(kind: str) -> None:
    order = list(RULES)
    assert all(order.index(cause) < order.index(kind) for cause in EXPLAINED_BY[kind])


def test_an_acknowledged_incident_counts_no_more_until_it_is_worse() -> None:
    night = Night()
    limit = finding("power.limit", rack(), BEGAN)
    night.pass_time(31, limit)
    assert night.book.counts(night.now) == (1, 0)
    night.book.acknowledge(1, "ada", night.now)
    night.pass_time(5, limit)
    assert night.book.counts(night.now) == (0, 0)
    assert night.only().acknowledged_by == "ada"
    night.pass_time(1, finding("power.limit", rack(), BEGAN, severity=C))

    assert night.book.counts(night.now) == (1, 1)
    assert night.only().acknowledged_by == ""
    assert "worse than when ada acknowledged it" in night.only().notes[-1].text


def test_a_severity_falls_only_when_that_has_lasted() -> None:
    night = Night()
    night.pass_time(31, finding("power.limit", rack(), BEGAN, severity=C))
    mild = finding("power.limit", rack(), BEGAN)
    night.pass_time(night.clear("power.limit") - 1, mild)
    assert night.only().severity is C
    night.pass_time(1, mild)

    assert night.only().severity is Severity.WARNING


def test_a_silenced_incident_counts_nowhere_also_when_it_comes_back() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN - 60, severity=C)
    night.pass_time(1, lost)
    night.book.silence(1, "ada", 3_600, night.now)
    assert night.book.counts(night.now) == (0, 0)
    night.pass_time(night.clear("node.lost") + 1)
    assert night.live == []
    night.pass_time(2, lost)
    assert night.book.counts(night.now) == (0, 0)
    night.now += 3_600
    night.pass_time(1, lost)

    assert night.book.counts(night.now) == (1, 1)
    night.book.silence(1, "ada", 60, night.now)
    night.book.silence(1, "bob", 0, night.now)
    assert night.book.counts(night.now) == (1, 1)


def test_a_failed_run_is_over_as_an_incident_when_somebody_has_seen_it() -> None:
    night = Night()
    failed = finding("run.failed", run("10t"), BEGAN, severity=C)
    night.pass_time(10, failed)
    night.book.acknowledge(1, "ada", night.now)
    night.pass_time(5_000, failed)
    assert night.live == []
    night.pass_time(10, finding("run.failed", run("10t"), night.now, severity=C))  # a new end

    assert night.only().incident_id == 2
    night.book.acknowledge(2, "ada", night.now)
    night.pass_time(60)
    night.pass_time(10, finding("run.failed", run("10t"), night.now, severity=C))
    assert (night.only().incident_id, night.only().flap_count) == (2, 1)
    assert night.book.counts(night.now) == (1, 1)


def test_nothing_is_said_of_what_is_over_or_never_was() -> None:
    night = Night()
    night.pass_time(1, finding("node.lost", node("n1"), BEGAN - 60))
    night.pass_time(500)

    with pytest.raises(ClosedIncidentError, match="incident 1: it is over"):
        night.book.acknowledge(1, "ada", night.now)
    with pytest.raises(UnknownIncidentError):
        night.book.silence(7, "ada", 60, night.now)


def test_what_nothing_can_be_known_of_stays_as_it_is() -> None:
    night = Night()
    lost = finding("node.lost", rack(), BEGAN - 60, members=18)
    night.pass_time(1, lost)
    before = night.only()
    night.pass_time(3_000, unheard=[("node.lost", rack())])

    assert night.only().state is IncidentState.OPEN
    assert night.only().member_count == before.member_count == 18


def test_a_book_goes_on_where_it_was_after_a_restart() -> None:
    night = Night()
    lost = finding("node.lost", node("n1"), BEGAN - 60)
    old = finding("run.xid", run("6t"), BEGAN - 60)
    night.pass_time(2, lost, old)
    night.book.acknowledge(1, "ada", night.now)
    night.pass_time(night.clear("run.xid") + 1, lost)

    again = Night(known=night.book.all())
    assert again.book.all() == night.book.all()
    again.now = night.now
    again.pass_time(5, lost)
    assert (again.only().incident_id, again.only().acknowledged_by) == (1, "ada")
    again.pass_time(70, lost, finding("run.straggler", run("10t"), again.now))
    assert again.live[-1].incident_id == 3  # no number is given twice


def test_a_kind_that_is_off_makes_none_and_a_severity_of_the_settings_holds() -> None:
    night = Night({"run.xid": {"enabled": False}, "node.lost": {"severity": "warning"}})
    night.pass_time(
        100,
        finding("run.xid", run("6t"), BEGAN - 60),
        finding("node.lost", node("n1"), BEGAN - 60, severity=C),
    )

    assert (night.only().kind, night.only().severity) == ("node.lost", Severity.WARNING)


def test_the_log_of_an_incident_is_bounded() -> None:
    night = Night({"node.lost": {"after": 0, "clear": 100}})
    lost = finding("node.lost", node("n1"), BEGAN - 60)
    for _ in range(200):
        night.pass_time(1, lost)
        night.pass_time(1)

    assert len(night.only().notes) == 64
    assert night.only().notes[0].text == "opened"


# --- for anything that may be so -----------------------------------------------------------

SPOTS = (node("n1"), node("n2"), rack(), node("n3", "B", "r2"), rack("r2", "B"))
RUNS = ("10t", "6t")
QUICK: dict[str, object] = {kind: {"after": 3, "clear": 4} for kind in KINDS if kind != "run.ettr"}


@st.composite
def nights(draw: st.DrawFn) -> list[list[tuple[str, int, bool]]]:
    """Return what is so in each tick: kind, place or run, and whether it is critical."""
    one = st.tuples(st.sampled_from(KINDS), st.integers(0, 4), st.booleans())
    spell = st.tuples(st.lists(one, max_size=5), st.integers(1, 8))
    return [found for found, ticks in draw(st.lists(spell, max_size=12)) for _ in range(ticks)]


def _findings(
    found: list[tuple[str, int, bool]], since: dict[Key, float], now: float
) -> list[Finding]:
    made: dict[Key, Finding] = {}
    for kind, number, is_critical in found:
        spot = run(RUNS[number % 2]) if kind.startswith("run.") else SPOTS[number]
        runs = () if kind.startswith("run.") else RUNS[: number % 3]
        severity = C if is_critical else Severity.WARNING
        begun = since.get((kind, spot), now)
        made[kind, spot] = finding(kind, spot, begun, severity=severity, runs=runs)
    since.clear()
    since.update({key: one.since for key, one in made.items()})
    # As grouping gives them: nothing twice, in a rack and on its own.
    return [
        one
        for key, one in made.items()
        if not any(
            other[0] == key[0] and other[1] != key[1] and other[1].covers(key[1]) for other in made
        )
    ]


@given(nights())
@settings(deadline=None)
def test_every_condition_is_in_exactly_one_incident_or_waits(
    ticks: list[list[tuple[str, int, bool]]],
) -> None:
    night, since = Night(QUICK), dict[Key, float]()
    seen: dict[int, Incident] = {}
    for found in ticks:
        now = night.now + 1
        given_now = _findings(found, since, now)
        night.pass_time(1, *given_now)
        _check_places(night.book, given_now, night)
        _check_lives(night, seen)


def _check_places(book: Book, found: list[Finding], night: Night) -> None:
    for one in found:
        if night.config.rule(one.kind) is None:
            continue
        own = [i for i in book.live() if (i.kind, spot_of(i)) == one.key and i.member_count]
        effects = [
            effect
            for incident in book.live()
            for effect in incident.effects
            if (effect.kind, effect.run_id) == (one.kind, one.spot.run_id) and effect.run_id
        ]
        places = len(own) + len(effects)
        waits = night.now - one.since < night.after(one.kind) + 3  # its own, and its cause's
        assert places == 1 or (places == 0 and waits)


def _check_lives(night: Night, seen: dict[int, Incident]) -> None:
    numbers = [one.incident_id for one in night.book.all()]
    assert len(numbers) == len(set(numbers))
    keys = [(one.kind, spot_of(one)) for one in night.book.live()]
    assert len(keys) == len(set(keys))
    count, critical = night.book.counts(night.now)
    assert critical <= count <= len(keys)
    for one in night.book.all():
        before = seen.get(one.incident_id)
        if before is not None and one.is_closed and not before.is_closed and not one.merged_into:
            quiet = night.now - before.last_seen_unix_ns / 1e9
            assert quiet >= night.clear(one.kind)  # closing needs clear time
        seen[one.incident_id] = one


@given(
    st.lists(st.sampled_from(KINDS), max_size=30),
    st.integers(0, 100),
)
def test_noise_that_is_shorter_than_its_rules_pages_nobody(kinds: list[str], seed: int) -> None:
    night = Night()
    for number, kind in enumerate(kinds):
        spot = run("10t") if kind.startswith("run.") else SPOTS[(number + seed) % len(SPOTS)]
        begun = finding(kind, spot, night.now)
        night.pass_time(min(night.after(kind), 60) - 1, begun)
        night.pass_time(1)

    assert night.book.all() == []
    assert night.events == []
