"""The command line over a whole site: found GPUs, places, limits, roll-ups of a run."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from colossus_protos.v1 import common_pb2, console_pb2, site_pb2
from colossus_tui.model import FoundGpu, Place
from docs.generate import PARTS
from tests.e2e.product import BIN, Product
from tests.fakes.fake_site import FakeSite

HOSTILE = "n\x1b[2Jode\n\u202e-9"
VALUES = {
    "gpu_temperature": 91.0,
    "power": 1_234.0,
    "gpu_utilisation": 0.98,
    "tensor_active": 0.55,
    "sm_clock": 1_830.0,
    "memory_used": float(140 << 30),
}


class Stand:
    """A fake site, and the command line that asks it."""

    def __init__(self, folder: Path) -> None:
        self.product = Product(folder)
        self.site = FakeSite(self.product.address)

    def text(self, *arguments: str) -> str:
        """Return what a command prints."""
        result = self.product.cli(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def row(self, start: str, *arguments: str) -> str:
        """Return the line of a command's output that begins so."""
        (line,) = [line for line in self.text(*arguments).splitlines() if line.startswith(start)]
        return line

    def asked(self) -> list[Any]:
        """Return what the filters and limits were that the hub was asked by."""
        return [one for one in self.site.asked if isinstance(one, site_pb2.FindGpusRequest)]


@pytest.fixture
def stand() -> Iterator[Stand]:
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        made = Stand(Path(folder))
        with made.site:
            yield made


def gpu(node_name: str, gpu_index: int = 0, **changes: Any) -> site_pb2.FoundGpu:
    known: dict[str, Any] = {
        "gpu_uuid": f"GPU-{node_name}-{gpu_index}",
        "hall": "B",
        "rack": "B-07",
        "run_id": "10t",
        "rank": 17,
        "age_seconds": 0.5,
        "values": VALUES,
    }
    return site_pb2.FoundGpu(node_name=node_name, gpu_index=gpu_index, **known | changes)


def roll_up(metric: str, unit: str, **changes: Any) -> site_pb2.RollUp:
    known: dict[str, Any] = {
        "count": 100,
        "reporting_count": 100,
        "sum": 120_000.0,
        "min": 0.1,
        "median": 0.5,
        "p99": 0.8,
        "max": 0.9,
        "age_seconds": 1.0,
    }
    return site_pb2.RollUp(metric=metric, unit=unit, **known | changes)


def roll_ups(**changes: Any) -> list[site_pb2.RollUp]:
    worst = site_pb2.Extreme(node_name="node-9", gpu_index=3, value=93, run_id="10t", rank=1234)
    return [
        roll_up("power", "W", **changes),
        roll_up(
            "gpu_temperature", "C", min=40, median=61, p99=84, max=93, worst=[worst], **changes
        ),
        roll_up("gpu_utilisation", "ratio", **changes),
        roll_up("tensor_active", "ratio", median=0.41, **changes),
        roll_up("sm_clock", "MHz", min=1_305, median=1_830, p99=1_830, max=1_830, **changes),
    ]


def place(name: str, kind: Any = site_pb2.PLACE_KIND_HALL, **changes: Any) -> site_pb2.Place:
    known: dict[str, Any] = {
        "node_count": 25,
        "reporting_node_count": 25,
        "gpu_count": 100,
        "roll_ups": roll_ups(),
    }
    return site_pb2.Place(kind=kind, name=name, **known | changes)


# --- gpus --where --------------------------------------------------------------------------


def test_found_gpus_are_a_table_with_units_and_the_total(stand: Stand) -> None:
    stand.site.gpus = [gpu("node-1"), gpu("node-2", rank=-1, run_id="", values={}, hall="")]
    stand.site.hidden_count = 22_308

    heads, first, second, total = stand.text("gpus", "--where", "gpu=0").splitlines()

    assert heads.split() == [
        "NODE", "GPU", "HALL", "RACK", "RUN", "RANK", "TEMP", "POWER", "USE", "TENSOR", "CLOCK",
        "AGE",
    ]  # fmt: skip
    assert first.split("  ")[0] == "node-1"
    for figure in ("B-07", "10t", "17", "91 °C", "1.2 kW", "98 %", "55 %", "1,830 MHz", "500 ms"):
        assert figure in first
    assert second.split()[:6] == ["node-2", "0", "n/a", "B-07", "-", "-"]
    assert second.count("n/a") == 6  # the hall and five figures
    assert total == "showing 2 of 22,310 GPUs"


