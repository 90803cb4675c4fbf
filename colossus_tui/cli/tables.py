"""Model values as the command line's tables; everything foreign made harmless."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.cli.cards import actions_table
from colossus_tui.cli.money import cost_line, hourly
from colossus_tui.cli.output import table
from colossus_tui.cli.sites import UNIT_LENGTH, limit_lines, roll_ups_table
from colossus_tui.model import (
    Event,
    Gpu,
    Job,
    Node,
    NodeDetail,
    Run,
    RunDetail,
    RunState,
    Site,
)
from colossus_tui.text import (
    NOT_AVAILABLE,
    age,
    bytes_,
    clock,
    cores,
    duration,
    fit,
    hours,
    measured,
    number,
    ratio,
    safe,
    safe_lines,
    significant,
    watts,
)

COMMAND_CELLS = 60
NODE_NAMES = 16  # so many of a run's are named


def site_lines(site: Site) -> str:
    """Return the site in two lines, and each named limit in one more."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(site.run_counts.items()))
    basis = f" ({site.power_basis}, {site.power_node_count}/{site.node_count} nodes)"
    money = site.money
    cost = f", cost {hourly(money.per_hour, money.currency)}" if money.currency else ""
    lines = (
        f"{safe(site.site_name, 64)}: {counts or 'no runs'}\n"
        f"{site.reporting_node_count}/{site.node_count} nodes reporting, "
        f"{site.reporting_gpu_count}/{site.gpu_count} GPUs, "
        f"power {watts(site.power_watts)}{basis if site.power_watts is not None else ''}, "
        f"CPU {ratio(site.cpu_utilisation_ratio)}, age {duration(site.age_seconds)}"
        f"{cost}"
    )
    return "\n".join([lines, *limit_lines(site.limits)])


def runs_table(runs: Sequence[Run]) -> str:
    """Return all runs, a row each."""
    heads = (
        "RUN", "CLASS", "STATE", "SINCE", "GPUS", "RANKS", "STEP", "STEP TIME", "LOSS", "TOKENS/S",
        "MFU", "ETTR", "DURABLE", "CKPT AGE", "AT RISK", "POWER", "ALERTS",
    )  # fmt: skip
    rows = [
        (
            safe(run.run_id, 63) + (f" ({safe(run.label, 16)})" if run.label else ""),
            run.priority_class.value,
            run.state.value,
            age(run.state_since_unix_ns),
            f"{run.reporting_gpu_count}/{run.gpu_count}" if run.gpu_count else "0",
            f"{run.alive_rank_count}/{run.rank_count}",
            number(run.step),
            duration(run.step_seconds_p50),
            significant(run.loss),
            number(run.tokens_per_second),
            ratio(run.mfu_ratio, 1),
            ratio(run.ettr_ratio, 1),
            number(run.durable_step),
            age(run.durable_time_unix_ns),
            hours(run.work_at_risk_hours, run.work_unit),
            watts(run.power_watts),
            ", ".join([*([str(len(run.alerts))] if run.alerts else []), *_waits(run)]) or "-",
        )
        for run in runs
    ]
    return table(heads, rows, "lllrrrrrrrrrrrrrl")


def _waits(run: Run) -> list[str]:
    """Return why a run has not begun, in its scheduler's word."""
    if run.state is not RunState.PENDING or run.job is None:
        return []
    return [f"waits: {safe(run.job.reason, 80) or 'no reason given'}"]


def nodes_table(nodes: Sequence[Node]) -> str:
    """Return all nodes, a row each; the scheduler's word only where there is one."""
    scheduled = any(node.scheduler_state for node in nodes)
    heads = (
        "NODE", "STATE", "AGE", "GPUS", "GPU POWER", "HOTTEST", "GPU USE", "CPU", "MEMORY", "LOAD",
        "FAILING", "RUNS", *(["SCHEDULER"] if scheduled else []),
    )  # fmt: skip
    rows = [
        (
            safe(node.node_name, 63),
            node.freshness.value + ("" if node.linked else ", unlinked"),
            duration(node.age_seconds),
            f"{node.reporting_gpu_count}/{node.gpu_count}",
            watts(node.gpu_power_watts),
            measured(node.gpu_temperature_max_celsius, "C"),
            ratio(node.gpu_utilisation_ratio),
            ratio(node.cpu_utilisation_ratio),
            f"{bytes_(node.memory_used_bytes)} of {bytes_(node.memory_total_bytes)}",
            number(node.load_1m, 2),
            str(node.failing_sensor_count) if node.failing_sensor_count else "-",
            ", ".join(safe(run, 63) for run in node.run_ids[:8]) or "-",
            *([_scheduled(node)] if scheduled else []),
        )
        for node in nodes
    ]
    return table(heads, rows, "llrrrrrrrrrll")


