"""What the hub's own recording costs: `python -m bench.record [--quick] [--json] [--site]`.

A simulated site of 1,000 nodes and seven runs (with --site also one of 137,500) is carried to a hub
that records, and to one that does not. The difference of their processor time is the recording's;
bytes are what the recording's folder grew by.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench import site
from bench.measure import cpu_seconds, memory_kib, options, report, table
from colossus_tui.client import AsyncClient

BUDGETS = {"cpu_percent": 2.0, "megabytes_a_minute": 4.0}
SMALL, WHOLE = 1_000, 137_500
SECONDS, QUICK_SECONDS = 180.0, 60.0
SETTLE_SECONDS, WHOLE_SETTLE_SECONDS = 30.0, 150.0
OFF = "[recording]\nenabled = false\n"


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one site."""

    name: str
    nodes: int
    seconds: float
    hub_percent: float  # of a core, without a recording
    cpu_percent: float  # what the recording adds
    megabytes_a_minute: float
    rss_mib: float  # what the recording adds
    is_ours: bool


@dataclass(frozen=True, slots=True)
class _Cost:
    """What one hub took."""

    percent: float
    megabytes_a_minute: float
    rss_mib: float


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.clrec"))


async def _cost(nodes: int, seconds: float, *, records: bool) -> _Cost:
    """Carry a site to a hub and return what the hub took, once all of it is linked."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        settings = folder / "hub.toml"
        settings.write_text("" if records else OFF)
        stand = site.Stand(folder, nodes, settings=settings)
        try:
            async with AsyncClient(stand.address, timeout=60.0) as client:
                await site.answering(client)
                stand.start_sim()
                await site.linked(client, nodes)
            await asyncio.sleep(WHOLE_SETTLE_SECONDS if nodes == WHOLE else SETTLE_SECONDS)
            pid, size, begun = stand.hub.pid, _size(folder), time.perf_counter()
            cpu = cpu_seconds(pid)
            await asyncio.sleep(seconds)
            passed = time.perf_counter() - begun
            return _Cost(
                (cpu_seconds(pid) - cpu) / passed * 100,
                (_size(folder) - size) / 1e6 / passed * 60,
                memory_kib(pid)["Rss"] / 1024,
            )
        finally:
            stand.close()


async def run(nodes: int, seconds: float) -> Figures:
    """Measure one site with and without a recording."""
    without = await _cost(nodes, seconds, records=False)
    recording = await _cost(nodes, seconds, records=True)
    return Figures(
        f"{nodes:,} nodes",
        nodes,
        seconds,
        without.percent,
        recording.percent - without.percent,
        recording.megabytes_a_minute,
        recording.rss_mib - without.rss_mib,
        is_ours=nodes == SMALL,
    )


def main() -> int:
    """Measure and print; returns 1 when a figure of the small site is over its budget."""
    arguments = options("record", __doc__, site="also the whole site, which takes long")
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    sizes = [SMALL, *([WHOLE] if arguments.site else [])]
    figures = [asyncio.run(run(nodes, seconds)) for nodes in sizes]
    rows = [("site", "hub without", "recording adds", "on disk", "memory it adds")]
    rows += [
        (
            one.name,
            f"{one.hub_percent:.1f} % of a core",
            f"{one.cpu_percent:.1f} % of a core",
            f"{one.megabytes_a_minute:.2f} MB/min",
            f"{one.rss_mib:.0f} MiB",
        )
        for one in figures
    ]
    return report("record", figures, BUDGETS, table(rows), as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
