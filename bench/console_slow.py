"""The console behind a line of 9,600 bit/s: `python -m bench.console_slow`.

A site of 1,000 simulated nodes, 80x24. The line is a pseudo-terminal whose reader passes on 960
bytes a second and keeps all that comes in the meantime, as ssh does; every byte and every key
travels for the delay. A key's answer is the cursor on another row; an opened screen is its own
first line. The backlog is what waits for the line, in seconds of the line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench import site
from bench.measure import options, quantile, report, table
from colossus_tui.client import AsyncClient
from tests.terminal import SlowTerminal

NODES = 1_000
RATE = 960.0
KEY_BUDGET_SECONDS, BACKLOG_BUDGET_SECONDS = 1.5, 1.5
BUDGETS = {"key_worst_seconds": KEY_BUDGET_SECONDS, "backlog_seconds": BACKLOG_BUDGET_SECONDS}
ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured over one line."""

    name: str
    start_seconds: float
    key_median_seconds: float
    key_worst_seconds: float
    opened_seconds: float
    backlog_seconds: float
    bytes_per_second: float
    is_ours: bool = True


def _row(terminal: SlowTerminal) -> list[int]:
    return [y for y, line in enumerate(terminal.screen.display) if line.startswith(">")]


def _timed(terminal: SlowTerminal, keys: str, holds: Callable[[], bool]) -> float:
    began = time.monotonic()
    terminal.press(keys)
    while not holds():
        if time.monotonic() - began > ANSWER_SECONDS:
            raise SystemExit(f"bench.console_slow: no answer to {keys!r}:\n{terminal.text}")
        terminal.read(0.01)
    return time.monotonic() - began


def _measure(address: str, delay: float, *, quick: bool) -> Figures:
    command = [sys.executable, "-m", "colossus_tui", "--hub", address]
    began = time.monotonic()
    with SlowTerminal(command, os.environ, rate=RATE, delay_seconds=delay) as terminal:
        terminal.until("10t", "1t-b", "q quit", seconds=60)
        start = time.monotonic() - began
        terminal.until("slow link", seconds=60)
        terminal.read(10.0)
        terminal.most_backlog, size = 0, len(terminal.output)
        seconds = 20.0 if quick else 60.0
        terminal.read(seconds)
        rate = (len(terminal.output) - size) / seconds
        waits = []
        for index in range(20 if quick else 60):
            before = _row(terminal)
            key = "jjjkkk"[index % 6]
            waits.append(_timed(terminal, key, lambda was=before: _row(terminal) not in (was, [])))  # type: ignore[misc]
            terminal.read(0.7 + index % 5 / 5)
        opened = _timed(terminal, "\r", lambda: "loss   " in terminal.text)
        terminal.read(5.0)
    return Figures(
        f"9,600 bit/s, {delay * 1000:.0f} ms each way",
        start,
        quantile(waits, 0.5) or 0.0,
        max(waits),
        opened,
        terminal.most_backlog / RATE,
        rate,
    )


async def _ready(stand: site.Stand) -> None:
    async with AsyncClient(stand.address, timeout=60.0) as client:
        await site.answering(client)
        stand.start_sim("--no-failures")
        await site.linked(client, stand.nodes)
        await asyncio.sleep(15.0)


def text(figures: list[Figures]) -> str:
    """Return the figures for a reader."""
    rows = [["", "exec to screen", "key p50", "key worst", "run opened", "backlog", "B/s"]]
    for one in figures:
        spans = (
            one.start_seconds,
            one.key_median_seconds,
            one.key_worst_seconds,
            one.opened_seconds,
            one.backlog_seconds,
        )
        rows.append([one.name, *(f"{s:.2f} s" for s in spans), f"{one.bytes_per_second:.0f}"])
    return table(rows)


def main() -> int:
    """Measure and print; return 1 when a figure is over its budget."""
    chosen = options("console_slow", __doc__)
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as name:
        stand = site.Stand(Path(name), NODES)
        try:
            asyncio.run(_ready(stand))
            delays = (0.15, 0.3)
            figures = [_measure(stand.address, delay, quick=chosen.quick) for delay in delays]
        finally:
            stand.close()
    return report("console_slow", figures, BUDGETS, text(figures), as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
