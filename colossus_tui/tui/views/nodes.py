"""Nodes, and one node down to a GPU and its processes."""

from __future__ import annotations

from collections.abc import Sequence

from colossus_tui.model import (
    Freshness,
    Gpu,
    MissingReason,
    Node,
    NodeDetail,
    clock_event_reasons,
)
from colossus_tui.text import (
    NOT_AVAILABLE,
    age,
    bytes_,
    cores,
    duration,
    fit,
    measured,
    number,
    ratio,
    safe,
    watts,
)
from colossus_tui.tui.theme import SEVERITY_STYLES, Glyphs
from colossus_tui.tui.views import Line, Span
from colossus_tui.tui.views.runs import OLD, OLD_SECONDS
from colossus_tui.tui.views.words import labelled

SCHEDULER = ("SCHEDULER", 12, False)
REASON = ("SCHEDULER'S REASON", 40, False)
# (head, cells, right aligned) of the list of nodes, in the order in which room is given.
NODE_COLUMNS = (
    ("NODE", 16, False),
    ("STATE", 8, False),
    SCHEDULER,
    ("AGE", 7, True),
    ("CPU", 5, True),
    ("MEMORY", 20, True),
    ("GPUS", 6, True),
    ("GPU POWER", 10, True),
    ("HOTTEST", 8, True),
    ("GPU USE", 8, True),
    ("FAILING", 8, True),
    ("LOAD", 7, True),
    ("AGENT", 8, False),
    ("RUNS", 30, False),
    REASON,
)
OUT_OF_USE = ("drain", "down", "fail", "maint", "not_responding", "unschedulable", "cordon")
_FRESH = {
    Freshness.LIVE: "good",
    Freshness.GREY: "dim",
    Freshness.STALE: "warn",
    Freshness.LOST: "bad",
}
_MISSING = {MissingReason.STUCK: "warn", MissingReason.LOST: "bad", MissingReason.FAILED: "warn"}
GPU_SHOWN = (
    ("gpu_utilisation", "USE", 8),
    ("memory_used", "MEMORY", 11),
    ("power", "POWER", 9),
    ("gpu_temperature", "TEMP", 9),
    ("sm_clock", "SM CLOCK", 11),
    ("tensor_active", "TENSOR", 9),
    ("memory_temperature", "MEM TEMP", 9),
    ("xid", "XID", 5),
    ("ecc_dbe_volatile", "ECC DBE", 8),
)


def node_columns(nodes: Sequence[Node]) -> list[tuple[str, int, bool]]:
    """Return the columns that say something: a scheduler's only where one knows a node."""
    scheduled = any(node.scheduler_state for node in nodes)
    return [one for one in NODE_COLUMNS if scheduled or one not in (SCHEDULER, REASON)]


def node_cells(node: Node) -> dict[str, Span]:
    """Return a node's cells by the heads of NODE_COLUMNS."""
    style = "plain" if node.freshness is Freshness.LIVE else "old"
    failing = node.failing_sensor_count
    state = node.freshness.value if node.linked else f"{node.freshness}!"
    age = duration(round(node.age_seconds)) if node.age_seconds >= 5 else "< 5 s"
    memory = f"{bytes_(node.memory_used_bytes)} of {bytes_(node.memory_total_bytes)}"
    return {
        "NODE": (safe(node.node_name, 63), "strong"),
        "STATE": (state, _FRESH[node.freshness]),
        SCHEDULER[0]: _scheduler(node),
        "AGE": (age, style),
        "CPU": (ratio(node.cpu_utilisation_ratio), style),
        "MEMORY": (memory, style),
        "GPUS": (f"{node.reporting_gpu_count}/{node.gpu_count}", style),
        "GPU POWER": (watts(node.gpu_power_watts), style),
        "HOTTEST": (measured(node.gpu_temperature_max_celsius, "C"), style),
        "GPU USE": (ratio(node.gpu_utilisation_ratio), style),
        "FAILING": (str(failing) if failing else "-", "warn" if failing else "faint"),
        "LOAD": (number(node.load_1m, 2), style),
        "AGENT": (safe(node.agent_version, 8), "dim"),
        "RUNS": (", ".join(safe(run, 63) for run in node.run_ids[:8]) or "-", style),
        REASON[0]: (safe(node.scheduler_reason, 200) or "-", "dim"),
    }


