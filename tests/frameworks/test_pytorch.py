"""Two ranks of plain PyTorch DDP: saved, paused and resumed at a step, number for number."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.product import Product, process_state
from tests.frameworks import training
from tests.frameworks.training import Uninterrupted
from tests.slurm.site import SlurmSite
from tests.support import until

STEPS = 100_000  # a run must not end before the test has paused it
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]


def act(product: Product, verb: str, run_id: str) -> int:
    """Do it, see that it was observed on both ranks, and return the step they agreed on."""
    result = product.cli(verb, run_id, "--yes", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    action = json.loads(result.stdout)["action"]
    assert action["state"] == "observed"
    if verb in ("checkpoint", "pause"):
        counts = (action["confirmed_rank_count"], action["rank_count"])
        assert counts == (2, 2), result.stdout
    return int(action["agreed_step"])


def parts(folder: Path, step: int) -> list[str]:
    """Return the files of a checkpoint."""
    return sorted(path.name for path in (folder / f"step-{step:08d}").iterdir())


WHOLE = [".metadata", "__0_0.distcp", "__1_0.distcp"]


def test_a_paused_and_resumed_run_learns_as_one_that_nobody_has_seen(
    product: Product, uninterrupted: Uninterrupted
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
    assert saved < paused

    act(product, "resume", "ddp")

    last = paused + 30
    product.wait_step("ddp", last, 60)
    assert training.upto(training.logs(product, "ddp"), last) == uninterrupted.upto(last)
    assert product.run_of("ddp")["attempt"] == 2


def test_ranks_that_torchrun_starts_are_paused_and_resumed_too(
    product: Product, uninterrupted: Uninterrupted
) -> None:
    folder = product.folder / "checkpoints"
    command = training.torchrun(2, *training.ddp(folder, STEPS))
    try:
        training.start(product, "elastic", 1, *command)
        product.wait_step("elastic", 20)

        paused = act(product, "pause", "elastic")
        assert parts(folder, paused) == WHOLE
        act(product, "resume", "elastic")

        last = paused + 30
        product.wait_step("elastic", last, 60)
    finally:  # torchrun's death alone would not be the ranks'
        stopped = product.cli("stop", "elastic", "--force", "--grace", "5", "--yes")
    assert stopped.returncode == 0, stopped.stdout + stopped.stderr
    assert training.upto(training.logs(product, "elastic"), last) == uninterrupted.upto(last)


def test_a_job_that_is_requeued_held_and_released_learns_as_if_nothing_had_been(
    site: SlurmSite, uninterrupted: Uninterrupted
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
    assert site.run_of(run_id)["durable_step"] == paused
    assert site.slurm.idle_nodes() == site.slurm.node_names

    act(site, "resume", run_id)

    last = paused + 30
    site.wait_step(run_id, last, 60)
    assert site.run_of(run_id)["attempt"] == 2
    path = site.slurm.folder / f"job-{job}.out"
    until(lambda: len(training.printed(path.read_text())) >= 2 * last, 20, message="srun's output")
    output = path.read_text()
    assert f"resumed from {folder}/step-{paused:08d}" in output
    # Also what was done twice.
    assert training.upto(training.printed(output), last) == uninterrupted.upto(last)


def test_a_checkpoint_that_was_torn_by_a_crash_is_not_taken(
    tmp_path: Path, uninterrupted: Uninterrupted
) -> None:
    folder = tmp_path / "checkpoints"
    command = (training.python(), *training.ddp(folder, STEPS, "--save-every", "2"))
    with training.ranks(tmp_path, 2, *command) as crashed:
        until(lambda: [*folder.glob("step-*")], 60, message="a whole checkpoint")
        until(lambda: [*folder.glob(".step-*.part/__0_0.distcp")], 60, message="a torn one")
        for rank in crashed:
            rank.kill()
    last = max(int(path.name[5:]) for path in folder.glob("step-*")) + 30

    again = training.alone(*training.torchrun(2, *training.ddp(folder, last)))

    assert f"resumed from {folder}/step-{last - 30:08d}" in again
    before = (path.read_text() for path in tmp_path.glob("rank-*.out"))
    assert training.printed(*before, again) == uninterrupted.upto(last)
