"""Two ranks of plain PyTorch DDP: saved, paused and resumed at a step, number for number."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.product import Product, process_state
from tests.frameworks import training
from tests.frameworks.conftest import STEPS
from tests.frameworks.training import Losses
from tests.slurm.site import SlurmSite
from tests.support import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def act(product: Product, verb: str, run_id: str) -> int:
    """Do it, see that it was observed on both ranks, and return the step they agreed on."""
    result = product.cli(verb, run_id, "--yes", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    action = json.loads(result.stdout)["action"]
    assert action["state"] == "observed"
    if verb in ("checkpoint", "pause"):
        assert action["confirmed_rank_count"] == action["rank_count"] == 2
    return int(action["agreed_step"])


def parts(folder: Path, step: int) -> list[str]:
    """Return the files of a checkpoint."""
    return sorted(path.name for path in (folder / f"step-{step:08d}").iterdir())


WHOLE = [".metadata", "__0_0.distcp", "__1_0.distcp"]


def test_a_paused_and_resumed_run_learns_as_one_that_nobody_has_seen(
    product: Product, uninterrupted: Losses
) -> None:
    folder = product.folder / "checkpoints"
    training.start(product, "ddp", 2, training.python(), *training.ddp(folder, STEPS))
    product.wait_step("ddp", 20)

    saved = act(product, "checkpoint", "ddp")

    assert parts(folder, saved) == WHOLE
    assert product.run_of("ddp")["state"] == "running"
    pids = [rank["pid"] for rank in product.ranks("ddp")]

    paused = act(product, "pause", "ddp")

    assert parts(folder, paused) == WHOLE
    assert [process_state(pid) for pid in pids] == ["", ""]
    run = product.run_of("ddp")
    assert (run["state"], run["durable_step"]) == ("paused", paused)
    assert saved < paused < STEPS

    act(product, "resume", "ddp")

    product.wait_state("ddp", "completed", 60)
    assert training.logs(product, "ddp") == uninterrupted
    assert product.run_of("ddp")["attempt"] == 2


def test_ranks_that_torchrun_starts_are_paused_and_resumed_too(
    product: Product, uninterrupted: Losses
) -> None:
    folder = product.folder / "checkpoints"
    command = training.torchrun(2, *training.ddp(folder, STEPS))
    training.start(product, "elastic", 1, *command)
    product.wait_step("elastic", 20)

    paused = act(product, "pause", "elastic")
    assert parts(folder, paused) == WHOLE
    act(product, "resume", "elastic")

    product.wait_state("elastic", "completed", 60)
    assert training.logs(product, "elastic") == uninterrupted


def test_a_job_that_is_requeued_held_and_released_learns_as_if_nothing_had_been(
    site: SlurmSite, uninterrupted: Losses
) -> None:
    folder = site.folder / "checkpoints"
    example = training.ROOT / "examples" / "pytorch_ddp"
    job = site.slurm.submit(
        f"cd {example}\nexport OMP_NUM_THREADS=1 MASTER_ADDR=127.0.0.1\n"
        f"export PATH={training.PYTHON.parent}:$PATH\n"
        f"exec sh job.sh --folder {folder} --steps {STEPS}",
        *("--job-name=ddp", "--nodes=2", "--ntasks=2", "--cpus-per-task=1"),
    )
    run_id = f"slurm-{job}"
    site.wait_step(run_id, 20, 60)
    until(lambda: site.job_of(run_id)["state"] == "RUNNING", 20, message="Slurm's word")
    saved = act(site, "checkpoint", run_id)
    assert parts(folder, saved) == WHOLE

    paused = act(site, "pause", run_id)

    assert parts(folder, paused) == WHOLE
    assert site.slurm.field(job, "JobState") == "PENDING"
    assert site.slurm.field(job, "Priority") == "0"
    assert site.run_of(run_id)["durable_step"] == paused < STEPS
    assert site.slurm.idle_nodes() == site.slurm.node_names

    act(site, "resume", run_id)

    site.wait_state(run_id, "completed", 90)
    assert site.run_of(run_id)["attempt"] == 2
    output = (site.slurm.folder / f"job-{job}.out").read_text()
    assert f"resumed from {folder}/step-{paused:08d}" in output
    assert training.printed(output) == uninterrupted  # also what was done twice


def test_a_checkpoint_that_was_torn_by_a_crash_is_not_taken(
    tmp_path: Path, uninterrupted: Losses
) -> None:
    folder, output = tmp_path / "checkpoints", tmp_path / "output"
    command = training.torchrun(2, *training.ddp(folder, STEPS, "--save-every", "2"))
    with output.open("wb") as file:
        crashed = subprocess.Popen(
            command, stdout=file, env=training.environment(), start_new_session=True
        )
    until(lambda: [*folder.glob("step-*")], 60, message="a whole checkpoint")
    until(lambda: [*folder.glob(".step-*.part/__0_0.distcp")], 60, message="a torn one")
    os.killpg(crashed.pid, signal.SIGKILL)
    crashed.wait()
    until(lambda: not _members(crashed.pid), 10, message="all of them to be gone")

    again = training.alone(*training.torchrun(2, *training.ddp(folder, STEPS)))

    assert "resumed from" in again
    assert training.printed(output.read_text(), again) == uninterrupted


def _members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
