"""Lightning and the Hugging Face Trainer: paused and resumed with their own checkpoints."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.product import Product
from tests.frameworks import training

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
MORE = 30  # steps after a resume


def start(product: Product, example: str, *more: str) -> None:
    """Start two equal trainings, of which one will be interrupted."""
    script = str(training.ROOT / "examples" / example / "train.py")
    for name in ("steady", "paused"):
        folder = str(product.folder / name)
        command = (training.python(), script, "--folder", folder, "--steps", "100000", *more)
        training.start(product, name, 2, *command)


def act(product: Product, verb: str) -> int:
    """Do it to the one, see that both ranks did, and return the step they agreed on."""
    result = product.cli(verb, "paused", "--yes", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    action = json.loads(result.stdout)["action"]
    counts = (action["confirmed_rank_count"], action["rank_count"])
    assert verb == "resume" or counts == (2, 2), result.stdout
    return int(action["agreed_step"])


def checkpoint_pause_and_resume(product: Product) -> tuple[int, int]:
    """Do all three; return the steps of the checkpoint and of the pause."""
    saved = act(product, "checkpoint")
    product.wait_step("paused", saved + 1)
    paused = act(product, "pause")
    assert product.run_of("paused")["durable_step"] == paused > saved
    assert not [*(product.folder / "paused").glob("trained*")]  # what would follow is not done
    act(product, "resume")
    product.wait_step("paused", paused + MORE, 60)
    return saved, paused


def assert_equal_losses(product: Product, paused: int) -> None:
    """Compare all steps that the hub still holds of both."""
    product.wait_step("steady", paused + MORE, 60)
    steady, other = (training.losses(product, name) for name in ("steady", "paused"))
    steps = sorted(step for step in steady.keys() & other.keys() if step <= paused + MORE)
    assert len([step for step in steps if step > paused]) >= MORE // 2
    assert len(steps) >= paused // 2
    assert [other[step] for step in steps] == [steady[step] for step in steps]


def test_a_paused_lightning_training_goes_on_as_if_nothing_had_been(product: Product) -> None:
    start(product, "lightning", "--ranks", "2")

    saved, paused = checkpoint_pause_and_resume(product)

    for step in (saved, paused):
        assert (product.folder / "paused" / f"step-{step:08d}.ckpt").exists()
    assert_equal_losses(product, paused)


def test_a_paused_hugging_face_training_goes_on_as_if_nothing_had_been(product: Product) -> None:
    start(product, "huggingface")

    saved, paused = checkpoint_pause_and_resume(product)

    for step in (saved, paused):
        assert (product.folder / "paused" / f"checkpoint-{step}" / ".whole").exists()
    assert_equal_losses(product, paused)


def test_a_checkpoint_in_which_a_rank_died_is_passed_over(tmp_path: Path) -> None:
    for step in (5, 40, 300):
        (tmp_path / f"checkpoint-{step}").mkdir()
    for step in (5, 40):
        (tmp_path / f"checkpoint-{step}" / ".whole").touch()
    source = f"from colossus_hook.transformers import newest; print(newest({str(tmp_path)!r}))"

    assert run(source) == str(tmp_path / "checkpoint-40")


def test_the_hook_itself_imports_no_framework() -> None:
    names = ("torch", "lightning", "transformers")

    assert run(f"import sys, colossus_hook; print(set(sys.modules) & {set(names)})") == "set()"


def run(source: str) -> str:
    """Return what a script prints that has the frameworks at hand."""
    result = subprocess.run(
        [training.python(), "-c", source],
        env=training.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return result.stdout.strip()
