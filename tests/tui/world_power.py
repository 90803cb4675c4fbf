"""The power of the site of the pictures: feeds, halls, racks of one hall, and cooling loops."""

from __future__ import annotations

from dataclasses import replace

from colossus_tui.model import (
    CoolingLoop,
    FacilityFault,
    FacilityLink,
    Measured,
    PlaceKind,
    PowerPlace,
    PowerView,
    Quality,
)
from tests.tui.world_incidents import ago


def _place(kind: PlaceKind, name: str, parent: str, megawatts: float, gpus: int) -> PowerPlace:
    return PowerPlace(
        kind,
        name,
        parent,
        drawn_watts=megawatts * 1e6,
        basis="GPUs + CPUs",
        gpu_watts=megawatts * 0.93e6,
        cpu_watts=megawatts * 0.07e6,
        change_1s_watts=megawatts * 900,
        change_60s_watts=-megawatts * 21_000,
        node_count=gpus // 4,
        reporting_node_count=gpus // 4,
        gpu_count=gpus,
        reporting_gpu_count=gpus,
        age_seconds=1.2,
    )


def _metered(place: PowerPlace, megawatts: float, limit: float) -> PowerPlace:
    return replace(
        place,
        drawn_watts=megawatts * 1e6,
        basis="meter",
        meter=Measured(megawatts * 1e6, Quality.GOOD, 2.1),
        age_seconds=2.1,
        limit_watts=limit * 1e6,
        limit_name=f"feed {place.name}",
    )


HALL_B = replace(
    _place(PlaceKind.HALL, "hall-b", "feed-1", 163.8, 150_000),
    limit_watts=180e6,
    limit_name="hall B contract",
)
SITE = replace(
    _place(PlaceKind.SITE, "", "", 612.4, 550_000),
    limit_watts=700e6,
    limit_name="site contract",
    reporting_gpu_count=549_870,
)
PLACES = (
    SITE,
    _metered(_place(PlaceKind.FEED, "feed-1", "", 309.1, 280_000), 352.0, 400.0),
    _place(PlaceKind.HALL, "hall-a", "feed-1", 145.3, 130_000),
    HALL_B,
    *(
        replace(
            _place(PlaceKind.RACK, f"r{number:04d}", "hall-b", 0.078 + number * 0.0002, 72),
            limit_watts=142e3,
            limit_name="rack breaker",
        )
        for number in range(6)
    ),
    replace(
        _place(PlaceKind.FEED, "feed-2", "", 303.3, 270_000),
        limit_watts=340e6,
        limit_name="feed feed-2",
        meter=Measured(341e6, Quality.STALE, 420.0),
        detail="its meter told nothing new for over 200 s",
    ),
    replace(
        _place(PlaceKind.HALL, "hall-c", "feed-2", 166.0, 150_000),
        limit_watts=170e6,
        limit_name="hall C feed",
    ),
    _place(PlaceKind.HALL, "hall-d", "feed-2", 137.3, 120_000),
    PowerPlace(PlaceKind.FEED, "standby", limit_watts=60e6, limit_name="feed standby"),
)


def _loop(name: str, hall: str, supply: float, back: float) -> CoolingLoop:
    flow = 2.1
    return CoolingLoop(
        name,
        (hall,),
        Measured(supply, age_seconds=3.0),
        Measured(back, age_seconds=3.0),
        Measured(flow, age_seconds=3.0),
        Measured(0.0, age_seconds=3.0),
        flow * 994 * 4_180 * (back - supply),
        36.0,
    )


LOOPS = (
    _loop("cdu-a", "hall-a", 32.1, 41.4),
    _loop("cdu-b", "hall-b", 36.8, 45.0),
    replace(_loop("cdu-c", "hall-c", 31.9, 41.8), leak=Measured(1.0, age_seconds=4.0)),
    replace(
        _loop("cdu-d", "hall-d", 32.0, 41.1),
        flow_m3_per_second=Measured(2.0, Quality.STALE, 420.0),
        heat_watts=None,
    ),
)
POWER = PowerView(
    PLACES,
    LOOPS,
    (
        FacilityLink("mqtt", "mqtts://bus.site:8883", "up", "", ago(86_400), 1_204_331),
        FacilityLink("redfish", "cdu-b.site", "away", "no answer in time", ago(95)),
    ),
    (FacilityFault("from_the_future", 3, "bms/7/kw", "measured 90 s from now", ago(600)),),
    "hall-b",
)
