"""Record the tour: one shift on a simulated site, in a real terminal: docs/tour.cast.

`make tour`; play it with `asciinema play docs/tour.cast` (asciicast, version 2). What is waited for
passes faster in it than it did.
"""

from __future__ import annotations

import codecs
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.terminal import BIN, Terminal

FILE = Path(__file__).resolve().with_name("tour.cast")
COLUMNS, ROWS = 120, 34
NODES, SEED = 400, 7
SITE_NAME = "simulated site (modelled)"
STRAGGLER = (
    'name = "tour"\n[[fault]]\nkind = "straggler"\nrun = "6t"\nrank = 17\nat = 1\nduration = 3600\n'
)
WARM_SECONDS = 100.0  # until the straggler is an incident, and runs have a past
LOOK_SECONDS = 3.0  # at what a key has brought
WAITING_PACE = 0.2  # of what is waited for


class Film(Terminal):
    """A terminal that keeps when what was written to it."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__(argv, environment, COLUMNS, ROWS)
        self.parts: list[tuple[float, str]] = []
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._seconds, self._before = 0.0, time.monotonic()
        self._pace = 1.0

    def read(self, seconds: float) -> None:
        """Take in what the program writes, a fiftieth of a second at a time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            known = len(self.output)
            super().read(min(left, 0.02))
            now = time.monotonic()
            self._seconds += (now - self._before) * self._pace
            self._before = now
            if text := self._decode(self.output[known:]):
                self.parts.append((self._seconds, text))

    def see(self, *wanted: str, seconds: float = 120.0) -> None:
        """Wait for something to be shown, and let it be looked at."""
        self._pace = WAITING_PACE
        self.until(*wanted, seconds=seconds)
        self._pace = 1.0
        self.read(LOOK_SECONDS)

    def type(self, text: str) -> None:
        """Type as somebody would."""
        for character in text:
            self.press(character)
            self.read(0.12)

    def leave(self) -> None:
        """Leave a card or a screen."""
        self.press("\x1b")
        self.read(1.0)


@contextmanager
def site() -> Iterator[Mapping[str, str]]:
    """Run the simulated site in folders of its own, and yield the environment of its consoles."""
    with tempfile.TemporaryDirectory(prefix="colossus-tour-") as folder:
        environment = dict(os.environ)
        for name in ("STATE", "RUNTIME", "CONFIG"):
            environment[f"COLOSSUS_{name}_DIR"] = f"{folder}/{name.lower()}"
        environment |= {"COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        scenario = Path(folder) / "scenario.toml"
        scenario.write_text(STRAGGLER)
        words = [sys.executable, "-m", "colossus_tui", "sim", "--headless", "--for", "900"]
        words += ["--nodes", str(NODES), "--seed", str(SEED), "--no-failures"]
        process = subprocess.Popen(
            [*words, "--scenario", str(scenario)], env=environment, stdout=subprocess.DEVNULL
        )
        try:
            time.sleep(WARM_SECONDS)
            if process.poll() is not None:
                raise SystemExit("tour: the simulator has ended; what it said is above")
            yield environment | {"COLOSSUS_HUB": f"unix:{folder}/runtime/sim/hub.sock"}
        finally:
            process.terminate()
            process.wait(30)


def shift(film: Film) -> None:
    """What is slow and why; its work saved; a fifth of the power shed, and restored."""
    film.see("7 running", "1 incident")
    film.press("i")
    film.see("1 to look at")
    film.press("\r")
    film.see("RUNS AFFECTED")
    film.press("A")
    film.see("acknowledged by")
    film.press("c")
    film.see("lands on step", "y does it")
    film.press("y")
    film.see("checkpoint 6t  observed")
    for _ in range(3):
        film.leave()
    film.press("b")
    film.see("LOSS AGAINST")
    film.leave()
    film.press("m")
    film.see("THE WORST")
    film.leave()
    film.press("w")
    film.see("HEADROOM")
    film.press("s")
    film.see("shed power")
    film.type("-20% 1h 3min\r")
    film.see("SAVES")
    film.type(f"{SITE_NAME}\r")
    film.see("shed the site  observed")
    film.leave()
    film.press("R")
    film.see("restore the site", "y does it")
    film.press("y")
    film.see("restore the site  observed")
    film.leave()
    film.press("q")
    film.wait()


def main() -> int:
    """Record; the file is written only when all went as it should."""
    with site() as environment, Film([str(BIN / "colossus")], environment) as film:
        shift(film)
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "Colossus TUI: one shift"}
    lines = [
        json.dumps(head),
        *(json.dumps([round(at, 3), "o", text], ensure_ascii=False) for at, text in film.parts),
    ]
    FILE.write_text("\n".join(lines) + "\n", "utf-8")
    sys.stderr.write(f"tour: {film.parts[-1][0]:.0f} s, {FILE.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
