"""Take a picture of every screen, from a simulated site: docs/pictures/*.svg.

`make pictures`; needs no terminal. The site is the same each time (its seed is fixed), the instant
is not: look at the difference before it is committed.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from textual.pilot import Pilot

from colossus_tui.tui.app import ColossusApp
from colossus_tui.tui.compositor import lines_of
from colossus_tui.tui.export.screen import picture
from colossus_tui.tui.modes import Modes
from colossus_tui.tui.screens.base import ColossusScreen

FOLDER = Path(__file__).resolve().with_name("pictures")
SCENARIO = Path(__file__).resolve().parents[1] / "examples" / "scenarios" / "bad-night.toml"
SIZE = (120, 40)
NODES, SEED = 1_000, 7
WARM_SECONDS = 75.0  # until runs have steps, checkpoints and a past
WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture: the keys that lead to it from the overview, and what it then shows."""

    name: str
    keys: Sequence[str]
    shows: str


SHOTS = (
    Shot("overview", (), "running"),
    Shot("run", ("enter",), "RANKS"),
    Shot("nodes", ("n",), "NODE"),
    Shot("node", ("n", "enter"), "IN FULL"),
    Shot("map", ("m",), "THE WORST"),
    Shot("map-hall", ("m", "enter"), "BY NODE"),
    Shot("map-filter", ("m", "slash", *"power>900", "enter"), "GPUs match"),
    Shot("bets", ("b",), "FLOP"),
    Shot("money", ("dollar_sign",), "COST/H"),
    Shot("power", ("w",), "LIMIT"),
    Shot("incidents", ("i",), "incidents"),
    Shot("timeline", ("t",), "timeline"),
    Shot("pause", ("p",), "work at risk"),
    Shot("actions", ("a",), "actions"),
    Shot("help", ("question_mark",), "KEYS"),
)


@contextmanager
def site() -> Iterator[str]:
    """Run the simulated site in folders of its own, and yield its hub's address."""
    with tempfile.TemporaryDirectory(prefix="colossus-pictures-") as folder:
        for name in ("STATE", "RUNTIME", "CONFIG"):
            os.environ[f"COLOSSUS_{name}_DIR"] = f"{folder}/{name.lower()}"
        words = [sys.executable, "-m", "colossus_tui", "sim", "--headless", "--for", "600"]
        words += ["--nodes", str(NODES), "--seed", str(SEED), "--scenario", str(SCENARIO)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            time.sleep(WARM_SECONDS)
            if process.poll() is not None:
                raise SystemExit("pictures: the simulator has ended; what it said is above")
            yield f"unix:{folder}/runtime/sim/hub.sock"
        finally:
            process.terminate()
            process.wait(30)


async def take(address: str) -> list[str]:
    """Take all pictures, and return the names of those that could not be taken."""
    failed = []
    FOLDER.mkdir(exist_ok=True)
    os.environ["COLORTERM"] = "truecolor"
    app = ColossusApp(address, modes=Modes(asked="dark"))
    async with app.run_test(size=SIZE) as pilot:
        if not await _until(pilot, "running"):
            raise SystemExit("pictures: the simulated site shows no runs")
        for shot in SHOTS:
            while len(app.screen_stack) > 2:
                await app.pop_screen()
            await pilot.pause()
            for key in shot.keys:
                await pilot.press(key)
                await pilot.pause(1.0 if key in ("enter", "n", "m") else 0.0)
            if not await _until(pilot, shot.shows):
                failed.append(shot.name)
                continue
            await pilot.pause(1.5)
            screen = next(s for s in reversed(app.screen_stack) if isinstance(s, ColossusScreen))
            (FOLDER / f"{shot.name}.svg").write_text(picture(screen), "utf-8")
    return failed


async def _until(pilot: Pilot[int], text: str) -> bool:
    """Return whether the screen shows this within the time that a hub may take."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        shown = "\n".join(strip.text for strip in lines_of(pilot.app.screen))
        if text in shown:
            return True
        await pilot.pause(0.2)
    return False


def main() -> int:
    """Take the pictures; return 1 where one is missing."""
    with site() as address:
        failed = asyncio.run(take(address))
    for name in failed:
        sys.stderr.write(f"pictures: {name} never showed what it should\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
