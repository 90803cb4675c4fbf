"""Every screen of the console in a real terminal: what `python -m bench.console --screens` runs.

The seven runs are the simulator's, on 1,000 nodes; two have a slow GPU and so an incident, and were
saved once. Each screen is opened by its key and left alone,
then keys are pressed on it. Stalled is a terminal whose reader stops for 30 s: how much larger the
console then is, and how soon after that it answers a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import site
from bench.console import Program, press_keys
from bench.measure import ROOT, cpu_seconds, memory_kib, quantile, table
from colossus_tui.client import AsyncClient

NODES = 1_000
NAMES = (b"10t", b"6t", b"imagine-v2", b"1.5t-a", b"1.5t-b", b"1t-a", b"1t-b")
SLOW_RUNS = ("6t", "10t")
DOWN_UP = (b"j", b"k")
INCIDENT_SECONDS = 180.0  # until a slow GPU is one, at most
STALL_SECONDS = 30.0
ANY = {
    "bytes_per_second": 10_000.0,
    "cpu_percent": 8.0,
    "key_p95_ms": 30.0,
    "settled_p95_ms": 120.0,
}
OVERVIEW = ANY | {"bytes_per_second": 1_200.0, "cpu_percent": 1.5, "start_ms": 370.0}
STALLED = {"grown_mib": 4.0, "answer_ms": 1_000.0}
# Name, the keys that open it from the overview, the keys that are pressed on it.
SCREENS: tuple[tuple[str, tuple[bytes, ...], Sequence[bytes]], ...] = (
    ("overview", (), DOWN_UP),
    ("run", (b"\r",), (b"+", b"-")),
    ("bets", (b"b",), DOWN_UP),
    ("power", (b"w",), DOWN_UP),
    ("money", (b"$",), DOWN_UP),
    ("incidents", (b"i",), DOWN_UP),
    ("timeline", (b"i", b"t"), (b"+", b"-")),
    ("nodes", (b"n",), DOWN_UP),
    ("map", (b"m",), (b"\x1b[C", b"\x1b[D")),
    ("actions", (b"a",), DOWN_UP),
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one screen; None is not measured."""

    name: str
    start_ms: float | None = None
    bytes_per_second: float | None = None
    cpu_percent: float | None = None
    rss_mib: float | None = None
    key_p50_ms: float | None = None
    key_p95_ms: float | None = None
    settled_p95_ms: float | None = None
    grown_mib: float | None = None
    answer_ms: float | None = None
    is_ours: bool = True


async def _prepare(stand: site.Stand, folder: Path, settle: float) -> None:
    scenario = folder / "scenario.toml"
    fault = '[[fault]]\nkind = "straggler"\nrun = "{}"\nrank = 17\nat = 1\nduration = 3600\n'
    scenario.write_text('name = "bench"\n' + "".join(fault.format(run) for run in SLOW_RUNS))
    async with AsyncClient(stand.address, timeout=60.0) as client:
        await site.answering(client)
        stand.start_sim("--no-failures", "--scenario", str(scenario))
        await site.linked(client, stand.nodes)
        await asyncio.sleep(settle)
        await asyncio.gather(*(client.act("checkpoint", run, wait=True) for run in SLOW_RUNS))
        deadline = time.monotonic() + INCIDENT_SECONDS
        while len(await client.incidents()) < len(SLOW_RUNS):
            if time.monotonic() > deadline:
                raise SystemExit("bench.console: the slow GPUs never became incidents")
            await asyncio.sleep(1.0)


def _screen(
    command: Sequence[str],
    name: str,
    opening: Sequence[bytes],
    keys: Sequence[bytes],
    seconds: float,
) -> Figures:
    program = Program(command, os.environ)
    try:
        started = program.until(NAMES, 30.0)
        if started is None:
            raise SystemExit("bench.console: the console's first screen never came")
        for key in opening:
            program.press(key)
            program.count(2.0)
        program.count(5.0)
        cpu, begun = cpu_seconds(program.pid), time.perf_counter()
        size = program.count(seconds)
        passed = time.perf_counter() - begun
        used = cpu_seconds(program.pid) - cpu
        first, settled = press_keys(program, keys, int(seconds * 3))
        return Figures(
            name,
            start_ms=started * 1000,
            bytes_per_second=size / passed,
            cpu_percent=used / passed * 100,
            rss_mib=memory_kib(program.pid)["Rss"] / 1024,
            key_p50_ms=quantile(first, 0.5),
            key_p95_ms=quantile(first, 0.95),
            settled_p95_ms=quantile(settled, 0.95),
        )
    finally:
        program.close()


