"""Actions on a run of 1,000 simulated nodes: from submit to the last node's acknowledgement.

Acknowledged is when the hub has the last node's answer to the last question of a verb: for pause
and checkpoint the answer to the commit, after prepare and ready, so that every rank is bound to act
at the step. The clock starts at the client's call. Observed is when the action has ended: a pause
has then waited for its step, every checkpoint and the end of every process. The nodes share the
processor with the hub. Beside it, in the same run: a bare grpc.aio server that asks as many streams
three times.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import floor
from bench.measure import ROOT, cpu_seconds, end, memory_kib, options, report, table
from bench.nodes import RUN_ID
from colossus_tui.client import Client
from colossus_tui.model import Action, ActionParameters, ActionState, PriorityClass, Verb
from tests.support import until

BUDGETS = {"acknowledged_p99_ms": 300.0}
FUSE_SECONDS = 30.0
LOST = (3, 57, 101)
FEW_NODES = 110  # where other things run beside it
DEADLINE_SECONDS = 30.0
ACKNOWLEDGED = ("every rank acts", "nodes froze it", "thawed", "has started", "read back")
PHASES = {  # of a pause, each from the stage before it; a stage is on disk before the next begins
    "submit to accepted": "journaled",
    "accepted to dispatched": "handed to",
    "choose a step, journal it": "proposed to all",
    "prepare, ready, journal": "promise step",
    "commit": "every rank acts",
}


@dataclass(frozen=True, slots=True)
class Figures:
    """One verb, one case or one program; None is not measured."""

    name: str
    times: int = 0
    acknowledged_p50_ms: float | None = None
    acknowledged_p99_ms: float | None = None
    observed_p50_ms: float | None = None
    hub_cpu_ms: float | None = None
    cpu_percent: float | None = None
    rss_mib: float | None = None
    note: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the budgets are for it."""
        return self.name == "pause"


class Site:
    """A hub, its simulated nodes and an operator."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        port, socket = folder / "port", f"unix:{folder}/hub.sock"
        listen = ["--listen", socket, "--listen", "127.0.0.1:0", "--port-file", str(port)]
        with (folder / "log").open("wb") as log:
            self.hub = subprocess.Popen(
                [sys.executable, "-m", "colossus_tui.hub", *listen, "--state-dir", str(folder)],
                stderr=log,
                cwd=ROOT,
            )
        until(lambda: port.exists() and port.read_text().endswith("\n"), 20, message="the hub")
        self.address = socket
        self.client = Client(socket, timeout=30.0, operator="bench")
        address = f"127.0.0.1:{port.read_text().strip()}"
        self._nodes = subprocess.Popen(
            [sys.executable, "-m", "bench.nodes", address, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def close(self) -> None:
        """End all of it."""
        self.client.close()
        self._nodes.kill()
        self._nodes.communicate()
        end(self.hub)

    def tell(self, **wish: Any) -> dict[str, Any]:
        """Tell the nodes something and return what their ranks do."""
        assert self._nodes.stdin is not None
        assert self._nodes.stdout is not None
        self._nodes.stdin.write(json.dumps(wish) + "\n")
        self._nodes.stdin.flush()
        state: dict[str, Any] = json.loads(self._nodes.stdout.readline())
        return state

    def until_running(self) -> None:
        """Wait until every rank steps, and is seen to."""

        def runs() -> bool:
            run = next((run for run in self.client.runs() if run.run_id == RUN_ID), None)
            whole = run is not None and run.alive_rank_count == run.rank_count == self.count
            return whole and run is not None and run.state == "running" and not run.open_action_id

        until(runs, 60, message="a running run")
        until(lambda: self.client.preview(Verb.FREEZE, RUN_ID).allowed, 30, message="every link")

    def submit(self, verb: Verb) -> Action:
        """Ask for a verb."""
        parameters = ActionParameters(
            priority_class=PriorityClass.P1 if verb is Verb.REPRIORITIZE else None,
            fuse_seconds=FUSE_SECONDS if verb is Verb.FREEZE else 0.0,
            timeout_seconds=DEADLINE_SECONDS,
        )
        return self.client.submit(verb, RUN_ID, parameters)


@contextmanager
def site(count: int) -> Iterator[Site]:
    """Run a site until its run steps."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        one = Site(Path(folder), count)
        try:
            one.until_running()
            yield one
        finally:
            one.close()


