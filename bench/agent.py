"""The agent at 1 Hz with 8 fake GPUs, linked to a real hub: processor time and memory.

nvitop and glances are measured over the same seconds, each in a terminal of 200x50.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import (
    ABSENT,
    PEERS,
    ROOT,
    Terminal,
    cpu_seconds,
    end,
    memory_kib,
    options,
    report,
    table,
)
from tests.support import until

BUDGETS = {"cpu_percent": 0.3, "rss_mib": 45.0}
SETTLE_SECONDS = 8.0
FAKE_NVML = ROOT / "tests" / "fakes" / "nvml" / "fake_nvml.c"
PEER_COMMANDS = {"nvitop": ["--monitor", "full", "--interval", "1"], "glances": ["-t", "1"]}


@dataclass(frozen=True, slots=True)
class Figures:
    """One program's cost; `note` says why there is none."""

    name: str
    cpu_percent: float | None = None
    rss_mib: float | None = None
    pss_mib: float | None = None
    note: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the budgets are for it."""
        return self.name.startswith("colossus")


def build_fake_nvml(folder: Path) -> dict[str, str]:
    """Build the fake library and return the environment that makes a program find it."""
    target = folder / "libnvidia-ml.so.1"
    command = ["gcc", "-O1", "-shared", "-fPIC", "-pthread", "-o", str(target), str(FAKE_NVML)]
    subprocess.run(command, check=True)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML_GPUS": "8"}


@contextmanager
def product(folder: Path, environment: Mapping[str, str]) -> Iterator[int]:
    """Run a hub and an agent; yields the agent's pid once it is linked."""
    log = folder / "agent.log"
    common = ["--state-dir", str(folder / "state")]
    address = f"unix:{folder}/hub.sock"
    out = folder / "out"
    hub = _python(["colossus_tui.hub", "--listen", address, *common], environment, out)
    settings = ["--hub", address, "--node-name", "bench", "--log-file", str(log)]
    agent = _python(["colossus_agent", *settings, *common], environment, out)
    try:
        until(lambda: log.exists() and "link=up" in log.read_text(), 30, message="the link")
        yield agent.pid
    except AssertionError:
        sys.stderr.write(out.read_text(errors="replace")[-2000:])
        raise
    finally:
        end(agent)
        end(hub)


def _python(
    arguments: Sequence[str], environment: Mapping[str, str], out: Path
) -> subprocess.Popen[bytes]:
    with out.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def measure(seconds: float) -> list[Figures]:
    """Measure the agent and what of its peers is installed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colossus-")))
        environment = build_fake_nvml(folder)
        pids = {"colossus-agent": stack.enter_context(product(folder, environment))}
        terminals = {}
        for name, arguments in PEER_COMMANDS.items():
            if (PEERS / name).exists():
                terminals[name] = Terminal([str(PEERS / name), *arguments], environment)
                stack.callback(terminals[name].close)
                pids[name] = terminals[name].process.pid
        time.sleep(SETTLE_SECONDS)
        started, before = time.monotonic(), {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(seconds)
        figures = [
            _figures(name, pids.get(name), before.get(name, 0.0), started)
            for name in ("colossus-agent", *PEER_COMMANDS)
        ]
    return figures


def _figures(name: str, pid: int | None, cpu_before: float, started: float) -> Figures:
    if pid is None:
        return Figures(name, note=ABSENT)
    try:
        used = cpu_seconds(pid) - cpu_before
        memory = memory_kib(pid)
    except OSError:
        return Figures(name, note="n/a: it ended by itself")
    percent = 100 * used / (time.monotonic() - started)
    return Figures(name, percent, memory["Rss"] / 1024, memory["Pss"] / 1024)


def text(figures: Sequence[Figures], seconds: float) -> str:
    """Return the figures as a table with the budgets."""
    rows = [("1 Hz, 8 fake GPUs", "CPU of a core", "RSS", "PSS", "")]
    for one in figures:
        if one.cpu_percent is None or one.rss_mib is None or one.pss_mib is None:
            rows.append((one.name, "", "", "", one.note))
            continue
        sizes = (f"{one.rss_mib:.1f} MiB", f"{one.pss_mib:.1f} MiB")
        rows.append((one.name, f"{one.cpu_percent:.2f} %", *sizes, ""))
    limits = (f"{BUDGETS['cpu_percent']:.2f} %", f"{BUDGETS['rss_mib']:.1f} MiB")
    rows.append(("budget", *limits, "", ""))
    return table(rows) + f"\nmeasured over {seconds:g} s after {SETTLE_SECONDS:g} s of settling"


def main() -> int:
    """Measure and print; return 1 when the agent is over a budget."""
    asked = options("agent", __doc__)
    seconds = 15.0 if asked.quick else 60.0
    figures = measure(seconds)
    return report("agent", figures, BUDGETS, text(figures, seconds), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
