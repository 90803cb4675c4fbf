"""Every verb on jobs of a real Slurm, and what the hub says of each job."""

from __future__ import annotations

import json

import pytest

from colossus_tui.client import Client
from tests.e2e.product import process_state
from tests.slurm.site import SlurmSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def losses(site: SlurmSite, run_id: str) -> dict[int, float]:
    """Return the loss of every step of a run."""
    with Client(site.address) as client:
        (series,) = client.history(run_id, ["loss"])
    return dict(zip(series.steps, series.values, strict=True))


def test_a_paused_job_is_held_and_learns_on_as_if_nothing_had_been(site: SlurmSite) -> None:
    run_id = site.train("paused", steps=100)
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
    site.wait_state(run_id, "completed", 60)
    assert site.run_of(run_id)["attempt"] == 2
    steady = site.train("steady", steps=100)
    site.wait_state(steady, "completed", 60)
    # Slurm's word that it is over may come before the agents' last steps.
    until(lambda: len(losses(site, run_id)) == len(losses(site, steady)) == 100, message="steps")
    assert losses(site, run_id) == losses(site, steady)


def test_a_checkpoint_keeps_the_job_running(site: SlurmSite) -> None:
    run_id = site.train("kept")

    result = site.cli("checkpoint", run_id, "--yes", "--json")

    assert result.returncode == 0, result.stdout + result.stderr
    action = json.loads(result.stdout)["action"]
    assert action["confirmed_rank_count"] == action["rank_count"] == 2
    assert site.run_of(run_id)["durable_step"] >= action["agreed_step"]
    assert site.slurm.field(run_id.removeprefix("slurm-"), "JobState") == "RUNNING"
    site.wait_step(run_id, action["agreed_step"] + 5)


def test_a_freeze_stops_the_ranks_on_every_node_and_a_resume_lets_them_go_on(
    site: SlurmSite,
) -> None:
    run_id = site.train("ice")

    frozen = site.cli("freeze", run_id, "--fuse", "40", "--yes")

    assert frozen.returncode == 0, frozen.stdout + frozen.stderr
    site.wait_state(run_id, "frozen")
    pids = [rank["pid"] for rank in site.ranks(run_id)]
    assert [process_state(pid) for pid in pids] == ["T", "T"]
    assert site.slurm.field(run_id.removeprefix("slurm-"), "JobState") == "RUNNING"
    step = site.run_of(run_id)["step"]
    thawed = site.cli("resume", run_id, "--yes")
    assert thawed.returncode == 0, thawed.stdout + thawed.stderr
    site.wait_step(run_id, step + 5)


def test_a_freeze_ends_at_its_fuse_when_hub_and_agents_are_dead(site: SlurmSite) -> None:
    run_id = site.train("fused")
    result = site.cli("freeze", run_id, "--fuse", "6", "--yes")
    assert result.returncode == 0, result.stdout + result.stderr
    pids = [rank["pid"] for rank in site.ranks(run_id)]
    for name in site.slurm.node_names:
        site.kill_agent_of(name)
    site.kill("hub")

    until(lambda: all(process_state(pid) in "SR" for pid in pids), 20, message="the fuses")


def test_stop_cancels_the_job(site: SlurmSite) -> None:
    run_id = site.train("over")
    pids = [rank["pid"] for rank in site.ranks(run_id)]

    result = site.cli("stop", run_id, "--yes")

    assert result.returncode == 0, result.stdout + result.stderr
    assert [process_state(pid) for pid in pids] == ["", ""]
    assert site.slurm.field(run_id.removeprefix("slurm-"), "JobState") == "CANCELLED"
    assert site.run_of(run_id)["state"] == "stopped"


def test_a_waiting_job_says_why_and_can_be_held_and_reprioritized(site: SlurmSite) -> None:
    site.train("first", "--exclusive", ranks=3)
    job = site.slurm.submit("sleep 300", "--nodes=3", "--exclusive", "--job-name=second")
    run_id = f"slurm-{job}"
    site.wait_state(run_id, "pending")
    until(lambda: "Resources" in site.job_of(run_id)["reason"], 20, message="a reason")
    assert any("waits: Resources" in alert["message"] for alert in site.run_of(run_id)["alerts"])

    lowered = site.cli("reprioritize", run_id, "P4", "--yes")

    assert lowered.returncode == 0, lowered.stdout + lowered.stderr
    assert site.slurm.field(job, "Nice") == "10000"
    assert site.run_of(run_id)["priority_class"] == "P4"

    held = site.cli("pause", run_id, "--yes")

    assert held.returncode == 0, held.stdout + held.stderr
    assert site.slurm.field(job, "Reason") == "JobHeldAdmin"  # root is Slurm's administrator
    assert site.run_of(run_id)["state"] == "paused"

    late = site.cli("resume", run_id, "--yes", "--timeout", "6")

    assert late.returncode == 3, late.stdout + late.stderr
    assert site.slurm.field(job, "Priority") != "0"
    site.wait_state(run_id, "pending")


def test_a_running_jobs_class_is_its_quality_of_service(site: SlurmSite) -> None:
    run_id = site.train("fixed", ranks=1)

    result = site.cli("reprioritize", run_id, "P1", "--yes")

    assert result.returncode == 5
    assert "[slurm.classes.P1]" in result.stdout + result.stderr


def test_a_job_that_may_not_be_requeued_refuses_a_pause(site: SlurmSite) -> None:
    run_id = site.train("once", "--no-requeue", ranks=1)

    result = site.cli("pause", run_id, "--yes")

    assert result.returncode == 5
    assert "--no-requeue" in result.stdout + result.stderr
    assert site.run_of(run_id)["state"] == "running"


