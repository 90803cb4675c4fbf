"""The site's rules by themselves: windows, matching, approvals, and every wrong field named."""

from __future__ import annotations

import contextlib
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.actions.rules import (
    DAYS,
    NAMES,
    RuleError,
    approvals_needed,
    forbids,
    parse,
)
from colossus_tui.model import PriorityClass, Run, Verb

NOON = dt.datetime(2026, 3, 4, 12, tzinfo=dt.UTC)  # a Wednesday


def window(text: str, **more: Any) -> Any:
    """Return a window as the settings give it."""
    (rule,) = parse([{"window": text, **more}])
    assert rule.window is not None
    return rule.window


def at(day: int, clock: str) -> dt.datetime:
    """Return a time of March 2026 in UTC; the 2nd is a Monday."""
    hour, minute = map(int, clock.split(":"))
    return dt.datetime(2026, 3, day, hour, minute, tzinfo=dt.UTC)


# --- windows ---------------------------------------------------------------------------------


def test_a_window_begins_with_its_first_minute_and_ends_before_its_last() -> None:
    night = window("02:00-04:30")

    assert [night.holds(at(4, clock)) for clock in ("01:59", "02:00", "04:29", "04:30")] == [
        *(False, True, True, False)
    ]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    friday = window("22:00-04:00", days=["fri"])

    assert friday.holds(at(6, "22:00"))  # Friday
    assert friday.holds(at(7, "03:59"))  # Saturday morning is still Friday's
    assert not friday.holds(at(7, "22:00"))
    assert not friday.holds(at(6, "03:59"))  # Friday morning is Thursday's
    assert not friday.holds(at(7, "04:00"))


def test_sunday_nights_window_reaches_into_monday() -> None:
    assert window("23:00-01:00", days=["sun"]).holds(at(2, "00:30"))


def test_a_window_is_of_its_own_time_zone_through_summer_time() -> None:
    berlin = window("02:00-04:00", timezone="Europe/Berlin")

    assert berlin.holds(dt.datetime(2026, 1, 7, 1, 30, tzinfo=dt.UTC))
    assert berlin.holds(dt.datetime(2026, 7, 8, 0, 30, tzinfo=dt.UTC))
    assert not berlin.holds(dt.datetime(2026, 7, 8, 2, 30, tzinfo=dt.UTC))


def test_the_day_is_that_of_the_windows_zone() -> None:
    tokyo = window("08:00-09:00", timezone="Asia/Tokyo", days=["thu"])

    assert tokyo.holds(at(4, "23:30"))  # Wednesday in UTC, Thursday in Tokyo


def test_a_window_says_itself_in_words() -> None:
    assert str(window("22:00-04:00", days=["sat", "fri"])) == "22:00-04:00 UTC fri, sat"
    assert str(window("22:00-04:00")) == "22:00-04:00 UTC"


minutes = st.integers(0, 24 * 60 - 1)


@given(
    minutes,
    minutes,
    st.datetimes(timezones=st.just(dt.UTC)),
    st.sets(st.sampled_from(DAYS), min_size=1),
)
def test_a_window_and_the_rest_of_the_day_never_hold_at_once(
    start: int, end: int, now: dt.datetime, days: set[str]
) -> None:
    if start == end:
        return
    first, last = (f"{at_ // 60:02}:{at_ % 60:02}" for at_ in (start, end))
    inside, outside = window(f"{first}-{last}"), window(f"{last}-{first}")

    assert inside.holds(now) != outside.holds(now)
    assert not window(f"{first}-{last}", days=sorted(days)).holds(now) or inside.holds(now)


# --- what a rule speaks of -------------------------------------------------------------------


def refusal(rule: dict[str, Any], run: Run | None = None, operator: str = "bob") -> str:
    """Return what a rule that only alice satisfies says to bob about pausing a run."""
    return forbids(
        parse([{"operators": ["alice"], **rule}]),
        Verb.PAUSE,
        run.run_id if run else "10t",
        run,
        operator,
        NOON,
    )


def test_a_rule_without_conditions_speaks_of_everything() -> None:
    assert refusal({}) == "only alice may do this"
    assert refusal({}, operator="alice") == ""
    assert refusal({"why": "the big one"}) == "only alice may do this (the big one)"


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({"runs": ["10t"]}, True),
        ({"runs": ["1*", "x"]}, True),
        ({"runs": ["10"]}, False),
        ({"runs": ["10T"]}, False),
        ({"classes": ["P0", "P1"]}, True),
        ({"classes": ["P2"]}, False),
        ({"verbs": ["pause"]}, True),
        ({"verbs": ["freeze", "stop"]}, False),
        ({"above_gpus": 7}, True),
        ({"above_gpus": 8}, False),
        ({"above_megawatts": 0.9}, True),
        ({"above_megawatts": 1.0}, False),
        ({"above_gpus": 8, "above_megawatts": 0.9}, True),
        ({"above_gpus": 7, "classes": ["P2"]}, False),
    ],
)
def test_a_rule_matches_by_run_class_verb_and_size(rule: dict[str, Any], matches: bool) -> None:
    run = Run("10t", priority_class=PriorityClass.P1, gpu_count=8, power_watts=1e6)

    assert bool(refusal(rule, run)) == matches


