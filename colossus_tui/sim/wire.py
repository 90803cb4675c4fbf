"""A simulated node in the words of the contracts; the only module here that builds messages."""

from __future__ import annotations

import json

from colossus_protos.v1 import (
    agent_link_pb2,
    common_pb2,
    directive_pb2,
    frame_pb2,
    run_pb2,
)
from colossus_tui import __version__
from colossus_tui.sim.catalogue import PEAK_BF16_FLOPS, RunPlan
from colossus_tui.sim.orders import NO_RELEASE, Answer, Outcome
from colossus_tui.sim.physics import (
    GPU_COLUMNS,
    GPU_MEMORY_BYTES,
    HOST_COLUMNS,
    HOST_CORES,
    HOST_MEMORY_BYTES,
    LIMIT_WATTS,
    LOWEST_LIMIT_WATTS,
)
from colossus_tui.sim.plan import SitePlan
from colossus_tui.sim.ranks import NICE, PRIORITY_CLASSES, End
from colossus_tui.sim.training import Gang, mean_loss

SAMPLE_PERIOD_SECONDS = 1.0
PRODUCT_NAME = "NVIDIA GB200"
CRITICAL_XIDS = {
    48: "double-bit ECC error",
    79: "GPU has fallen off the bus",
    95: "uncontained ECC error",
    119: "GSP does not answer",
}
OTHER_XIDS = {
    13: "graphics engine exception",
    31: "GPU memory page fault",
    94: "contained ECC error",
}
EARLIER_POINTS = 128  # of a run's life before the simulation begins
HELD_BYTES = int(0.78 * GPU_MEMORY_BYTES)  # by one rank on its GPU
_RESIDENT_BYTES = 96 << 30
_FIRST_PID = 4_000
_CLASSES = [common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{name}") for name in PRIORITY_CLASSES]
_OUTCOMES = {
    Outcome.DONE: directive_pb2.DIRECTIVE_OUTCOME_DONE,
    Outcome.FAILED: directive_pb2.DIRECTIVE_OUTCOME_FAILED,
    Outcome.REFUSED: directive_pb2.DIRECTIVE_OUTCOME_REFUSED,
}
_EXITS = {
    End.EXITED: run_pb2.RankExit(known=True),
    End.TERMINATED: run_pb2.RankExit(known=True, exit_code=-1, exit_signal=15),
    End.CRASHED: run_pb2.RankExit(known=True, exit_code=1),
    End.UNSEEN: run_pb2.RankExit(known=False),
}
_CRASH_TAIL = "RuntimeError: loss is not finite\n"
_SAME = frame_pb2.Hello(
    agent_version=__version__,
    gpu_columns=[
        frame_pb2.MetricColumn(field_id=number, name=name, unit=unit)
        for number, name, unit in GPU_COLUMNS
    ],
    host_columns=[
        frame_pb2.MetricColumn(field_id=number, name=name, unit=unit)
        for number, name, unit in HOST_COLUMNS
    ],
    host=frame_pb2.HostInventory(
        operating_system="modelled",
        kernel_release="modelled",
        cpu_model="modelled",
        cpu_count=HOST_CORES,
        memory_total_bytes=HOST_MEMORY_BYTES,
        driver_version="modelled",
    ),
    sample_period_seconds=SAMPLE_PERIOD_SECONDS,
    oldest_sequence=1,
    release_gpus_detail=NO_RELEASE,
)
_SAME_GPU = frame_pb2.GpuInventory(
    product_name=PRODUCT_NAME,
    memory_total_bytes=GPU_MEMORY_BYTES,
    power_limit_watts=LIMIT_WATTS,
    has_energy_counter=True,
    peak_bf16_flops=PEAK_BF16_FLOPS,
    power_limit_lowest_watts=LOWEST_LIMIT_WATTS,
    power_limit_highest_watts=LIMIT_WATTS,
)


def hello(
    plan: SitePlan, node_index: int, instance_id: str, boot_count: int, now_unix_ns: int
) -> frame_pb2.Hello:
    """Return what a node's agent says first.

    Args:
        boot_count: How often the node has started.
    """
    message = frame_pb2.Hello(
        node_name=plan.node_names[node_index],
        instance_id=instance_id,
        rack=plan.rack_names[plan.rack_of_node[node_index]],
        hall=plan.hall_names[plan.hall_of_node[node_index]],
        sent_time_unix_ns=now_unix_ns,
    )
    message.MergeFrom(_SAME)
    message.host.boot_id = f"{plan.node_names[node_index]}-{boot_count}"
    for index, uuid in enumerate(plan.gpu_uuids(node_index)):
        gpu = message.gpus.add()
        gpu.CopyFrom(_SAME_GPU)
        gpu.gpu_index, gpu.gpu_uuid = index, uuid
        gpu.pci_bus_id = f"0000:{0x19 + 0x20 * index:02x}:00.0"
    return message


def facts_json(run: RunPlan, now_unix_ns: int) -> tuple[str, str]:
    """Return what a run's loop states of itself: on its first node with its earlier life."""
    facts = {
        "parameters_count": run.parameters_count,
        "target_tokens": run.target_tokens,
        "target_steps": run.target_steps,
        "watchdog_seconds": run.watchdog_seconds,
        "checkpoint_plan_seconds": run.checkpoint_plan_seconds,
        "earlier_tokens": run.first_step * run.tokens_per_step,
    }
    steps = sorted({round(run.first_step ** (n / EARLIER_POINTS)) for n in range(EARLIER_POINTS)})
    steps = [step for step in steps if step < run.first_step] + [run.first_step]
    earlier = {
        "tokens": [step * run.tokens_per_step for step in steps],
        "losses": [round(mean_loss(run, step), 4) for step in steps],
        "steps": steps,
        "times_unix_ns": [
            now_unix_ns - int((run.first_step - step) * run.step_seconds * 1e9) for step in steps
        ],
    }
    return json.dumps(facts | {"earlier_curve": earlier}), json.dumps(facts)


def no_runs() -> agent_link_pb2.LinkRequest:
    """Return the report of a node without a run."""
    return agent_link_pb2.LinkRequest(run_report=run_pb2.RunReport())


def run_report(gang: Gang, node: int, facts: tuple[str, str]) -> agent_link_pb2.LinkRequest:
    """Return the run on one of its nodes.

    Args:
        node: Its number within the run.
        facts: Of `facts_json`.
    """
    run, report = gang.run, run_pb2.RunReport()
    if gang.forgotten[node]:
        return agent_link_pb2.LinkRequest(run_report=report)
    is_alive, fuse_ns = bool(gang.alive[node]), int(gang.fuse_ns[node])
    local = report.runs.add(
        run_id=run.run_id,
        attempt=int(gang.attempts[node]),
        state=_state(gang, node),
        priority_class=_CLASSES[int(gang.priority[node])],
        fuse_deadline_unix_ns=fuse_ns,
        process_count=gang.ranks_per_node if is_alive else 0,
        label=run.label,
        command=f"python train.py --run {run.run_id}",
        rank_count=run.rank_count,
        facts_json=facts[node > 0],
        start_id=gang.start_id,
        backend="local",
        step_source="hook",
        power_cap_watts=float(gang.cap_watts[node]),
    )
    if not node and int(gang.end[node]) == End.CRASHED:
        local.output_tail = _CRASH_TAIL
    nice = NICE[int(gang.priority[node])] if is_alive else 0
    for index in range(gang.ranks_per_node):
        rank = local.ranks.add(
            rank=node * gang.ranks_per_node + index,
            local_rank=index,
            pid=_pid(gang, node, index),
            start_time_ticks=int(gang.attempts[node]),
            alive=is_alive,
            state=("T" if fuse_ns else "S") if is_alive else "",
            nice=nice,
            hooked=True,
            step=gang.step_of(node),
            process_count=int(is_alive),
        )
        if not is_alive:
            rank.exit.CopyFrom(_EXITS[End(int(gang.end[node]))])
    return agent_link_pb2.LinkRequest(run_report=report)


def process_report(gang: Gang | None, node: int) -> agent_link_pb2.LinkRequest:
    """Return the processes on a node; none for one without a run.

    Args:
        node: Its number within the run.
    """
    report = frame_pb2.ProcessReport()
    if gang is not None and gang.alive[node]:
        for index in range(gang.ranks_per_node):
            report.processes.add(
                pid=_pid(gang, node, index),
                start_time_ticks=int(gang.attempts[node]),
                name="python",
                command=f"python train.py --run {gang.run.run_id}",
                user="train",
                run_id=gang.run.run_id,
                run_source="hook",
                rank=node * gang.ranks_per_node + index,
                cpu_ratio=0.0 if gang.fuse_ns[node] else 6.0,
                resident_bytes=_RESIDENT_BYTES,
                state="T" if gang.fuse_ns[node] else "S",
                gpu_indices=[index],
                gpu_memory_bytes=[HELD_BYTES],
            )
    return agent_link_pb2.LinkRequest(process_report=report)


def sensor_report(now_unix_ns: int) -> agent_link_pb2.LinkRequest:
    """Return that every sensor gives a value."""
    collectors = [
        frame_pb2.CollectorStatus(
            name=name, duration_seconds=0.002, success=True, last_success_unix_ns=now_unix_ns
        )
        for name in ("gpu", "host", "processes")
    ]
    report = frame_pb2.SensorReport(collectors=collectors)
    return agent_link_pb2.LinkRequest(sensor_report=report)


def checkpoint_reports(gang: Gang, node: int) -> list[agent_link_pb2.LinkRequest]:
    """Return the newest checkpoint of each of a node's ranks, as each new link hears it again."""
    path = gang.path_template(gang.durable_step)
    ranks = range(node * gang.ranks_per_node, (node + 1) * gang.ranks_per_node)
    return [
        agent_link_pb2.LinkRequest(
            checkpoint_report=run_pb2.CheckpointReport(
                run_id=gang.run.run_id,
                attempt=gang.attempt,
                rank=rank,
                step=gang.durable_step,
                time_unix_ns=gang.durable_ns,
                size_bytes=gang.run.checkpoint_bytes,
                path=path.format(rank=rank),
                on_disk=True,
                save_seconds=gang.run.save_seconds,
            )
        )
        for rank in ranks
    ]


def result(
    directive: directive_pb2.Directive,
    answer: Answer,
    first_rank: int,
    gpu_count: int,
    *,
    is_repeated: bool,
) -> agent_link_pb2.LinkRequest:
    """Return the answer to a directive.

    Args:
        first_rank: The first rank of the node.
        gpu_count: Its GPUs.
    """
    message = directive_pb2.DirectiveResult(
        directive_id=directive.directive_id,
        run_id=directive.run_id,
        outcome=_OUTCOMES[answer.outcome],
        detail=f"rank {first_rank}: {answer.detail}" if answer.is_of_ranks else answer.detail,
        repeated_answer=is_repeated,
    )
    for index in range(answer.rank_count):
        message.ranks.add(
            rank=first_rank + index,
            ok=answer.outcome is Outcome.DONE,
            detail=answer.rank_detail,
            step=answer.step,
            nice=answer.nice,
        )
    for index in range(gpu_count if answer.limit_watts else 0):
        message.gpu_power_limits.add(gpu_index=index, watts=answer.limit_watts, ok=True)
    return agent_link_pb2.LinkRequest(directive_result=message)


def xid_event(now_unix_ns: int, gpu_index: int, code: int) -> common_pb2.Event:
    """Return what an agent says of an XID."""
    meaning = CRITICAL_XIDS.get(code) or OTHER_XIDS.get(code)
    is_critical = code in CRITICAL_XIDS
    return common_pb2.Event(
        time_unix_ns=now_unix_ns,
        severity=common_pb2.SEVERITY_CRITICAL if is_critical else common_pb2.SEVERITY_WARNING,
        kind="gpu.xid",
        message=f"XID {code}: {meaning}" if meaning else f"XID {code}",
        gpu_index=gpu_index,
        rank=-1,
    )


def thawed_event(now_unix_ns: int, run_id: str) -> common_pb2.Event:
    """Return what an agent says when a freeze has ended by itself."""
    return common_pb2.Event(
        time_unix_ns=now_unix_ns,
        severity=common_pb2.SEVERITY_WARNING,
        kind="run.thawed",
        message="thawed by its fuse",
        run_id=run_id,
        gpu_index=-1,
        rank=-1,
    )


def _state(gang: Gang, node: int) -> run_pb2.LocalRunState.ValueType:
    if not gang.alive[node]:
        if int(gang.end[node]) == End.UNSEEN:
            return run_pb2.LOCAL_RUN_STATE_LOST
        return run_pb2.LOCAL_RUN_STATE_ENDED
    if gang.fuse_ns[node]:
        return run_pb2.LOCAL_RUN_STATE_FROZEN
    return run_pb2.LOCAL_RUN_STATE_RUNNING


def _pid(gang: Gang, node: int, index: int) -> int:
    return _FIRST_PID + int(gang.attempts[node]) % 1_000 * gang.ranks_per_node + index
