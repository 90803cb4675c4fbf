"""What places draw: by their nodes, by the building's meter, against limits, and how it changed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_protos.v1 import frame_pb2
from colossus_tui.hub.facility.live import Facility
from colossus_tui.hub.nodes import Nodes
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.hub.site.limits import LimitConfig, Limits
from colossus_tui.hub.site.power import Power
from colossus_tui.hub.site.rollups import RollUps
from colossus_tui.hub.site.sums import NodePower
from colossus_tui.hub.store import Store
from colossus_tui.model import Alert, NamedLimit, PlaceKind, PowerPlace, Severity
from tests.sim.rolled import SITES

NAN = math.nan
PREFIX = "colossus/facility"


class Site:
    """Nodes in a store, their power, and a building whose values a test tells."""

    def __init__(
        self, limits: Sequence[LimitConfig] = (), feeds: Sequence[FeedConfig] = ()
    ) -> None:
        self.now = 1_000.0
        self.store = Store()
        self.nodes = Nodes(self.store, lambda: self.now)
        self.roll_ups = RollUps(self.store, self.nodes, lambda: self.now)
        self.facility = Facility(None, clock=lambda: self.now)
        sums = NodePower(self.store, self.roll_ups, feeds, lambda: self.now)
        self.power = Power(self.store, sums, self.facility, limits, feeds)
        self.limits = Limits(limits, feeds, self.power)

    def node(
        self, name: str, gpus: Sequence[float], hall: str = "", rack: str = "", cpu: float = NAN
    ) -> None:
        """Let a node come or go on, with the power of its GPUs and of its processors."""
        if name not in self.nodes.records:
            hello = frame_pb2.Hello(
                node_name=name,
                hall=hall,
                rack=rack,
                gpu_columns=[frame_pb2.MetricColumn(name="power", unit="W")],
                host_columns=[frame_pb2.MetricColumn(name="cpu_power", unit="W")],
                gpus=[
                    frame_pb2.GpuInventory(gpu_index=index, gpu_uuid=f"{name}-{index}")
                    for index in range(len(gpus))
                ],
            )
            self.nodes.admit(hello)
        frame = frame_pb2.Frame(
            gpu_values=np.array(gpus, dtype="<f4").tobytes(),
            host_values=np.array([cpu], dtype="<f4").tobytes(),
        )
        self.store.put(self.nodes.records[name].rows, frame, self.now)

    def say(self, topic: str, text: str) -> None:
        """Let the building tell a value."""
        assert self.facility.values.take(f"{PREFIX}/{topic}", text.encode())

    def tick(self, seconds: float = 0.0) -> None:
        """Let time pass, and sum up."""
        self.now += seconds
        self.roll_ups.tick()
        self.power.tick()
        self.limits.tick()

    def names(self, hall: str = "") -> list[str]:
        """Return the tree's places, indented."""
        view = self.power.view(hall)
        return [
            f"{' ' * deep}{place.kind} {place.name}".rstrip()
            for place, deep in zip(view.places, view.depths(), strict=True)
        ]


def small(**more: Sequence[LimitConfig] | Sequence[FeedConfig]) -> Site:
    site = Site(**more)  # type: ignore[arg-type]
    site.node("a1", [100.0, NAN], "A", "r1", cpu=50.0)
    site.node("a2", [200.0], "A", "r2")
    site.node("b1", [400.0, 300.0], "B", "r1", cpu=30.0)
    site.node("x", [7.0])
    site.tick()
    return site


def test_places_draw_what_their_gpus_and_processors_measure() -> None:
    site = small()

    whole, hall = site.power.site(), site.power.hall("A")
    assert (whole.drawn_watts, whole.basis) == (1_087.0, "GPUs + CPUs")
    assert (whole.gpu_watts, whole.cpu_watts) == (1_007.0, 80.0)
    assert (whole.reporting_gpu_count, whole.gpu_count, whole.node_count) == (5, 6, 4)
    assert (hall.drawn_watts, hall.reporting_gpu_count, hall.gpu_count) == (350.0, 2, 3)
    assert [(rack.name, rack.drawn_watts, rack.basis) for rack in site.power.racks("A")] == [
        ("r1", 150.0, "GPUs + CPUs"),
        ("r2", 200.0, "GPUs"),
    ]
    assert [rack.drawn_watts for rack in site.power.racks("B")] == [730.0]
    assert site.power.racks("C") == []


