"""A run as consoles see it, from what the hub holds and the figures of its GPUs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from colossus_protos.v1 import run_pb2
from colossus_tui.hub.actions.ports import HeldGpu, PowerRange
from colossus_tui.hub.config import RunConfig
from colossus_tui.hub.runs.alerts import alerts
from colossus_tui.hub.runs.eta import eta
from colossus_tui.hub.runs.live import LiveRun, rank_exit
from colossus_tui.hub.runs.reports import NodeAges
from colossus_tui.hub.shed.config import default_tier
from colossus_tui.model import (
    Alert,
    Badput,
    Gpu,
    Job,
    ProcessSample,
    Rank,
    Run,
    RunState,
    Spread,
)

SPARKLINE_POINTS = 60
LIVE_SECONDS = 5.0
# Which end of a metric an operator looks at first.
SPREADS = (
    ("gpu_temperature", "max"),
    ("power", "min"),
    ("gpu_utilisation", "min"),
    ("tensor_active", "min"),
    ("memory_used", "max"),
    ("sm_clock", "min"),
)


@dataclass(frozen=True, slots=True)
class RunGpus:
    """Figures of the GPUs that a run holds now."""

    count: int = 0
    reporting_count: int = 0
    power_watts: float | None = None
    peak_flops: float = 0.0  # sum over the GPUs; 0 when one is not known
    alerts: tuple[Alert, ...] = ()  # what the GPUs betray


class GpuFigures(Protocol):
    """What the hub knows of the GPUs that runs hold."""

    def of(self, run_id: str) -> RunGpus:
        """Return the figures of the GPUs that the run holds."""

    def release_refusal(self, node_name: str) -> str:
        """Return why a freeze cannot release GPU memory on a node; "" when it can."""

    def held_by(self, run_id: str) -> tuple[HeldGpu, ...]:
        """Return every GPU that the run holds or was the last to hold."""

    def power_range(self, run_id: str) -> PowerRange:
        """Return between what the power limits of the run's GPUs can be set."""


def summarise(run: LiveRun, told: RunConfig, gpus: RunGpus, node_ages: NodeAges, now: float) -> Run:
    """Return the run with all that the overview shows.

    Args:
        told: What the hub's settings say of it.
        node_ages: Age of each node's newest word, seconds.
    """
    progress, durable, wall = run.progress, run.durable, time.time()
    hours, unit = work_at_risk(run, gpus)
    tokens_per_second = progress.tokens_per_second() if _moves(run) else None
    mfu, method = _mfu(run, gpus, tokens_per_second)
    facts = run.facts
    job = run.scheduled.job(now) if run.scheduled else None
    end = eta(_remaining_seconds(run, tokens_per_second), run.pace, run.ledger)
    return Run(
        run_id=run.run_id,
        label=run.label,
        state=run.state,
        state_since_unix_ns=run.state_since_unix_ns,
        priority_class=run.priority_class,
        backend=run.backend,
        backend_priority=_native_priority(run, job),
        generation=run.generation,
        node_names=tuple(sorted(job.node_names)) if job and job.node_names else run.nodes.names(),
        reporting_node_count=node_ages.younger(LIVE_SECONDS),
        gpu_count=max(gpus.count, job.gpu_count if job else 0),
        reporting_gpu_count=gpus.reporting_count,
        rank_count=run.rank_count,
        alive_rank_count=run.alive_count,
        attempt=run.attempt,
        hooked=run.is_hooked,
        step=run.step,
        step_time_unix_ns=run.step_time_unix_ns,
        step_seconds_p50=progress.step_seconds(0.5),
        step_seconds_p99=progress.step_seconds(0.99),
        tokens_per_second=tokens_per_second,
        tokens=run.total_tokens or None,
        loss=run.loss,
        grad_norm=run.grad_norm,
        recent_losses=run.history.recent_losses(SPARKLINE_POINTS),
        mfu_ratio=mfu,
        mfu_method=method,
        ettr_ratio_1h=run.ledger.window_ratio(60, wall),
        ettr_ratio_24h=run.ledger.window_ratio(24 * 60, wall),
        ettr_ratio=run.ledger.ratio(),
        badput=tuple(
            Badput(cause, seconds)
            for cause, seconds in run.ledger.totals.items()
            if cause != "productive" and seconds > 0
        ),
        durable_step=durable.step if durable else None,
        durable_time_unix_ns=durable.time_unix_ns if durable else 0,
        checkpoint_plan_seconds=facts.get("checkpoint_plan_seconds"),
        checkpoint_bytes=durable.size_bytes if durable else None,
        checkpoint_seconds=durable.seconds if durable else None,
        work_at_risk_hours=hours,
        work_unit=unit,
        power_watts=gpus.power_watts,
        joules_per_token=gpus.power_watts / tokens_per_second
        if gpus.power_watts and tokens_per_second
        else None,
        target_steps=_count(facts.get("target_steps")),
        target_tokens=_count(facts.get("target_tokens")),
        eta_unix_ns=end.expected,
        eta_early_unix_ns=end.early,
        eta_late_unix_ns=end.late,
        planned_end_unix_ns=told.planned_end_unix_ns,
        parameters_count=_count(facts.get("parameters_count")),
        watchdog_seconds=facts.get("watchdog_seconds"),
        fuse_deadline_unix_ns=run.fuse_deadline_unix_ns,
        alerts=run_alerts(run, gpus, node_ages, now),
        open_action_id=run.open_action_id,
        started_time_unix_ns=run.started_unix_ns,
        command=run.command,
        age_seconds=node_ages.youngest(job.age_seconds if job else 0.0),
        job=job,
        step_source=run.step_source,
        node_count=len(job.node_names) if job and job.node_names else len(run.nodes),
        flex_tier=default_tier(run.priority_class) if told.flex_tier is None else told.flex_tier,
        power_cap_watts=min(run.nodes.sums.caps, default=None),
    )


