"""Exports as text: pictures that say the same as the screen, values that keep theirs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from colossus_tui.model import Job, Run, RunState
from colossus_tui.paths import PathError
from colossus_tui.tui.export import files
from colossus_tui.tui.export.svg import HIGH, WIDE, svg
from colossus_tui.tui.export.values import Exported, as_csv, as_json
from colossus_tui.tui.theme import DARK, MONO

SVG = "{http://www.w3.org/2000/svg}"
RED, BLUE = Style(color="#ff0000"), Style(color="#0000ff", bgcolor="#00ff00", bold=True)
HOSTILE = "\x1b]0;owned\x07=cmd|' /C calc'!A0\u202e"


def texts(picture: str) -> dict[tuple[int, int], str]:
    """Every text of a picture by the cell that it begins in."""
    return {
        (int(part.attrib["x"]) // WIDE, int(text.attrib["y"]) // HIGH): part.text or ""
        for text in ET.fromstring(picture).iter(f"{SVG}text")
        for part in text
    }


def test_a_picture_has_each_text_in_its_cell_and_each_colour_once() -> None:
    strips = [
        Strip([Segment("  ab  cd", RED), Segment("● x <&>", BLUE)]),
        Strip([Segment("日本", RED), Segment("z", BLUE)]),
    ]

    picture = svg(strips, DARK, "a <title>")

    assert texts(picture) == {
        (2, 0): "ab",
        (6, 0): "cd",
        (8, 0): "●",
        (10, 0): "x <&>",
        (0, 1): "日本",
        (4, 1): "z",
    }
    assert picture.count("fill:#ff0000") == 1
    assert picture.count("fill:#0000ff;font-weight:700") == 1
    assert '<path transform="scale(8 8.5)" fill="#00ff00" d="M8 0h7v2h-7zM4 2h1v2h-1z"/>' in picture
    assert "a &lt;title&gt;" in picture


def test_half_blocks_are_drawn_and_not_written() -> None:
    halves = Style(color="#ff0000", bgcolor="#0000ff")
    strips = [Strip([Segment("▀▀", halves), Segment("▄", halves)])]

    picture = svg(strips, DARK, "")

    assert texts(picture) == {}
    assert 'fill="#ff0000" d="M0 0h2v1h-2zM2 1h1v1h-1z"' in picture
    assert 'fill="#0000ff" d="M0 1h2v1h-2zM2 0h1v1h-1z"' in picture


def test_what_is_reversed_is_so_in_the_picture() -> None:
    strips = [Strip([Segment("x", Style(reverse=True))])]

    picture = svg(strips, MONO, "")

    ink = re.search(r"\.a\{fill:(#\w+)", picture)
    assert ink is not None
    assert ink[1] == DARK.background
    assert 'd="M0 0h1v2h-1z"' in picture


def runs() -> Exported:
    job = Job("17", user=HOSTILE, queue="gpu")
    rows = (
        Run(
            "10t", state=RunState.RUNNING, step=3, loss=-1.5, power_watts=2e6, node_names=("a", "b")
        ),
        Run(HOSTILE, loss=math.nan, job=job),
    )
    return Exported("runs", rows, about={"filter": "x"})


def test_json_has_raw_values_with_their_units_and_what_they_are_of() -> None:
    found = json.loads(as_json(runs(), "memphis", 5))

    assert (found["site_name"], found["time_unix_ns"], found["about"]) == (
        "memphis",
        5,
        {"filter": "x"},
    )
    first, second = found["runs"]
    assert (first["power_watts"], first["step"], first["mfu_ratio"]) == (2e6, 3, None)
    assert second["loss"] is None
    assert second["run_id"] == HOSTILE  # JSON escapes what it is made of
    assert "\x1b" not in as_json(runs(), "memphis", 5)


def test_csv_has_a_row_each_and_nothing_that_a_spreadsheet_computes() -> None:
    text = as_csv(runs())
    first, second = csv.DictReader(io.StringIO(text))

    assert (first["run_id"], first["power_watts"], first["loss"]) == ("10t", "2000000.0", "-1.5")
    assert first["node_names"] == "a b"
    assert first["mfu_ratio"] == ""
    assert second["job.queue"] == "gpu"
    assert "\x1b" not in text
    assert "\u202e" not in text
    formula = as_csv(Exported("runs", (Run("x", label="=1+1"), Run("y", label="-1"))))
    assert [row["label"] for row in csv.DictReader(io.StringIO(formula))] == ["'=1+1", "'-1"]
    assert as_csv(Exported("runs", ())) == "\n"


def test_files_have_the_time_and_overwrite_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLOSSUS_EXPORT_DIR", str(tmp_path / "out"))
    monkeypatch.setattr(time, "strftime", lambda shape: "20260921-141320")

    first = files.write("run-../../etc/10t\x1b", {"svg": "1", "csv": "2"})
    second = files.write("run-../../etc/10t\x1b", {"svg": "3", "csv": "4"})

    assert [path.name for path in first] == [
        "20260921-141320-run-..-..-etc-10t.svg",
        "20260921-141320-run-..-..-etc-10t.csv",
    ]
    assert [path.read_text() for path in (*first, *second)] == ["1", "2", "3", "4"]
    assert {path.parent for path in (*first, *second)} == {tmp_path / "out"}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_folder_that_cannot_be_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COLOSSUS_EXPORT_DIR", str(tmp_path / "file" / "out"))

    with pytest.raises(PathError, match="file"):
        files.write("x", {"svg": ""})
