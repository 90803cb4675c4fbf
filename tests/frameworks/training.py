"""Trainings of real frameworks: the examples, run by the Python of .frameworks-venv."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colossus_tui.client import Client
from tests.e2e.product import Product

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".frameworks-venv" / "bin" / "python"
_LINE = re.compile(r"^rank (\d+) step (\d+) loss (\S+)$", re.M)
_TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
_LEFT_OUT = ("COLOSSUS_", "SLURM_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_")

Losses = dict[tuple[int, int], set[str]]


def python() -> str:
    """Return the Python that has the frameworks.

    Raises:
        RuntimeError: It has not been made.
    """
    if not (PYTHON.parents[1] / ".setup").exists():
        raise RuntimeError(".frameworks-venv is missing: scripts/frameworks makes it")
    return str(PYTHON)


def ddp(folder: Path, steps: int, *more: str) -> tuple[str, ...]:
    """Return the command of one rank of the PyTorch example."""
    script = str(ROOT / "examples" / "pytorch_ddp" / "train.py")
    return (script, "--folder", str(folder), "--steps", str(steps), *more)


def torchrun(ranks: int, *script: str) -> tuple[str, ...]:
    """Return the command that has torchrun start so many ranks of a script."""
    return (python(), *_TORCHRUN, str(ranks), *script)


def environment() -> dict[str, str]:
    """Return an environment in which a script is nobody's rank, and takes one core a rank."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    return kept | {"OMP_NUM_THREADS": "1"}


def alone(*command: str) -> str:
    """Run a training to its end without Colossus; return what it printed."""
    result = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=90, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


@contextmanager
def ranks(folder: Path, count: int, *command: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start so many ranks that nobody but the test watches; none of them outlives it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    processes = []
    try:
        for rank in range(count):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            with (folder / f"rank-{rank}.out").open("wb") as output:
                process = subprocess.Popen(
                    command, stdout=output, env=environment() | own | meeting
                )
            processes.append(process)
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def printed(*texts: str) -> Losses:
    """Return every loss that was printed, to the last digit, of each rank and step."""
    losses: Losses = {}
    for rank, step, loss in _LINE.findall("\n".join(texts)):
        losses.setdefault((int(rank), int(step)), set()).add(loss)
    return losses


def upto(losses: Losses, step: int) -> Losses:
    """Return the losses of the steps up to this one."""
    return {key: loss for key, loss in losses.items() if key[1] <= step}


class Uninterrupted:
    """What the PyTorch example prints on two ranks that torchrun starts and nobody sees."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._losses: Losses = {}

    def upto(self, step: int) -> Losses:
        """Return the losses of so many steps, of both ranks."""
        if len(self._losses) < 2 * step:
            folder = self._folder / str(step)
            self._losses = printed(alone(*torchrun(2, *ddp(folder, max(step, 200)))))
        losses = upto(self._losses, step)
        assert sorted(losses) == [(rank, at) for rank in (0, 1) for at in range(1, step + 1)]
        return losses


def logs(product: Product, run_id: str) -> Losses:
    """Return what all attempts of a run have printed."""
    folder = product.folder / "state" / "agent" / "runs" / run_id
    return printed(*(path.read_text() for path in sorted(folder.glob("attempt-*/rank-*.log"))))


def start(product: Product, run_id: str, ranks: int, *command: str) -> None:
    """Start a training as a run, and wait for its first step."""
    result = product.cli(
        *("run", "--name", run_id, "--ranks", str(ranks), "--env", "OMP_NUM_THREADS=1"),
        *("--", *command),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    product.wait_step(run_id, 1, 60)


def losses(product: Product, run_id: str) -> dict[int, float]:
    """Return the loss of every step of a run, as the hub has it."""
    with Client(product.address) as client:
        (series,) = client.history(run_id, ["loss"])
    return dict(zip(series.steps, series.values, strict=True))