@dataclass(frozen=True, slots=True)
class Timed:
    """One action that was carried out."""

    marks_ms: dict[str, float]  # stage: when it was entered, from the client's call
    acknowledged_ms: float
    observed_ms: float
    hub_cpu_ms: float


def timed(one: Site, verb: Verb) -> Timed:
    """Carry a verb out and time it."""
    cpu, begun = cpu_seconds(one.hub.pid), time.time_ns()
    action = one.client.wait(one.submit(verb).action_id, DEADLINE_SECONDS + 10)
    used = cpu_seconds(one.hub.pid) - cpu
    if action.state is not ActionState.OBSERVED:
        raise SystemExit(f"bench.actions: {verb} {action.state}: {action.detail}")
    marks = {stage.detail: (stage.time_unix_ns - begun) / 1e6 for stage in action.stages}
    acknowledged = _mark(marks, *ACKNOWLEDGED)
    return Timed(marks, acknowledged, list(marks.values())[-1], used * 1000)


def _mark(marks: Mapping[str, float], *texts: str) -> float:
    return next(at for detail, at in marks.items() if any(text in detail for text in texts))


def measure(*, quick: bool, few_nodes: bool = False) -> tuple[list[Figures], str]:
    """Return all figures, and where the time of a pause goes."""
    count, times, few = (200, 5, 2) if quick else (1_000, 20, 5)
    count = FEW_NODES if few_nodes else count
    seconds = 3.0 if quick else 10.0
    bare = floor.measure(count, times)
    with site(count) as one:
        figures = [_idle(one, "idle", seconds)]
        with _console(one):
            figures.append(_idle(one, "idle, a console looks on", seconds))
        pauses, starts = [], []
        for _ in range(times):
            pauses.append(timed(one, Verb.PAUSE))
            starts.append(timed(one, Verb.RESUME))
            one.until_running()
        figures += [_figures("pause", pauses), _figures("resume (start)", starts)]
        figures.append(_figures("checkpoint", [timed(one, Verb.CHECKPOINT) for _ in range(few)]))
        pairs = [(timed(one, Verb.FREEZE), timed(one, Verb.RESUME)) for _ in range(few)]
        figures.append(_figures("freeze", [freeze for freeze, _ in pairs]))
        figures.append(_figures("resume (thaw)", [thaw for _, thaw in pairs]))
        figures.append(_figures("reprioritize", [timed(one, Verb.REPRIORITIZE)]))
        figures += [_lost(one, closed=False), _lost(one, closed=True), _unlinked(one)]
    median = statistics.median(bare)
    ratio = statistics.median(one.acknowledged_ms for one in pauses) / median
    note = f"three rounds of one message; a pause takes {ratio:.1f} times that"
    figures.append(Figures("grpc.aio, no logic", times, median, _p99(bare), note=note))
    return figures, _split(pauses)


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[math.ceil(0.99 * len(values)) - 1]


def _figures(name: str, all_: Sequence[Timed]) -> Figures:
    acknowledged = [one.acknowledged_ms for one in all_]
    return Figures(
        name,
        len(all_),
        statistics.median(acknowledged),
        _p99(acknowledged),
        statistics.median(one.observed_ms for one in all_),
        statistics.median(one.hub_cpu_ms for one in all_),
    )


def _idle(one: Site, name: str, seconds: float) -> Figures:
    begun, cpu = time.monotonic(), cpu_seconds(one.hub.pid)
    time.sleep(seconds)
    percent = (cpu_seconds(one.hub.pid) - cpu) / (time.monotonic() - begun) * 100
    rss = memory_kib(one.hub.pid)["Rss"] / 1024
    return Figures(name, cpu_percent=percent, rss_mib=rss)