def test_filter_limit_order_run_and_node_reach_the_hub(stand: Stand) -> None:
    stand.site.gpus = [gpu("node-1"), gpu("node-2", values=VALUES | {"memory_used": 2.0**40})]

    shown = stand.text("gpus", "--where", "temp>85 or util<5%", "--run", "10t", "--node", "node 1")
    assert shown == "no GPU meets the filter\n"
    shown = stand.text("gpus", "--order", "mem", "--limit", "1")

    first, second = stand.asked()
    assert first.where == "run=10t and node='node 1' and (temp>85 or util<5%)"
    assert (first.limit, second.where, second.limit) == (100, "", 1)
    assert second.order == "memory_used"
    heads, row, total = shown.splitlines()
    assert "MEMORY USED" in heads
    assert "1.0 TiB" in row
    assert total == "showing 1 of 2 GPUs"


@pytest.mark.parametrize(
    ("arguments", "pointer"),
    [
        (("gpus", "--where", "run=10t and tmep>85"), "  run=10t and tmep>85\n              ^\n"),
        (("find", "run=10t", "and", "tmep>85"), "  run=10t and tmep>85\n              ^\n"),
        (("gpus", "--where", "x" * 90 + " tmep>85"), "x" * 39 + " tmep>85\n" + " " * 42 + "^\n"),
        (("gpus", "--where", "run=\x1b[2J"), "  run=\N{REPLACEMENT CHARACTER}[2J\n      ^\n"),
    ],
)
def test_a_wrong_filter_is_pointed_at_without_asking_the_hub(
    stand: Stand, arguments: tuple[str, ...], pointer: str
) -> None:
    result = stand.product.cli(*arguments)

    assert result.returncode == 2
    assert "(at character " in result.stderr
    assert result.stderr.endswith(pointer)
    assert "\x1b" not in result.stderr
    assert not stand.site.asked


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("gpus", "--order", "beauty"), "is none of temp, memtemp, power"),
        (("find",), "required"),
        (("find", " "), "it is empty"),
        (("places", "rooms"), "invalid choice: 'rooms'"),
    ],
)
def test_wrong_usage_is_said(stand: Stand, arguments: tuple[str, ...], named: str) -> None:
    result = stand.product.cli(*arguments)

    assert (result.returncode, result.stdout) == (2, "")
    assert named in result.stderr


# --- find ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "asked_count"),
    [
        (("node-1",), ["node-1 > GPU 0", "node-1 > GPU 1"], 1),  # and not node-10
        (("gpu-NODE-1-1",), ["node-1 > GPU 1"], 1),  # the beginning of a UUID
        (("node-10-0",), ["node-10 > GPU 0"], 2),  # a piece of one
        (("node-?0",), ["node-10 > GPU 0"], 1),
        (("10t:4",), ["node-1 > GPU 1"], 1),
        (("rank=4", "or", "node=node-10"), ["node-1 > GPU 1", "node-10 > GPU 0"], 1),
    ],
)
def test_gpus_are_found_by_name_uuid_rank_or_filter(
    stand: Stand, text: tuple[str, ...], found: list[str], asked_count: int
) -> None:
    stand.site.gpus = [gpu("node-1", 0, rank=3), gpu("node-1", 1, rank=4), gpu("node-10", 0)]

    heads, *rows, total = stand.text("find", *text).splitlines()

    assert heads.startswith("HALL > RACK > NODE > GPU")
    assert [row.split("  ")[0].strip() for row in rows] == [f"B > B-07 > {one}" for one in found]
    assert all(" 10t " in row for row in rows)
    assert total == ("1 GPU" if len(found) == 1 else f"{len(found)} GPUs")
    assert len(stand.asked()) == asked_count


def test_nothing_found_is_said_and_is_exit_code_1(stand: Stand) -> None:
    for arguments in (("find", "10t:99"), ("find", "10t:99", "--json")):
        result = stand.product.cli(*arguments)

        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "colossus: no GPU is found by '10t:99'\n"


