"""The whole site in one hub: `python -m bench.site [--quick] [--json] [--nodes N]`.

A simulated site of 137,500 nodes with 4 GPUs and 12 metrics each is carried to one hub on streams
of relays, 64 nodes a message, while consoles watch. It is let link, then measured for 5 minutes
(40 s). The simulator needs a processor of its own; what the machine does beside it is stated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.measure import ROOT, cpu_seconds, end, memory_kib, report, table
from colossus_tui.client import AsyncClient, ColossusError
from colossus_tui.model import Hub, MapRequest

NODES, GPUS = 137_500, 4
SECONDS, QUICK_SECONDS = 300.0, 40.0
LINK_SECONDS = 300.0
SETTLE_SECONDS = 150.0  # the nodes say in this time what each new link is told
WATCHED = 12  # nodes that consoles look at
BUDGETS = {
    "lost_frames": 0,
    "hub_cores": 0.8,
    "hub_mb": 700,
    "roll_up_ms": 50,
    "frame_to_console_p99_ms": 1_500,
}


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of one site."""

    name: str
    nodes: int
    gpus: int
    seconds: float
    frames: int
    lost_frames: int
    hub_cores: float
    hub_mb: float
    sim_cores: float
    other_cores: float
    roll_up_ms: float
    roll_up_ms_max: float
    tick_lag_ms_max: float
    frame_to_console_p50_ms: float
    frame_to_console_p99_ms: float
    link_seconds: float
    late_ticks: int
    is_ours: bool = True


@dataclass(slots=True)
class Watch:
    """What consoles saw: seconds from a frame's measurement to its sight."""

    delays: list[float] = field(default_factory=list)
    is_on: bool = False


class Stand:
    """A hub and a simulated site as processes of their own."""

    def __init__(
        self, folder: Path, nodes: int, *, relay_nodes: int = 1_024, settings: Path | None = None
    ) -> None:
        self.address = f"unix:{folder}/hub.sock"
        self.nodes = nodes
        self._log = (folder / "log").open("wb")
        told = ("--config", str(settings)) if settings is not None else ()
        self.hub = self._spawn(
            *("colossus_tui.hub", "--listen", self.address, "--state-dir", str(folder / "state")),
            *told,
        )
        self._folder = folder
        self._relay_nodes = relay_nodes
        self.sim: subprocess.Popen[bytes] | None = None

    def _spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *argv], cwd=ROOT, stdout=self._log, stderr=self._log
        )

    def start_sim(self, *arguments: str) -> None:
        """Begin to carry the site."""
        self.sim = self._spawn(
            *("colossus_tui.sim", "--hub", self.address, "--nodes", str(self.nodes)),
            *("--relay-nodes", str(self._relay_nodes), *arguments),
        )

    def said(self) -> dict[str, int]:
        """Return what the simulator said last of itself."""
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        last = next((line for line in reversed(lines) if "replaced=" in line), "")
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)\b", last)}

    def end_sim(self) -> dict[str, int]:
        """Let the simulator end and what it said arrive; return its last account."""
        assert self.sim is not None
        self.sim.terminate()
        self.sim.wait(30)
        return self.said()

    def close(self) -> None:
        """End both."""
        for process in (self.sim, self.hub):
            if process is not None:
                end(process)
        self._log.close()

    def log_tail(self) -> str:
        """Return the end of what both said."""
        return "\n".join((self._folder / "log").read_text(errors="replace").splitlines()[-8:])


async def answering(client: AsyncClient, seconds: float = 30.0) -> Hub:
    """Return the hub's account once it answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await client.hub()
        except ColossusError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


async def linked(client: AsyncClient, nodes: int, seconds: float = LINK_SECONDS) -> float:
    """Wait until every node reports; return how long it took, seconds."""
    began = time.monotonic()
    while True:
        site = await client.site()
        if site.node_count == nodes and site.reporting_node_count >= nodes * 0.999:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise SystemExit(
                f"only {site.reporting_node_count} of {nodes} nodes report after {seconds:.0f} s"
            )
        await asyncio.sleep(1.0)


async def watch_node(client: AsyncClient, name: str, watch: Watch) -> None:
    """Look at one node as a console does, and note how old each new frame is when it is seen."""
    seen = 0
    async for view in client.watch(runs=False, node_name=name):
        sampled = view.node.node.sample_time_unix_ns if view.node else 0
        if sampled > seen:
            if watch.is_on and seen:
                watch.delays.append((time.time_ns() - sampled) / 1e9)
            seen = sampled


async def watch_site(client: AsyncClient) -> None:
    """Look at the site's map and all runs as a console does."""
    async for _ in client.watch(map=MapRequest(metric="power"), events=True):
        pass


