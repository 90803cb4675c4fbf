"""Ranks for tests of the agreement: real processes with the hook, each with its own troubles."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
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
    """One rank, forked from the test: it steps until it is ended."""

    def __init__(self, folder: Path, rank: int, world_size: int, trouble: Trouble) -> None:
        self.folder = folder
        self.rank = rank
        self.acts = folder / f"acts-{rank}"
        self.pid = os.fork()
        if self.pid == 0:
            with suppress(BaseException):
                self._train(world_size, trouble)
            os._exit(0)

    def _train(self, world_size: int, trouble: Trouble) -> None:
        os.environ |= {
            "COLOSSUS_RUN": "r",
            "COLOSSUS_ATTEMPT": "1",
            "COLOSSUS_RANK": str(self.rank),
            "COLOSSUS_LOCAL_RANK": str(self.rank),
            "COLOSSUS_WORLD_SIZE": str(world_size),
            "COLOSSUS_PAGE_DIR": str(self.folder),
        }
        time.sleep(trouble.joins_after)
        run = Run.from_env()
        for step in range(1, 1_000_000):
            time.sleep(0.004)
            if step == trouble.stalls_at:
                time.sleep(trouble.stalls_for)
            if step == trouble.dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if run.step(step) is not Verdict.NONE:
                with self.acts.open("a") as file:
                    file.write(f"{step}\n")

    @property
    def acted(self) -> list[int]:
        """The steps at which it has acted."""
        return [int(line) for line in self.acts.read_text().split()] if self.acts.exists() else []

    def end(self) -> None:
        """Kill it and reap it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
