"""Ranks for tests of the agreement: real processes with the hook, each with its own troubles.

Run as a program, this is one rank. It is a new interpreter and not a fork of the test: the test's
process may have threads of gRPC, and what is forked while one of them holds a lock waits for ever.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from colossus_hook import Run, Verdict


@dataclass(frozen=True)
class Trouble:
    """What befalls one rank; 0 for nothing."""

    joins_after: float = 0.0  # seconds
    stalls_at: int = 0  # step
    stalls_for: float = 0.0  # seconds
    dies_at: int = 0  # step


class RankProcess:
    """One rank: it steps until it is ended."""

    def __init__(self, folder: Path, rank: int, world_size: int, trouble: Trouble) -> None:
        self.rank = rank
        self.acts = folder / f"acts-{rank}"
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.acts), json.dumps(asdict(trouble))],
            env=os.environ
            | {
                "COLOSSUS_RUN": "r",
                "COLOSSUS_ATTEMPT": "1",
                "COLOSSUS_RANK": str(rank),
                "COLOSSUS_LOCAL_RANK": str(rank),
                "COLOSSUS_WORLD_SIZE": str(world_size),
                "COLOSSUS_PAGE_DIR": str(folder),
            },
        )

    @property
    def acted(self) -> list[int]:
        """The steps at which it has acted."""
        return [int(line) for line in self.acts.read_text().split()] if self.acts.exists() else []

    def end(self) -> None:
        """Kill it and reap it."""
        self._process.kill()
        self._process.wait()


def train(acts: Path, trouble: Trouble) -> None:
    """Step every 4 ms, and write down at which steps the hook had this rank act."""
    time.sleep(trouble.joins_after)
    run = Run.from_env()
    for step in range(1, 1_000_000):
        time.sleep(0.004)
        if step == trouble.stalls_at:
            time.sleep(trouble.stalls_for)
        if step == trouble.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if run.step(step) is not Verdict.NONE:
            with acts.open("a") as file:
                file.write(f"{step}\n")


if __name__ == "__main__":
    train(Path(sys.argv[1]), Trouble(**json.loads(sys.argv[2])))