def _scheduled(node: Node) -> str:
    """Return how its scheduler holds a node, and why."""
    state, reason = safe(node.scheduler_state, 40), safe(node.scheduler_reason, 80)
    return f"{state}: {reason}" if reason else state or "-"


def gpus_table(gpus: Sequence[Gpu]) -> str:
    """Return GPUs, a row each, with the figures most looked at."""
    shown = (
        ("gpu_utilisation", "USE"), ("memory_used", "MEMORY"), ("power", "POWER"),
        ("gpu_temperature", "TEMP"), ("sm_clock", "SM CLOCK"), ("tensor_active", "TENSOR"),
        ("xid", "XID"),
    )  # fmt: skip
    rows = [
        (
            safe(gpu.node_name, 63),
            str(gpu.gpu_index),
            safe(gpu.product_name, 32),
            safe(gpu.run_id, 63) or "-",
            *(gpu_cell(gpu, name) for name, _ in shown),
            safe(gpu.gpu_uuid, 48),
        )
        for gpu in gpus
    ]
    heads = ("NODE", "GPU", "NAME", "RUN", *(head for _, head in shown), "UUID")
    return table(heads, rows, "lrllrrrrrrrl")


def gpu_cell(gpu: Gpu, name: str) -> str:
    """Return one figure of a GPU, or why there is none and how old the last was."""
    metric = gpu.metric(name)
    if metric is None or (metric.value is None and metric.missing is None):
        return NOT_AVAILABLE
    if metric.value is not None:
        return measured(metric.value, safe(metric.unit, UNIT_LENGTH))
    assert metric.missing is not None
    old = f" {duration(metric.age_seconds)}" if metric.age_seconds >= 0 else ""
    return f"{metric.missing}{old}"


def events_table(events: Sequence[Event]) -> str:
    """Return events, a row each."""
    rows = [
        (
            clock(event.time_unix_ns),
            event.severity.value,
            safe(event.kind, 40),
            safe(event.where, 63) or "-",
            safe(event.message, 200),
        )
        for event in events
    ]
    return table(("TIME", "SEVERITY", "KIND", "WHERE", "WHAT"), rows)


def run_text(detail: RunDetail) -> str:
    """Return one run down to its ranks."""
    run = detail.run
    badput = ", ".join(f"{part.cause} {duration(part.seconds)}" for part in run.badput)
    parts = [
        runs_table([run]),
        f"command   {safe(run.command, 200)}",
        f"attempt   {run.attempt}, {run.backend_priority or 'no process'}, "
        f"on {_nodes_of(run) or 'no node'}",
        f"steps     {f'from its {safe(run.step_source, 40)}' if run.step_source else 'n/a'}",
        *_job(run.job),
        f"lost      {badput or 'nothing yet'}",
        f"cost      {cost_line(run)}",
        f"MFU       {ratio(run.mfu_ratio, 1)} ({run.mfu_method})",
        *([f"cap       {run.power_cap_watts:g} W a GPU"] if run.power_cap_watts else []),
        *(f"{alert.severity.value:<9} {safe(alert.message, 200)}" for alert in run.alerts),
        "",
        table(
            ("RANK", "NODE", "PID", "STATE", "STEP", "STEP TIME", "LOSS", "CPU", "MEMORY", "NICE"),
            [
                (
                    str(rank.rank),
                    safe(rank.node_name, 63),
                    str(rank.pid) if rank.pid else "-",
                    _rank_state(rank.alive, rank.state, rank.exit),
                    number(rank.step),
                    duration(rank.step_seconds_p50),
                    significant(rank.loss),
                    cores(rank.cpu_ratio),
                    bytes_(rank.resident_bytes),
                    str(rank.nice),
                )
                for rank in detail.ranks
            ],
            "rlrlrrrrrr",
        ),
    ]
    if len(detail.ranks) < run.rank_count:
        parts.append(f"showing {number(len(detail.ranks))} of {number(run.rank_count)} ranks")
    if detail.place is not None and detail.place.roll_ups:
        parts += ["", roll_ups_table(detail.place)]
    if detail.checkpoints:
        parts += ["", _checkpoints(detail)]
    if detail.actions:
        parts += ["", actions_table(detail.actions[:5])]
    if detail.output_tail:
        parts += ["", "last output of rank 0:", *safe_lines(detail.output_tail, 10)]
    return "\n".join(parts)


