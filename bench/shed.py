"""Shedding power: `python -m bench.shed [--quick] [--json]`.

How long a plan takes, as an operator's client sees it (preview until the answer, hub and wire
included): on the whole simulated site of 137,500 nodes with its seven runs (with --quick 5,000),
and the planner alone on a made-up fleet of 2,000 runs. Then what a plan is worth: a site of 1,000
nodes is brought 20 % down, and what it then draws is compared with what the plan said.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.measure import options, quantile, report, table
from bench.site import Stand
from colossus_tui.client import Client, ColossusError
from colossus_tui.hub.shed import planner
from colossus_tui.hub.shed.config import ShedConfig, default_tier
from colossus_tui.hub.shed.planner import Load, Terms
from colossus_tui.model import ActionParameters, PriorityClass, Shed, ShedPlan, Verb
from tests.support import until

NODES, QUICK_NODES, FALL_NODES = 137_500, 5_000, 1_000
RUNS, SEVEN = 2_000, 7
PLANS = 20
LINK_SECONDS = 400.0
STEADY_SECONDS = 70.0  # what a run draws is the median of a minute
CUT = Shed(cut_ratio=0.2, within_seconds=300.0)
LOOKS = 20  # a second apart, whose mean is what the site draws
BUDGETS = {"plan_max_ms": 500.0, "off_ratio": 0.05}


@dataclass(frozen=True, slots=True)
class Figures:
    """One case; None is not measured, and 0 where a budget is for another case."""

    name: str
    nodes: int
    runs: int
    plan_p50_ms: float | None = 0.0
    plan_max_ms: float | None = 0.0
    steps: int = 0
    planned_mw: float | None = None
    drawn_mw: float | None = None
    off_ratio: float | None = 0.0
    took_seconds: float | None = None
    note: str = ""
    is_ours: bool = True


def timed(make: Callable[[], ShedPlan]) -> tuple[list[float], ShedPlan]:
    """Return how long plans took, ms, and the last of them."""
    times = []
    for _ in range(PLANS):
        began = time.perf_counter()
        plan = make()
        times.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.3)  # nothing that is kept for the next question helps
    return times, plan


def fleet() -> list[Load]:
    """Return runs of all classes and sizes."""
    chance = random.Random(7)
    loads = []
    for number in range(RUNS):
        kind = chance.choice(list(PriorityClass))
        gpus = chance.choice([8, 64, 256, 1_024])
        watts = gpus * chance.uniform(600, 1_100)
        load = Load(f"run-{number}", kind, default_tier(kind), gpus, gpus, watts, 1_200.0)
        loads.append(replace(load, work_at_risk_hours=chance.uniform(0, gpus)))
    return loads


def of_fleet() -> Figures:
    """Measure the planner alone."""
    loads = fleet()
    site = ShedPlan(site_watts=sum(load.watts or 0.0 for load in loads))
    site = replace(site, target_watts=0.8 * site.site_watts)
    terms = Terms(ShedConfig(), 140.0, 300.0, 3_600.0)
    times, plan = timed(lambda: planner.plan(loads, terms, site))
    return _figures("planner alone", 0, RUNS, times, plan)


def _figures(name: str, nodes: int, runs: int, times: list[float], plan: ShedPlan) -> Figures:
    return Figures(
        name,
        nodes,
        runs,
        quantile(times, 0.5),
        max(times),
        len(plan.planned),
        plan.planned_watts / 1e6,
    )


def previewed(client: Client) -> ShedPlan:
    """Return the hub's plan."""
    preflight = client.preview(Verb.SHED, "", ActionParameters(shed=CUT))
    if preflight.plan is None:
        raise SystemExit(f"bench.shed: {preflight.refusal_detail}")
    return preflight.plan


def settled(client: Client, nodes: int) -> None:
    """Wait until every node reports, and every run has stepped for a while."""
    until(
        lambda: client.site().reporting_node_count == nodes, LINK_SECONDS, message="the whole site"
    )
    until(
        lambda: sum(run.state == "running" and bool(run.step) for run in client.runs()) == SEVEN,
        LINK_SECONDS,
        message="all runs to step",
    )


@contextmanager
def running(nodes: int) -> Iterator[Client]:
    """Yield a client of a hub to which a simulated site is linked whose runs all step."""
    with tempfile.TemporaryDirectory(prefix="colossus-") as folder:
        stand = Stand(Path(folder), nodes)
        try:
            with Client(stand.address, timeout=60) as client:
                until(lambda: answers(client), 30, message="the hub")
                stand.start_sim("--no-failures")
                settled(client, nodes)
                time.sleep(STEADY_SECONDS)
                yield client
        finally:
            stand.close()


def answers(client: Client) -> bool:
    """Return whether the hub answers."""
    try:
        client.site()
    except ColossusError:
        return False
    return True


def of_site(nodes: int) -> Figures:
    """Measure previews of a shed on a simulated site."""
    with running(nodes) as client:
        times, plan = timed(lambda: previewed(client))
        return _figures("whole site", nodes, len(client.runs()), times, plan)


def drawn(client: Client) -> float:
    """Return what the site draws, as the mean of some seconds, watts."""
    found = []
    for _ in range(LOOKS):
        found.append(client.site().power_watts or 0.0)
        time.sleep(1.0)
    return statistics.fmean(found)


def of_fall() -> Figures:
    """Carry a plan out, and compare what the site draws then with what the plan said."""
    with running(FALL_NODES) as client:
        times, plan = timed(lambda: previewed(client))
        began = time.monotonic()
        shed = client.shed(CUT.approved(plan), wait=True, timeout=600)
        took = time.monotonic() - began
        after = drawn(client)
        return replace(
            _figures("fall", FALL_NODES, len(client.runs()), times, plan),
            drawn_mw=after / 1e6,
            off_ratio=abs(after - plan.planned_watts) / plan.planned_watts,
            took_seconds=took,
            note=f"{shed.state}: {shed.detail}",
        )


def text(figures: list[Figures]) -> str:
    """Return the figures for a reader."""
    head = ["case", "nodes", "runs", "plan p50", "plan max", "steps", "planned", "drawn", "off"]
    rows = [
        [
            one.name,
            f"{one.nodes:,}",
            f"{one.runs:,}",
            f"{one.plan_p50_ms or 0:.1f} ms",
            f"{one.plan_max_ms or 0:.1f} ms",
            str(one.steps),
            f"{one.planned_mw or 0:.3f} MW",
            f"{one.drawn_mw:.3f} MW" if one.drawn_mw is not None else "-",
            f"{one.off_ratio or 0:.1%}" if one.drawn_mw is not None else "-",
        ]
        for one in figures
    ]
    notes = [f"{one.name}, {one.took_seconds:.0f} s: {one.note}" for one in figures if one.note]
    return "\n".join([table([head, *rows]), *notes])


def main() -> int:
    """Measure all of it; returns 1 when something is over its budget."""
    arguments = options("shed", __doc__)
    nodes = QUICK_NODES if arguments.quick else NODES
    figures = [of_fleet(), of_site(nodes), of_fall()]
    return report("shed", figures, BUDGETS, text(figures), as_json=arguments.json)


if __name__ == "__main__":
    raise SystemExit(main())