def run_alerts(run: LiveRun, gpus: RunGpus, node_ages: NodeAges, now: float) -> tuple[Alert, ...]:
    """Return what about the run should be looked at now."""
    hours, _ = work_at_risk(run, gpus)
    return alerts(run, hours if gpus.count else None, node_ages, now, gpus.alerts)


def work_at_risk(run: LiveRun, gpus: RunGpus) -> tuple[float | None, str]:
    """Return the hours since the durable step times GPUs, or ranks where there is no GPU."""
    unit = "GPU·h" if gpus.count else "rank·h"
    if run.step is None:
        return None, unit
    durable = run.durable
    if durable is not None and run.step <= durable.step:
        return 0.0, unit
    since = durable.time_unix_ns if durable else run.started_unix_ns
    until = time.time_ns() if _moves(run) else run.step_time_unix_ns
    return max(until - since, 0) / 3.6e12 * (gpus.count or run.rank_count), unit


def _moves(run: LiveRun) -> bool:
    return run.state in (RunState.RUNNING, RunState.PAUSING)


def _mfu(run: LiveRun, gpus: RunGpus, tokens_per_second: float | None) -> tuple[float | None, str]:
    """6 FLOP a parameter and token (Kaplan et al. 2020), over the GPUs' dense bf16 peak."""
    parameters = run.facts.get("parameters_count")
    if not gpus.count:
        return None, "the run holds no GPU"
    if not parameters or not tokens_per_second:
        return None, "parameters or tokens/s not known"
    if not gpus.peak_flops:
        return None, "peak rate of a GPU not known"
    return 6 * parameters * tokens_per_second / gpus.peak_flops, "6 x parameters x tokens/s / peak"


def _remaining_seconds(run: LiveRun, tokens_per_second: float | None) -> float | None:
    """Return the time to the target at the present pace; None where either is not known."""
    if not _moves(run):
        return None
    target, median = run.facts.get("target_steps"), run.progress.step_seconds(0.5)
    if target and median and run.step is not None:
        return max(target - run.step, 0) * median
    target = run.facts.get("target_tokens")
    if target and tokens_per_second:
        return max(target - run.total_tokens, 0) / tokens_per_second
    return None


def _native_priority(run: LiveRun, job: Job | None) -> str:
    if job is not None:
        quality = f", {job.quality}" if job.quality else ""
        return f"priority {job.priority}{quality}" if job.priority is not None else quality[2:]
    values = sorted(run.nodes.sums.nices)
    return f"nice {', '.join(map(str, values))}" if values else ""


