"""`colossus money`: what the site and its runs cost, and GPUs that cost and do no work."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from colossus_tui.cli.output import table
from colossus_tui.model import NO_PRICES, IdleGroup, IdleView, Run, SiteMoney
from colossus_tui.text import age, duration, measured, money, number, ratio, safe

if TYPE_CHECKING:
    from colossus_tui.client import Client


def costs(client: Client, arguments: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Costs of the site and of all runs, and idle GPUs."""
    del arguments
    site, runs, idle = client.site(), client.runs(), client.idle()
    parts = [site_lines(site.money)]
    parts += ["", runs_table(runs) if runs else "no runs"]
    parts += ["", idle_line(idle), *([idle_table(idle.groups, site.money)] if idle.groups else [])]
    return {"money": site.money, "runs": runs, "idle": idle}, "\n".join(parts)


def site_lines(site: SiteMoney) -> str:
    """Return what the site costs, or what to do that it is known."""
    sign = site.currency
    if not sign:
        return NO_PRICES
    energy = "energy not priced"
    if site.per_megawatt_hour is not None:
        energy = (
            f"energy {hourly(site.energy_per_hour, sign)} "
            f"({site.metered_gpu_count}/{site.gpu_count} GPUs metered, "
            f"{money(site.per_megawatt_hour, sign)}/MWh now, overhead {site.overhead_ratio:.2f})"
        )
    source = f", prices: {safe(site.source, 40)}" if site.source else ""
    return (
        f"{hourly(site.per_hour, sign)} for {number(site.gpu_count)} GPUs{source}\n"
        f"GPUs {hourly(site.gpus_per_hour, sign)}, {energy}\n"
        f"held but idle {hourly(site.held_idle_per_hour, sign)}, "
        f"free {hourly(site.free_per_hour, sign)}"
    )


def hourly(value: float | None, sign: str) -> str:
    """Return what something costs an hour."""
    return money(value, sign) + ("/h" if value is not None else "")


def cost_line(run: Run) -> str:
    """Return in one line what a run costs and has used up."""
    used = f"{number(run.gpu_hours, 1)} GPU-hours" if run.gpu_hours is not None else ""
    if run.energy_joules is not None:
        metered = ratio(run.money.metered_ratio)
        used += f", {measured(run.energy_joules / 3_600, 'Wh')} ({metered} metered)"
    sign = run.money.currency
    if not sign:
        return f"n/a, the hub has no prices{f'; {used}' if used else ''}"
    finish = ""
    if run.money.to_finish is not None:
        finish = f", {money(run.money.to_finish, sign)} to finish (modelled)"
    return (
        f"{hourly(run.money.per_hour, sign)}, {money(run.money.so_far, sign)} so far"
        f" ({ratio(run.money.covered_ratio)} covered){finish}{f'; {used}' if used else ''}"
    )


def runs_table(runs: Sequence[Run]) -> str:
    """Return what each run costs; what is ahead is modelled, at the present rate."""
    heads = (
        "RUN", "STATE", "GPUS", "COST/H", "SO FAR", "COVERS", "TO FINISH (MODELLED)",
        "PER 1E9 TOKENS", "AT RISK", "GPU-HOURS", "MWH",
    )  # fmt: skip
    rows = [
        (
            safe(run.run_id, 63),
            run.state.value,
            number(run.gpu_count),
            *(money(value, run.money.currency) for value in (run.money.per_hour, run.money.so_far)),
            ratio(run.money.covered_ratio),
            *(
                money(value, run.money.currency)
                for value in (run.money.to_finish, run.money.per_billion_tokens, run.money.at_risk)
            ),
            number(run.gpu_hours, 1),
            number(None if run.energy_joules is None else run.energy_joules / 3.6e9, 3),
        )
        for run in runs
    ]
    return table(heads, rows, "llrrrrrrrrr")


def idle_line(idle: IdleView) -> str:
    """Return how many GPUs are idle, and how many could be judged."""
    count = sum(group.gpu_count for group in idle.groups)
    return (
        f"{number(count)} idle GPUs of {number(idle.gpu_count)}; {number(idle.judged_gpu_count)} "
        f"tell whether they work; held ones count after {duration(idle.idle_seconds)}"
    )


def idle_table(groups: Sequence[IdleGroup], site: SiteMoney) -> str:
    """Return who holds idle GPUs, how many, since when, and what they cost."""
    heads = ("IDLE", "RUN", "USER", "HALL", "WHY", "GPUS", "LONGEST", "MEDIAN", "COST/H", "NODES")
    rows = [
        (
            group.kind.value,
            safe(group.run_id, 63) or "-",
            safe(group.user, 32) or "-",
            safe(group.hall, 63) or "-",
            safe(group.why, 40),
            number(group.gpu_count),
            (">= " if group.at_least else "") + age(group.oldest_since_unix_ns),
            age(group.median_since_unix_ns),
            money(group.per_hour, site.currency),
            ", ".join(safe(name, 63) for name in group.node_names),
        )
        for group in groups
    ]
    return table(heads, rows, "lllllrrrrl")
