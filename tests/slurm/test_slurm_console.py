"""What the console shows of jobs of a real Slurm, and acts on many of them at once."""

from __future__ import annotations

import pytest

from tests.e2e.product import BIN
from tests.slurm.site import SlurmSite
from tests.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def test_the_console_says_why_a_job_waits_and_pauses_it_beside_one_that_runs(
    site: SlurmSite,
) -> None:
    running = site.train("first", "--exclusive", ranks=3)
    waiting = site.submit_training("next", "--exclusive", ranks=3)
    site.wait_state(waiting, "pending")
    with Terminal([str(BIN / "colossus")], site.environment, 200, 50) as terminal:
        terminal.until(running, waiting, "pending", "waits: Resources")
        terminal.press(f"/run={waiting}\r\r")
        terminal.until("why it waits", "Resources", "slurm job", "raw priority", "its state")
        terminal.until("PENDING", "old")
        terminal.press("\x1b")
        terminal.until("runs matching")
        terminal.press(" ")
        terminal.until("1 marked")
        terminal.press("\x1b")
        terminal.until_gone("runs matching")
        terminal.press(f"/run={running}\r ")
        terminal.until("2 marked, 1 hidden")
        terminal.press("p")
        terminal.until("pause 2 runs   2 can", "y does it")
        terminal.press("y")
        terminal.until("2 observed", seconds=60)
    assert {site.run_of(run_id)["state"] for run_id in (running, waiting)} == {"paused"}
    assert site.job_of(waiting)["held"]


def test_a_node_is_drained_and_given_back_from_the_console(site: SlurmSite) -> None:
    run_id = site.train("mover", ranks=1)
    (name,) = site.run_of(run_id)["node_names"]
    with Terminal([str(BIN / "colossus")], site.environment, 120, 40) as terminal:
        terminal.until(run_id)
        terminal.press("n")
        terminal.until(*site.slurm.node_names, "SCHEDULER", "D drain")
        terminal.press("j" * site.slurm.node_names.index(name))
        terminal.until_that(lambda: f"> {name} " in terminal.text)
        terminal.press("D")
        terminal.until(f"drain {name}", "RUNS ON IT", "moves", "y does it")
        assert [
            line for line in terminal.screen.display if f" {run_id} " in line and "moves" in line
        ]
        terminal.press("y")
        terminal.until("observed", "1/1 runs go on elsewhere", seconds=90)
        terminal.press("\r")
        terminal.until(f"action: drain {name}", "PARTS", f"pause {run_id}", f"resume {run_id}")
        terminal.press("\x1b")
        terminal.until("SCHEDULER", "DRAIN", "D drain")
        terminal.press("\r")
        terminal.until(f"node {name}", "its reason", "from the console")
        terminal.press("U")
        terminal.until(f"undrain {name}", "y does it")
        terminal.press("y")
        terminal.until(f"undrain {name}  observed", seconds=40)
    assert "DRAIN" not in site.slurm.node_field(name, "State")
    assert site.run_of(run_id)["node_names"] != [name]
