"""The command line's power: places against limits, cooling loops, and what is wrong with them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from colossus_protos.v1 import power_pb2, site_pb2
from colossus_tui.model import PowerView
from docs.generate import PARTS
from tests.cli.test_site import HOSTILE, Stand

GOOD, STALE = power_pb2.QUALITY_GOOD, power_pb2.QUALITY_STALE


@pytest.fixture
def stand() -> Iterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        made = Stand(Path(folder))
        with made.site:
            yield made


def place(kind: str, name: str = "", **more: Any) -> power_pb2.PowerPlace:
    number = site_pb2.PlaceKind.Value(f"PLACE_KIND_{kind.upper()}")
    return power_pb2.PowerPlace(kind=number, name=name, **more)


def fill(stand: Stand) -> None:
    measured = power_pb2.Measured
    stand.site.power = power_pb2.PowerView(
        places=[
            place("site", drawn_watts=174e6, basis="GPUs", gpu_count=550_000,
                  reporting_gpu_count=549_990),
            place("feed", "A", limit_watts=60e6, drawn_watts=59e6, basis="meter", gpu_watts=50e6,
                  change_1s_watts=-1.5e6, age_seconds=12.0,
                  meter=measured(value=59e6, quality=GOOD)),
            place("hall", "hall-1", parent="A", limit_watts=30e6, drawn_watts=28e6,
                  basis="GPUs + CPUs", detail="its meter's value is bad"),
            place("rack", "r1", parent="hall-1"),
        ],
        loops=[
            power_pb2.CoolingLoop(
                name="cdu-1",
                halls=["hall-1"],
                supply_celsius=measured(value=31.5, quality=GOOD),
                return_celsius=measured(value=41.0, quality=STALE, age_seconds=340),
                flow_m3_per_second=measured(value=0.1, quality=GOOD),
                leak=measured(value=1, quality=GOOD),
            ),
            power_pb2.CoolingLoop(name="cdu-2"),
        ],
        links=[power_pb2.FacilityLink(kind="mqtt", address="mqtt://127.0.0.1:1883", state="away",
                                      detail="refused", since_unix_ns=1)],
        faults=[power_pb2.FacilityFault(kind="time", count=3, source="a/b", detail="no time",
                                        time_unix_ns=1)],
        hall="hall-1",
    )  # fmt: skip


def test_places_are_a_tree_with_limits_and_loops_below(stand: Stand) -> None:
    fill(stand)

    lines = stand.text("power").splitlines()
    assert lines[0].split() == ["PLACE", "DRAWN", "BY", "LIMIT", "HEADROOM", "USED", "1", "S", "60",
                                "S", "OTHER", "LOADS", "GPUS", "AGE"]  # fmt: skip
    assert lines[1].startswith("site ")
    assert "174 MW" in lines[1]
    assert "549,990/550,000" in lines[1]
    assert lines[2].startswith("  feed A")
    for words in ("59.0 MW", "meter", "60.0 MW", "1.0 MW", "98.3 %", "-1.5 MW", "9.0 MW", "12 s"):
        assert words in lines[2]
    assert lines[2].endswith("!! critical")
    assert lines[3].startswith("    hall-1")
    assert lines[3].endswith("! warning; its meter's value is bad")
    assert lines[4].startswith("      r1 ")
    (loop,) = [line for line in lines if line.startswith("cdu-1")]
    for words in (
        "31.5 °C",
        "41.0 °C (5m40s old)",
        "9.5 K",
        "6,000 l/min",
        "n/a",
        "LEAK",
        "hall-1",
    ):
        assert words in loop
    assert next(line for line in lines if line.startswith("cdu-2")).split().count("n/a") == 6
    assert "mqtt mqtt://127.0.0.1:1883: away since" in lines[-2]
    assert lines[-2].endswith("0 values; refused")
    assert lines[-1].startswith("not taken: 3 x time, the last ")


def test_json_has_all_of_it(stand: Stand) -> None:
    fill(stand)

    found = json.loads(stand.text("power", "--json", "--hall", "hall-1"))
    assert {name for name, *_ in PARTS["power"]} == set(found) - {"schema_version"}
    assert {field.name for field in fields(PowerView)} == set(found["power"])
    feed = found["power"]["places"][1]
    assert (feed["kind"], feed["limit_watts"], feed["change_60s_watts"]) == ("feed", 60e6, None)
    assert feed["meter"]["quality"] == "good"
    assert stand.site.asked[-1].hall == "hall-1"


def test_a_hall_that_is_not_there_is_said(stand: Stand) -> None:
    fill(stand)
    result = stand.product.cli("power", "--hall", "hall-9")

    assert result.returncode == 1
    assert "there is no hall 'hall-9'" in result.stderr


def test_what_others_say_is_harmless(stand: Stand) -> None:
    stand.site.power = power_pb2.PowerView(
        places=[place("hall", HOSTILE, basis=HOSTILE, detail=HOSTILE)],
        loops=[power_pb2.CoolingLoop(name=HOSTILE, halls=[HOSTILE])],
        links=[power_pb2.FacilityLink(kind="mqtt", address=HOSTILE, state=HOSTILE, detail=HOSTILE)],
        faults=[power_pb2.FacilityFault(kind=HOSTILE, source=HOSTILE, detail=HOSTILE, count=1)],
    )

    text = stand.text("power")
    assert all(line.isprintable() for line in text.splitlines())
    assert "\x1b" not in text


def test_a_limit_of_a_feed_says_whose_it_is_and_by_what_it_is_measured(stand: Stand) -> None:
    stand.site.site.limits.add(
        name="feed A", feed="A", limit_watts=60e6, power_watts=50e6, basis="meter"
    )

    line = stand.row("feed A", "status")
    assert line.split()[:7] == ["feed", "A", "feed", "A", "50.0", "MW", "meter"]
