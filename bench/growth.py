"""What a hub costs for 1,000 to 137,500 nodes: `python -m bench.growth [--quick] [--json]`.

Each size is measured as bench.site measures the whole site. The drawing has one bar a size, of
processor time and of memory above an idle hub's, each divided by the nodes: bars that do not grow
downwards mean a cost that is linear or better.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import site
from bench.measure import cpu_seconds, memory_kib, report, table

SIZES = (1_000, 10_000, 50_000, 137_500)
SECONDS, QUICK_SECONDS = 60.0, 20.0
SETTLE_SECONDS = 30.0
BAR = 40
# Linear or better: a node of the whole site costs at most what one of 10,000 costs, and a fifth
# for what the machine does beside.
BUDGETS = {"growth_ratio": 1.2}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one size costs."""

    name: str
    nodes: int
    hub_cores: float
    hub_mb: float
    core_us_a_node: float  # processor time a node and second, above an idle hub
    kb_a_node: float
    other_cores: float
    lost_frames: int
    growth_ratio: float  # larger of the two costs a node, over that at 10,000 nodes
    is_ours: bool = True


def idle() -> tuple[float, float]:
    """Return cores and MB of a hub that nobody is linked to."""
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        stand = site.Stand(Path(folder), 0)
        try:
            time.sleep(5.0)
            before = cpu_seconds(stand.hub.pid)
            time.sleep(5.0)
            cores = (cpu_seconds(stand.hub.pid) - before) / 5.0
            return cores, memory_kib(stand.hub.pid)["Rss"] * 1024 / 1e6
        finally:
            stand.close()


def measured(sizes: tuple[int, ...], seconds: float) -> list[Figures]:
    """Measure every size."""
    cores, megabytes = idle()
    found: list[Figures] = []
    for nodes in sizes:
        settle = SETTLE_SECONDS + nodes / 1_024  # what the nodes tell a new link
        one = site.run(nodes, seconds, settle)
        core_us = (one.hub_cores - cores) * 1e6 / nodes
        kilobytes = (one.hub_mb - megabytes) * 1e3 / nodes
        base = next((f for f in found if f.nodes == 10_000), None)
        ratio = (
            max(core_us / base.core_us_a_node, kilobytes / base.kb_a_node)
            if base is not None
            else 1.0
        )
        found.append(
            Figures(
                one.name,
                nodes,
                one.hub_cores,
                one.hub_mb,
                core_us,
                kilobytes,
                one.other_cores,
                one.lost_frames,
                ratio,
            )
        )
    return found


def text(figures: list[Figures]) -> str:
    """Return the figures for a reader, drawn."""
    rows = [
        ["nodes", "hub, cores", "hub, MB", "us a node and s", "kB a node", "rest, cores", "lost"]
    ]
    rows += [
        [
            f"{f.nodes:,}",
            f"{f.hub_cores:.3f}",
            f"{f.hub_mb:.0f}",
            f"{f.core_us_a_node:.1f}",
            f"{f.kb_a_node:.2f}",
            f"{f.other_cores:.2f}",
            str(f.lost_frames),
        ]
        for f in figures
    ]
    lines = [table(rows)]
    for field, unit in (
        ("core_us_a_node", "us of processor a node and second"),
        ("kb_a_node", "kB"),
    ):
        values = {f.nodes: float(asdict(f)[field]) for f in figures}
        most = max(values.values())
        lines += ["", unit]
        lines += [
            f"{nodes:>9,} {'#' * max(round(value / most * BAR), 1)} {value:.2f}"
            for nodes, value in values.items()
        ]
    return "\n".join(lines)


def main() -> int:
    """Measure growth."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 s each instead of a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    figures = measured(SIZES, QUICK_SECONDS if arguments.quick else SECONDS)
    return report("growth", figures, BUDGETS, text(figures), as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
