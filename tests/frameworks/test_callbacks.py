"""Lightning and the Hugging Face Trainer: paused and resumed with their own checkpoints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.product import Product
from tests.frameworks import training

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
EXAMPLES = training.ROOT / "examples"


def pause_and_resume(product: Product, run_id: str) -> int:
    """Checkpoint, pause and resume; return the step of the pause."""
    product.wait_step(run_id, 10, 60)
    saved = product.cli("checkpoint", run_id, "--yes")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    paused = product.cli("pause", run_id, "--yes", "--json")
    assert paused.returncode == 0, paused.stdout + paused.stderr
    action = json.loads(paused.stdout)["action"]
    assert action["confirmed_rank_count"] == action["rank_count"] == 2
    assert product.run_of(run_id)["state"] == "paused"
    assert not [*(product.folder / run_id).glob("trained*")]  # what would follow is not done
    resumed = product.cli("resume", run_id, "--yes")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    return int(action["agreed_step"])


def test_a_paused_lightning_training_goes_on_as_if_nothing_had_been(product: Product) -> None:
    script, steps = str(EXAMPLES / "lightning" / "train.py"), 500
    for name in ("steady", "paused"):
        folder = str(product.folder / name)
        command = (script, "--folder", folder, "--steps", str(steps), "--ranks", "2")
        training.start(product, name, 2, training.python(), *command)

    step = pause_and_resume(product, "paused")

    assert (product.folder / "paused" / f"step-{step:08d}.ckpt").exists()
    product.wait_state("paused", "completed", 90)
    product.wait_state("steady", "completed", 90)
    expected = training.losses(product, "steady")
    assert len(expected) == steps
    assert training.losses(product, "paused") == expected
    assert product.run_of("paused")["parameters_count"] == 139_520
    assert (product.folder / "paused" / "trained.ckpt").exists()


def test_a_paused_hugging_face_training_goes_on_as_if_nothing_had_been(product: Product) -> None:
    script, steps = str(EXAMPLES / "huggingface" / "train.py"), 250
    for name in ("steady", "paused"):
        command = (script, "--folder", str(product.folder / name), "--steps", str(steps))
        training.start(product, name, 2, training.python(), *command)

    step = pause_and_resume(product, "paused")

    assert (product.folder / "paused" / f"checkpoint-{step}" / ".whole").exists()
    product.wait_state("paused", "completed", 90)
    product.wait_state("steady", "completed", 90)
    expected = training.losses(product, "steady")
    assert len(expected) == steps
    assert training.losses(product, "paused") == expected
    assert (product.folder / "paused" / "trained" / "model.safetensors").exists()


def test_a_checkpoint_in_which_a_rank_died_is_passed_over(tmp_path: Path) -> None:
    for step in (5, 40, 300):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (5, 40):
        (tmp_path / f"checkpoint-{step}" / ".whole").touch()
    source = f"from colossus_hook.transformers import newest; print(newest({str(tmp_path)!r}))"

    found = subprocess.run(
        [training.python(), "-c", source],
        env=training.environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert found.stdout.strip() == str(tmp_path / "checkpoint-40")


def test_the_hook_itself_imports_no_framework() -> None:
    source = (
        "import sys, colossus_hook; "
        "print([name for name in ('torch', 'lightning', 'transformers') if name in sys.modules])"
    )
    result = subprocess.run(
        [training.python(), "-c", source], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "[]"
