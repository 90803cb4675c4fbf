"""A small GPT-2 trained by the Hugging Face Trainer, which an operator can pause and resume.

colossus run --name gpt2 --ranks 2 -- python train.py --folder checkpoints/gpt2
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from colossus_hook.transformers import ColossusCallback, newest

CONTEXT = 32


def main(argv: Sequence[str] | None = None) -> None:
    """Train one rank."""
    parser = argparse.ArgumentParser(description="One rank of a small GPT-2 training.")
    parser.add_argument("--folder", type=Path, required=True, help="on a disk that all nodes see")
    parser.add_argument("--text", type=Path, default=Path(__file__), help="what to learn")
    parser.add_argument("--steps", type=int, default=1_000)
    arguments = parser.parse_args(argv)
    set_seed(1)
    text = arguments.text.read_bytes()
    pieces = [list(text[at : at + CONTEXT]) for at in range(0, len(text) - CONTEXT, CONTEXT)]
    callback = ColossusCallback()
    trainer = Trainer(
        model=GPT2LMHeadModel(
            GPT2Config(vocab_size=256, n_positions=CONTEXT, n_embd=64, n_layer=2, n_head=2)
        ),
        args=TrainingArguments(
            output_dir=str(arguments.folder),
            max_steps=arguments.steps,
            per_device_train_batch_size=8,
            logging_steps=1,
            save_steps=500,
            save_total_limit=3,
            include_num_input_tokens_seen=True,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=[{"input_ids": piece, "labels": piece} for piece in pieces],
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=newest(arguments.folder))
    if not callback.paused:
        trainer.save_model(str(arguments.folder / "trained"))


if __name__ == "__main__":
    main()