@contextmanager
def _console(one: Site) -> Iterator[None]:
    """Look at all runs and at the one run down to its ranks, as a console does."""
    ended = threading.Event()

    def look() -> None:
        with Client(one.address, timeout=30.0) as client:
            for _ in client.watch(run_id=RUN_ID, series=("loss",), max_points=60):
                if ended.is_set():
                    return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _lost(one: Site, *, closed: bool) -> Figures:
    """Take three nodes away under a pause: they are named, the others let go, and none acts."""
    before = one.tell(dead=LOST)
    begun = time.time_ns()
    identity, named_ms = one.submit(Verb.PAUSE).action_id, 0.0
    for action in one.client.follow(identity):
        if closed and "proposed" in action.detail:
            one.tell(closed=LOST)
        if action.missing_nodes and not named_ms:
            named_ms = (time.time_ns() - begun) / 1e6
    after = one.tell()
    wanted = tuple(f"node-{index:04}" for index in LOST)
    if action.missing_nodes != wanted or action.state is ActionState.OBSERVED:
        raise SystemExit(f"bench.actions: {action.state}, {action.missing_nodes}: {action.detail}")
    if after["acted"] != before["acted"] or after["promised"] or after["alive"] != one.count:
        raise SystemExit(f"bench.actions: half of the ranks: {before} {after}")
    one.tell(link=True)
    one.until_running()
    name = "3 links closed under way" if closed else "3 nodes dead"
    note = f"named after {named_ms / 1000:.1f} s, {action.state}; the others let go, none acted"
    return Figures(name, 1, note=note)


def _unlinked(one: Site) -> Figures:
    """Ask for a pause while three nodes have no link."""
    one.tell(closed=LOST)
    until(lambda: not one.client.preview(Verb.PAUSE, RUN_ID).allowed, 10)
    begun = time.monotonic()
    action = one.submit(Verb.PAUSE)
    took = (time.monotonic() - begun) * 1000
    if action.state is not ActionState.REFUSED or f"node-{LOST[0]:04}" not in action.detail:
        raise SystemExit(f"bench.actions: not refused: {action.state} {action.detail}")
    return Figures("3 links closed before", 1, note=f"refused by name after {took:.0f} ms")


def _split(pauses: Sequence[Timed]) -> str:
    rows = [("a pause, median", "from the stage before")]
    before = [0.0] * len(pauses)
    for name, text in PHASES.items():
        marks = [_mark(one.marks_ms, text) for one in pauses]
        spent = statistics.median(at - was for at, was in zip(marks, before, strict=True))
        rows.append((name, f"{spent:.0f} ms"))
        before = marks
    return table(rows)


def text(figures: Sequence[Figures], split: str) -> str:
    """Return the figures as a table with the budget."""
    heading = ("", "times", "acknowledged p50", "p99", "observed p50", "hub's CPU", "RSS", "")
    rows = [heading]
    for one in figures:
        cpu = _cell(one.hub_cpu_ms, "ms") or _cell(one.cpu_percent, "% of a core", 1)
        rows.append(
            (
                one.name,
                str(one.times or ""),
                _cell(one.acknowledged_p50_ms, "ms"),
                _cell(one.acknowledged_p99_ms, "ms"),
                _cell(one.observed_p50_ms, "ms"),
                cpu,
                _cell(one.rss_mib, "MiB"),
                one.note,
            )
        )
    limit = f"{BUDGETS['acknowledged_p99_ms']:.0f} ms"
    rows.append(("budget of pause", "", "", limit, "", "", "", ""))
    return f"{table(rows)}\n\n{split}"


def _cell(value: float | None, unit: str, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f} {unit}"


def main() -> int:
    """Measure and print; return 1 when a pause is over its budget."""
    asked = options("actions", __doc__, few=f"{FEW_NODES} nodes")
    figures, split = measure(quick=asked.quick, few_nodes=asked.few)
    return report("actions", figures, BUDGETS, text(figures, split), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