def test_a_job_without_a_hook_can_be_stopped_but_not_paused(site: SlurmSite) -> None:
    job = site.slurm.submit("sleep 300", "--nodes=1")
    run_id = f"slurm-{job}"
    site.wait_state(run_id, "running", 40)

    paused = site.cli("pause", run_id, "--yes")
    stopped = site.cli("stop", run_id, "--yes")

    assert paused.returncode == 5
    assert "needs the hook" in paused.stdout + paused.stderr
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr


def test_an_array_and_a_heterogeneous_job_are_shown_as_what_they_are(site: SlurmSite) -> None:
    array = site.slurm.submit("sleep 300", "--array=0-3%2", "--nodes=1", "--job-name=sweep")
    mixed = site.slurm.check(
        "sbatch",
        "--parsable",
        "--output=/dev/null",
        "--job-name=mixed",
        "-N1",
        "-n1",
        ":",
        "-N1",
        "-n1",
        "--wrap",
        "sleep 300",
    ).strip()

    site.wait_state(f"slurm-{array}_0", "running", 40)
    site.wait_state(f"slurm-{array}_1", "running", 40)
    rest = site.run_of(f"slurm-{array}")
    assert rest["state"] == "pending"
    assert rest["job"]["part_of"] == f"array {array}, tasks 2-3%2 wait"
    assert "JobArrayTaskLimit" in rest["job"]["reason"]
    assert site.job_of(f"slurm-{array}_1")["part_of"] == f"array {array}"
    site.wait_state(f"slurm-{mixed}", "running", 40)
    whole = site.run_of(f"slurm-{mixed}")
    assert whole["job"]["part_of"] == "2 components"
    assert len(whole["node_names"]) == 2

    stopped = site.cli("stop", f"slurm-{array}_1", "--yes")

    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert site.run_of(f"slurm-{array}_0")["state"] == "running"
    until(lambda: site.run_of(f"slurm-{array}_2"), 20, message="the next task")


def test_ends_are_told_in_slurms_words(site: SlurmSite) -> None:
    bad = site.slurm.submit("exit 3", "--nodes=1")
    requeued = site.train("again", ranks=1)

    site.slurm.check("scontrol", "requeue", requeued.removeprefix("slurm-"))

    site.wait_state(f"slurm-{bad}", "failed", 30)
    alerts = site.run_of(f"slurm-{bad}")["alerts"]
    assert "it ended with exit code 3 (NonZeroExitCode)" in [alert["message"] for alert in alerts]
    until(lambda: site.run_of(requeued).get("state") == "pending", 30, message="its begin time")
    assert "BeginTime" in site.job_of(requeued)["reason"]


def test_slurm_says_no_in_its_own_words(site: SlurmSite) -> None:
    job = site.slurm.submit("sleep 300", "--nodes=1")
    site.wait_state(f"slurm-{job}", "running", 40)
    folder = site.folder / "bin"
    folder.mkdir()
    for name in ("squeue", "sinfo", "scontrol", "scancel"):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec setpriv --reuid=65534 --clear-groups {name} "$@"\n')
        script.chmod(0o755)
    site.folder.chmod(0o755)
    site.kill("hub")
    site.write_settings(f'commands = "{folder}"\n')
    site.start_hub("--config", str(site.settings))
    until(lambda: site.job_of(f"slurm-{job}"), 20, message="Slurm's word")

    stopped = site.cli("stop", f"slurm-{job}", "--yes")
    lowered = site.cli("reprioritize", f"slurm-{job}", "P4", "--yes")

    assert stopped.returncode == 6, stopped.stdout + stopped.stderr
    assert "Access/permission denied" in stopped.stdout + stopped.stderr
    assert lowered.returncode == 5
    assert site.run_of(f"slurm-{job}")["state"] == "running"


def test_slurmctld_away_for_a_while_is_told_and_survived(site: SlurmSite) -> None:
    run_id = site.train("lasting")
    site.slurm.stop_controller(run_id.removeprefix("slurm-"))
    try:
        until(
            lambda: "slurm.away" in [e["kind"] for e in site.json("events")["events"]],
            40,
            message="the news",
        )
        refused = site.cli("stop", run_id, "--yes")
        assert refused.returncode == 1
        assert "Slurm does not answer" in refused.stdout + refused.stderr
        step = site.run_of(run_id)["step"]
        site.wait_step(run_id, step + 20)  # the agents see it all the same
        until(
            lambda: "run.scheduler_silent" in [a["kind"] for a in site.run_of(run_id)["alerts"]],
            60,
            message="the alert",
        )
        assert site.run_of(run_id)["state"] == "running"
    finally:
        site.slurm.start_controller()
    until(
        lambda: "slurm.back" in [e["kind"] for e in site.json("events")["events"]],
        70,
        message="the return",
    )
    assert site.cli("checkpoint", run_id, "--yes").returncode == 0


def test_a_hub_that_crashes_in_a_pause_finishes_it(site: SlurmSite) -> None:
    run_id = site.train("crashed")
    started = site.cli("pause", run_id, "--yes", "--no-wait", "--json")
    action_id = json.loads(started.stdout)["action"]["action_id"]
    site.kill("hub")
    site.start_hub("--config", str(site.settings))

    with Client(site.address) as client:
        action = client.wait(action_id, 60)

    assert action.state == "observed", action
    assert site.run_of(run_id)["state"] == "paused"
    assert site.slurm.field(run_id.removeprefix("slurm-"), "Restarts") == "1"
