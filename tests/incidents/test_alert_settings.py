"""The `[alerts]` section: what it changes, and that a mistake names its key and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.incidents.rules import RULES, AlertsConfig, AlertsError, parse
from colossus_tui.model import Severity


def test_without_a_word_the_rules_are_the_defaults() -> None:
    config = parse({})

    assert config == AlertsConfig()
    assert config.rule("node.lost") == RULES["node.lost"]
    assert config.rule("run.ettr") is None  # it is off
    assert config.rule("run.waiting") is None


def test_times_severity_and_whether_at_all_are_the_sites_to_say() -> None:
    config = parse(
        {
            "grace": 5,
            "node.lost": {"after": 90, "clear": 10.5, "severity": "warning"},
            "run.ettr": {"enabled": True},
            "run.xid": {"enabled": False},
        }
    )

    lost = config.rules["node.lost"]
    assert (lost.after_seconds, lost.clear_seconds, lost.severity) == (90, 10.5, Severity.WARNING)
    assert config.grace_seconds == 5
    assert config.rule("run.ettr") is not None
    assert config.rule("run.xid") is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (7, r"alerts: must be a table"),
        ({"node.gone": {}}, r"alerts.'node.gone': no such kind; known: grace, node.lost"),
        ({"node.lost": 3}, r"alerts.'node.lost': must be a table, as in \[alerts.\"node.lost\"\]"),
        ({"node.lost": {"afer": 3}}, r"'afer' is no setting; known: after, clear"),
        ({"node.lost": {"after": -1}}, r"alerts.'node.lost'.after: must be seconds, 0 to 86,400"),
        ({"node.lost": {"clear": "1m"}}, r"alerts.'node.lost'.clear: must be seconds"),
        ({"node.lost": {"after": True}}, r"alerts.'node.lost'.after: must be seconds"),
        ({"node.lost": {"after": float("nan")}}, r"must be seconds"),
        ({"node.lost": {"severity": "info"}}, r"severity: one of warning, critical"),
        ({"node.lost": {"severity": 3}}, r"severity: one of warning, critical"),
        ({"node.lost": {"enabled": 1}}, r"enabled: must be true or false"),
        ({"grace": 1e9}, r"alerts.grace: must be seconds"),
    ],
)
def test_a_mistake_names_its_key_and_the_remedy(table: Any, said: str) -> None:
    with pytest.raises(AlertsError, match=said):
        parse(table)


def test_the_hubs_settings_take_them(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('[alerts]\ngrace = 1\n[alerts."node.lost"]\nafter = 20\n')
    assert read_file(str(path))["alerts"].rules["node.lost"].after_seconds == 20
    path.write_text('[alerts."node.lost"]\nafter = "soon"\n')

    with pytest.raises(ConfigError, match=r"hub.toml.*alerts.'node.lost'.after"):
        read_file(str(path))