def _scheduler(node: Node) -> Span:
    """Tell a node that takes no new work from one that does."""
    if not node.scheduler_state:
        return NOT_AVAILABLE, "faint"
    out = any(word in node.scheduler_state.lower() for word in OUT_OF_USE)
    return safe(node.scheduler_state, 40), "warn" if out else "plain"


def node_lines(detail: NodeDetail, gpu_index: int, cells: int, glyphs: Glyphs) -> list[Line]:
    """Return the node screen's lines; `gpu_index` is the GPU shown in full."""
    node, host = detail.node, detail.host
    lines: list[Line] = [
        (
            (node.freshness.value, _FRESH[node.freshness]),
            (
                f", frame {duration(round(node.age_seconds, 1))} old"
                if node.age_seconds >= 5
                else "",
                "warn",
            ),
            ("" if node.linked else ", its agent is not linked", "bad"),
            (
                f"   {safe(host.operating_system, 40)}, kernel {safe(host.kernel_release, 40)}",
                "dim",
            ),
        ),
        (
            (f"{host.cpu_count} x {safe(host.cpu_model, 60)}", "dim"),
            (f"   agent {safe(node.agent_version, 20)}", "dim"),
            (f"   driver {safe(host.driver_version, 30)}" if host.driver_version else "", "dim"),
        ),
    ]
    if node.scheduler_state:
        text, style = _scheduler(node)
        lines += labelled("scheduler", text, cells, style)
        lines += labelled("its reason", node.scheduler_reason or "none given", cells)
    lines += [
        ((f"{glyphs.severities[a.severity]} {safe(a.message, 200)}", SEVERITY_STYLES[a.severity]),)
        for a in node.alerts
    ]
    lines += [(), (("GPUS", "head"),), *_gpus(detail, gpu_index)]
    if detail.gpus:
        chosen = next((g for g in detail.gpus if g.gpu_index == gpu_index), detail.gpus[0])
        lines += [(), ((f"GPU {chosen.gpu_index} IN FULL", "head"),), *_one_gpu(chosen, cells)]
    lines += [(), (("HOST", "head"),), *_host(detail, cells)]
    if failing := detail.failing_sensors():
        lines += [(), (("SENSORS WITHOUT A VALUE", "head"),)]
        lines += [
            (
                (fit("host" if s.gpu_index < 0 else f"GPU {s.gpu_index}", 7), "plain"),
                (fit(safe(s.sensor, 40), 24), "plain"),
                (fit(s.reason or "", 14), _MISSING.get(s.reason, "dim") if s.reason else "dim"),
                (f"since {age(s.since_unix_ns)}   ", "dim"),
                (safe(s.detail, 120), "dim"),
            )
            for s in failing[:40]
        ]
    lines += [(), (("PROCESSES OF RUNS AND GPUS", "head"),), *_processes(detail)]
    return lines


def _host(detail: NodeDetail, cells: int) -> list[Line]:
    pairs = [
        (
            safe(value.name.replace("_", " "), 40),
            measured(value.value, value.unit)
            if value.value is not None
            else f"n/a ({value.missing or 'not yet'})",
        )
        for value in detail.host_values
    ]
    return _in_columns(pairs, cells)


