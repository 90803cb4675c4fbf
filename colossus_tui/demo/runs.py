"""The seven demo runs, named after the site's; their names' sizes are labels, not facts."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from colossus_tui.model import PriorityClass, RunSpec

LABEL = "demo"


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One of them."""

    name: str
    priority_class: PriorityClass
    hidden: int
    rate: float
    steps_per_second: float
    rank_count: int = 1

    def spec(self, folder: Path) -> RunSpec:
        """Return how to start it, with its checkpoints below `folder`."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("COLOSSUS_")
        }
        return RunSpec(
            run_id=self.name,
            argv=(
                sys.executable,
                "-m",
                "colossus_tui.demo.train",
                *("--name", self.name, "--checkpoint-dir", str(folder / self.name)),
                *("--hidden", str(self.hidden), "--rate", str(self.rate)),
                *("--steps-per-second", str(self.steps_per_second)),
                *("--seed", str(sum(self.name.encode()))),
            ),
            working_directory=str(folder),
            environment={
                name: value.encode("utf-8", "replace").decode()
                for name, value in environment.items()
            },
            priority_class=self.priority_class,
            rank_count=self.rank_count,
            label=LABEL,
        )


P0, P1, P2, P3 = (PriorityClass(name) for name in ("P0", "P1", "P2", "P3"))
RUNS = (
    DemoRun("10t", P0, 96, 2e-3, 3.0, rank_count=2),
    DemoRun("6t", P1, 80, 2e-3, 3.0),
    DemoRun("imagine-v2", P1, 64, 3e-3, 5.0),
    DemoRun("1.5t-a", P2, 48, 3e-3, 4.0),
    DemoRun("1.5t-b", P2, 48, 6e-3, 4.0),
    DemoRun("1t-a", P3, 40, 3e-3, 5.0),
    DemoRun("1t-b", P3, 40, 8e-3, 5.0),
)