def _stalled(command: Sequence[str], seconds: float) -> Figures:
    """Let the terminal's reader stop; then read on and press a key."""
    program = Program(command, os.environ)
    try:
        program.until(NAMES, 30.0)
        program.press(b"m")
        program.count(10.0)
        before = memory_kib(program.pid)["Rss"]
        for _ in range(round(seconds)):
            time.sleep(1.0)
            program.press(b"v")  # each draws the whole map anew
        grown = memory_kib(program.pid)["Rss"] - before
        while program.read(0.2):
            pass
        pressed = time.perf_counter()
        program.press(b"?")
        program.until((b"KEYS",), 20.0)
        answered = time.perf_counter() - pressed
        return Figures(
            f"stalled {seconds:.0f} s", grown_mib=grown / 1024, answer_ms=answered * 1000
        )
    finally:
        program.close()


def _settings(folder: Path, nodes: int) -> Path:
    """Return a file with the settings that the simulator recommends for its site."""
    file = folder / "hub.toml"
    command = [sys.executable, "-m", "colossus_tui", "sim", "--nodes", str(nodes), "--limits"]
    file.write_bytes(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    return file


def run(nodes: int, *, quick: bool) -> list[Figures]:
    """Measure every screen of a site of so many nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as name:
        folder = Path(name)
        stand = site.Stand(folder, nodes, settings=_settings(folder, nodes))
        command = [sys.executable, "-m", "colossus_tui", "--hub", stand.address]
        try:
            asyncio.run(_prepare(stand, folder, 20.0 if quick else 60.0))
            seconds = 10.0 if quick else 30.0
            found = [_screen(command, *screen, seconds) for screen in SCREENS]
            # Which screen is opened later changes nothing of a start.
            start = statistics.median(one.start_ms or 0.0 for one in found)
            first, *others = (replace(one, start_ms=None) for one in found)
            stalled = _stalled(command, STALL_SECONDS)
            return [replace(first, start_ms=start), *others, stalled]
        finally:
            stand.close()


def _budgets(name: str) -> dict[str, float]:
    return OVERVIEW if name == "overview" else STALLED if name.startswith("stalled") else ANY


def over_budget(figures: Sequence[Figures]) -> list[str]:
    """Return what is over its budget, or was not measured: "screen: figure"."""
    return [
        f"{one.name}: {field}"
        for one in figures
        for field, limit in _budgets(one.name).items()
        if (value := getattr(one, field)) is None or value > limit
    ]


def text(figures: Sequence[Figures]) -> str:
    """Return the figures for a reader."""
    kinds = (
        ("exec to screen", "start_ms", "ms", 0),
        ("bytes/s", "bytes_per_second", "B/s", 0),
        ("CPU", "cpu_percent", "%", 2),
        ("RSS", "rss_mib", "MiB", 0),
        ("key p50", "key_p50_ms", "ms", 0),
        ("key p95", "key_p95_ms", "ms", 0),
        ("settled p95", "settled_p95_ms", "ms", 0),
        ("grown", "grown_mib", "MiB", 1),
        ("answer", "answer_ms", "ms", 0),
    )
    rows = [["", *(head for head, _, _, _ in kinds)]]
    for one in figures:
        cells = [(getattr(one, field), unit, digits) for _, field, unit, digits in kinds]
        rows.append(
            [
                one.name,
                *("" if v is None else f"{v:,.{digits}f} {unit}" for v, unit, digits in cells),
            ]
        )
    return table(rows)


def main(*, quick: bool, as_json: bool, nodes: int = NODES) -> int:
    """Measure and print; return 1 when a screen is over a budget."""
    figures = run(nodes, quick=quick)
    over = over_budget(figures)
    if as_json:
        parts = [asdict(one) for one in figures]
        print(json.dumps({"benchmark": "console_screens", "over_budget": over, "figures": parts}))
    else:
        print(text(figures))
        print(f"OVER BUDGET: {', '.join(over)}" if over else "within budget")
    return 1 if over else 0
