"""A small language model trained by Lightning, which an operator can pause and resume.

colossus run --name light --ranks 2 -- python train.py --folder checkpoints/light --ranks 2
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from colossus_hook.lightning import ColossusCallback

BATCH, CONTEXT, BATCHES = 256, 16, 50


class Model(L.LightningModule):
    """The next byte, from those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Embedding(256, 32), nn.Flatten(), nn.Dropout(0.1), nn.Linear(32 * CONTEXT, 256)
        )

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Return the loss of a batch."""
        return nn.functional.cross_entropy(self.network(batch[:, :-1]), batch[:, -1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


class Batches:
    """Random pieces of a text; its state says which come next, so that a checkpoint holds it.

    Every rank draws for all ranks and takes its own: Lightning keeps rank 0's state for all.
    """

    def __init__(self, text: bytes, rank: int, ranks: int) -> None:
        self.text = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
        self.rank, self.ranks = rank, ranks
        self.random = torch.Generator().manual_seed(1)
        self.given = 0

    def __len__(self) -> int:
        return BATCHES

    def __iter__(self) -> Iterator[torch.Tensor]:
        while self.given < BATCHES:
            self.given += 1
            size = (self.ranks, BATCH, 1)
            starts = torch.randint(len(self.text) - CONTEXT, size, generator=self.random)
            yield self.text[starts[self.rank] + torch.arange(CONTEXT + 1)]
        self.given = 0  # the next epoch

    def state_dict(self) -> dict[str, Any]:
        """Return which batches come next."""
        return {"given": self.given, "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with those."""
        self.given = state["given"]
        self.random.set_state(state["random"])


def main(argv: Sequence[str] | None = None) -> None:
    """Train one rank."""
    parser = argparse.ArgumentParser(description="One rank of a small Lightning training.")
    parser.add_argument("--folder", type=Path, required=True, help="on a disk that all nodes see")
    parser.add_argument("--text", type=Path, default=Path(__file__), help="what to learn")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--ranks", type=int, default=1)
    arguments = parser.parse_args(argv)
    callback = ColossusCallback(arguments.folder, tokens_per_step=BATCH)
    trainer = L.Trainer(
        max_steps=arguments.steps,
        accelerator="auto",
        devices=arguments.ranks,
        callbacks=[callback],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        logger=False,
    )
    L.seed_everything(1 + trainer.global_rank)  # other dropout on every rank; DDP shares weights
    data = Batches(arguments.text.read_bytes(), trainer.global_rank, trainer.world_size)
    trainer.fit(Model(), data, ckpt_path=callback.newest())
    if not callback.paused:
        trainer.save_checkpoint(arguments.folder / "trained.ckpt", weights_only=True)


if __name__ == "__main__":
    main()
