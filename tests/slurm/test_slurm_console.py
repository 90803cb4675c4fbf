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
        terminal.press("\x1b")
        terminal.until(running)
        terminal.press("*")
        terminal.until("2 marked")
        terminal.press("p")
        terminal.until("pause 2 runs   2 can", "y does it")
        terminal.press("y")
        terminal.until("2 observed", seconds=60)
    assert {site.run_of(run_id)["state"] for run_id in (running, waiting)} == {"paused"}
    assert site.job_of(waiting)["held"]
