"""Values of points: the newest counts, what cannot be taken is counted, sums need all parts."""

from __future__ import annotations

import pytest

from colossus_tui.hub.facility.loops import LoopConfig, Loops
from colossus_tui.hub.facility.payload import Reading
from colossus_tui.hub.facility.points import (
    Point,
    Points,
    Quantity,
    Subject,
    SubjectKind,
    point,
    usual,
)
from colossus_tui.hub.facility.values import FUTURE_SECONDS, STALE_SECONDS, Values
from colossus_tui.model import Measured, Quality, Severity

NOW = 1_800_000_000.0
PREFIX = "colossus/facility"
FEED = Subject(SubjectKind.FEED, "A")


class Stand:
    """Values on a clock that a test turns."""

    def __init__(self, *configured: Point) -> None:
        self.now = NOW
        self.values = Values(Points(configured, PREFIX), lambda: self.now)

    def take(self, topic: str, text: str, *, retained: bool = False) -> bool:
        return self.values.take(topic, text.encode(), retained=retained)

    def power(self, subject: Subject = FEED) -> Measured | None:
        return self.values.measured(subject, Quantity.POWER)

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.values.tick()

    @property
    def faults(self) -> dict[str, int]:
        return {fault.kind: fault.count for fault in self.values.faults()}


@pytest.mark.parametrize(
    ("topic", "of", "quantity", "unit"),
    [
        ("site/power", "site", "power", "W"),
        ("feed/A/power", "feed:A", "power", "W"),
        ("feed/A/power/kW", "feed:A", "power", "kW"),
        ("hall/B 2/power/MW", "hall:B 2", "power", "MW"),
        ("rack/B/r1/power", "rack:B/r1", "power", "W"),
        ("loop/1/flow/l/min", "loop:1", "flow", "l/min"),
        ("loop/1/supply_temperature/F", "loop:1", "supply_temperature", "F"),
        ("loop/1/leak", "loop:1", "leak", ""),
    ],
)
def test_the_usual_layout_says_what_a_topic_is_of(
    topic: str, of: str, quantity: str, unit: str
) -> None:
    found = usual(f"{PREFIX}/{topic}", PREFIX)

    assert found is not None
    assert (str(found.subject), found.quantity, found.unit) == (of, quantity, unit)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "site",
        "site/power/W/x",
        "feed/power",
        "feed//power",
        "feed/A/flow",
        "loop/1/power",
        "pump/1/power",
        "rack/r1/power",
        "loop/1/flow/l",
        "feed/A/power/kw",
        "power",
        "hall/" + "x" * 65 + "/power",
    ],
)
def test_any_other_topic_is_of_nothing(topic: str) -> None:
    assert usual(f"{PREFIX}/{topic}", PREFIX) is None
    assert usual(f"other/{topic}", PREFIX) is None


@pytest.mark.parametrize(
    ("quantity", "unit", "value", "kept"),
    [
        ("power", "MW", 4.4, 4.4e6),
        ("flow", "l/min", 6_000.0, 0.1),
        ("flow", "m3/h", 3_600.0, 1.0),
        ("flow", "gpm", 1_000.0, 0.0630902),
        ("supply_temperature", "F", 95.0, 35.0),
        ("return_temperature", "K", 300.0, 26.85),
    ],
)
def test_units_are_converted(quantity: str, unit: str, value: float, kept: float) -> None:
    of = "feed:A" if quantity == "power" else "loop:1"

    assert point("t", of, quantity, unit).kept(value) == pytest.approx(kept, rel=1e-5)


def test_a_value_is_kept_with_its_age_and_quality() -> None:
    stand = Stand()

    assert stand.take(f"{PREFIX}/feed/A/power/kW", '{"value": 4400, "timestamp": 1799999990}')
    assert stand.power() == Measured(4.4e6, Quality.GOOD, 10.0)
    stand.take(f"{PREFIX}/feed/A/power/kW", '{"value": 4500, "quality": "bad"}')
    assert stand.power() == Measured(4.5e6, Quality.BAD, 0.0)
    assert stand.faults == {}


def test_what_is_older_than_200_s_is_stale_whatever_its_source_said() -> None:
    stand = Stand()
    stand.take(f"{PREFIX}/feed/A/power", "5")
    stand.now += STALE_SECONDS

    assert stand.power() == Measured(5.0, Quality.GOOD, STALE_SECONDS)
    stand.now += 1
    assert stand.power() == Measured(5.0, Quality.STALE, STALE_SECONDS + 1)


