"""One rank of a demo run: real data, a real model, real checkpoints, and the hook."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy: a demo takes no second core
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from colossus_hook import Run, Verdict
from colossus_tui.demo import corpus
from colossus_tui.demo.network import Network
from colossus_tui.demo.ring import PeerLostError, Ranks

if TYPE_CHECKING:
    import numpy.typing as npt

BATCH = 32
CONTEXT = 6
KEPT_CHECKPOINTS = 3
PEER_LOST_EXIT = 3


class Trainer:
    """State of one rank: the model, and where in the data it is."""

    def __init__(self, arguments: argparse.Namespace, run: Run) -> None:
        self._arguments = arguments
        self._run = run
        self.step = 0
        self.network = Network(CONTEXT, arguments.hidden, arguments.seed)
        self._data = corpus.load()
        self._rng = np.random.default_rng([arguments.seed, run.rank])
        self._folder = Path(arguments.checkpoint_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        if run.durable_path:
            self._load(Path(run.durable_path))
        elif run.attempt > 1 and (newest := self._newest(run)) is not None:
            self._load(newest)  # a scheduler has started it again and knows of no checkpoint
        else:
            self._forget(keep=0)  # an earlier run's, which this one does not go on from

    def _newest(self, run: Run) -> Path | None:
        """Return this rank's part of the newest checkpoint of which every rank's part is there."""
        steps = [
            {path.name.split("-")[1] for path in self._folder.glob(f"step-*-rank-{rank}.npz")}
            for rank in range(run.world_size)
        ]
        whole = set.intersection(*steps)
        return self._folder / f"step-{max(whole)}-rank-{run.rank}.npz" if whole else None

    def learn(self, ranks: Ranks) -> tuple[float, int, float]:
        """Do one step; return this rank's loss, tokens and the gradient's norm."""
        self.step += 1
        starts = self._rng.integers(0, len(self._data) - CONTEXT - 1, BATCH)
        windows: npt.NDArray[np.uint8] = self._data[starts[:, None] + np.arange(CONTEXT + 1)]
        loss, gradient = self.network.loss_and_gradient(windows[:, :CONTEXT], windows[:, CONTEXT])
        gradient = ranks.sum(gradient) / self._run.world_size
        norm = float(np.sqrt(gradient @ gradient))
        self.network.update(gradient, self.step, self._arguments.rate)
        return loss, BATCH, norm

    def save(self) -> tuple[Path, int]:
        """Write this rank's part whole or not at all; return where it is and its size."""
        path = self._folder / f"step-{self.step:08d}-rank-{self._run.rank}.npz"
        partial = path.with_suffix(".part")
        position = self._rng.bit_generator.state["state"]
        with partial.open("wb") as file:
            np.savez(
                file,
                step=self.step,
                parameters=self.network.parameters,
                moment=self.network.moment,
                square=self.network.square,
                position=np.array([str(position["state"]), str(position["inc"])]),
            )
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        self._forget(keep=KEPT_CHECKPOINTS)
        return path, path.stat().st_size

    def _forget(self, keep: int) -> None:
        own = sorted(self._folder.glob(f"step-*-rank-{self._run.rank}.npz"))
        for old in own[: len(own) - keep]:
            old.unlink(missing_ok=True)

    def _load(self, path: Path) -> None:
        with np.load(path) as saved:
            self.step = int(saved["step"])
            self.network.parameters[:] = saved["parameters"]
            self.network.moment[:] = saved["moment"]
            self.network.square[:] = saved["square"]
            position = dict(zip(("state", "inc"), map(int, saved["position"]), strict=True))
            self._rng.bit_generator.state = {
                **self._rng.bit_generator.state,
                "state": position,
            }


def train(arguments: argparse.Namespace) -> int:
    """Train until the last step, a pause or the end of a peer."""
    with Run.from_env(
        parameters=Network(CONTEXT, arguments.hidden, 0).parameters_count,
        target_steps=arguments.max_steps,
        checkpoint_plan_seconds=arguments.checkpoint_seconds,
    ) as run:
        meeting = Path(os.environ.get("COLOSSUS_RUN_DIR", arguments.checkpoint_dir))
        meeting.mkdir(parents=True, exist_ok=True)
        try:
            ranks = Ranks(meeting / f"ranks-{run.attempt}.sock", run.rank, run.world_size)
            return loop(arguments, run, ranks)
        except PeerLostError as error:
            sys.stderr.write(f"rank {run.rank}: {error}\n")
            return PEER_LOST_EXIT


def loop(arguments: argparse.Namespace, run: Run, ranks: Ranks) -> int:
    """The training loop."""
    trainer = Trainer(arguments, run)
    plan = max(int(arguments.checkpoint_seconds * arguments.steps_per_second), 1)
    due = time.monotonic()
    while trainer.step < arguments.max_steps:
        loss, tokens, norm = trainer.learn(ranks)
        if arguments.log_steps:
            with open(arguments.log_steps, "a", encoding="ascii") as file:
                file.write(f"{trainer.step} {loss!r}\n")
        verdict = run.step(trainer.step, loss=loss, tokens=tokens, grad_norm=norm)
        # By step number, not by the clock: every rank must save at the same one.
        if verdict is not Verdict.NONE or trainer.step % plan == 0:
            path, size = trainer.save()
            run.checkpointed(trainer.step, path, size)
        if verdict is Verdict.PAUSE:
            break
        due = max(due + 1.0 / arguments.steps_per_second, time.monotonic() - 1.0)
        time.sleep(max(due - time.monotonic(), 0.0))
    ranks.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Train one rank."""
    parser = argparse.ArgumentParser(prog="train", description="One rank of a demo run.")
    parser.add_argument("--name", required=True)
    parser.add_argument("--checkpoint-dir", required=True, metavar="DIR")
    parser.add_argument("--checkpoint-seconds", type=float, default=30.0, metavar="S")
    parser.add_argument("--steps-per-second", type=float, default=5.0, metavar="N")
    parser.add_argument("--max-steps", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--hidden", type=int, default=48, metavar="N")
    parser.add_argument("--rate", type=float, default=3e-3, metavar="R")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log-steps", metavar="FILE", help="append step and loss to this file")
    return train(parser.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
