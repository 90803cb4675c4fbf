"""Every verb on a real run, through the command line, as an operator's script would."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from colossus_tui.client import Client
from tests.e2e.product import Product, process_state
from tests.support import until

pytestmark = pytest.mark.e2e


def losses(product: Product, run_id: str) -> dict[int, float]:
    """Return the loss of every step of a run."""
    with Client(product.address) as client:
        (series,) = client.history(run_id, ["loss"])
    return dict(zip(series.steps, series.values, strict=True))


@pytest.mark.timeout(150)
@pytest.mark.parametrize("ranks", [2])
def test_a_paused_and_resumed_run_learns_exactly_as_an_uninterrupted_one(
    product: Product, ranks: int
) -> None:
    product.train("steady", "--max-steps", "200", ranks=ranks)
    product.train("paused", "--max-steps", "200", ranks=ranks)
    product.wait_step("paused", 40)
    pids = [rank["pid"] for rank in product.ranks("paused")]

    paused = product.cli("pause", "paused", "--yes", "--json")

    assert paused.returncode == 0, paused.stderr
    step = json.loads(paused.stdout)["action"]["agreed_step"]
    run = product.run_of("paused")
    assert run["state"] == "paused"
    assert run["durable_step"] == step >= 40
    assert [process_state(pid) for pid in pids] == [""] * ranks
    assert any(Path(product.folder / "checkpoints" / "paused").rglob("*"))

    resumed = product.cli("resume", "paused", "--yes")

    assert resumed.returncode == 0, resumed.stderr
    product.wait_state("paused", "completed", 60)
    product.wait_state("steady", "completed", 60)
    expected = losses(product, "steady")
    assert len(expected) == 200
    assert losses(product, "paused") == expected
    assert product.run_of("paused")["attempt"] == 2


def test_a_checkpoint_keeps_the_run_running(product: Product) -> None:
    product.train("kept")
    pids = [rank["pid"] for rank in product.ranks("kept")]

    result = product.cli("checkpoint", "kept", "--yes", "--json")

    assert result.returncode == 0, result.stderr
    step = json.loads(result.stdout)["action"]["agreed_step"]
    assert product.run_of("kept")["durable_step"] >= step
    product.wait_step("kept", step + 5)
    assert [rank["pid"] for rank in product.ranks("kept")] == pids


def test_reprioritize_changes_nice_as_the_system_says(product: Product) -> None:
    product.train("nice")
    pid = product.ranks("nice")[0]["pid"]
    before = os.getpriority(os.PRIO_PROCESS, pid)

    result = product.cli("reprioritize", "nice", "P4", "--yes")

    assert result.returncode == 0, result.stderr
    assert before == 5
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert product.run_of("nice")["priority_class"] == "P4"
    assert "19" in product.run_of("nice")["backend_priority"]


def test_freeze_stops_the_steps_and_resume_lets_them_go_on(product: Product) -> None:
    product.train("ice")

    frozen = product.cli("freeze", "ice", "--fuse", "45", "--yes")

    assert frozen.returncode == 0, frozen.stderr
    product.wait_state("ice", "frozen")
    step = product.run_of("ice")["step"]
    thawed = product.cli("resume", "ice", "--yes")
    assert thawed.returncode == 0, thawed.stderr
    product.wait_step("ice", step + 5)


@pytest.mark.timeout(90)
def test_a_freeze_ends_at_its_fuse_when_everything_else_is_dead(product: Product) -> None:
    product.train("fused", "--log-steps", str(product.folder / "steps.txt"))
    steps = product.folder / "steps.txt"
    result = product.cli("freeze", "fused", "--fuse", "6", "--yes")
    assert result.returncode == 0, result.stderr
    product.kill("agent")
    product.kill("hub")
    size = steps.stat().st_size

    until(lambda: steps.stat().st_size > size, 20, message="the fuse to thaw the run")

    product.start_hub()
    product.start_agent()
    product.wait_state("fused", "running")


def test_stop_ends_a_run(product: Product) -> None:
    product.train("over")
    pid = product.ranks("over")[0]["pid"]

    result = product.cli("stop", "over", "--yes")

    assert result.returncode == 0, result.stderr
    assert process_state(pid) == ""
    assert product.run_of("over")["state"] == "stopped"


def test_a_run_without_a_hook_refuses_a_pause_and_says_why(product: Product) -> None:
    script = "import time; time.sleep(300)"
    started = product.cli("run", "--name", "plain", "--", sys.executable, "-c", script)
    assert started.returncode == 0, started.stderr
    product.wait_state("plain", "running")  # until then it might still show a hook

    result = product.cli("pause", "plain", "--yes")

    assert result.returncode == 5
    assert "not supported by this run" in result.stdout + result.stderr
    assert product.run_of("plain")["state"] == "running"


def test_a_stranger_over_tcp_may_look_but_not_touch(product: Product) -> None:
    product.train("guarded")
    product.kill("hub")
    product.start_hub("--listen", "127.0.0.1:0", "--port-file", str(product.folder / "port"))
    port = (product.folder / "port").read_text().strip()
    product.wait_state("guarded", "running")

    looked = product.cli("runs", "--hub", f"127.0.0.1:{port}")
    touched = product.cli("pause", "guarded", "--yes", "--hub", f"127.0.0.1:{port}")

    assert looked.returncode == 0
    assert touched.returncode == 4
    assert "viewer" in touched.stdout + touched.stderr


def test_the_client_sees_the_same_as_the_command_line(product: Product) -> None:
    product.train("client", priority="P3")
    with Client(product.address) as client:
        preflight = client.preview("pause", "client")
        action = client.pause("client", reason="test", wait=True, timeout=30)
        states = [stage.state for stage in action.stages]

        assert preflight.allowed
        assert states[0] == "requested"
        assert states[-1] == "observed"
        assert client.run("client").run.state == "paused"
        assert client.resume("client", wait=True, timeout=30).state == "observed"
        with_dry_run = json.loads(product.cli("pause", "client", "--dry-run", "--json").stdout)
        assert [figure["name"] for figure in with_dry_run["preflight"]["figures"]] == [
            figure.name for figure in preflight.figures
        ]
