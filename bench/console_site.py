"""The map of the whole site in a real terminal: what `python -m bench.console --site` runs.

A simulated site of 137,500 nodes is carried to a hub, and the console shows its map of racks. Key
to paint is from an arrow key's byte to the first byte of the answer. Finding is the client's call,
from the beginning of a UUID to hall, rack and node; found is the same in the console, from the last
key to the screen that names the node.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import site
from bench.console import Program, press_keys
from bench.measure import cpu_seconds, memory_kib, quantile, report, table
from colossus_tui.client import AsyncClient
from colossus_tui.model import FoundGpu

BUDGETS = {
    "cpu_percent": 8.0,
    "bytes_per_second": 10_000.0,
    "key_p95_ms": 60.0,
    "find_p95_ms": 200.0,
}
ARROWS = (b"\x1b[C", b"\x1b[B", b"\x1b[D", b"\x1b[A")
FINDS = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of the map."""

    name: str
    gpus: int
    cpu_percent: float
    bytes_per_second: float
    rss_mib: float
    key_p50_ms: float
    key_p95_ms: float
    settled_p95_ms: float
    find_p50_ms: float
    find_p95_ms: float
    found_ms: float | None  # median, in the console
    other_cores: float
    is_ours: bool = True


async def _prepare(stand: site.Stand, settle: float) -> list[FoundGpu]:
    """Let the site link; return some GPUs to find."""
    async with AsyncClient(stand.address, timeout=60.0) as client:
        await site.answering(client)
        stand.start_sim()
        await site.linked(client, stand.nodes)
        await asyncio.sleep(settle)
        gpus = (await client.find_gpus("gpu=2", limit=1_000)).gpus
        return random.Random(7).sample(gpus, min(FINDS, len(gpus)))


async def _finds(stand: site.Stand, gpus: Sequence[FoundGpu]) -> list[float]:
    """Return how long finding each of the GPUs took, ms."""
    took = []
    async with AsyncClient(stand.address, timeout=60.0) as client:
        for gpu in gpus:
            began = time.perf_counter()
            found = await client.find_gpus(f"uuid~{gpu.gpu_uuid[:16]}*", limit=20)
            took.append((time.perf_counter() - began) * 1000)
            if gpu.gpu_uuid not in [one.gpu_uuid for one in found.gpus]:
                raise SystemExit(f"{gpu.gpu_uuid} was not found")
    return took


def _found(program: Program, gpu: FoundGpu) -> float | None:
    """Return ms from the last key of a search to the screen that names the GPU's node."""
    program.press(b"F")
    program.count(0.5)
    program.press(gpu.gpu_uuid[:16].encode())
    program.count(0.5)
    pressed, seen = time.perf_counter(), b""
    program.press(b"\r")
    while time.perf_counter() - pressed < 5.0:
        seen += program.read(0.02)
        if gpu.node_name.encode() in seen:
            return (time.perf_counter() - pressed) * 1000
    return None


def _console(
    stand: site.Stand, gpus: Sequence[FoundGpu], *, quick: bool
) -> dict[str, float | None]:
    command = [sys.executable, "-m", "colossus_tui", "--hub", stand.address]
    program = Program(command, os.environ)
    try:
        if program.until((b"10t",), 30.0) is None:
            raise SystemExit("bench.console: the console's first screen never came")
        program.press(b"m")
        program.count(8.0)
        seconds = 10.0 if quick else 30.0
        cpu, begun = cpu_seconds(program.pid), time.perf_counter()
        size = program.count(seconds)
        passed = time.perf_counter() - begun
        used = cpu_seconds(program.pid) - cpu
        first, settled = press_keys(program, ARROWS, 30 if quick else 100)
        found = []
        for gpu in gpus[: 3 if quick else 10]:
            found.append(_found(program, gpu))
            program.press(b"\x1b")
            program.count(1.0)
            program.press(b"\x1b")
            program.count(1.0)
        known = [one for one in found if one is not None]
        return {
            "cpu_percent": used / passed * 100,
            "bytes_per_second": size / passed,
            "rss_mib": memory_kib(program.pid)["Rss"] / 1024,
            "key_p50_ms": quantile(first, 0.5),
            "key_p95_ms": quantile(first, 0.95),
            "settled_p95_ms": quantile(settled, 0.95),
            "found_ms": statistics.median(known) if len(known) == len(found) else None,
        }
    finally:
        program.close()


def run(nodes: int, *, quick: bool) -> Figures:
    """Measure the map of a site of so many nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        stand = site.Stand(Path(folder), nodes)
        try:
            gpus = asyncio.run(_prepare(stand, site.SETTLE_SECONDS))
            busy, began = site.busy_seconds(), time.perf_counter()
            assert stand.sim is not None
            pids = stand.hub.pid, stand.sim.pid
            own = sum(map(cpu_seconds, pids))
            shown = _console(stand, gpus, quick=quick)
            passed = time.perf_counter() - began
            other = (site.busy_seconds() - busy - (sum(map(cpu_seconds, pids)) - own)) / passed
            finds = sorted(asyncio.run(_finds(stand, gpus)))
        finally:
            stand.close()
    return Figures(
        name=f"map of {nodes:,} nodes",
        gpus=nodes * site.GPUS,
        find_p50_ms=finds[len(finds) // 2],
        find_p95_ms=finds[int(len(finds) * 0.95)],
        other_cores=other,
        **shown,  # type: ignore[arg-type]  # what was not measured is over its budget
    )


def text(figures: Figures) -> str:
    """Return the figures for a reader."""
    head = "|CPU|bytes/s|RSS|key p50|key p95|settled p95|find p50|find p95|found|rest, cores"
    found = "n/a" if figures.found_ms is None else f"{figures.found_ms:.0f} ms"
    row = [
        figures.name,
        f"{figures.cpu_percent:.2f} %",
        f"{figures.bytes_per_second:,.0f} B/s",
        f"{figures.rss_mib:.0f} MiB",
        f"{figures.key_p50_ms:.0f} ms",
        f"{figures.key_p95_ms:.0f} ms",
        f"{figures.settled_p95_ms:.0f} ms",
        f"{figures.find_p50_ms:.0f} ms",
        f"{figures.find_p95_ms:.0f} ms",
        found,
        f"{figures.other_cores:.2f}",
    ]
    return table([head.split("|"), row])


def main(*, quick: bool, as_json: bool, nodes: int = site.NODES) -> int:
    """Measure and print; return 1 when the map is over a budget."""
    figures = run(nodes, quick=quick)
    return report("console_site", [figures], BUDGETS, text(figures), as_json=as_json)