def _count(value: float | None) -> int | None:
    return None if value is None else int(value)


def ranks(
    run: LiveRun,
    reported: Sequence[tuple[str, run_pb2.LocalRank]],
    processes: dict[tuple[str, int], ProcessSample],
    gpus: Sequence[Gpu],
    node_ages: Mapping[str, float],
) -> tuple[Rank, ...]:
    """Return ranks of the run.

    Args:
        reported: Which, by node.
        processes: By node and pid.
        gpus: Those that the run holds.
    """
    median = run.progress.median_step_seconds()
    uuids = {(gpu.node_name, gpu.gpu_index): gpu.gpu_uuid for gpu in gpus}
    return tuple(
        _rank(run, node, rank, processes.get((node, rank.pid)), uuids, median, node_ages[node])
        for node, rank in reported
    )


def paces(run: LiveRun) -> tuple[Spread, ...]:
    """Return how the step times of all ranks are spread, the ends named."""
    found = run.progress.ranks.pace_spread()
    if found is None:
        return ()
    (low, first), middle, (high, last), count = found
    return (
        Spread(
            "step_seconds",
            "s",
            low,
            middle,
            high,
            f"rank {first}",
            f"rank {last}",
            "max",
            count,
            run.rank_count,
        ),
    )


def _rank(
    run: LiveRun,
    node_name: str,
    rank: run_pb2.LocalRank,
    process: ProcessSample | None,
    uuids: dict[tuple[str, int], str],
    median: float | None,
    age_seconds: float,
) -> Rank:
    progress = run.progress.ranks.get(rank.rank)
    own = progress.step_seconds_p50 if progress else None
    return Rank(
        rank=rank.rank,
        node_name=node_name,
        pid=rank.pid if rank.alive else 0,
        alive=rank.alive,
        state=rank.state,
        exit=rank_exit(rank),
        nice=rank.nice,
        hooked=rank.hooked,
        step=progress.step if progress else None,
        step_seconds_p50=own,
        loss=progress.loss if progress else None,
        checkpoint_step=progress.checkpoint_step if progress else None,
        relative_speed_ratio=median / own if median and own else None,
        cpu_ratio=process.cpu_ratio if process else None,
        resident_bytes=process.resident_bytes if process else None,
        gpu_uuids=tuple(
            uuid
            for gpu in (process.gpu_indices if process else ())
            if (uuid := uuids.get((node_name, gpu)))
        ),
        age_seconds=age_seconds,
    )


def spreads(members: Sequence[Rank], gpus: Sequence[Gpu]) -> tuple[Spread, ...]:
    """Return how the run's metrics are spread, the ends named."""
    found = [
        _spread(
            "step_seconds",
            "s",
            "max",
            len(members),
            [(rank.step_seconds_p50, f"rank {rank.rank}") for rank in members],
        ),
        _spread(
            "cpu",
            "cores",
            "max",
            len(members),
            [(rank.cpu_ratio, f"rank {rank.rank}") for rank in members],
        ),
        _spread(
            "resident",
            "B",
            "max",
            len(members),
            [(rank.resident_bytes, f"rank {rank.rank}") for rank in members],
        ),
    ]
    for name, worst in SPREADS:
        values = [(gpu.metric(name), f"{gpu.node_name} GPU {gpu.gpu_index}") for gpu in gpus]
        units = [metric.unit for metric, _ in values if metric]
        found.append(
            _spread(
                name,
                units[0] if units else "",
                worst,
                len(gpus),
                [(metric.value if metric else None, where) for metric, where in values],
            )
        )
    return tuple(spread for spread in found if spread is not None)


def _spread(
    name: str, unit: str, worst: str, count: int, members: Sequence[tuple[float | None, str]]
) -> Spread | None:
    known = sorted((value, where) for value, where in members if value is not None)
    if not known:
        return None
    (low, low_where), (high, high_where) = known[0], known[-1]
    median = statistics.median(value for value, _ in known)
    return Spread(name, unit, low, median, high, low_where, high_where, worst, len(known), count)