def test_what_is_not_fresh_is_drawn_no_more() -> None:
    site = small()
    site.tick(4)
    site.node("b1", [400.0, 300.0], cpu=30.0)
    site.tick(2)

    hall = site.power.hall("A")
    assert (hall.drawn_watts, hall.basis) == (None, "")
    assert (hall.reporting_node_count, hall.node_count, hall.gpu_count) == (0, 2, 3)
    assert site.power.site().drawn_watts == 730.0
    assert site.power.site().age_seconds == 2.0


def test_a_place_that_nobody_knows_draws_nothing_that_is_known() -> None:
    place = small().power.hall("Z")

    assert (place.drawn_watts, place.basis, place.node_count) == (None, "", 0)


FEEDS = (FeedConfig("1", 1_000.0, halls=("A",)), FeedConfig("2", 500.0, racks=("B/r*", "A/r1")))


def test_feeds_sum_their_halls_and_racks_and_no_place_twice() -> None:
    site = small(feeds=FEEDS)

    one, two = site.power.feed("1"), site.power.feed("2")
    assert (one.drawn_watts, one.limit_watts, one.limit_name) == (350.0, 1_000.0, "feed 1")
    assert (two.drawn_watts, two.gpu_count) == (730.0, 2)  # A/r1 is of the feed that has its hall
    assert site.power.hall("A").parent == "1"
    assert site.power.hall("B").parent == ""


def test_the_tree_is_site_feeds_halls_and_the_racks_of_one_hall() -> None:
    site = small(feeds=FEEDS, limits=(LimitConfig("hall C", "C", 5.0),))

    assert site.names() == ["site", " feed 1", "  hall A", " feed 2", " hall B", " hall C"]
    assert site.names("A")[2:5] == ["  hall A", "   rack r1", "   rack r2"]
    assert site.names("B")[4:6] == [" hall B", "  rack r1"]


def test_a_good_meter_is_believed_and_what_nodes_do_not_measure_is_said() -> None:
    site = small(feeds=FEEDS)
    site.say("feed/1/power", '{"value": 420, "timestamp": 998}')
    site.say("rack/A/r2/power", "230")
    site.say("site/power/kW", '{"value": 1.2, "modelled": true}')
    site.tick()

    feed = site.power.feed("1")
    assert (feed.drawn_watts, feed.basis, feed.age_seconds) == (420.0, "meter", 2.0)
    assert (feed.other_watts, feed.headroom_watts, feed.used_ratio) == (70.0, 580.0, 0.42)
    assert [rack.basis for rack in site.power.racks("A")] == ["GPUs + CPUs", "meter"]
    assert site.power.site().basis == "meter (modelled)"
    assert site.power.site().other_watts == 113.0


@pytest.mark.parametrize(
    ("text", "seconds", "detail"),
    [
        ('{"value": 420, "quality": "bad"}', 0, "its meter's value is bad"),
        ('{"value": 420, "quality": "uncertain"}', 0, "its meter's value is uncertain"),
        ('{"value": 420, "timestamp": 700}', 0, "its meter told nothing new for over 200 s"),
    ],
)
def test_a_meter_that_is_not_believed_is_told_and_nodes_are(
    text: str, seconds: float, detail: str
) -> None:
    site = small(feeds=FEEDS)
    site.say("feed/1/power", text)
    site.tick(seconds)

    feed = site.power.feed("1")
    assert (feed.drawn_watts, feed.basis, feed.detail) == (350.0, "GPUs + CPUs", detail)
    assert feed.meter is not None
    assert feed.meter.value == 420.0
    assert feed.other_watts is None


