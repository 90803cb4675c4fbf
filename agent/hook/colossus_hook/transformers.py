"""A callback that lets the Hugging Face Trainer be checkpointed, paused and resumed at a step."""

from __future__ import annotations

import math
import os
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from colossus_hook import Run, Verdict, checkpoints
from colossus_hook.page import NOT_GIVEN

_WHOLE = ".whole"  # lies in a checkpoint's folder once every rank's part of it is safe


def newest(folder: str | os.PathLike[str]) -> str | None:
    """Return the whole checkpoint in the output folder to go on from, or None for a fresh start.

    For `trainer.train(resume_from_checkpoint=...)`. The Trainer's own choice is the folder with the
    highest number, also where the run died while it was writing there.
    """
    return checkpoints.newest(folder, lambda path: os.path.exists(os.path.join(path, _WHOLE)))


class ColossusCallback(TrainerCallback):
    """Report every step; save and stop with the Trainer's own checkpoints when told to.

    The loss is known at the steps that the Trainer logs (`logging_steps`), the tokens with
    `include_num_input_tokens_seen`.

    Args:
        facts: More for `Run.from_env`, such as `watchdog_seconds`.

    Attributes:
        paused: Whether an operator has paused the run: what follows `train` should not be done.
    """

    def __init__(self, **facts: Any) -> None:
        self.paused = False
        self._facts = facts
        self._run: Run | None = None
        self._step = 0
        self._tokens = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Take the rank's place, now that the model's size and the last step are known."""
        parameters = sum(parameter.numel() for parameter in more["model"].parameters())
        facts = {"parameters": parameters, "target_steps": state.max_steps, **self._facts}
        self._run = Run.from_env(**facts)
        self._step, self._tokens = state.global_step, state.num_input_tokens_seen

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Report a step that will not be logged."""
        if not control.should_log:
            self._report(args, state, control, {})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Report a step with what was logged of it, still before the Trainer saves."""
        if state.global_step > self._step:
            self._report(args, state, control, logs or {})

    def _report(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float],
    ) -> None:
        if self._run is None:
            return
        tokens = (state.num_input_tokens_seen - self._tokens) // args.world_size
        self._step, self._tokens = state.global_step, state.num_input_tokens_seen
        verdict = self._run.step(
            self._step,
            loss=logs.get("loss", math.nan),
            grad_norm=logs.get("grad_norm", math.nan),
            tokens=tokens or NOT_GIVEN,
        )
        if verdict is not Verdict.NONE:
            control.should_save = True
        if verdict is Verdict.PAUSE:
            self.paused = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Call the checkpoint safe once all ranks have written theirs; then leave, if paused."""
        folder = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        args.distributed_state.wait_for_everyone()
        size = NOT_GIVEN
        if state.is_world_process_zero:
            size = checkpoints.make_safe(folder)
            checkpoints.mark(os.path.join(folder, _WHOLE))
        args.distributed_state.wait_for_everyone()  # no rank calls it safe before it is
        if self._run is not None:
            self._run.checkpointed(state.global_step, folder, size)
        if self.paused:  # only now: the saved state must not say that training is over
            control.should_training_stop = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Let a pause at an epoch's last step neither save it twice nor evaluate."""
        if self.paused:
            control.should_save = control.should_evaluate = False

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **more: Any
    ) -> None:
        """Stop reporting."""
        if self._run is not None:
            self._run.close()
