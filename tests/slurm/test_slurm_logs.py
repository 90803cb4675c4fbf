"""Jobs of a real Slurm without a hook, seen by what they print."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.fakes import framework_logs as logs
from tests.slurm.site import SlurmSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
RATE = logs.BATCH * logs.SEQUENCE / 0.05


def submit(site: SlurmSite, framework: str, launcher: str, *options: str) -> str:
    """Submit a job that prints, with its output in the file that sbatch opens."""
    program = f"{sys.executable} -m tests.fakes.framework_logs {framework} --seconds 0.05"
    job = site.slurm.submit(f"cd {ROOT}\n{launcher} {program}", "--nodes=1", *options)
    return f"slurm-{job}"


@pytest.mark.parametrize(
    ("framework", "name", "launcher"),
    [
        ("megatron", "Megatron-LM", "srun"),
        ("megatron", "Megatron-LM", "exec srun"),
        ("torchtitan", "torchtitan", ""),
    ],
)
def test_a_job_without_hook_shows_what_it_prints(
    site: SlurmSite, framework: str, name: str, launcher: str
) -> None:
    run_id = submit(site, framework, launcher)

    site.wait_step(run_id, 200, 60)

    run = site.run_of(run_id)
    assert (run["backend"], run["state"], run["hooked"]) == ("slurm", "running", False)
    assert run["step_source"] == f"log ({name})"
    assert run["loss"] == pytest.approx(logs.loss(run["step"]), abs=1e-4)
    assert run["tokens_per_second"] == pytest.approx(RATE, rel=0.25)
    assert run["target_steps"] == logs.TARGET
    paused = site.cli("pause", run_id, "--yes")
    assert paused.returncode == 5
    assert "needs the hook" in paused.stdout + paused.stderr


def test_a_requeued_job_is_seen_again_in_an_output_that_goes_on(site: SlurmSite) -> None:
    run_id = submit(site, "megatron", "srun", "--requeue")
    site.wait_step(run_id, 30, 60)

    job = run_id.removeprefix("slurm-")
    site.slurm.check("scontrol", "requeuehold", job)
    site.wait_state(run_id, "paused")
    resumed = site.cli("resume", run_id, "--yes", "--no-wait")

    assert resumed.returncode == 3, resumed.stdout + resumed.stderr
    until(lambda: site.run_of(run_id).get("attempt") == 2, 60, message="the second attempt")
    until(lambda: site.run_of(run_id).get("step"), 60, message="a step of it")
    output = (site.slurm.folder / f"job-{job}.out").read_text()
    assert output.count("end of arguments") == 2
    site.wait_step(run_id, (site.run_of(run_id)["step"] or 0) + 20)
    assert site.run_of(run_id)["step_source"] == "log (Megatron-LM)"


def test_the_last_steps_of_a_job_that_ends_are_seen(site: SlurmSite) -> None:
    program = f"{sys.executable} -m tests.fakes.framework_logs torchtitan --seconds 0.01"
    job = site.slurm.submit(f"cd {ROOT}\nsrun {program} --steps 990", "--nodes=1")

    site.wait_state(f"slurm-{job}", "completed", 60)

    until(lambda: site.run_of(f"slurm-{job}").get("step") == 990, 10, message="the last step")
