"""Where the world's power goes: one feed near its limit, a hall over it, a loop with a leak."""

from __future__ import annotations

from colossus_tui.model import CoolingLoop, Measured, PlaceKind, PowerPlace, PowerView, Quality


def _place(kind: PlaceKind, name: str, parent: str, limit: float, drawn: float) -> PowerPlace:
    return PowerPlace(
        kind,
        name,
        parent,
        limit,
        f"{name} contract",
        drawn,
        "meter",
        Measured(drawn, Quality.GOOD, 1.0),
        drawn * 0.86,
        drawn * 0.05,
        drawn * 0.001,
        drawn * -0.004,
        34_375,
        34_367,
        137_500,
        137_468,
        1.0,
    )


POWER = PowerView(
    (
        _place(PlaceKind.SITE, "memphis", "", 700e6, 612.4e6),
        _place(PlaceKind.FEED, "feed 1", "", 360e6, 338e6),
        _place(PlaceKind.HALL, "hall-a", "feed 1", 180e6, 158e6),
        _place(PlaceKind.HALL, "hall-b", "feed 1", 180e6, 180.4e6),
        _place(PlaceKind.FEED, "feed 2", "", 360e6, 274e6),
        _place(PlaceKind.HALL, "hall-c", "feed 2", 180e6, 166e6),
        PowerPlace(
            PlaceKind.HALL,
            "hall-d",
            "feed 2",
            180e6,
            "hall-d contract",
            None,
            meter=Measured(41e6, Quality.STALE, 410.0),
            node_count=34_375,
            gpu_count=137_500,
            detail="its meter is stale, and its nodes measure no power",
        ),
    ),
    (
        CoolingLoop(
            "loop 1",
            ("hall-a", "hall-b"),
            Measured(24.1, Quality.GOOD, 3.0),
            Measured(36.8, Quality.GOOD, 3.0),
            Measured(6.1, Quality.UNCERTAIN, 3.0),
            Measured(1.0, Quality.GOOD, 3.0),
            324e6,
            27.0,
        ),
        CoolingLoop("loop 2", ("hall-c", "hall-d"), Measured(27.9, Quality.GOOD, 2.0), None),
    ),
)
