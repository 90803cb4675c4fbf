"""10,000 agents linked to one hub without a relay: `python -m bench.direct [--quick] [--json]`.

They are held for a minute (20 s), then the hub is killed and started again, and all must come back.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.measure import ROOT, cpu_seconds, end, memory_kib, report, table
from colossus_tui.client import Client, ColossusError

NODES = 10_000
SECONDS, QUICK_SECONDS = 60.0, 20.0
LINK_SECONDS = 180.0
BUDGETS = {"hub_cores": 0.9, "missing_nodes": 0, "reconnect_seconds": 60, "lost_frames": 0}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured."""

    name: str
    nodes: int
    link_seconds: float
    hub_cores: float
    hub_mb: float
    agents_cores: float
    frames_per_second: float
    lost_frames: int
    tick_lag_ms_max: float
    reconnect_seconds: float
    missing_nodes: int
    is_ours: bool = True


class Stand:
    """A hub on a port of loopback, and the agents."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self._folder = folder
        self._nodes = nodes
        self._log = (folder / "log").open("wb")
        self._port = 0
        self.hub = self.start_hub()
        self.agents = subprocess.Popen(
            [sys.executable, "-m", "bench.crowd", f"127.0.0.1:{self._port}", str(nodes)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    @property
    def address(self) -> str:
        """Where the hub answers consoles."""
        return f"unix:{self._folder}/hub.sock"

    def start_hub(self) -> subprocess.Popen[bytes]:
        """Start the hub, on the port that it had, and wait until it answers."""
        file = self._folder / "port"
        file.unlink(missing_ok=True)
        arguments = ["--listen", self.address, "--listen", f"127.0.0.1:{self._port}"]
        self.hub = subprocess.Popen(
            [
                *(sys.executable, "-m", "colossus_tui.hub", *arguments, "--port-file", str(file)),
                *("--state-dir", str(self._folder / "state")),
            ],
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )
        deadline = time.monotonic() + 30
        while not (file.exists() and file.read_text().strip()):
            if time.monotonic() > deadline or self.hub.poll() is not None:
                raise SystemExit((self._folder / "log").read_text(errors="replace")[-2_000:])
            time.sleep(0.05)
        self._port = int(file.read_text())
        return self.hub

    def told(self, *mark: int) -> dict[str, float]:
        """Return what the agents say of themselves; mark these nodes and no others."""
        assert self.agents.stdin is not None
        assert self.agents.stdout is not None
        self.agents.stdin.write(json.dumps({"mark": mark}).encode() + b"\n")
        self.agents.stdin.flush()
        state: dict[str, float] = json.loads(self.agents.stdout.readline())
        return state

    def all_reporting(self, client: Client) -> float:
        """Wait until every node is live; return how long it took, seconds."""
        began = time.monotonic()
        while True:
            try:
                count = client.site().reporting_node_count
            except ColossusError:
                count = 0
            if count == self._nodes or time.monotonic() - began > LINK_SECONDS:
                return time.monotonic() - began
            time.sleep(0.5)

    def close(self) -> None:
        """End all."""
        end(self.agents)
        end(self.hub)
        self._log.close()


def measure(stand: Stand, nodes: int, seconds: float) -> Figures:
    """Hold the agents, then restart the hub."""
    with Client(stand.address, timeout=30.0) as client:
        link_seconds = stand.all_reporting(client)
        time.sleep(5.0)
        before, told, began = client.hub(), stand.told(), time.monotonic()
        cpu = cpu_seconds(stand.hub.pid)
        time.sleep(seconds)
        after, told_after = client.hub(), stand.told()
        passed = time.monotonic() - began
        hub_cores = (cpu_seconds(stand.hub.pid) - cpu) / passed
        megabytes = memory_kib(stand.hub.pid)["Rss"] * 1024 / 1e6
    stand.hub.kill()
    stand.hub.wait()
    stand.start_hub()
    with Client(stand.address, timeout=30.0) as client:
        again = stand.all_reporting(client)
        missing = nodes - client.site().reporting_node_count
    frames = after.frame_count - before.frame_count
    # What is on its way at the two ends: less than a hundredth of a second's.
    lost = max(int(told_after["sent"] - told["sent"] - frames) - nodes // 100, 0)
    return Figures(
        name=f"{nodes:,} agents",
        nodes=nodes,
        link_seconds=link_seconds,
        hub_cores=hub_cores,
        hub_mb=megabytes,
        agents_cores=(told_after["cpu_seconds"] - told["cpu_seconds"]) / passed,
        frames_per_second=frames / passed,
        lost_frames=lost,
        tick_lag_ms_max=after.tick_lag_seconds_max * 1e3,
        reconnect_seconds=again,
        missing_nodes=missing,
    )


def text(figures: Figures) -> str:
    """Return the figures for a reader."""
    head = (
        "agents|linked in s|hub, cores|hub, MB|agents, cores|frames/s|lost|lag ms, max|all back s"
    )
    row = [
        figures.name,
        f"{figures.link_seconds:.0f}",
        f"{figures.hub_cores:.2f}",
        f"{figures.hub_mb:.0f}",
        f"{figures.agents_cores:.2f}",
        f"{figures.frames_per_second:,.0f}",
        f"{figures.lost_frames:,}",
        f"{figures.tick_lag_ms_max:.0f}",
        f"{figures.reconnect_seconds:.0f} ({figures.missing_nodes} missing)",
    ]
    return table([head.split("|"), row])


def main() -> int:
    """Measure direct links."""
    parser = argparse.ArgumentParser(prog="python -m bench.direct", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20 s instead of a minute")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--nodes", type=int, default=NODES)
    arguments = parser.parse_args()
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        stand = Stand(Path(folder), arguments.nodes)
        try:
            figures = measure(stand, arguments.nodes, seconds)
        finally:
            stand.close()
    return report("direct", [figures], BUDGETS, text(figures), as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
