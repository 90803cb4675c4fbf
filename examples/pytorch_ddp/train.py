"""Plain PyTorch DDP that checkpoints, pauses and resumes at a step, number for number.

colossus run --name ddp --ranks 2 -- python train.py --folder checkpoints/ddp
torchrun --standalone --nproc-per-node 2 train.py --folder checkpoints/ddp
srun python train.py --folder checkpoints/ddp      # with MASTER_ADDR and MASTER_PORT
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn.parallel import DistributedDataParallel

from colossus_hook import Run, Verdict, forget, newest, publish

BATCH, CONTEXT, WIDTH = 8, 32, 64
KEPT_CHECKPOINTS = 3


class Transformer(nn.Module):
    """A small language model over bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, WIDTH)
        self.places = nn.Parameter(torch.randn(CONTEXT, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 256)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        """Return the logits of every next byte."""
        hidden = self.layers(self.bytes(text) + self.places, self.mask, is_causal=True)
        return self.head(hidden)


class Training:
    """All that decides the next step: model, optimizer, random numbers."""

    def __init__(self, text: bytes, run: Run, seed: int) -> None:
        self.device = torch.device("cuda", run.local_rank) if torch.cuda.is_available() else "cpu"
        self.own = f"rank-{run.rank}"
        self.text = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
        torch.manual_seed(seed)  # the same first weights on every rank
        self.model = DistributedDataParallel(Transformer().to(self.device))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.step = 0
        torch.manual_seed(seed + run.rank)  # other data and other dropout on every rank

    def learn(self) -> float:
        """Do one step; return its loss on this rank."""
        self.step += 1
        starts = torch.randint(len(self.text) - CONTEXT, (BATCH, 1))
        windows = self.text[starts + torch.arange(CONTEXT + 1)].to(self.device)
        logits = self.model(windows[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds; random numbers are each rank's own."""
        model, optimizer = get_state_dict(self.model, self.optimizer)
        random = {"cpu": torch.get_rng_state()}
        if self.device != "cpu":
            random["cuda"] = torch.cuda.get_rng_state(self.device)
        return {"model": model, "optimizer": optimizer, "step": self.step, self.own: random}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds."""
        set_state_dict(
            self.model,
            self.optimizer,
            model_state_dict=state["model"],
            optim_state_dict=state["optimizer"],
        )
        self.step = state["step"]
        torch.set_rng_state(state[self.own]["cpu"])
        if self.device != "cpu":
            torch.cuda.set_rng_state(state[self.own]["cuda"], self.device)


def save(training: Training, folder: Path, run: Run) -> None:
    """Save on all ranks at once; the checkpoint gets its name once every part of it is there."""
    path = folder / f"step-{training.step:08d}"
    partial = folder / f".{path.name}.part"
    dcp.save({"training": training}, checkpoint_id=partial)
    size = sum(part.stat().st_size for part in partial.glob(f"__{run.rank}_*"))
    dist.barrier()  # every rank has its size before the name changes
    if run.rank == 0:
        publish(partial, path)
        for old in sorted(folder.glob("step-*"))[:-KEPT_CHECKPOINTS]:
            forget(old)
    dist.barrier()  # no rank calls it safe before it is
    run.checkpointed(training.step, path, size)


def resume(training: Training, folder: Path) -> None:
    """Go on from the newest whole checkpoint, the same one on every rank."""
    chosen = [newest(folder) if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(chosen)
    if chosen[0] is not None:
        dcp.load({"training": training}, checkpoint_id=chosen[0])
        print(f"resumed from {chosen[0]}", flush=True)


def train(arguments: argparse.Namespace, run: Run) -> None:
    """Train until the last step or a pause."""
    arguments.folder.mkdir(parents=True, exist_ok=True)
    training = Training(arguments.text.read_bytes(), run, arguments.seed)
    resume(training, arguments.folder)
    while training.step < arguments.steps:
        loss = training.learn()
        print(f"rank {run.rank} step {training.step} loss {loss!r}\n", end="", flush=True)
        verdict = run.step(training.step, loss=loss, tokens=BATCH * CONTEXT)
        if verdict is not Verdict.NONE or training.step % arguments.save_every == 0:
            save(training, arguments.folder, run)
        if verdict is Verdict.PAUSE:
            break


def main(argv: Sequence[str] | None = None) -> None:
    """Train one rank."""
    parser = argparse.ArgumentParser(description="One rank of a small DDP training.")
    parser.add_argument("--folder", type=Path, required=True, help="on a disk that all nodes see")
    parser.add_argument("--text", type=Path, default=Path(__file__), help="what to learn")
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--save-every", type=int, default=500, metavar="STEPS")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    parameters = sum(parameter.numel() for parameter in Transformer().parameters())
    with Run.from_env(parameters=parameters, target_steps=arguments.steps) as run:
        if torch.cuda.is_available():
            torch.cuda.set_device(run.local_rank)
        dist.init_process_group(rank=run.rank, world_size=run.world_size)
        train(arguments, run)
        gc.collect()  # DDP holds the group in a cycle; a gloo group that outlives this may abort
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
