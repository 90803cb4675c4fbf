"""From a change on a node to the screen, beside Prometheus: `python -m bench.peers [--quick]`.

The same number of nodes with 4 GPUs, once as dcgm-exporter shows them and Prometheus scrapes them
each second, once as agents linked to a hub, one after the other in the same run. A temperature is
changed, and the time taken until a query has it, or until a console's view shows it: Prometheus is
asked 50 times a second, a console is told once a second. all-smi is in no registry that this
project installs from, so it is not measured.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.crowd import MARK
from bench.direct import Stand
from bench.measure import ABSENT, ROOT, cpu_seconds, end, memory_kib, quantile, report, table
from colossus_tui.client import Client

NODES, QUICK_NODES = 1_000, 200
CHANGES, QUICK_CHANGES = 30, 8
SECONDS, QUICK_SECONDS = 30.0, 10.0
BUDGETS = {"change_p95_s": 2.5}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one program."""

    name: str
    nodes: int
    cpu_ms_a_node_and_minute: float
    cores: float
    mb: float
    change_p50_s: float | None
    change_p95_s: float | None
    is_ours: bool = False


def _figures(
    name: str, nodes: int, pid: int, seconds: float, changes: list[float], *, is_ours: bool
) -> Figures:
    before, began = cpu_seconds(pid), time.perf_counter()
    time.sleep(seconds)
    passed = time.perf_counter() - began
    cores = (cpu_seconds(pid) - before) / passed
    return Figures(
        name,
        nodes,
        cores * 60_000 / nodes,
        cores,
        memory_kib(pid)["Rss"] * 1024 / 1e6,
        quantile(changes, 0.5),
        quantile(changes, 0.95),
        is_ours,
    )


def _changes(nodes: int, count: int, change: Callable[[int], float]) -> list[float]:
    """Return how long each of some changes took; they come at any time of a second."""
    rng, found = random.Random(7), []
    for _ in range(count):
        time.sleep(rng.uniform(0.2, 1.2))
        found.append(change(rng.randrange(nodes)))
    return found


class _Prometheus:
    """A Prometheus that scrapes nodes which one process stands for."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.exporters = subprocess.Popen(
            [sys.executable, "-m", "bench.exporters", str(nodes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.exporters.stdout is not None
        port = int(self.exporters.stdout.readline())
        targets = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"__metrics_path__": f"/n/{node}"}}
            for node in range(nodes)
        ]
        jobs = [{"job_name": "dcgm", "static_configs": targets}]
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": jobs,
        }
        (folder / "prometheus.json").write_text(json.dumps(config))  # YAML has all of JSON
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        self.process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={folder}/prometheus.json"),
                *(f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={self._address}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def value(self, query: str) -> float | None:
        """Return the first value of a query; None while there is none."""
        address = f"http://{self._address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return None
        return float(found[0]["value"][1]) if found else None

    def change(self, node: int) -> float:
        """Change a node; return how long it took until a query had it."""
        self._mark(node)
        began = time.perf_counter()
        query = f'DCGM_FI_DEV_GPU_TEMP{{Hostname="n{node}",gpu="0"}}'
        while self.value(query) != MARK:
            time.sleep(0.02)
        return time.perf_counter() - began

    def _mark(self, node: int) -> None:
        assert self.exporters.stdin is not None
        assert self.exporters.stdout is not None
        self.exporters.stdin.write(json.dumps({"mark": [node]}).encode() + b"\n")
        self.exporters.stdin.flush()
        self.exporters.stdout.readline()

    def close(self) -> None:
        """End both."""
        end(self.process)
        end(self.exporters)


def _prometheus(nodes: int, count: int, seconds: float) -> Figures | None:
    if shutil.which("prometheus") is None:
        return None
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        peer = _Prometheus(Path(folder), nodes)
        try:
            deadline = time.monotonic() + 60
            while (peer.value("count(up == 1)") or 0) < nodes and time.monotonic() < deadline:
                time.sleep(0.5)
            changes = _changes(nodes, count, peer.change)
            name = "Prometheus, scraped each second"
            return _figures(name, nodes, peer.process.pid, seconds, changes, is_ours=False)
        finally:
            peer.close()


def _ours(nodes: int, count: int, seconds: float) -> Figures:
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        stand = Stand(Path(folder), nodes)
        try:
            with Client(stand.address, timeout=30.0) as client:
                stand.all_reporting(client)
                changes = _changes(nodes, count, lambda node: _seen(stand, client, node))
            name = "colossus hub, direct agents"
            return _figures(name, nodes, stand.hub.pid, seconds, changes, is_ours=True)
        finally:
            stand.close()


def _seen(stand: Stand, client: Client, node: int) -> float:
    """Change a node; return how long it took until a console that looks at it showed that."""
    views = client.watch(runs=False, node_name=f"node-{node:04}")
    next(views)
    time.sleep(random.uniform(0.0, 1.0))  # a change knows nothing of a console's second
    stand.told(node)
    began = time.perf_counter()
    for view in views:
        first = view.node.gpus[0].metric("gpu_temperature") if view.node else None
        if first is not None and first.value == MARK:
            break
    return time.perf_counter() - began


def text(figures: list[Figures], note: str) -> str:
    """Return the figures for a reader."""
    head = "|nodes|cores|CPU ms a node and minute|MB|change to screen p50 s|p95 s"
    rows = [
        [
            f.name,
            f"{f.nodes:,}",
            f"{f.cores:.2f}",
            f"{f.cpu_ms_a_node_and_minute:.1f}",
            f"{f.mb:.0f}",
            ABSENT if f.change_p50_s is None else f"{f.change_p50_s:.2f}",
            ABSENT if f.change_p95_s is None else f"{f.change_p95_s:.2f}",
        ]
        for f in figures
    ]
    return "\n".join([table([head.split("|"), *rows]), *([note] if note else [])])


def main() -> int:
    """Measure both."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="200 nodes instead of 1,000")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    quick = arguments.quick
    nodes, count = (QUICK_NODES, QUICK_CHANGES) if quick else (NODES, CHANGES)
    seconds = QUICK_SECONDS if quick else SECONDS
    peer = _prometheus(nodes, count, seconds)
    figures = [_ours(nodes, count, seconds), *([peer] if peer else [])]
    note = "" if peer else "Prometheus: n/a, not installed (apt-get install prometheus)"
    return report("peers", figures, BUDGETS, text(figures, note), as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
