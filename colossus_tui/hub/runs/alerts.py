"""What about a run should be looked at, by the limits of the design."""

from __future__ import annotations

import time

from colossus_tui.hub.runs.live import LiveRun, describe_exit
from colossus_tui.hub.runs.reports import NodeAges
from colossus_tui.model import Alert, RunState, Severity

CHECKPOINT_WARNING, CHECKPOINT_CRITICAL = 1.5, 3.0  # times the plan
WORK_WARNING_GPU_HOURS, WORK_CRITICAL_GPU_HOURS = 10_000.0, 50_000.0
SLOWER_RATIO, SLOWER_SECONDS = 1.10, 180.0
BASELINE_STEPS = 20
ETTR_WARNING, ETTR_CRITICAL = 0.95, 0.90
LOST_SECONDS = 60.0
SILENT_SECONDS = 20.0  # a scheduler's word, asked for every 5 s
ETTR_MIN_SECONDS = 3_600.0  # a young run's ratio says nothing yet


def alerts(
    run: LiveRun,
    gpu_hours_at_risk: float | None,
    node_ages: NodeAges,
    now: float,
    of_gpus: tuple[Alert, ...] = (),
) -> tuple[Alert, ...]:
    """Return what is so now, the worst first."""
    found = [
        *_ends(run),
        *_scheduler(run, now),
        *_lost_nodes(run, node_ages),
        *_progress(run, now),
        *_checkpoint_age(run),
        *_work(gpu_hours_at_risk),
        *_goodput(run),
        *of_gpus,
    ]
    if run.state is RunState.FROZEN:
        left = (run.fuse_deadline_unix_ns - time.time_ns()) / 1e9
        found.append(_alert(Severity.WARNING, "run.frozen", f"thaws by itself in {left:.0f} s"))
    return tuple(sorted(found, key=lambda alert: alert.severity is not Severity.CRITICAL))


def _alert(severity: Severity, kind: str, message: str) -> Alert:
    return Alert(severity, kind, message)


def _ends(run: LiveRun) -> list[Alert]:
    if run.state in (RunState.FAILED, RunState.LOST) and run.backend != "local":
        why = run.scheduled.sighting.why if run.scheduled else f"{run.backend} does not know it"
        return [_alert(Severity.CRITICAL, f"run.{run.state}", why)]
    if run.backend != "local":
        return []  # a requeue ends ranks, too
    if run.state in (RunState.FAILED, RunState.LOST):
        wrong = [rank for _, rank in run.nodes.ended() if not rank.alive]
        text = describe_exit(wrong[0]) if wrong and wrong[0].exit.known else "nobody saw its end"
        return [_alert(Severity.CRITICAL, f"run.{run.state}", text)]
    if run.state is not RunState.RUNNING or not run.nodes.sums.ended:
        return []
    gone = [rank for _, rank in run.nodes.ended()]
    return [_alert(Severity.CRITICAL, "run.rank_ended", describe_exit(rank)) for rank in gone[:1]]


def _scheduler(run: LiveRun, now: float) -> list[Alert]:
    if run.scheduled is None or run.state.is_over:
        return []
    job, found = run.scheduled.job(now), []
    if job.age_seconds > SILENT_SECONDS:
        text = f"{run.backend} has not answered for {job.age_seconds:.0f} s"
        found.append(_alert(Severity.WARNING, "run.scheduler_silent", text))
    if run.state is RunState.PENDING:
        found.append(
            _alert(Severity.INFO, "run.waiting", f"waits: {job.reason or 'no reason given'}")
        )
    unwatched = set(job.node_names) - set(run.nodes)
    if run.state is RunState.RUNNING and run.is_hooked and unwatched:
        text = f"{len(unwatched)}/{len(job.node_names)} of its nodes show no hook: {min(unwatched)}"
        found.append(_alert(Severity.WARNING, "run.unwatched", text))
    return found


def _lost_nodes(run: LiveRun, node_ages: NodeAges) -> list[Alert]:
    if run.state.is_over or run.state is RunState.PAUSED:
        return []
    silent = node_ages.older(LOST_SECONDS)
    if not silent:
        return []
    text = f"{len(silent)}/{len(node_ages)} nodes silent for over 60 s, {silent[0]} among them"
    return [_alert(Severity.CRITICAL, "run.node_lost", text)]


def _progress(run: LiveRun, now: float) -> list[Alert]:
    found = []
    if run.is_hanging(now):
        text = f"no step for {now - run.step_seen:.0f} s though ranks are alive"
        found.append(_alert(Severity.CRITICAL, "run.hang", text))
    median = run.progress.step_seconds(0.5)
    if median is not None and run.state is RunState.RUNNING:
        done = (run.step or 0) - (run.durable.step if run.durable else 0)
        if run.step_baseline is None and done >= BASELINE_STEPS:
            run.step_baseline = median
        slower = run.step_baseline is not None and median > run.step_baseline * SLOWER_RATIO
        run.slow_since = (run.slow_since or now) if slower else 0.0
        if slower and run.step_baseline and now - run.slow_since > SLOWER_SECONDS:
            text = f"steps take {median / run.step_baseline - 1:+.0%} for over 3 min"
            found.append(_alert(Severity.WARNING, "run.slower", text))
    slow = run.progress.ranks.stragglers()
    if slow:
        text = f"rank {slow[0]} is slower than 0.7 of the median"
        found.append(_alert(Severity.WARNING, "run.straggler", text))
    return found


def _checkpoint_age(run: LiveRun) -> list[Alert]:
    plan = run.facts.get("checkpoint_plan_seconds")
    if not plan or run.state is not RunState.RUNNING:
        return []
    since = run.durable.time_unix_ns if run.durable else run.started_unix_ns
    factor = (time.time_ns() - since) / 1e9 / plan
    if factor < CHECKPOINT_WARNING:
        return []
    severity = Severity.CRITICAL if factor >= CHECKPOINT_CRITICAL else Severity.WARNING
    return [
        _alert(severity, "run.checkpoint_age", f"last checkpoint is {factor:.1f}x its plan old")
    ]


def _work(gpu_hours: float | None) -> list[Alert]:
    if gpu_hours is None or gpu_hours < WORK_WARNING_GPU_HOURS:
        return []
    severity = Severity.CRITICAL if gpu_hours >= WORK_CRITICAL_GPU_HOURS else Severity.WARNING
    return [_alert(severity, "run.work_at_risk", f"{gpu_hours:,.0f} GPU·h since the durable step")]


def _goodput(run: LiveRun) -> list[Alert]:
    ratio = run.ledger.ratio()
    if ratio is None or sum(run.ledger.totals.values()) < ETTR_MIN_SECONDS or run.state.is_over:
        return []
    if ratio >= ETTR_WARNING:
        return []
    severity = Severity.CRITICAL if ratio < ETTR_CRITICAL else Severity.WARNING
    return [_alert(severity, "run.ettr", f"ETTR {ratio:.1%} since the run began")]
