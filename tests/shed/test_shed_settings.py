"""`[shed]` and the flex tiers of runs in the hub's settings: each mistake with its remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.shed.config import ShedConfig, ShedConfigError, default_tier, parse
from colossus_tui.model import PriorityClass


def test_what_is_not_said_is_as_by_default() -> None:
    config = parse({"floors": {"P1": 0.7, "P3": 0.1}, "cap_ratios": [0.8, 0.95, 0.8]})

    assert dict(config.floors) == {"P0": 1.0, "P1": 0.7, "P3": 0.1}
    assert config.cap_ratios == (0.95, 0.8)
    assert parse({}) == ShedConfig()
    assert [default_tier(kind) for kind in PriorityClass] == [0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (3, "shed must be a table"),
        ({"floor": {}}, "shed.floor is no setting; known: floors"),
        ({"floors": 0.5}, "shed.floors must be a table"),
        ({"floors": {"P9": 1}}, "shed.floors.P9: give one of P0, P1"),
        ({"floors": {"P1": 1.5}}, "shed.floors.P1 must be a share"),
        ({"floors": {"P1": True}}, "shed.floors.P1 must be a share"),
        ({"floors": {"P1": float("nan")}}, "shed.floors.P1 must be a share"),
        ({"cap_ratios": 0.9}, "shed.cap_ratios must be at most 10 numbers"),
        ({"cap_ratios": [0.9, 1.0]}, "shed.cap_ratios must be"),
        ({"cap_ratios": [0.01]}, "shed.cap_ratios must be"),
        ({"cap_ratios": ["0.9"]}, "shed.cap_ratios must be"),
        ({"cap_floor_watts": -1}, "shed.cap_floor_watts must be a number from 0"),
        ({"save_seconds": 0}, "shed.save_seconds must be a number from 1"),
        ({"idle_watts": "x"}, "shed.idle_watts must be a number"),
        ({"idle_watts": float("inf")}, "shed.idle_watts must be a number"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(table: Any, words: str) -> None:
    with pytest.raises(ShedConfigError, match=words):
        parse(table)


def test_the_file_carries_both(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('[shed]\nfloors = { P1 = 0.9 }\n[runs."10t"]\nflex_tier = 2\n')

    values = read_file(str(file))

    assert values["shed"].floors["P1"] == 0.9
    assert values["runs"]["10t"].flex_tier == 2


def test_the_settings_of_the_page_are_settings(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "shed.md").read_text()
    file = tmp_path / "hub.toml"
    file.write_text("\n".join(re.findall(r"```toml\n(.*?)```", page, re.S)))

    values = read_file(str(file))

    assert values["shed"] == ShedConfig()
    assert values["runs"]["10t"].flex_tier == 1


@pytest.mark.parametrize("tier", ["4", "-1", "true", "1.5", '"1"'])
def test_a_tier_is_0_to_3(tmp_path: Path, tier: str) -> None:
    file = tmp_path / "hub.toml"
    file.write_text(f"[runs.a]\nflex_tier = {tier}\n")

    with pytest.raises(ConfigError, match=r"runs.a.flex_tier must be 0 \(never touched\) to 3"):
        read_file(str(file))