def test_a_feed_with_a_meter_alone_draws_nothing_without_it() -> None:
    site = small(feeds=(FeedConfig("standby", 500.0),))
    assert site.power.feed("standby").drawn_watts is None

    site.say("feed/standby/power", "90")
    assert site.power.feed("standby").drawn_watts == 90.0


def test_feeds_and_halls_that_only_the_building_tells_of_are_in_the_tree() -> None:
    site = small(feeds=FEEDS[:1])
    site.say("feed/9/power", "90")
    site.say("hall/Z/power", "70")

    assert site.names() == ["site", " feed 1", "  hall A", " feed 9", " hall B", " hall Z"]
    assert (site.power.feed("9").drawn_watts, site.power.feed("9").limit_watts) == (90.0, None)
    assert site.power.hall("Z").drawn_watts == 70.0


def test_changes_are_over_a_second_and_a_minute_by_the_same_basis() -> None:
    site = Site()
    for second in range(61):
        site.node("a1", [100.0 + second], "A", "r1")
        site.tick(1)

    hall = site.power.hall("A")
    assert (hall.change_1s_watts, hall.change_60s_watts) == (1.0, 60.0)
    assert site.power.racks("A")[0].change_60s_watts == 60.0
    site.say("hall/A/power", "500")
    site.tick(1)
    metered = site.power.hall("A")
    assert (metered.basis, metered.change_1s_watts, metered.change_60s_watts) == (
        "meter",
        None,
        None,
    )


def test_a_change_that_reaches_back_too_far_is_not_known() -> None:
    site = small()

    assert site.power.site().change_1s_watts is None
    site.node("new", [5.0], "C", "r9")
    site.tick(1)
    assert site.power.hall("C").change_1s_watts is None
    assert site.power.hall("A").change_1s_watts == 0.0


def test_the_tightest_limit_of_a_hall_is_its_own() -> None:
    limits = (
        LimitConfig("contract", "A", 900.0),
        LimitConfig("breaker", "A", 400.0),
        LimitConfig("all", "", 2_000.0),
    )
    site = small(limits=limits)

    hall = site.power.hall("A")
    assert (hall.limit_name, hall.limit_watts, hall.headroom_watts) == ("breaker", 400.0, 50.0)
    assert site.power.site().limit_name == "all"


def test_limits_of_feeds_and_halls_use_the_meter_and_say_so() -> None:
    limits = (LimitConfig("hall A contract", "A", 400.0),)
    site = small(limits=limits, feeds=FEEDS)
    site.say("hall/A/power", '{"value": 390, "timestamp": 997}')
    site.say("feed/2/power", '{"value": 1, "quality": "bad"}')
    site.tick()

    assert site.limits.now() == (
        NamedLimit("hall A contract", "A", 400.0, 390.0, 2, 3, "", "meter"),
        NamedLimit("feed 1", "", 1_000.0, 350.0, 2, 3, "1", "GPUs + CPUs"),
        NamedLimit("feed 2", "", 500.0, 730.0, 2, 2, "2", "GPUs + CPUs"),
    )
    assert [(alert.severity, alert.message) for alert in site.limits.alerts()] == [
        (Severity.CRITICAL, "hall A contract: 0.00 of 0.00 MW by meter, 97.5%"),
        (
            Severity.CRITICAL,
            "feed 2: 0.00 of 0.00 MW by GPUs + CPUs, 146.0%; 2/2 GPUs reporting; "
            "its meter's value is bad",
        ),
    ]


