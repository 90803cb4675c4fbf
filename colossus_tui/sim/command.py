"""`colossus sim`: arguments, settings, exit codes. What is heavy is imported when it is run."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import itertools
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colossus_tui.hub.config import ConfigError, parse_parents
from colossus_tui.sim.arguments import add_arguments

if TYPE_CHECKING:
    from colossus_tui.sim.carrier import Carrier
    from colossus_tui.sim.facility import Building
    from colossus_tui.sim.plan import SitePlan
    from colossus_tui.sim.scenario import Scenario

USAGE_ERROR = 2
# Of nobody's contract: GPU-hours as they are rented, energy by day and by night, a site's cooling.
PRICES = """
[prices]
currency = "$"
gpu_hour = { default = 2.10, "GB200" = 2.90 }
mwh = [
    42, 40, 38, 38, 39, 44, 52, 61, 66, 64, 60, 56, 54, 53, 54, 57, 63, 71, 76, 74, 66, 58, 50, 45,
]
overhead = 1.25
source = "modelled"
"""
PLANNED_SHARES = (1.04, 0.97, 1.01)  # of the time to each run's target, run after run
REPORT_SECONDS = 10.0


def words(arguments: argparse.Namespace) -> list[str]:
    """Return the simulator's own arguments again, for a process of its own."""
    found = [
        f"--nodes={arguments.nodes}",
        f"--gpus-per-node={arguments.gpus_per_node}",
        f"--rate={arguments.rate}",
        f"--seed={arguments.seed}",
        f"--relay-nodes={arguments.relay_nodes}",
    ]
    if arguments.scenario:
        found.append(f"--scenario={Path(arguments.scenario).absolute()}")
    if arguments.mqtt:
        host, port = arguments.mqtt
        found.append(f"--mqtt={host}:{port}")
    return [*found, *(["--no-failures"] if arguments.no_failures else [])]


def planned(arguments: argparse.Namespace) -> tuple[SitePlan, Scenario | None]:
    """Return the site that was asked for, and what is to go wrong with it.

    Raises:
        ScenarioError: The scenario is wrong.
    """
    from colossus_tui.sim.plan import plan_site
    from colossus_tui.sim.scenario import parse

    plan = plan_site(arguments.nodes, arguments.gpus_per_node, arguments.seed)
    return plan, parse(Path(arguments.scenario), plan) if arguments.scenario else None


def limits(plan: SitePlan, broker: tuple[str, int] | None = None) -> str:
    """Return limits, feeds, loops, the broker, planned ends and prices as settings of a hub."""
    from colossus_tui.sim.facility import settings

    tables = [
        f'[[limits]]\nname = "{limit.name}"\nhall = "{plan.hall_names[limit.halls[0]]}"\n'
        f"megawatts = {limit.megawatts:.6f}\n"
        for limit in plan.limits[: len(plan.hall_names)]  # those of feeds come after
    ]
    building = settings(plan, f"{broker[0]}:{broker[1]}" if broker else "")
    return "\n".join([*tables, building, *_planned_ends(plan), PRICES.lstrip()])


def _planned_ends(plan: SitePlan) -> list[str]:
    """Return when the runs are planned to end: some of them will be late."""
    today = datetime.datetime.now(datetime.UTC).date()
    ends = []
    for run, share in zip(plan.runs, itertools.cycle(PLANNED_SHARES), strict=False):
        seconds = (run.target_steps - run.first_step) * run.step_seconds * share
        ends.append(today + datetime.timedelta(seconds=seconds))
    return [
        f'[runs."{run.run_id}"]\nplanned_end = {end}\n'
        for run, end in zip(plan.runs, ends, strict=True)
    ]


async def _carry(arguments: argparse.Namespace, addresses: tuple[str, ...]) -> None:
    from colossus_tui.sim.carrier import Carrier
    from colossus_tui.sim.facility import Building
    from colossus_tui.sim.simulation import Simulation

    plan, scenario = planned(arguments)
    simulation = Simulation(
        plan,
        scenario,
        arguments.seed,
        start_unix_ns=time.time_ns(),
        failures=not arguments.no_failures,
    )
    building = Building(plan)
    carrier = Carrier(
        simulation,
        addresses,
        rate=arguments.rate,
        relay_nodes=arguments.relay_nodes,
        on_tick=building.advance,
    )
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    if arguments.lifeline:
        from colossus_tui.lifeline import watch_lifeline

        watch_lifeline(lambda: loop.call_soon_threadsafe(ending.set))
    async with asyncio.TaskGroup() as tasks:
        carrying = tasks.create_task(carrier.run())
        telling = tasks.create_task(_tell(carrier, plan))
        publishing = tasks.create_task(_publish(building, arguments.mqtt))
        await ending.wait()
        await carrier.end()
        telling.cancel()
        publishing.cancel()
        carrying.cancel()
    _say(carrier, plan, "ended")


async def _publish(building: Building, broker: tuple[str, int] | None) -> None:
    if broker is not None:
        await building.publish(*broker)


async def _tell(carrier: Carrier, plan: SitePlan) -> None:
    """Say now and then how it goes."""
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        _say(carrier, plan, "up")


def _say(carrier: Carrier, plan: SitePlan, how: str) -> None:
    logging.getLogger(__name__).info(
        "sim=%s nodes=%d relays=%d/%d frames=%d replaced=%d late_ticks=%d",
        how,
        plan.node_count,
        sum(relay.upstream.is_up for relay in carrier.relays),
        len(carrier.relays),
        carrier.sent_frames,
        carrier.replaced_frames,
        carrier.late_ticks,
    )


def carry(arguments: argparse.Namespace, hub: str) -> int:
    """Carry the site to a hub, or several in the order to try them, until a signal."""
    from colossus_tui.sim.scenario import ScenarioError

    logging.basicConfig(
        level=logging.INFO,
        format="time=%(asctime)s level=%(levelname)s source=%(name)s %(message)s",
    )
    logging.getLogger("colossus_tui.hub.upstream").setLevel(logging.WARNING)
    try:
        asyncio.run(_carry(arguments, parse_parents(hub)))
    except (ConfigError, ScenarioError, OSError) as error:
        sys.stderr.write(f"colossus sim: {error}\n")
        return USAGE_ERROR
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Carry a simulated site from its own command line."""
    parser = argparse.ArgumentParser(prog="colossus sim", description="Carry a simulated site.")
    add_arguments(parser)
    parser.add_argument("--hub", required=True, metavar="ADDRESS")
    parser.add_argument("--state-dir", help=argparse.SUPPRESS)  # as all children are told
    parser.add_argument("--lifeline", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args(argv)
    return carry(arguments, arguments.hub)
