"""The hub's settings: each mistake is named with its remedy and costs exit code 2."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from colossus_tui.hub.config import ConfigError, parse_listen, parse_parents, read_file


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("unix:/run/c.sock", "unix:/run/c.sock"),
        ("127.0.0.1:7717", "127.0.0.1:7717"),
        ("localhost:0", "127.0.0.1:0"),
        ("[::1]:7717", "[::1]:7717"),
    ],
)
def test_loopback_and_sockets_may_be_listened_on(given: str, expected: str) -> None:
    assert parse_listen(given) == expected


@pytest.mark.parametrize(
    "given",
    ["0.0.0.0:7717", "10.0.0.1:1", "[::]:1", "example.org:80", "", "7717", "127.0.0.1:",
     "127.0.0.1:99999", "unix:relative", "unix:/" + "x" * 107],
)  # fmt: skip
def test_what_is_open_or_malformed_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="listen"):
        parse_listen(given)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "colour"),
        ("runs = 3", "runs"),
        ("[runs.a]\ntarget_stepz = 3", "target_stepz"),
        ("[runs.a]\ntarget_steps = -3", "target_steps"),
        ("[runs.a]\ntarget_steps = true", "target_steps"),
        ('[runs.a]\nprotected = "yes"', "protected"),
        ("[runs", "hub.toml"),
        ("[runs.a]\ntarget_steps = nan", "target_steps"),
        ('[runs.a]\nplanned_end = "soon"', "planned_end must be a date"),
        ("[runs.a]\nplanned_end = 2027", "planned_end"),
        ("[runs.a]\nplanned_end = 07:32:00", "planned_end"),
        ("[runs.a]\nearlier_tokens = -1", "earlier_tokens"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(text)

    with pytest.raises(ConfigError, match=named):
        read_file(str(path))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("2027-03-01", 1_803_945_600),  # the end of that day
        ("2027-03-01T12:00:00", 1_803_902_400),
        ("2027-03-01T12:00:00+02:00", 1_803_895_200),
    ],
)
def test_a_planned_end_is_a_date_or_a_time(tmp_path: Path, given: str, seconds: int) -> None:
    path = tmp_path / "hub.toml"
    path.write_text(f"[runs.a]\nplanned_end = {given}\n")

    assert read_file(str(path))["runs"]["a"].planned_end_unix_ns == seconds * 10**9


def test_the_settings_of_the_page_are_settings(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hub.md").read_text()
    text = "".join(re.findall(r"```toml\n(.*?)```", page, re.S))
    for file in ("/etc/slurm/slurm.conf", "/etc/colossus/kubeconfig"):
        own = tmp_path / Path(file).name
        own.touch()
        text = text.replace(file, str(own))
    path = tmp_path / "hub.toml"
    path.write_text(text.replace("/opt/slurm/bin", str(tmp_path)))

    values = read_file(str(path))

    assert [rule.approvals for rule in values["rules"]] == [2, 0, 2]
    assert values["runs"]["10t"].protected
    assert values["slurm"].quality == {"P0": "critical", "P4": "scavenger"}
    assert values["kubernetes"].namespaces == ("training",)


def hub(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a hub that must end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "colossus_tui.hub", *arguments, "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--listen", "0.0.0.0:7717"], "TLS"),
        (["--config", "/nonexistent.toml"], "config"),
        (["--tcp-role", "god"], "tcp-role"),
    ],
)
def test_a_hub_with_a_wrong_setting_ends_with_2(
    tmp_path: Path, arguments: list[str], named: str
) -> None:
    result = hub(tmp_path, *arguments)

    assert result.returncode == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_damaged_journal_is_left_alone_and_named(tmp_path: Path) -> None:
    file = tmp_path / "hub" / "hub.sqlite3"
    file.parent.mkdir()
    file.write_bytes(b"not a database at all" * 100)

    result = hub(tmp_path, "--listen", f"unix:{tmp_path}/s")

    assert result.returncode == 2
    assert str(file) in result.stderr
    assert "move it aside" in result.stderr
    assert file.read_bytes().startswith(b"not a database")


def test_a_journal_of_a_newer_hub_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "hub" / "hub.sqlite3"
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()

    result = hub(tmp_path, "--listen", f"unix:{tmp_path}/s")

    assert result.returncode == 2
    assert "newer hub" in result.stderr


@pytest.mark.parametrize("text", ["10.0.0.1:7717", "unix:relative", "unix:/a,nowhere", ","])
def test_a_wrong_parent_is_named_with_the_remedy(text: str) -> None:
    with pytest.raises(ConfigError, match=r"relay_to.*give unix:/path"):
        parse_parents(text)


def test_several_parents_keep_their_order() -> None:
    assert parse_parents("unix:/a, 127.0.0.1:7") == ("unix:/a", "127.0.0.1:7")