def test_what_cannot_be_taken_is_counted_by_kind_with_the_last_in_full() -> None:
    stand = Stand()
    topic = f"{PREFIX}/feed/A/power"
    stand.take(topic, '{"value": 5, "timestamp": 1800000000}')

    for text in (
        "x",
        "[1]",
        "1e12",
        '{"value": 6, "timestamp": 1800000031}',
        '{"value": 6, "timestamp": 1799999999}',
        '{"value": 6, "quality": "?"}',
    ):
        assert not stand.take(topic, text)
    assert not stand.take(f"{PREFIX}/pump/1/power", "5")
    assert not stand.take(topic, "6", retained=True)

    assert stand.power() == Measured(5.0, Quality.GOOD, 0.0)
    assert stand.faults == {
        "retained": 1, "no_point": 1, "quality": 1, "out_of_order": 1, "from_the_future": 1,
        "implausible": 1, "no_value": 1, "not_json": 1,
    }  # fmt: skip
    newest = stand.values.faults()[0]
    assert (newest.source, newest.time_unix_ns) == (topic, int(NOW * 1e9))


def test_a_retained_value_that_says_its_age_is_taken() -> None:
    stand = Stand()

    old = '{"value": 5, "timestamp": 1799999000}'

    assert stand.take(f"{PREFIX}/feed/A/power", old, retained=True)
    assert stand.power() == Measured(5.0, Quality.STALE, 1_000.0)


@pytest.mark.parametrize("stamp", ["", ', "timestamp": 1799996400'])
def test_a_clock_that_was_set_back_makes_the_value_stale_until_the_next(stamp: str) -> None:
    stand = Stand()
    topic = f"{PREFIX}/feed/A/power"
    stand.take(topic, "5")
    stand.now -= 3_600

    assert stand.power() == Measured(5.0, Quality.STALE, 0.0)
    assert stand.take(topic, f'{{"value": 6{stamp}}}')
    assert stand.power() == Measured(6.0, Quality.GOOD, 0.0)
    assert stand.faults == {}


def test_a_source_may_be_a_little_ahead_and_is_in_order_still() -> None:
    stand = Stand()
    topic = f"{PREFIX}/feed/A/power"
    stand.take(topic, f'{{"value": 5, "timestamp": {NOW + FUTURE_SECONDS}}}')

    assert stand.power() == Measured(5.0, Quality.GOOD, 0.0)
    assert not stand.take(topic, "6")
    assert stand.faults == {"out_of_order": 1}


def test_a_sum_is_stale_where_one_of_its_points_is_too_far_ahead() -> None:
    stand = Stand(point("pdu/1", "feed:A", "power", "W"), point("pdu/2", "feed:A", "power", "W"))
    stand.take("pdu/1", "10")
    stand.take("pdu/2", "20")
    stand.now -= 3_600
    stand.take("pdu/1", "11")

    assert stand.power() == Measured(31.0, Quality.STALE, 0.0)


def test_hostile_topics_are_harmless_in_a_fault() -> None:
    stand = Stand()
    stand.take("x/\x1b[2J\u202e" + "y" * 500, "1")

    assert stand.values.faults()[0].source.isprintable()
    assert len(stand.values.faults()[0].source) <= 128


def test_points_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colossus_tui.hub.facility.points.POINT_LIMIT", 3)
    stand = Stand()

    taken = [stand.take(f"{PREFIX}/feed/{number}/power", "1") for number in range(5)]

    assert taken == [True, True, True, False, False]
    assert stand.faults == {"no_point": 2}
    assert stand.take(f"{PREFIX}/feed/2/power", "2")


def test_what_is_listed_whole_is_bounded_more_tightly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("colossus_tui.hub.facility.points.HEARD_LIMIT", 2)
    stand = Stand()

    feeds = [stand.take(f"{PREFIX}/feed/{number}/power", "1") for number in range(3)]
    racks = [stand.take(f"{PREFIX}/rack/h/{number}/power", "1") for number in range(3)]
    loops = [stand.take(f"{PREFIX}/loop/1/{name}", "1") for name in ("flow", "leak")]

    assert (feeds, racks, loops) == ([True, True, False], [True] * 3, [True] * 2)
    assert stand.values.faults()[0].detail == "more than 2 feeds"


