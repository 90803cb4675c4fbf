"""What the hook costs a training loop: nanoseconds a step, beside other ways to report one.

Each way runs the same loop in turn, several rounds in a row, so that a noisy machine is noisy for
all of them; the cost of the bare loop is taken off. Peers: a datagram to another process, the
standard library's logging to a file, and a JSON line to a file. nvitop and glances are never in a
loop: they have no row here.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.measure import options, report, table
from colossus_hook import Run, page

BUDGETS = {"median_ns": 5_000.0}
FAR_STEP = 1 << 40  # no rank gets there: an order for it stays pending

Loop = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Figures:
    """Cost of one way to report a step, without the loop around it."""

    name: str
    median_ns: float
    slowest_round_ns: float
    is_ours: bool


def bare(count: int) -> None:
    """The loop itself, with a call that does nothing."""
    nothing = _nothing
    for step in range(count):
        nothing(step, loss=1.5, tokens=4096)


def _nothing(step: int, *, loss: float, tokens: int) -> None:
    """Take what every way takes."""


def hook(run: Run) -> Loop:
    """Return the loop that reports to a hook."""

    def loop(count: int) -> None:
        report = run.step
        for step in range(count):
            report(step, loss=1.5, tokens=4096)

    return loop


def logged(file: io.TextIOBase) -> Loop:
    """Return the loop that writes a line through logging."""
    logger = logging.Logger("bench", logging.INFO)
    logger.addHandler(logging.StreamHandler(file))

    def loop(count: int) -> None:
        for step in range(count):
            logger.info("step %d loss %f tokens %d", step, 1.5, 4096)

    return loop


def json_lines(file: io.TextIOBase) -> Loop:
    """Return the loop that writes a JSON line, flushed so that somebody can read it."""

    def loop(count: int) -> None:
        for step in range(count):
            json.dump({"step": step, "loss": 1.5, "tokens": 4096}, file)
            file.write("\n")
            file.flush()

    return loop


def datagrams(sender: socket.socket) -> Loop:
    """Return the loop that sends the same record to another process."""

    def loop(count: int) -> None:
        for step in range(count):
            sender.send(page.STEP.pack(step, time.time_ns(), 4096, 1.5, math.nan, 0.0))

    return loop


@contextmanager
def reader() -> Iterator[socket.socket]:
    """Start a process that takes datagrams in; yields where to send them."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    child = os.fork()
    if child == 0:
        while receiver.recv(512):
            pass
        os._exit(0)
    with sender, receiver:
        yield sender
        sender.send(b"")
        os.waitpid(child, 0)


def active_run(folder: Path) -> Run:
    """Return a hook that has a page in this folder."""
    folder.mkdir()
    os.environ.update(COLOSSUS_RUN="bench", COLOSSUS_PAGE_DIR=str(folder))
    run = Run.from_env()
    os.environ.pop("COLOSSUS_RUN")
    os.environ.pop("COLOSSUS_PAGE_DIR")
    if not run.active:
        raise SystemExit(f"bench.hook: no page could be made in {folder}")
    return run


def order_far_ahead(folder: Path) -> None:
    """Give the rank in this folder an order for a step that never comes."""
    order = page.Order(1, page.VERB_PAUSE, page.PHASE_PREPARED, FAR_STEP, 1_000_000_000)
    rank_page = page.RankPage(str(folder / "rank-0.page"))
    rank_page.write_order(order)
    rank_page.close()


def measure(*, quick: bool) -> list[Figures]:
    """Return the cost of each way."""
    rounds, count = (7, 20_000) if quick else (25, 100_000)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colossus-")))
        inactive = stack.enter_context(Run.from_env())
        seen = stack.enter_context(active_run(folder / "seen"))
        ordered = stack.enter_context(active_run(folder / "ordered"))
        order_far_ahead(folder / "ordered")
        ways: dict[str, Loop] = {
            "hook, no agent": hook(inactive),
            "hook": hook(seen),
            "hook, an order pending": hook(ordered),
            "datagram to a process": datagrams(stack.enter_context(reader())),
            "logging to a file": logged(stack.enter_context((folder / "log").open("w"))),
            "JSON line to a file": json_lines(stack.enter_context((folder / "json").open("w"))),
        }
        costs: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            floor = _time(bare, count)
            for name, way in ways.items():
                costs[name].append((_time(way, count) - floor) / count)
    return [
        Figures(name, statistics.median(values), max(values), name.startswith("hook"))
        for name, values in costs.items()
    ]


def _time(loop: Loop, count: int) -> int:
    begun = time.perf_counter_ns()
    loop(count)
    return time.perf_counter_ns() - begun


def text(figures: Sequence[Figures]) -> str:
    """Return the figures as a table."""
    rows = [("a step", "median", "slowest round")]
    rows += [
        (one.name, f"{one.median_ns:,.0f} ns", f"{one.slowest_round_ns:,.0f} ns") for one in figures
    ]
    return table([*rows, ("budget of the hook", f"{BUDGETS['median_ns']:,.0f} ns", "")])


def main() -> int:
    """Measure and print; return 1 when the hook is over its budget."""
    asked = options("hook", __doc__)
    figures = measure(quick=asked.quick)
    return report("hook", figures, BUDGETS, text(figures), as_json=asked.json)


if __name__ == "__main__":
    sys.exit(main())