def test_racks_near_their_limit_are_one_alert() -> None:
    site = Site(limits=(LimitConfig("rack breaker", "", 1_000.0, "A/*"),))
    for number in range(9):
        site.node(f"n{number}", [900.0 + number * 10], "A", f"r{number}")
    site.node("other", [5_000.0], "B", "r1")
    site.tick()

    assert site.limits.now() == ()
    assert site.limits.alerts() == (
        Alert(
            Severity.CRITICAL,
            "power.limit",
            "rack breaker: 9 racks near it or over: "
            "A/r8 98.0%, A/r7 97.0%, A/r6 96.0%, A/r5 95.0% and 5 more",
        ),
    )
    racks = site.power.racks("A")
    assert {rack.limit_name for rack in racks} == {"rack breaker"}


def test_a_racks_meter_counts_against_its_limit_too() -> None:
    site = Site(limits=(LimitConfig("rack breaker", "", 1_000.0, "A/*"),))
    site.node("n", [800.0], "A", "r1")
    site.say("rack/A/r1/power", "930")
    site.tick()

    (alert,) = site.limits.alerts()
    assert alert.message == "rack breaker: 1 rack near it or over: A/r1 93.0%"


def test_a_racks_meter_alone_makes_the_alert() -> None:
    site = Site(limits=(LimitConfig("rack breaker", "", 1_000.0, "A/*"),))
    site.node("n", [NAN], "A", "silent")
    site.node("m", [100.0], "A", "cpus")
    for rack in ("A/silent", "A/cpus", "A/unknown", "B/other"):
        site.say(f"rack/{rack}/power", "1200")
    site.say("rack/A/bad/power", '{"value": 1200, "quality": "bad"}')
    site.tick()

    (alert,) = site.limits.alerts()
    assert alert.severity is Severity.CRITICAL
    assert alert.message == (
        "rack breaker: 3 racks near it or over: A/silent 120.0%, A/cpus 120.0%, A/unknown 120.0%"
    )


WATTS = st.one_of(st.just(NAN), st.floats(0, 2_000, width=32))
NODES = st.lists(
    st.tuples(
        st.sampled_from(["", "A", "B"]),
        st.sampled_from(["", "r1", "r2", "r/3"]),
        st.lists(WATTS, max_size=3),
        WATTS,
        st.sampled_from([0.0, 0.0, 30.0]),
    ),
    min_size=1,
    max_size=12,
)


def naive(parts: Sequence[float]) -> float | None:
    known = [watts for watts in parts if math.isfinite(watts)]
    return sum(known) if known else None


@SITES
@given(NODES)
def test_sums_are_those_of_each_node_by_itself(
    nodes: list[tuple[str, str, list[float], float, float]],
) -> None:
    site = Site(feeds=FEEDS)
    for number, (hall, rack, gpus, cpu, age) in enumerate(nodes):
        site.now -= age
        site.node(f"n{number}", gpus, hall, rack, cpu)
        site.now += age
    site.tick()

    def check(place: PowerPlace, mine: list[tuple[str, str, list[float], float, float]]) -> None:
        fresh = [one for one in mine if one[4] == 0]
        gpu = naive([watts for one in fresh for watts in one[2]])
        cpu = naive([one[3] for one in fresh])
        assert place.gpu_watts == (None if gpu is None else pytest.approx(gpu))
        assert place.cpu_watts == (None if cpu is None else pytest.approx(cpu))
        assert place.node_count == len(mine)
        assert place.reporting_node_count == len(fresh)
        assert place.gpu_count == sum(len(one[2]) for one in mine)

    check(site.power.site(), nodes)
    for hall in ("A", "B"):
        check(site.power.hall(hall), [one for one in nodes if one[0] == hall])
        for place in site.power.racks(hall):
            check(place, [one for one in nodes if one[:2] == (hall, place.name)])
    check(site.power.feed("1"), [one for one in nodes if one[0] == "A"])
    check(site.power.feed("2"), [one for one in nodes if one[0] == "B" and one[1]])


def test_the_tree_knows_kinds() -> None:
    assert {place.kind for place in small(feeds=FEEDS).power.view("A").places} == {
        PlaceKind.SITE,
        PlaceKind.FEED,
        PlaceKind.HALL,
        PlaceKind.RACK,
    }
