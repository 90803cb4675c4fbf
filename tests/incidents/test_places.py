"""What fails on nodes becomes findings that name the place, its members, runs and next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from colossus_protos.v1 import common_pb2
from colossus_tui.hub.backends.base import Standing
from colossus_tui.hub.site.feeds import FeedConfig
from colossus_tui.model import IncidentScope, NextStep, Severity, Verb
from tests.incidents.nodes import NodeWorld

LOST, STUCK = common_pb2.MISSING_REASON_LOST, common_pb2.MISSING_REASON_STUCK
HOT, BRAKE = 0x40, 0x80
Build = Callable[..., NodeWorld]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    made: list[NodeWorld] = []

    def make(
        racks: int = 4,
        halls: int = 1,
        feeds: Sequence[FeedConfig] = (),
        drained: dict[str, Standing] | None = None,
    ) -> NodeWorld:
        made.append(NodeWorld(tmp_path, racks, halls=halls, feeds=feeds, drained=drained))
        return made[-1]

    yield make
    for world in made:
        world.close()


def titles(world: NodeWorld) -> list[str]:
    return [incident.title for incident in world.book.live()]


def test_a_silent_rack_is_named_with_the_runs_and_ranks_on_it(build: Build) -> None:
    world = build()
    world.hold("10t", world.names(0, 1))
    world.hold("6t", world.names(2))
    world.look(2)
    world.look(70, silent=world.names(1))

    (one,) = world.book.live()
    assert one.title == "rack h0/r01: 18 nodes lost (72 GPUs)"
    assert (one.scope, one.node_count, one.severity) == (IncidentScope.RACK, 18, Severity.CRITICAL)
    assert [(run.run_id, run.rank_count, run.ranks) for run in one.runs] == [("10t", 72, "72-143")]
    assert list(one.members) == world.names(1)
    assert one.next_step == NextStep(screen="map", subject="h0/r01")
    assert one.reason == "no frame comes from 18 of its 18 nodes: power, network or agent"


def test_an_idle_node_that_is_lost_is_a_warning_and_can_be_drained(build: Build) -> None:
    world = build(drained={})
    world.look(2)
    world.look(70, silent=["r00n03"])

    (one,) = world.book.live()
    assert (one.title, one.severity) == ("node r00n03: lost (4 GPUs)", Severity.WARNING)
    assert one.next_step == NextStep(Verb.DRAIN, subject="r00n03")


def test_a_feed_that_fails_is_one_incident_and_takes_in_its_first_rack(build: Build) -> None:
    feeds = (FeedConfig("A1", 1e6, racks=("h0/r00", "h0/r01")), FeedConfig("A2", 1e6))
    world = build(12, halls=2, feeds=feeds)
    world.look(2)
    world.look(70, silent=world.names(0))
    assert titles(world) == ["rack h0/r00: 18 nodes lost (72 GPUs)"]
    world.look(70, silent=world.names(0, 1))

    assert titles(world) == ["feed A1: 36 nodes lost (144 GPUs)"]


def test_a_whole_site_is_one_incident_with_exact_counts_and_few_names(build: Build) -> None:
    world = build(40, halls=4)
    world.hold("10t", world.names(*range(40)))
    world.look(2)
    world.look(70, silent=world.names(*range(40)))

    (one,) = world.book.live()
    assert one.title == "site: 720 nodes lost (2,880 GPUs)"
    assert (one.peak_member_count, one.gpu_count, len(one.members)) == (720, 2_880, 256)
    assert (one.runs[0].rank_count, one.runs[0].ranks) == (2_880, "0-2879")


def test_a_gpu_that_is_lost_with_its_xid_is_one_incident(build: Build) -> None:
    world = build()
    world.hold("10t", world.names(0))
    world.look(2)
    world.xid("r00n05", 2, 79)
    world.fail_sensor("r00n05", 2, LOST)
    world.look(10)

    (one,) = world.book.live()
    assert (one.title, one.severity) == ("node r00n05: has failed GPUs (1 GPU)", Severity.CRITICAL)
    assert one.reason == "r00n05: GPU 2 lost from the bus, XID 79 on GPU 2"


def test_an_xid_that_is_old_is_over_and_one_of_before_the_hub_is_none(build: Build) -> None:
    world = build()
    world.look(2)
    world.xid("r00n05", 2, 48)
    world.look(10)
    assert titles(world) == ["node r00n05: has failed GPUs (1 GPU)"]
    world.look(950)

    assert titles(world) == []


def test_xids_of_a_runs_own_are_told_when_they_are_many(build: Build) -> None:
    world = build()
    world.hold("10t", world.names(0))
    world.look(2)
    for _ in range(4):
        world.xid("r00n05", 2, 94)
    world.look(2)
    assert world.sources.storms() == []
    world.xid("r00n06", 0, 13)
    world.look(1)
    (storm,) = world.sources.storms()

    assert (storm.run_id, len(storm.xids)) == ("10t", 5)
    world.look(601)
    assert world.sources.storms() == []


def test_heat_of_one_node_of_many_is_no_news_and_of_a_rack_is(build: Build) -> None:
    world = build()
    world.look(2)
    world.throttle("r00n00", 0, HOT)
    world.look(120)
    assert titles(world) == []
    for name in world.names(0):
        world.throttle(name, 1, HOT)
    world.look(70)

    assert titles(world) == ["rack h0/r00: 18 nodes throttle for heat (19 GPUs)"]


def test_heat_of_one_node_of_few_is_told(build: Build) -> None:
    world = build(2)
    world.look(2)
    world.throttle("r00n00", 0, HOT)
    world.throttle("r01n00", 3, BRAKE | 0x1)
    world.throttle("r01n01", 3, 0x1 | 0x4)  # idle, and at its power limit
    world.look(70)

    assert sorted(titles(world)) == [
        "node r00n00: throttles for heat (1 GPU)",
        "node r01n00: held back by its power supply (1 GPU)",
    ]


def test_gpus_that_begin_to_throttle_are_events_of_their_run_and_no_flood(build: Build) -> None:
    world = build()
    world.hold("10t", world.names(0, 1))
    world.look(2)
    for second in range(120):  # thirty nodes flicker all the time
        for name in world.names(0, 1)[:30]:
            world.throttle(name, second % 4, HOT if (second // 3) % 2 else 0)
        world.look(1)
    found = [event for event in world.events.recent(100) if event.kind == "gpu.throttle"]

    assert [event.run_id for event in found] == ["10t"]
    assert found[0].message == (
        "throttled for heat: 30 GPUs of 30 nodes: r00n00, r00n01, r00n02 and 27 more"
    )
    world.throttle("r03n00", 1, BRAKE)
    world.look(1)
    brake = world.events.recent(1)[0]
    assert (brake.message, brake.node_name, brake.run_id) == (
        "held back by a power brake: 1 GPU of 1 node: r03n00",
        "r03n00",
        "",
    )


def test_a_stuck_sensor_and_a_drained_node_are_told_in_their_time(build: Build) -> None:
    drained = {"r00n01": Standing("IDLE+DRAIN", "bad \x1b[31mfan", is_cordoned=True)}
    world = build(drained=drained)
    world.look(2)
    world.fail_sensor("r02n00", -1, STUCK)
    world.look(100)
    (one,) = world.book.live()
    assert one.title == "node r00n01: takes no new work (4 GPUs)"
    assert one.next_step == NextStep(Verb.UNDRAIN, subject="r00n01")
    world.look(300)

    assert titles(world)[1] == "node r02n00: has stuck sensors (4 GPUs)"


def test_a_drained_node_that_this_hub_does_not_know_is_nobodys_trouble(build: Build) -> None:
    world = build(drained={"elsewhere": Standing("DOWN+DRAIN", "fan", is_cordoned=True)})
    world.look(200)

    assert world.book.live() == []


def test_a_lost_gpu_stays_lost_while_its_node_is_silent(build: Build) -> None:
    world = build()
    world.look(2)
    world.fail_sensor("r00n05", 2, LOST)
    world.look(10)
    world.look(900, silent=["r00n05"])

    assert sorted(titles(world)) == [
        "node r00n05: has failed GPUs (1 GPU)",
        "node r00n05: lost (4 GPUs)",
    ]


def test_a_quiet_site_pages_nobody(build: Build) -> None:
    world = build(20, halls=2)
    world.hold("10t", world.names(*range(10)))
    for second in range(600):
        # Frames that come late, one here and one there, and clocks that dip for a while.
        late = f"r{second % 20:02}n{second % 18:02}"
        world.throttle(late, 0, HOT)
        world.look(1, silent=[late])
        world.throttle(late, 0, 0)

    assert world.book.all() == []
