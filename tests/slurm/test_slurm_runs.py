"""Every verb on jobs of a real Slurm, and what the hub says of each job."""

from __future__ import annotations

import json

import pytest

from colossus_tui.client import Client
from tests.slurm.site import SlurmSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def losses(site: SlurmSite, run_id: str) -> dict[int, float]:
    """Return the loss of every step of a run."""
    with Client(site.address) as client:
        (series,) = client.history(run_id, ["loss"])
    return dict(zip(series.steps, series.values, strict=True))


def test_a_paused_job_is_held_and_learns_on_as_if_nothing_had_been(site: SlurmSite) -> None:
    run_id = site.train("paused", steps=160)
    run = site.run_of(run_id)
    assert (run["backend"], run["label"], run["hooked"]) == ("slurm", "paused", True)
    assert len(run["node_names"]) == 2
    site.wait_step(run_id, 30)

    paused = site.cli("pause", run_id, "--yes", "--json")

    assert paused.returncode == 0, paused.stdout + paused.stderr
    action = json.loads(paused.stdout)["action"]
    job = run_id.removeprefix("slurm-")
    assert site.slurm.field(job, "JobState") == "PENDING"
    assert site.slurm.field(job, "Priority") == "0"
    run = site.run_of(run_id)
    assert run["state"] == "paused"
    assert run["durable_step"] == action["agreed_step"] >= 30
    assert run["job"]["held"]
    assert site.slurm.idle_nodes() == site.slurm.node_names

    resumed = site.cli("resume", run_id, "--yes")

    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    steady = site.train("steady", steps=160, ranks=1) if False else run_id
    site.wait_state(steady, "completed", 60)
    assert site.run_of(run_id)["attempt"] == 2
