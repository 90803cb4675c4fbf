"""A callback that lets Lightning's trainer be checkpointed, paused and resumed at a step."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn

from colossus_hook import Run, Verdict, newest, publish
from colossus_hook.page import NOT_GIVEN


class ColossusCallback(Callback):
    """Report every optimizer step; save and stop with Lightning's own checkpoints when told to.

    Go on with `trainer.fit(..., ckpt_path=callback.newest())`. Random numbers go on where they
    were on every rank, which Lightning itself does not see to; so does the data if its loader has
    `state_dict` and `load_state_dict`.

    Args:
        folder: Where the ordered checkpoints go; all nodes see it.
        tokens_per_step: Tokens that one rank consumes in a step, if that is known.
        facts: More for `Run.from_env`, such as `watchdog_seconds`.

    Attributes:
        paused: Whether an operator has paused the run: what follows `fit` should not be done.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, tokens_per_step: int = NOT_GIVEN, **facts: Any
    ) -> None:
        self.paused = False
        self._folder = os.path.abspath(os.fspath(folder))
        self._tokens = tokens_per_step
        self._facts = facts
        self._run: Run | None = None
        self._step = 0
        self._random: list[dict[str, torch.Tensor]] = []

    def newest(self) -> str | None:
        """Return the checkpoint to go on from, or None for a fresh start."""
        return newest(self._folder)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the rank's place, now that the model's size and the last step are known."""
        parameters = sum(parameter.numel() for parameter in pl_module.parameters())
        last = trainer.estimated_stepping_batches
        facts = {"parameters": parameters, **self._facts}
        if math.isfinite(last):
            facts.setdefault("target_steps", int(last))
        self._step = trainer.global_step
        self._run = Run.from_env(**facts)
        if self._run.world_size != trainer.world_size:
            self._run.close()
            rank_zero_warn(
                f"Colossus does not see this training: it has {trainer.world_size} ranks, "
                f"WORLD_SIZE says {self._run.world_size}; start every rank by `colossus run "
                "--ranks`, torchrun or srun"
            )

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Put back the random numbers, after all that draws some while a fit begins."""
        if self._random:
            _set_random(self._random[trainer.global_rank])
            self._random = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Report the step and obey."""
        step = trainer.global_step
        if self._run is None or step == self._step:
            return  # gradients are being accumulated
        self._step = step
        loss = math.nan
        if isinstance(outputs, Mapping) and step % trainer.log_every_n_steps == 0:
            loss = float(outputs["loss"])  # not at every step: it waits for the device
        verdict = self._run.step(step, loss=loss, tokens=self._tokens)
        if verdict is not Verdict.NONE:
            self._save(trainer, self._run, step)
        if verdict is Verdict.PAUSE:
            self.paused = trainer.should_stop = True

    def _save(self, trainer: Trainer, run: Run, step: int) -> None:
        path = os.path.join(self._folder, f"step-{step:08d}.ckpt")
        partial = os.path.join(self._folder, f".step-{step:08d}.part")
        trainer.save_checkpoint(partial)
        size = publish(partial, path) if trainer.is_global_zero else NOT_GIVEN
        trainer.strategy.barrier("ColossusCallback")  # no rank calls it safe before it is
        run.checkpointed(step, path, size)

    def state_dict(self) -> dict[str, Any]:
        """Return every rank's random numbers: one rank writes the checkpoint for all."""
        every = [_random()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            every *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(every, _random())
        return {"random": every}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take them up again."""
        self._random = state_dict["random"]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop reporting."""
        if self._run is not None:
            self._run.close()


def _random() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return {**state, "cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else state


def _set_random(state: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"])