def test_several_points_of_the_settings_add_up_once_all_have_told() -> None:
    stand = Stand(point("pdu/1", "feed:A", "power", "kW"), point("pdu/2", "feed:A", "power", "kW"))

    stand.take("pdu/1", "10")
    assert stand.power() is None
    stand.now += 5
    stand.take("pdu/2", '{"value": 5, "quality": "uncertain"}')
    assert stand.power() == Measured(15e3, Quality.UNCERTAIN, 5.0)
    assert not stand.take(f"{PREFIX}/feed/A/power", "99")  # would be counted twice
    assert stand.power() == Measured(15e3, Quality.UNCERTAIN, 5.0)
    assert stand.faults == {"no_point": 1}


def test_changes_are_between_values_so_far_apart() -> None:
    stand = Stand()
    topic = f"{PREFIX}/feed/A/power"
    for second in range(61):
        stand.take(topic, str(1_000 + second * 10))
        stand.tick()

    assert stand.values.change(FEED, Quantity.POWER, 1) == 10.0
    assert stand.values.change(FEED, Quantity.POWER, 60) == 600.0
    assert stand.values.change(Subject(SubjectKind.FEED, "B"), Quantity.POWER, 1) is None


def test_a_slow_or_bad_sensor_has_no_change_over_a_second() -> None:
    stand = Stand()
    topic = f"{PREFIX}/feed/A/power"
    for second in range(61):
        if second % 10 == 0:
            stand.take(topic, str(1_000 + second))
        stand.tick()

    assert stand.values.change(FEED, Quantity.POWER, 1) is None
    assert stand.values.change(FEED, Quantity.POWER, 60) == 60.0
    stand.take(topic, '{"value": 5, "quality": "bad"}')
    stand.tick()
    assert stand.values.change(FEED, Quantity.POWER, 60) is None


def loops(stand: Stand, *configured: LoopConfig) -> Loops:
    return Loops(configured, stand.values)


def tell_loop(stand: Stand, **values: object) -> None:
    for name, value in values.items():
        stand.take(f"{PREFIX}/loop/1/{name}", str(value))


def test_a_loops_heat_is_flow_times_density_times_heat_times_warming() -> None:
    stand = Stand()
    tell_loop(stand, supply_temperature=30, return_temperature=40, flow=0.01, leak=0)

    (loop,) = loops(stand).now()
    assert loop.heat_watts == pytest.approx(0.01 * 994 * 4_180 * 10)
    assert loop.delta_celsius == 10
    glycol = LoopConfig("1", density_kg_per_m3=1_040, joules_per_kg_kelvin=3_600)
    (loop,) = loops(stand, glycol).now()
    assert loop.heat_watts == pytest.approx(0.01 * 1_040 * 3_600 * 10)
    tell_loop(stand, flow='{"value": 0.01, "quality": "bad"}')
    assert loops(stand).now()[0].heat_watts is None


def test_a_loop_without_sensors_is_shown_with_nothing() -> None:
    (loop,) = loops(Stand(), LoopConfig("1", ("hall-A",))).now()

    assert (loop.supply_celsius, loop.flow_m3_per_second, loop.heat_watts) == (None, None, None)


def test_leaks_and_warm_supply_are_alerts() -> None:
    stand = Stand()
    tell_loop(stand, supply_temperature=37.5, leak=1)
    config = LoopConfig("1", ("hall-A",), max_supply_celsius=36)
    found = list(loops(stand, config).troubles())

    assert [(one.alert.severity, one.alert.kind) for one in found] == [
        (Severity.CRITICAL, "cooling.leak"),
        (Severity.WARNING, "cooling.supply"),
    ]
    assert {(one.subject, one.halls) for one in found} == {("cooling loop 1", ("hall-A",))}
    assert "37.5 °C, at most 36 °C" in found[1].alert.message
    tell_loop(stand, leak='{"value": 1, "quality": "bad"}', supply_temperature=35)
    assert not list(loops(stand, config).troubles())


def test_a_reading_of_an_unknown_source_is_no_point() -> None:
    stand = Stand()

    assert not stand.values.put("https://pdu#power", Reading(5.0))
    assert stand.faults == {"no_point": 1}
