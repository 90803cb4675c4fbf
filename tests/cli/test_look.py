"""Commands that look: tables, JSON, watching, pipes, names."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from colossus_tui.cli import completion
from docs.generate import PARTS
from tests.e2e.product import BIN, Product
from tests.fakes.fake_agent import FakeAgent, frame, local_run
from tests.support import until


@pytest.fixture
def fed(hub: Product) -> Any:
    """A hub with one node, two GPUs and one run."""
    with FakeAgent(hub.address) as agent:
        agent.greet()
        agent.send(frame=frame([(40, 300), (41, 310)], (0.5, float(1 << 30))))
        agent.report(local_run())
        agent.steps("r", [1, 2, 3])
        until(lambda: hub.run_of("r").get("step") == 3)
        yield hub


@pytest.mark.parametrize(
    "command", ["status", "runs", "money", "nodes", "gpus", "events", "actions"]
)
def test_json_has_the_documented_parts(fed: Product, command: str) -> None:
    answer = fed.json(command)

    assert set(answer) == {"schema_version", *(part[0] for part in PARTS[command])}
    assert answer["schema_version"] == 1


@pytest.mark.parametrize(("name", "kind"), [("r", "RUN"), ("node-1", "NODE")])
def test_show_takes_a_run_or_a_node(fed: Product, name: str, kind: str) -> None:
    answer = fed.json("show", name)

    assert answer["kind"] == kind.lower()
    assert name in fed.cli("show", name).stdout


def test_tables_have_units_and_say_what_is_not_available(fed: Product) -> None:
    shown = fed.cli("runs").stdout

    heads, row = shown.splitlines()[:2]
    assert "STATE" in heads
    assert "running" in row
    assert "500 ms" in row  # step time
    assert "n/a" in row  # MFU without a known peak
    gpu = fed.cli("gpus").stdout.splitlines()[1]
    assert "300 W" in gpu
    assert "40 °C" in gpu


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["show", "nobody"], 1, "no run, node or action 'nobody'"),
        (["frobnicate"], 2, "frobnicate"),
        (["runs", "--interval", "soon"], 2, "soon"),
        (["events", "--limit", "0"], 2, "1 to 10,000"),
        (["reprioritize", "r", "P9"], 2, "P9"),
        (["freeze", "r", "--fuse", "-1"], 2, "--fuse"),
        (["--hub", "example.org:1", "runs"], 2, "TLS"),
        (["--hub", "unix:/nonexistent/hub.sock", "runs"], 1, "no hub answers"),
        (["run", "--name", "x"], 2, "COMMAND"),
        (["run", "--name", "x", "--env", "NAME", "--", "true"], 2, "NAME=VALUE"),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    fed: Product, arguments: list[str], code: int, named: str
) -> None:
    result = fed.cli(*arguments)

    assert result.returncode == code
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_hub_may_be_named_before_or_after_the_command(fed: Product) -> None:
    fed.environment.pop("COLOSSUS_HUB")
    for arguments in (["--hub", fed.address, "runs"], ["runs", "--hub", fed.address]):
        assert "running" in fed.cli(*arguments).stdout


def test_watching_prints_again_and_again_until_interrupted(fed: Product) -> None:
    command = [str(BIN / "colossus"), "runs", "--json", "--watch", "--interval", "0.2"]
    with subprocess.Popen(command, env=fed.environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130

    assert [line["runs"][0]["run_id"] for line in lines] == ["r"] * 3


def test_a_pipe_that_closes_is_no_error(fed: Product) -> None:
    command = f"{BIN}/colossus runs --watch --interval 0.05 | head -1"
    result = subprocess.run(
        ["sh", "-c", command],
        env=fed.environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert "STATE" in result.stdout
    assert not result.stderr


def test_without_a_terminal_the_console_is_one_table(fed: Product) -> None:
    result = fed.cli()

    assert result.returncode == 0
    assert "RUN" in result.stdout
    assert "\x1b" not in result.stdout


def test_version_and_help_are_quick_and_have_examples(fed: Product) -> None:
    assert fed.cli("--version").stdout.strip() == "0.1.0"
    for command in ("", "pause", "run", "gpus", "demo", "hub", "completion", "cancel", "drain"):
        text = fed.cli(*([command] if command else []), "--help").stdout
        assert "examples:" in text, command
        assert "exit codes:" in text, command


def test_bash_completes_commands_options_and_names_of_runs(fed: Product, tmp_path: Path) -> None:
    script = tmp_path / "colossus.bash"
    script.write_text(fed.cli("completion", "bash").stdout)

    def complete(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        code = (
            f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _colossus; "
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        environment = fed.environment | {"PATH": f"{BIN}:{fed.environment['PATH']}"}
        return subprocess.run(
            ["bash", "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout.split()

    assert {"pause", "checkpoint", "resume"} <= set(complete("colossus", ""))
    assert complete("colossus", "pau") == ["pause"]
    assert complete("colossus", "pause", "r") == ["r"]
    assert "--dry-run" in complete("colossus", "pause", "--d")
    assert complete("colossus", "drain", "node") == ["node-1"]
    assert set(complete("colossus", "show", "")) >= {"r", "node-1"}
    assert "--match" in complete("colossus", "resume", "--m")
    action_id = asked(fed)
    assert complete("colossus", "cancel", action_id[:4]) == [action_id]
    assert complete("colossus", "reprioritize", "P") == ["P0", "P1", "P2", "P3", "P4"]


def asked(hub: Product) -> str:
    """Ask for an action that nobody answers; return its id."""
    result = hub.cli("freeze", "r", "--yes", "--no-wait", "--json")
    return str(json.loads(result.stdout)["action"]["action_id"])


def test_a_shell_gets_no_name_that_it_would_carry_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("COLOSSUS_HUB", f"unix:{tmp_path}/none.sock")
    names = ["10t", "$(reboot)", "a`b`", "-x", "a b", "slurm-7_1"]
    monkeypatch.setattr(completion, "_names", lambda client, kind: names)

    completion.print_names(["runs"])

    assert capsys.readouterr().out.split("\n") == ["10t", "slurm-7_1", ""]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_all_commands(fed: Product, shell: str) -> None:
    script = fed.cli("completion", shell).stdout

    for command in ("pause", "reprioritize", "completion", "drain", "approve"):
        assert command in script
    assert "__complete actions" in script


def test_a_command_without_a_hub_starts_one_for_itself_and_leaves_none(tmp_path: Path) -> None:
    product = Product(tmp_path)
    product.environment.pop("COLOSSUS_HUB")
    began = time.monotonic()

    result = product.cli("nodes", "--json")

    assert result.returncode == 0, result.stderr
    (node,) = json.loads(result.stdout)["nodes"]
    assert node["linked"]
    assert time.monotonic() - began < 20
    left = [
        process.info
        for process in psutil.process_iter(["cmdline"])
        if str(tmp_path) in " ".join(process.info["cmdline"] or [])
    ]
    assert not left