def _nodes_of(run: Run) -> str:
    names = [safe(name, 63) for name in run.node_names[:NODE_NAMES]]
    more = max(run.node_count, len(run.node_names)) - len(names)
    return ", ".join(names) + (f" and {number(more)} more" if more else "")


def _job(job: Job | None) -> list[str]:
    """Return what the run's scheduler knows of it: why it waits first."""
    if job is None:
        return []
    why = f": {safe(job.reason, 200)}" if job.reason else ""
    held = ", held" if job.held and "held" not in job.reason else ""
    facts = [
        ("queue", job.queue),
        ("user", job.user),
        ("quality", job.quality),
        ("priority", number(job.priority) if job.priority is not None else ""),
        ("restarts", str(job.restart_count) if job.restart_count else ""),
        ("part of", job.part_of),
    ]
    known = ", ".join(f"{name} {safe(text, 63)}" for name, text in facts if text)
    requeue = "" if job.can_requeue else ", cannot be requeued"
    return [
        f"job       {safe(job.job_id, 63)} {safe(job.state, 63)}{why}{held}{requeue}, "
        f"seen {duration(job.age_seconds)} ago",
        *([f"          {known}"] if known else []),
    ]


def _rank_state(alive: bool, state: str, end: object) -> str:
    if alive:
        return {"T": "stopped", "t": "traced", "D": "waits for disk"}.get(state, "alive")
    if end is None or not getattr(end, "known", False):
        return "gone"
    if getattr(end, "exit_signal", 0):
        return f"signal {getattr(end, 'exit_signal', 0)}"
    return f"exit {getattr(end, 'exit_code', 0)}"


def _checkpoints(detail: RunDetail) -> str:
    return table(
        ("CHECKPOINT", "AGE", "RANKS", "SIZE", "ON DISK", "PATH"),
        [
            (
                number(checkpoint.step),
                age(checkpoint.time_unix_ns),
                f"{checkpoint.reporting_rank_count}/{checkpoint.rank_count}",
                bytes_(checkpoint.size_bytes),
                "yes" if checkpoint.on_disk else "NO",
                safe(checkpoint.path, 120),
            )
            for checkpoint in detail.checkpoints[:5]
        ],
        "rrrrll",
    )


def node_text(detail: NodeDetail) -> str:
    """Return one node down to its sensors and processes."""
    host = detail.host
    parts = [
        nodes_table([detail.node]),
        f"host      {safe(host.operating_system, 80)}, kernel {safe(host.kernel_release, 60)}",
        f"CPU       {host.cpu_count} x {safe(host.cpu_model, 80)}",
        f"agent     {safe(detail.node.agent_version, 40)}",
        *(f"{alert.severity.value:<9} {safe(alert.message, 200)}" for alert in detail.node.alerts),
        "",
        table(
            ("HOST METRIC", "VALUE"),
            [
                (
                    safe(value.name, 40),
                    measured(value.value, safe(value.unit, UNIT_LENGTH))
                    if value.value is not None
                    else f"{NOT_AVAILABLE} ({value.missing or 'not yet'})",
                )
                for value in detail.host_values
            ],
        ),
        "",
        gpus_table(detail.gpus) if detail.gpus else f"no GPU: {safe(detail.gpu_detail, 200)}",
    ]
    if failing := detail.failing_sensors():
        parts += ["", table(
            ("SENSOR", "OF", "WHY", "SINCE", "DETAIL"),
            [
                (
                    safe(sensor.sensor, 40),
                    "host" if sensor.gpu_index < 0 else f"GPU {sensor.gpu_index}",
                    sensor.reason or "",
                    age(sensor.since_unix_ns),
                    safe(sensor.detail, 100),
                )
                for sensor in failing
            ],
        )]  # fmt: skip
    if detail.processes:
        parts += ["", table(
            ("PID", "RUN", "RANK", "USER", "CPU", "MEMORY", "GPUS", "COMMAND"),
            [
                (
                    str(process.pid),
                    safe(process.run_id, 63) or "-",
                    str(process.rank) if process.rank >= 0 else "-",
                    safe(process.user, 32),
                    cores(process.cpu_ratio),
                    bytes_(process.resident_bytes),
                    ",".join(map(str, process.gpu_indices)) or "-",
                    fit(safe(process.command or process.name, 200), COMMAND_CELLS),
                )
                for process in detail.processes
            ],
            "rlrlrrll",
        )]  # fmt: skip
    return "\n".join(parts)
