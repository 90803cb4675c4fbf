"""What the command line says of a real Slurm: drains with their parts, and why a run waits."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.product import BIN
from tests.slurm.site import SlurmSite
from tests.support import until
from tests.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


@pytest.fixture
def given_back(site: SlurmSite) -> Iterator[None]:
    """Drained nodes are given back at the end."""
    yield
    for name in site.slurm.node_names:
        if "DRAIN" in site.slurm.node_field(name, "State"):
            site.slurm.check("scontrol", "update", f"NodeName={name}", "State=RESUME")


@pytest.mark.usefixtures("given_back")
def test_a_drain_is_previewed_asked_for_and_followed_with_its_parts(site: SlurmSite) -> None:
    run_id = site.train("mover", ranks=1)
    (name,) = site.run_of(run_id)["node_names"]
    dry = site.cli("drain", name, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"{run_id} " in dry.stdout
    assert "moves:" in dry.stdout
    assert site.json("actions")["actions"] == []

    command = [str(BIN / "colossus"), "drain", name, "--reason", "GPU 3 fell off the bus"]
    with Terminal(command, site.environment, columns=200, rows=50) as terminal:
        terminal.until("moves:", f"drain {name}? [y/N]")
        terminal.press("y\r")
        assert terminal.wait(150) == 0, terminal.text
        assert f"pause {run_id}: observed" in terminal.text
        assert f"resume {run_id}: observed" in terminal.text
        assert f"drain {name}: observed" in terminal.text

    (whole,) = [one for one in site.json("actions")["actions"] if one["verb"] == "drain"]
    shown = site.cli("show", whole["action_id"][:12]).stdout
    assert "parts:" in shown
    assert shown.count(f" {run_id} ") >= 2
    until(lambda: "GPU 3 fell off the bus" in site.cli("nodes").stdout, 20, message="the reason")
    assert "SCHEDULER" in site.cli("nodes").stdout
    assert "DRAIN" in site.cli("show", name).stdout

    back = site.cli("undrain", name, "--yes", "--json")
    assert back.returncode == 0, back.stderr
    assert json.loads(back.stdout)["action"]["state"] == "observed"


def test_a_node_that_no_scheduler_owns_is_refused_with_the_remedy(site: SlurmSite) -> None:
    result = site.cli("drain", "nowhere", "--yes")

    assert result.returncode == 5
    assert "refused (unsupported): no scheduler of this hub owns nowhere" in result.stderr
    assert "pause or stop its runs" in result.stderr


def test_a_run_that_has_not_begun_says_why(site: SlurmSite) -> None:
    job = site.slurm.submit("sleep 300", "--nodes=1", "--hold", "--job-name=later")
    run_id = f"slurm-{job}"
    until(lambda: site.run_of(run_id).get("state") == "pending", 30, message="the pending run")

    table = site.cli("runs").stdout
    shown = site.cli("show", run_id).stdout

    (row,) = [line for line in table.splitlines() if line.startswith(run_id)]
    assert ", waits: JobHeldUser: held by" in row
    assert f"job       {job} PENDING: JobHeldUser: held by" in shown
    assert "user " in shown
