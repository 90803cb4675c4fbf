"""Training loops for tests, run as real processes: `python -m tests.agent.loops NAME`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from colossus_hook import Run, Verdict


def steps(seconds: float = 0.01) -> None:
    """Report steps for ever; save an empty file when told to."""
    with Run.from_env(parameters=1000) as run:
        for step in range(run.durable_step + 1, 1_000_000):
            time.sleep(seconds)
            verdict = run.step(step, loss=1.0 / step, tokens=10)
            if verdict is not Verdict.NONE:
                path = Path(os.environ["COLOSSUS_RUN_DIR"]) / f"step-{step}-rank-{run.rank}"
                path.write_text("saved")
                run.checkpointed(step, path, 5)
            if verdict is Verdict.PAUSE:
                return


def stubborn() -> None:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)  # noqa: T201  # the test waits for it in the rank's log
    while True:
        time.sleep(1)


def tree() -> None:
    """Have a child of one's own that writes a growing file."""
    script = "import sys,time\nwhile True: open(sys.argv[1],'a').write('x'); time.sleep(.02)"
    subprocess.run([sys.executable, "-c", script, sys.argv[2]], check=False)


def launcher() -> None:
    """Start two ranks as torchrun would, and end with the code that is given once they have."""
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.agent.loops", "steps"],
            env=os.environ | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
        )
        for rank in range(2)
    ]
    for rank in ranks:
        rank.wait()
    sys.exit(int(sys.argv[2]))


if __name__ == "__main__":
    loops = {"steps": steps, "stubborn": stubborn, "tree": tree, "launcher": launcher}
    loops[sys.argv[1]]()
