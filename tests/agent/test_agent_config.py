"""The agent's settings: where they come from, and what a wrong one says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from colossus_agent.__main__ import parser
from colossus_agent.config import AgentConfig, ConfigError, resolve


def settings(*arguments: str, **environment: str) -> AgentConfig:
    return resolve(parser().parse_args(arguments), environment)


def agent(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "colossus_agent", *arguments],
        env=dict(os.environ) | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text('hub = "unix:/from-file"\nrack = "r-file"\nhall = "h-file"\n')
    more = {"COLOSSUS_RACK": "r-env", "COLOSSUS_HALL": "h-env", "COLOSSUS_CONFIG": str(file)}

    config = settings("--hall", "h-line", **more)

    assert (config.hubs, config.rack, config.hall) == (("unix:/from-file",), "r-env", "h-line")


@pytest.mark.parametrize(
    "hub", ["unix:/run/hub.sock", "127.0.0.1:7717", "localhost:1", "[::1]:7717", "127.9.9.9:80"]
)
def test_addresses_of_this_machine_are_taken(hub: str) -> None:
    assert settings("--hub", hub).hubs == (hub,)


def test_several_hubs_are_tried_in_their_order() -> None:
    assert settings("--hub", "unix:/a, 127.0.0.1:7717").hubs == ("unix:/a", "127.0.0.1:7717")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "hub: not given; use --hub"),
        (["--hub", "unix:/a,,unix:/b"], "HOST:PORT"),
        (["--hub", "10.0.0.1:7717"], "TLS"),
        (["--hub", "hub.example.org:7717"], "TLS"),
        (["--hub", "0.0.0.0:7717"], "TLS"),
        (["--hub", "unix:relative"], "absolute path"),
        (["--hub", "unix:/" + "x" * 107], "107 bytes"),
        (["--hub", "127.0.0.1"], "HOST:PORT"),
        (["--hub", "127.0.0.1:99999"], "HOST:PORT"),
        (["--hub", "::1:7717"], "brackets"),
        (["--hub", "unix:/a", "--node-name", "a b\x1b[31m"], r"node_name 'a b\x1b[31m'"),
        (["--hub", "unix:/a", "--rack", "../x"], "rack"),
        (["--hub", "unix:/a", "--sample-seconds", "0"], "sample_seconds '0': give a number"),
        (["--hub", "unix:/a", "--sample-seconds", "nan"], "sample_seconds"),
        (["--hub", "unix:/a", "--config", "/no/such/file"], "config '/no/such/file'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(arguments: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(*arguments)

    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("hub = 3", "hub 3: must be text"),
        ('hub = "unix:/a"\nstate_dir = ["x"]', "state_dir ['x']: must be text"),
        ('hub = "unix:/a"\nsample_seconds = "soon"', "sample_seconds 'soon'"),
        ('hub = "unix:/a"\nnodename = "x"', "'nodename' is no setting; known are hub, node_name"),
        ("hub = ", "config"),
    ],
)
def test_a_wrong_file_is_named_with_its_remedy(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        settings("--config", str(file))

    assert named in str(caught.value)


def test_a_wrong_setting_ends_the_process_with_two_and_one_line() -> None:
    result = agent("--hub", "example.org:1")

    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("colossus-agent: hub 'example.org:1'")


@pytest.mark.parametrize("setting", ["--state-dir", "--log-file"])
def test_a_place_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path, setting: str) -> None:
    (tmp_path / "file").write_text("")

    result = agent("--hub", "unix:/nowhere", setting, str(tmp_path / "file" / "below"))

    assert result.returncode == 2
    assert setting[2:].replace("-", "_") in result.stderr


def test_an_unknown_option_is_a_usage_error_and_help_and_version_are_not() -> None:
    assert agent("--nonsense").returncode == 2
    assert agent("--help").returncode == 0
    assert agent("--version").stdout.startswith("colossus-agent ")


def test_check_says_of_every_sensor_how_it_is_and_needs_no_hub(tmp_path: Path) -> None:
    result = agent("--check", "--state-dir", str(tmp_path / "new"))

    rows = [line.split(None, 3) for line in result.stdout.splitlines()]
    host = {row[1]: row[2] for row in rows if row[0] == "host"}
    assert result.returncode == 0, result.stdout
    assert host["memory_total"] == host["load_1m"] == host["network_rx"] == "ok"
    assert host["cpu_power"] in ("ok", "unsupported", "not_permitted")
    node = {row[1]: row[3] for row in rows if row[0] == "node"}
    assert node["freeze"].startswith(("by cgroup v2", "by cgroup v1", "by stop signals"))
    assert "set cuda_checkpoint in the agent's settings" in node["release_gpus"]
    assert not (tmp_path / "new").exists()


def test_check_fails_where_the_hub_cannot_be_reached(tmp_path: Path) -> None:
    result = agent("--check", "--hub", f"unix:{tmp_path}/none.sock")

    assert result.returncode == 1
    assert "No such file" in result.stdout


def test_a_reader_of_the_check_that_leaves_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "colossus_agent", "--check"],
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=30,
    )
    os.close(writing)

    assert (result.returncode, result.stderr) == (1, b"")