def test_hostile_names_are_harmless_everywhere(stand: Stand) -> None:
    worst = site_pb2.Extreme(node_name=HOSTILE, value=93, run_id=HOSTILE, rank=2)
    bad = gpu(HOSTILE, gpu_uuid=HOSTILE, hall=HOSTILE, rack=HOSTILE, run_id=HOSTILE)
    hot = roll_up("gpu_temperature", "C", worst=[worst])
    stand.site.gpus = [bad]
    stand.site.places = [place(HOSTILE, site_pb2.PLACE_KIND_RACK, hall=HOSTILE, roll_ups=[hot])]
    stand.site.site.limits.add(name=HOSTILE, hall=HOSTILE, limit_watts=1)
    odd = roll_up(HOSTILE, HOSTILE, worst=[worst])
    stand.site.runs = [detail(place=place("10t", roll_ups=[hot, odd]))]

    for arguments in (
        ("gpus", "--where", "gpu=0"),
        ("find", "gpu=0"),
        ("places", "racks"),
        ("status",),
        ("show", "10t"),
    ):
        shown = stand.text(*arguments)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[2Jode" in shown, arguments


# --- places --------------------------------------------------------------------------------


def test_places_have_units_coverage_age_and_the_worst_gpu(stand: Stand) -> None:
    stand.site.places = [
        place("A"),
        place("B", reporting_node_count=20, roll_ups=roll_ups(reporting_count=80, age_seconds=42)),
        place("C", reporting_node_count=0, roll_ups=roll_ups(reporting_count=0)),
        place("D", gpu_count=0, node_count=0, reporting_node_count=0, roll_ups=[]),
    ]

    heads = stand.row("HALL", "places", "halls")
    rows = {name: stand.row(name, "places", "halls") for name in "ABCD"}

    assert heads.split("  ")[0] == "HALL"
    for figure in ("25/25", "100/100", "120 kW", "61 °C", "84 °C", "93 °C", "50 %", "41 %",
                   "1,305 MHz", "node-9 GPU 3: 93 °C, rank 1,234 of 10t"):  # fmt: skip
        assert figure in rows["A"]
    assert "20/25   80/100" in rows["B"]
    assert " 42 s " in rows["B"]
    assert " 1.0 s " not in rows["A"]
    for name, covered in (("C", "0/100"), ("D", "0/0")):
        assert covered in rows[name]
        assert rows[name].count("n/a") == 8  # seven figures and the worst GPU
        assert "°C" not in rows[name]


def test_a_figure_of_fewer_gpus_than_its_row_says_of_how_many(stand: Stand) -> None:
    stand.site.places = [
        place(
            "A",
            roll_ups=[
                roll_up("power", "W", sum=1.8e8, reporting_count=99),
                roll_up("gpu_temperature", "C", median=61, reporting_count=99),
                roll_up("gpu_utilisation", "ratio"),
                roll_up("tensor_active", "ratio", median=0.4, reporting_count=50),
            ],
        )
    ]

    row = stand.row("A", "places", "halls")

    assert "180 MW (99/100)" in row
    assert "61 °C  " in row  # 99 of 100 are nearly all
    assert "40 % (50/100)" in row


def test_racks_are_of_one_hall_or_one_of_them(stand: Stand) -> None:
    stand.site.places = [
        place(name, site_pb2.PLACE_KIND_RACK, hall=hall, roll_ups=[roll_up("power", "W")])
        for hall, name in (("A", "A-01"), ("B", "B-01"), ("B", "B-02"))
    ]

    shown = stand.text("places", "racks", "--hall", "B").splitlines()
    one = stand.text("places", "racks", "--hall", "B", "--name", "B-02").splitlines()

    assert [line.split()[:2] for line in shown] == [["HALL", "RACK"], ["B", "B-01"], ["B", "B-02"]]
    assert "WORST GPU" not in shown[0]
    assert [line.split()[1] for line in one[1:]] == ["B-02"]
    assert stand.text("places", "runs") == "no runs\n"


def test_places_are_watched_until_interrupted(stand: Stand) -> None:
    stand.site.places = [place("A")]
    command = [str(BIN / "colossus"), "places", "halls", "--json", "--watch", "--interval", "0.1"]
    with subprocess.Popen(
        command, env=stand.product.environment, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130

    assert [line["places"][0]["name"] for line in lines] == ["A"] * 3


# --- show and status -----------------------------------------------------------------------


def detail(**changes: Any) -> console_pb2.RunDetail:
    run = console_pb2.Run(
        run_id="10t",
        state=console_pb2.RUN_STATE_RUNNING,
        priority_class=common_pb2.PRIORITY_CLASS_P0,
        node_names=[f"node-{index}" for index in range(64)],
        node_count=49_500,
        rank_count=198_000,
    )
    return console_pb2.RunDetail(run=run, **changes)


def test_a_run_shows_its_roll_ups(stand: Stand) -> None:
    stand.site.runs = [detail(place=place("10t", site_pb2.PLACE_KIND_RUN))]

    shown = stand.text("show", "10t")

    heads, power, temperature, *_ = shown[shown.index("METRIC") :].splitlines()
    assert heads.split() == ["METRIC", "GPUS", "SUM", "MIN", "MEDIAN", "P99", "MAX", "AGE",
                             "WORST", "GPU"]  # fmt: skip
    assert "120 kW" in power
    assert "120 kW" not in temperature  # nobody wants a sum of temperatures
    assert "100/100" in temperature
    assert "node-9 GPU 3: 93 °C, rank 1,234 of 10t" in temperature
    assert "node-15 and 49,484 more" in shown
    assert "showing 0 of 198,000 ranks" in shown


def test_a_run_without_roll_ups_shows_none(stand: Stand) -> None:
    stand.site.runs = [detail()]

    assert "METRIC" not in stand.text("show", "10t")


@pytest.mark.parametrize(
    ("power_watts", "figures"),
    [
        (100e6, ("100 MW", "180 MW", "55.6 %")),
        (161.9e6, ("89.9 %",)),
        (161.95e6, ("90.0 %", "! warning")),
        (174e6, ("96.7 %", "! warning")),
        (174.6e6, ("97.0 %", "!! critical")),
        (190e6, ("105.6 %", "!! critical: over the limit")),
        (None, ("n/a", "180 MW")),
    ],
)
def test_limits_are_marked_in_words(
    stand: Stand, power_watts: float | None, figures: tuple[str, ...]
) -> None:
    stand.site.site.limits.add(
        name="hall B contract",
        hall="B",
        limit_watts=180e6,
        power_watts=power_watts,
        reporting_gpu_count=71_990,
        gpu_count=72_000,
    )

    row = stand.row("hall B contract", "status")

    for figure in ("hall B", "71,990/72,000", *figures):
        assert figure in row
    marked = figures[-1] if figures[-1].startswith("!") else "71,990/72,000"
    assert row.endswith(marked)


# --- JSON ----------------------------------------------------------------------------------


def test_json_has_the_documented_parts(stand: Stand) -> None:
    stand.site.gpus = [gpu(HOSTILE)]
    stand.site.places = [place("A")]
    answers = {
        "gpus --where, --order or --limit": stand.product.json("gpus", "--where", "gpu=0"),
        "find": stand.product.json("find", "gpu=0"),
        "places": stand.product.json("places", "halls"),
    }

    for command, answer in answers.items():
        assert set(answer) == {"schema_version", *(part[0] for part in PARTS[command])}
    for command in ("gpus --where, --order or --limit", "find"):
        found = answers[command]["found"]
        assert answers[command]["where"] == "gpu=0"
        assert found["total_count"] == 1
        assert found["gpus"][0]["node_name"] == HOSTILE  # as it came
        assert set(found["gpus"][0]) == {field.name for field in fields(FoundGpu)}
        assert found["gpus"][0]["values"] == VALUES
    assert set(answers["places"]["places"][0]) == {field.name for field in fields(Place)}


def test_completion_knows_the_new_words(stand: Stand) -> None:
    script = stand.text("completion", "bash")

    (find,) = [line for line in script.splitlines() if line.strip().startswith("find)")]
    (places,) = [line for line in script.splitlines() if line.strip().startswith("places)")]
    assert "--limit" in find
    assert "__complete nodes" in find
    assert "halls racks runs" in places
    assert "--hall" in places