def busy_seconds() -> float:
    """Return the processor time of the whole machine, seconds."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    idle = int(fields[3]) + int(fields[4])
    return (sum(map(int, fields[:8])) - idle) / os.sysconf("SC_CLK_TCK")


async def measure(stand: Stand, seconds: float, settle: float) -> Figures:
    """Let the site link, then measure it."""
    async with AsyncClient(stand.address, timeout=60.0) as client:
        await answering(client)
        stand.start_sim()
        link_seconds = await linked(client, stand.nodes)
        names = [f.node_name for f in (await client.find_gpus("gpu=0", limit=1_000)).gpus]
        watch = Watch()
        rng = random.Random(7)
        async with asyncio.TaskGroup() as tasks:
            watchers = [
                tasks.create_task(watch_node(client, name, watch))
                for name in rng.sample(names, min(WATCHED, len(names)))
            ]
            watchers.append(tasks.create_task(watch_site(client)))
            await asyncio.sleep(settle)
            figures = await _measured(stand, client, watch, seconds)
            figures = replace(figures, link_seconds=link_seconds)
            for watcher in watchers:
                watcher.cancel()
        return figures


async def _measured(stand: Stand, client: AsyncClient, watch: Watch, seconds: float) -> Figures:
    assert stand.sim is not None
    pids = stand.hub.pid, stand.sim.pid
    before, said = await client.hub(), stand.said()
    cpu, busy, began = [cpu_seconds(pid) for pid in pids], busy_seconds(), time.monotonic()
    watch.is_on = True
    peak, roll_ups = 0, []
    while time.monotonic() - began < seconds:
        await asyncio.sleep(min(5.0, seconds))
        peak = max(peak, memory_kib(stand.hub.pid)["Rss"])
        roll_ups.append((await client.hub()).roll_up_seconds)
    after, passed = await client.hub(), time.monotonic() - began
    watch.is_on = False
    hub, sim = ((cpu_seconds(pid) - then) / passed for pid, then in zip(pids, cpu, strict=True))
    other = (busy_seconds() - busy) / passed - hub - sim
    last = stand.end_sim()
    undelivered = last["frames"] - last["replaced"] - (await client.hub()).frame_count
    delays = sorted(watch.delays) or [float("nan")]
    return Figures(
        name=f"{stand.nodes:,} nodes",
        nodes=stand.nodes,
        gpus=stand.nodes * GPUS,
        seconds=passed,
        frames=after.frame_count - before.frame_count,
        lost_frames=undelivered + last["replaced"] - said["replaced"],
        hub_cores=hub,
        hub_mb=peak * 1024 / 1e6,
        sim_cores=sim,
        other_cores=other,
        roll_up_ms=sum(roll_ups) / len(roll_ups) * 1e3,
        roll_up_ms_max=max(after.roll_up_seconds_max, *roll_ups) * 1e3,
        tick_lag_ms_max=after.tick_lag_seconds_max * 1e3,
        frame_to_console_p50_ms=delays[len(delays) // 2] * 1e3,
        frame_to_console_p99_ms=delays[int(len(delays) * 0.99)] * 1e3,
        link_seconds=0.0,
        late_ticks=last["late_ticks"] - said["late_ticks"],
    )


def run(nodes: int, seconds: float, settle: float) -> Figures:
    """Measure a site of so many nodes."""
    with tempfile.TemporaryDirectory(prefix="colossus-bench-") as folder:
        stand = Stand(Path(folder), nodes)
        try:
            return asyncio.run(measure(stand, seconds, settle))
        except BaseException:
            sys.stderr.write(stand.log_tail() + "\n")
            raise
        finally:
            stand.close()


def text(figures: list[Figures]) -> str:
    """Return the figures for a reader."""
    rows = [
        [
            "site",
            "frames",
            "lost",
            "hub, cores",
            "hub, MB",
            "sim, cores",
            "rest, cores",
            "roll-up ms (max)",
            "lag ms, max",
            "frame to console ms p50/p99",
            "all linked s",
            "late ticks of sim",
        ]
    ]
    rows += [
        [
            f.name,
            f"{f.frames:,} in {f.seconds:.0f} s",
            f"{f.lost_frames:,}",
            f"{f.hub_cores:.2f}",
            f"{f.hub_mb:.0f}",
            f"{f.sim_cores:.2f}",
            f"{f.other_cores:.2f}",
            f"{f.roll_up_ms:.0f} ({f.roll_up_ms_max:.0f})",
            f"{f.tick_lag_ms_max:.0f}",
            f"{f.frame_to_console_p50_ms:.0f}/{f.frame_to_console_p99_ms:.0f}",
            f"{f.link_seconds:.0f}",
            str(f.late_ticks),
        ]
        for f in figures
    ]
    return table(rows)


def main() -> int:
    """Measure the whole site."""
    parser = argparse.ArgumentParser(prog="python -m bench.site", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="40 s instead of 5 minutes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--nodes", type=int, default=NODES)
    arguments = parser.parse_args()
    seconds = QUICK_SECONDS if arguments.quick else SECONDS
    figures = [run(arguments.nodes, seconds, SETTLE_SECONDS)]
    return report("site", figures, BUDGETS, text(figures), as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
