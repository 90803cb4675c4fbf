"""kill -9 of each part in turn: nothing else dies, and what is shown is what is so."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time

import pytest

from colossus_tui.hub.app import ACKNOWLEDGE_TICKS
from tests.e2e.product import Product, process_state
from tests.support import until

pytestmark = pytest.mark.e2e


@pytest.mark.timeout(120)
def test_killing_the_agent_stops_no_training(product: Product) -> None:
    product.train("t")
    pids = [rank["pid"] for rank in product.ranks("t")]
    product.kill("agent")
    until(
        lambda: not product.json("nodes")["nodes"][0]["linked"], 20, message="the lost link to show"
    )
    assert all(process_state(pid) for pid in pids)
    step = product.run_of("t")["step"]

    product.start_agent()

    product.wait_step("t", step + 20)
    assert [rank["pid"] for rank in product.ranks("t")] == pids
    assert product.cli("pause", "t", "--yes").returncode == 0


@pytest.mark.timeout(120)
def test_killing_the_hub_loses_neither_runs_nor_the_journal(product: Product) -> None:
    product.train("t")
    assert product.cli("checkpoint", "t", "--yes", "--reason", "before the crash").returncode == 0
    pid = product.ranks("t")[0]["pid"]
    product.kill("hub")
    assert process_state(pid)

    product.start_hub()

    product.wait_state("t", "running")
    product.wait_step("t", (product.run_of("t")["step"] or 0) + 5)
    actions = product.json("actions")["actions"]
    assert ("checkpoint", "observed", "before the crash") in [
        (action["verb"], action["state"], action["reason"]) for action in actions
    ]
    database = next((product.folder / "state" / "hub").glob("*.sqlite3"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


SAVES_WHEN_TOLD = """
import pathlib, sys, time
from colossus_hook import Run
run, folder = Run.from_env(), pathlib.Path(sys.argv[1])
saved = False
for step in range(1, 10_000):
    time.sleep(0.05)
    run.step(step)
    if not saved and (folder / f"save-{run.rank}").exists():
        (folder / f"part-{run.rank}").touch()
        run.checkpointed(7, str(folder / f"part-{run.rank}"))
        saved = True
"""


@pytest.mark.timeout(120)
def test_a_part_that_a_hub_heard_of_before_its_death_is_told_to_the_next(product: Product) -> None:
    argv = (sys.executable, "-c", SAVES_WHEN_TOLD, str(product.folder))
    assert product.cli("run", "--name", "t", "--ranks", "2", "--", *argv).returncode == 0
    product.wait_step("t", 1)
    (product.folder / "save-0").touch()
    until(lambda: product.ranks("t")[0]["checkpoint_step"] == 7, message="the first part")
    time.sleep(ACKNOWLEDGE_TICKS + 2)  # its agent has let go of it: the hub has it
    product.kill("hub")
    product.start_hub()
    (product.folder / "save-1").touch()

    until(lambda: product.run_of("t").get("durable_step") == 7, 20, message="the whole checkpoint")


def test_a_killed_rank_is_shown_with_its_signal(product: Product) -> None:
    product.train("t", ranks=1)
    pid = product.ranks("t")[0]["pid"]

    os.kill(pid, signal.SIGKILL)

    product.wait_state("t", "failed")
    (rank,) = product.ranks("t")
    assert rank["exit"]["exit_signal"] == signal.SIGKILL
    assert product.hub is not None
    assert product.hub.poll() is None
    assert product.agent is not None
    assert product.agent.poll() is None


def test_an_ended_run_goes_on_from_its_durable_step(product: Product) -> None:
    product.train("t")
    assert product.cli("checkpoint", "t", "--yes").returncode == 0
    durable = product.run_of("t")["durable_step"]
    os.kill(product.ranks("t")[0]["pid"], signal.SIGKILL)
    product.wait_state("t", "failed")

    result = product.cli("resume", "t", "--yes")

    assert result.returncode == 0, result.stderr
    product.wait_step("t", durable + 1)
    assert product.run_of("t")["attempt"] == 2