def _in_columns(pairs: Sequence[tuple[str, str]], cells: int) -> list[Line]:
    per_line = max(cells // 42, 2) if cells >= 74 else 1
    width = cells // per_line
    name_cells = min(24, width - 18)
    return [
        tuple(
            span
            for name, value in pairs[index : index + per_line]
            for span in ((fit(name, name_cells), "dim"), (fit(value, width - name_cells), "plain"))
        )
        for index in range(0, len(pairs), per_line)
    ]


def _gpus(detail: NodeDetail, gpu_index: int) -> list[Line]:
    if not detail.gpus:
        return [((f"none: {safe(detail.gpu_detail, 160)}", "dim"),)]
    head = "  GPU  " + "".join(name.rjust(cells) for _, name, cells in GPU_SHOWN) + "  RUN"
    lines: list[Line] = [((head, "head"),)]
    for gpu in detail.gpus:
        mark = ">" if gpu.gpu_index == gpu_index else " "
        spans: list[Span] = [(f"{mark} {gpu.gpu_index:>3}  ", "strong")]
        if gpu.missing is MissingReason.LOST:
            spans.append(("LOST: it has gone from the bus", "bad"))
        else:
            spans += [_gpu_cell(gpu, name, cells) for name, _, cells in GPU_SHOWN]
        lines.append((*spans, (f"  {safe(gpu.run_id, 63) or '-'}", "plain")))
    return lines


def _gpu_cell(gpu: Gpu, name: str, cells: int) -> Span:
    metric = gpu.metric(name)
    if metric is None:
        return "n/a".rjust(cells), "faint"
    if metric.value is not None:
        old = metric.age_seconds >= OLD_SECONDS
        text = f"{OLD if old else ''}{measured(metric.value, metric.unit)}"
        return text.rjust(cells), "old" if old else "plain"
    if metric.missing in (None, MissingReason.UNSUPPORTED):
        return "n/a".rjust(cells), "faint"
    assert metric.missing is not None
    return fit(metric.missing.value, cells - 1, right=True).rjust(cells), _MISSING.get(
        metric.missing, "dim"
    )


def _one_gpu(gpu: Gpu, cells: int) -> list[Line]:
    limit = f", limit {watts(gpu.power_limit_watts)}" if gpu.power_limit_watts else ""
    lines: list[Line] = [
        (
            (safe(gpu.product_name, 60), "plain"),
            (
                f"   {safe(gpu.gpu_uuid, 60)}   {bytes_(gpu.memory_total_bytes or None)}{limit}",
                "dim",
            ),
        )
    ]
    pairs = []
    for value in gpu.values:
        text = measured(value.value, value.unit)
        if value.name == "clock_event_reasons" and value.value is not None:
            text = clock_event_reasons(int(value.value))
        elif value.value is None and value.missing is not None:
            old = f", {duration(value.age_seconds)} old" if value.age_seconds >= 0 else ""
            text = f"{value.missing}{old}" if value.missing != "unsupported" else "n/a"
        pairs.append((safe(value.name.replace("_", " "), 40), text))
    lines += _in_columns(pairs, cells)
    lines += [
        (
            (f"MIG {safe(mig.profile, 24)}  {safe(mig.uuid, 60)}  ", "plain"),
            (bytes_(mig.memory_total_bytes), "dim"),
        )
        for mig in gpu.mig_instances
    ]
    return lines


def _processes(detail: NodeDetail) -> list[Line]:
    if not detail.processes:
        return [(("none", "dim"),)]
    lines: list[Line] = [
        (("     PID  RUN           RANK  USER       CPU     MEMORY  GPUS    COMMAND", "head"),)
    ]
    for process in detail.processes[:60]:
        rank = str(process.rank) if process.rank >= 0 else "-"
        gpus = ",".join(map(str, process.gpu_indices)) or "-"
        lines.append(
            (
                (f"{process.pid:>8}  ", "plain"),
                (fit(safe(process.run_id, 63) or "-", 12), "strong"),
                (f"{rank:>6}  {fit(safe(process.user, 32), 8)}", "plain"),
                (f"{cores(process.cpu_ratio):>6}{bytes_(process.resident_bytes):>11}", "plain"),
                (f"  {fit(gpus, 6)}", "plain"),
                (f"  {safe(process.command or process.name, 200)}", "dim"),
            )
        )
    return lines