def test_power_that_nobody_measured_is_not_above_any_limit() -> None:
    assert refusal({"above_megawatts": 0.1}, Run("10t", power_watts=None)) == ""


def test_a_class_does_not_match_a_run_that_is_yet_to_begin() -> None:
    assert refusal({"classes": ["P2"]}) == ""


def test_every_rule_that_matches_must_hold() -> None:
    rules = parse(
        [{"operators": ["bob"]}, {"window": "01:00-02:00", "why": "nights"}, {"approvals": 2}]
    )

    why = forbids(rules, Verb.PAUSE, "10t", None, "bob", NOON)

    assert why == "it is allowed 01:00-02:00 UTC only (nights)"


def test_the_most_approvals_that_any_rule_wants_count() -> None:
    rules = parse([{"approvals": 2}, {"approvals": 3, "runs": ["10t"]}, {"operators": ["a"]}])

    assert approvals_needed(rules, Verb.STOP, "10t", None) == 3
    assert approvals_needed(rules, Verb.STOP, "1t", None) == 2
    assert approvals_needed((), Verb.STOP, "1t", None) == 0


# --- what is wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"operators": ["a"]}, "rules must be a list of tables"),
        (["a"], r"rules\[0\] must be a table"),
        (
            [{"approvals": 2}, {"operator": ["a"]}],
            r"rules\[1\].operator is no setting; known: runs",
        ),
        ([{}], r"rules\[0\] asks for nothing: give operators, window or approvals"),
        ([{"runs": ["x"]}], r"rules\[0\] asks for nothing"),
        ([{"operators": []}], r"rules\[0\].operators must be a list of texts"),
        ([{"operators": "alice"}], r"rules\[0\].operators must be a list of texts"),
        ([{"operators": ["a", ""]}], r"rules\[0\].operators must be a list of texts"),
        ([{"operators": ["a"], "runs": [1]}], r"rules\[0\].runs must be a list of texts"),
        ([{"operators": ["a"], "classes": ["P9"]}], r"rules\[0\].classes: 'P9' is none of P0, P1"),
        ([{"operators": ["a"], "verbs": ["kill"]}], r"rules\[0\].verbs: 'kill' is none of"),
        ([{"operators": ["a"], "above_gpus": -1}], r"rules\[0\].above_gpus must be a number"),
        ([{"operators": ["a"], "above_gpus": True}], r"rules\[0\].above_gpus must be a number"),
        ([{"operators": ["a"], "above_gpus": float("nan")}], r"rules\[0\].above_gpus must be a"),
        ([{"operators": ["a"], "above_gpus": float("inf")}], r"rules\[0\].above_gpus must be a"),
        ([{"operators": ["a"], "above_megawatts": "5"}], r"rules\[0\].above_megawatts must be"),
        ([{"approvals": 11}], r"rules\[0\].approvals must be 0 to 10"),
        ([{"approvals": "2"}], r"rules\[0\].approvals must be 0 to 10"),
        ([{"approvals": True}], r"rules\[0\].approvals must be 0 to 10"),
        ([{"window": "2-4"}], r"rules\[0\].window must be two times of day"),
        ([{"window": "24:00-04:00"}], r"rules\[0\].window must be two times of day"),
        ([{"window": "02:00-02:00"}], r"rules\[0\].window must be two times of day"),
        ([{"window": 2}], r"rules\[0\].window must be two times of day"),
        (
            [{"window": "02:00-04:00", "days": ["Monday"]}],
            r"rules\[0\].days: 'Monday' is none of mon",
        ),
        ([{"window": "02:00-04:00", "timezone": "Mars/X"}], r"rules\[0\].timezone 'Mars/X' is not"),
        ([{"window": "02:00-04:00", "timezone": "../x"}], r"rules\[0\].timezone '../x' is not"),
        ([{"window": "02:00-04:00", "timezone": ""}], r"rules\[0\].timezone '' is not known"),
        ([{"window": "02:00-04:00", "timezone": 1}], r"rules\[0\].timezone 1 is not known"),
        ([{"approvals": 2, "days": ["mon"]}], r"rules\[0\].window is missing"),
        ([{"approvals": 2, "timezone": "UTC"}], r"rules\[0\].window is missing"),
        ([{"approvals": 2, "why": 5}], r"rules\[0\].why must be a text"),
    ],
)
def test_a_wrong_field_is_named_with_its_remedy(tables: Any, words: str) -> None:
    with pytest.raises(RuleError, match=words):
        parse(tables)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    anything | st.lists(st.dictionaries(st.sampled_from(NAMES), anything, max_size=4), max_size=2)
)
def test_whatever_stands_there_is_read_or_refused(tables: Any) -> None:
    with contextlib.suppress(RuleError):
        parse(tables)
