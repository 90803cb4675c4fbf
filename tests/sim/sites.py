"""Small simulated sites and how to let time pass on them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from colossus_tui.sim.physics import GPU_COLUMNS
from colossus_tui.sim.plan import plan_site
from colossus_tui.sim.scenario import parse
from colossus_tui.sim.simulation import Simulation, Tick

START_NS = 1_800_000_000_000_000_000
SECOND_NS = 1_000_000_000
COLUMN = {name: index for index, (_, name, _) in enumerate(GPU_COLUMNS)}


def site(
    node_count: int = 20, scenario: str = "", *, seed: int = 7, failures: bool = False
) -> Simulation:
    """Return a site; without failures by chance unless asked for."""
    plan = plan_site(node_count)
    return Simulation(plan, parse(scenario, plan), seed, START_NS, failures)


def ticks(simulation: Simulation, first: int, last: int) -> Iterator[Tick]:
    """Let seconds pass, first to last after the start."""
    for second in range(first, last + 1):
        yield simulation.tick(START_NS + second * SECOND_NS)


def after(simulation: Simulation, first: int, last: int) -> Tick:
    """Let seconds pass and return the last one's tick."""
    return list(ticks(simulation, first, last))[-1]


def column(tick: Tick, name: str) -> npt.NDArray[np.float32]:
    """Return a copy of one column of the GPUs' values."""
    return tick.values[:, COLUMN[name]].copy()


def rows(simulation: Simulation, run_id: str) -> slice:
    """Return the rows of a run's GPUs."""
    run = next(run for run in simulation.plan.runs if run.run_id == run_id)
    first = run.first_node * simulation.plan.gpus_per_node
    return slice(first, first + run.rank_count)
