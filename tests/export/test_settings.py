"""[prometheus] in the hub's settings: each mistake is named with its remedy."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from colossus_agent.readings import GPU_COLUMNS
from colossus_tui.hub.config import ConfigError, read_file
from colossus_tui.hub.export import config, names
from colossus_tui.hub.export.config import PrometheusConfig
from colossus_tui.hub.site import rollups

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
URL = 'url = "http://127.0.0.1:9090/api/v1/write"'


def read(tmp_path: Path, *lines: str) -> PrometheusConfig:
    """Return what the hub makes of a [prometheus] table."""
    path = tmp_path / "hub.toml"
    path.write_text("\n".join(("[prometheus]", *lines)))
    found = read_file(str(path))["prometheus"]
    assert isinstance(found, PrometheusConfig)
    return found


def test_only_the_address_is_needed(tmp_path: Path) -> None:
    found = read(tmp_path, URL)

    assert found.url.geturl() == "http://127.0.0.1:9090/api/v1/write"
    assert (found.period_seconds, found.raw, found.roll_ups) == (15, True, True)
    assert found.metrics == tuple(rollups.ROLLED)
    assert found.labels == {}


@pytest.mark.parametrize(
    "line",
    [
        'url = "http://localhost:1/w"',
        'url = "http://[::1]:9090/w"',
        'url = "https://store.example/w?tenant=a"',
        'url = "http://store.example"\nallow_http = true',
    ],
)
def test_loopback_https_and_what_is_allowed_may_be_written_to(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line).url.path in ("/w", "/")


@pytest.mark.parametrize(
    ("lines", "named", "remedy"),
    [
        ("", "url", "api/v1/write"),
        ("url = 9090", "url", "api/v1/write"),
        ('url = "127.0.0.1:9090"', "url", "http or https"),
        ('url = "http://127.0.0.1:x/"', "url", "no address"),
        ('url = "http://127.0.0.1:99999/"', "url", "no address"),
        ('url = "http://127.0.0.1/a b"', "url", "api/v1/write"),
        ('url = "ftp://127.0.0.1/"', "url", "http or https"),
        ('url = "https:///w"', "url", "a host"),
        ('url = "http://10.0.0.1:9090/w"', "url", "allow_http = true"),
        ('url = "http://store.example/w"', "url", "use https"),
        ('url = "https://ada:secret@store.example/w"', "url", "bearer_token_file"),
        (f"{URL}\nallow_http = 1", "allow_http", "true or false"),
        (f"{URL}\nperiod_seconds = 0.5", "period_seconds", "1 to 300"),
        (f"{URL}\nperiod_seconds = true", "period_seconds", "1 to 300"),
        (f"{URL}\nperiod_seconds = nan", "period_seconds", "1 to 300"),
        (f'{URL}\nmetrics = "power"', "metrics", '["power"]'),
        (f"{URL}\nmetrics = []", "metrics", '["power"]'),
        (f'{URL}\nmetrics = ["powr"]', "powr", "known: gpu_temperature"),
        (f"{URL}\nmetrics = [[]]", "metrics", "known: gpu_temperature"),
        (f'{URL}\nmetrics = ["power", "power"]', "metrics", "twice"),
        (f'{URL}\nraw = "yes"', "raw", "true or false"),
        (f"{URL}\nraw = false\nroll_ups = false", "roll_ups", "must be true"),
        (f'{URL}\nraw = false\nmetrics = ["xid"]', "metrics", "rolled up: power"),
        (f"{URL}\nbearer_token_file = 3", "bearer_token_file", "path"),
        (f'{URL}\nbearer_token_file = "/nonexistent"', "bearer_token_file", "No such file"),
        (f'{URL}\nbearer_token_file = "/dev/null"', "bearer_token_file", "one word"),
        (f'{URL}\nlabels = "a"', "labels", "[prometheus.labels]"),
        (f'{URL}\nlabels = {{ node = "a" }}', "labels.node", "itself"),
        (f'{URL}\nlabels = {{ __name__ = "a" }}', "labels.__name__", "a letter first"),
        (f'{URL}\nlabels = {{ A = "a" }}', "labels.A", "a-z"),
        (f"{URL}\nlabels = {{ a = 3 }}", "labels.a", "text"),
        (f'{URL}\nlabels = {{ a = "" }}', "labels.a", "text"),
        (f"{URL}\ncolour = 1", "colour", "known: url"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, lines: str, named: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, lines)

    assert named in str(caught.value)
    assert remedy in str(caught.value)
    assert "secret" not in str(caught.value)


def test_it_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text("prometheus = 3")

    with pytest.raises(ConfigError, match=re.escape("[prometheus]")):
        read_file(str(path))


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ConfigError, match=re.escape("colossus-tui[prometheus]")):
        read(tmp_path, URL)


def test_a_hub_with_a_wrong_setting_ends_with_2(tmp_path: Path) -> None:
    path = tmp_path / "hub.toml"
    path.write_text('[prometheus]\nurl = "http://store.example/w"')

    result = subprocess.run(
        [sys.executable, "-m", "colossus_tui.hub", "--config", str(path), "--state-dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=30,
    )

    assert result.returncode == 2
    assert "prometheus.url" in result.stderr
    assert "allow_http" in result.stderr
    assert "Traceback" not in result.stderr


def test_settings_are_read_without_numpy_and_the_library() -> None:
    script = (
        "import sys, colossus_tui.hub.export.config; print({'numpy', 'cramjam'} & {*sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )

    assert result.stdout.strip() == "set()"


def test_every_metric_of_an_agent_has_a_name_and_the_rolled_up_ones_are_the_hubs() -> None:
    assert list(names.METRICS) == [column.name for column in GPU_COLUMNS]
    assert tuple(rollups.ROLLED) == names.ROLLED
    units = {"C": "celsius", "W": "watts", "MHz": "hertz", "ratio": "ratio", "B": "bytes"}
    for column in GPU_COLUMNS:
        name = names.METRICS[column.name].name("gpu")
        assert name.endswith(units.get(column.unit, ""))
        assert re.fullmatch(r"colossus_gpu_[a-z0-9_]+", name)


def test_the_page_shows_settings_that_are_some_and_every_name(tmp_path: Path) -> None:
    page = PAGE.read_text()
    (tmp_path / "token").write_text("secret\n")
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.S)
    path = tmp_path / "hub.toml"
    path.write_text(text.replace("/etc/colossus/prometheus.token", str(tmp_path / "token")))

    found = read_file(str(path))["prometheus"]

    assert found.labels == {"site": "north"}
    missing = [
        text
        for text in (*config.NAMES, *(each.name("gpu") for each in names.METRICS.values()))
        if f"`{text}`" not in page
        and f"{text} =" not in page
        and f"[prometheus.{text}]" not in page
    ]
    assert missing == []
