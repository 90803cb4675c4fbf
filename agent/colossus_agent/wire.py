"""Readings and runs to the contracts' messages, and directives back to plain values."""

from __future__ import annotations

from collections.abc import Iterable

from colossus_agent import readings
from colossus_agent.runs import state
from colossus_agent.runs.pages import RankProgress
from colossus_agent.runs.record import CLASSES, RunSpec
from colossus_protos.v1 import agent_link_pb2, common_pb2, directive_pb2, frame_pb2, run_pb2

_REASONS = {
    reason: common_pb2.MissingReason.Value(f"MISSING_REASON_{reason.name}")
    for reason in readings.MissingReason
}
_SEVERITIES = {
    name: common_pb2.Severity.Value(f"SEVERITY_{name.upper()}")
    for name in ("info", "warning", "critical")
}
_CLASSES = {name: common_pb2.PriorityClass.Value(f"PRIORITY_CLASS_{name}") for name in CLASSES}
_CLASS_NAMES = {number: name for name, number in _CLASSES.items()}
_STATES = {
    member: run_pb2.LocalRunState.Value(f"LOCAL_RUN_STATE_{member.name}")
    for member in state.LocalRunState
}
_OUTCOMES = {
    kind: directive_pb2.DirectiveOutcome.Value(f"DIRECTIVE_OUTCOME_{kind.upper()}")
    for kind in (state.DONE, state.FAILED, state.REFUSED)
}
VERBS = {common_pb2.VERB_CHECKPOINT: "checkpoint", common_pb2.VERB_PAUSE: "pause"}
_AWAITED = frozenset({"prepare_step", "ready_step", "commit_step", "abort_step"})
TEXT_LIMIT = 1024


def is_awaited(directive: directive_pb2.Directive) -> bool:
    """Return whether ranks stand still until they hear of it: it goes before all others."""
    return directive.WhichOneof("order") in _AWAITED


def columns(table: Iterable[readings.Column]) -> list[frame_pb2.MetricColumn]:
    """Return the columns of a frame."""
    return [
        frame_pb2.MetricColumn(field_id=column.field_id, name=column.name, unit=column.unit)
        for column in table
    ]


def host(inventory: readings.HostInventory) -> frame_pb2.HostInventory:
    """Return the node's inventory."""
    return frame_pb2.HostInventory(
        operating_system=text(inventory.operating_system),
        kernel_release=text(inventory.kernel_release),
        cpu_model=text(inventory.cpu_model),
        cpu_count=inventory.cpu_count,
        memory_total_bytes=inventory.memory_total_bytes,
        boot_id=inventory.boot_id,
        driver_version=text(inventory.driver_version),
    )


def gpu(inventory: readings.GpuInventory) -> frame_pb2.GpuInventory:
    """Return one GPU's inventory."""
    return frame_pb2.GpuInventory(
        gpu_index=inventory.gpu_index,
        gpu_uuid=text(inventory.gpu_uuid),
        product_name=text(inventory.product_name),
        memory_total_bytes=inventory.memory_total_bytes,
        power_limit_watts=inventory.power_limit_watts,
        pci_bus_id=text(inventory.pci_bus_id),
        has_energy_counter=inventory.has_energy_counter,
        peak_bf16_flops=inventory.peak_bf16_flops,
        mig_instances=[
            frame_pb2.MigInstance(
                uuid=text(mig.uuid),
                profile=text(mig.profile),
                memory_total_bytes=mig.memory_total_bytes,
            )
            for mig in inventory.mig_instances
        ],
        power_limit_lowest_watts=inventory.power_limit_lowest_watts,
        power_limit_highest_watts=inventory.power_limit_highest_watts,
    )


def frame(sample: readings.Sample) -> agent_link_pb2.LinkRequest:
    """Return the tick's frame."""
    return agent_link_pb2.LinkRequest(
        frame=frame_pb2.Frame(
            sample_time_unix_ns=sample.unix_ns,
            gpu_values=sample.gpu_values,
            host_values=sample.host_values,
        )
    )


def sensor_report(sample: readings.Sample) -> frame_pb2.SensorReport:
    """Return all sensors without a value, and all collectors."""
    return frame_pb2.SensorReport(
        sensors=[
            frame_pb2.SensorStatus(
                gpu_index=status.gpu_index,
                sensor=status.sensor,
                reason=_REASONS[status.reason],
                since_unix_ns=status.since_unix_ns,
                last_value_unix_ns=status.last_value_unix_ns,
                detail=text(status.detail),
            )
            for status in sample.sensors
        ],
        collectors=[
            frame_pb2.CollectorStatus(
                name=status.name,
                duration_seconds=status.duration_seconds,
                success=status.success,
                last_success_unix_ns=status.last_success_unix_ns,
                detail=text(status.detail),
            )
            for status in sample.collectors
        ],
    )


def process_report(processes: Iterable[readings.ProcessSample]) -> frame_pb2.ProcessReport:
    """Return all processes of runs and GPUs."""
    return frame_pb2.ProcessReport(
        processes=[
            frame_pb2.ProcessSample(
                pid=process.pid,
                start_time_ticks=process.start_time_ticks,
                name=text(process.name),
                command=text(process.command),
                user=text(process.user),
                run_id=text(process.run_id),
                run_source=process.run_source,
                rank=process.rank,
                cpu_ratio=process.cpu_ratio,
                resident_bytes=process.resident_bytes,
                state=process.state,
                gpu_indices=process.gpu_indices,
                gpu_memory_bytes=process.gpu_memory_bytes,
            )
            for process in processes
        ]
    )


def event(happening: readings.SensorEvent) -> agent_link_pb2.LinkRequest:
    """Return a sensor's event."""
    return agent_link_pb2.LinkRequest(
        event=common_pb2.Event(
            time_unix_ns=happening.time_unix_ns,
            severity=_SEVERITIES[happening.severity],
            kind=happening.kind,
            message=text(happening.message),
            gpu_index=happening.gpu_index,
            rank=-1,
        )
    )


def run_event(
    unix_ns: int, severity: str, kind: str, run_id: str, message: str
) -> agent_link_pb2.LinkRequest:
    """Return an event about a run."""
    return agent_link_pb2.LinkRequest(
        event=common_pb2.Event(
            time_unix_ns=unix_ns,
            severity=_SEVERITIES[severity],
            kind=kind,
            message=text(message),
            run_id=run_id,
            gpu_index=-1,
            rank=-1,
        )
    )


def run_report(runs: Iterable[state.LocalRun]) -> run_pb2.RunReport:
    """Return all runs of the node."""
    return run_pb2.RunReport(runs=[_run(run) for run in runs])


def _run(run: state.LocalRun) -> run_pb2.LocalRun:
    return run_pb2.LocalRun(
        run_id=run.run_id,
        attempt=run.attempt,
        state=_STATES[run.state],
        priority_class=_CLASSES[run.priority_class],
        ranks=[_rank(rank) for rank in run.ranks],
        fuse_deadline_unix_ns=run.fuse_deadline_unix_ns,
        cgroup=text(run.cgroup),
        process_count=run.process_count,
        label=text(run.label),
        command=text(run.command),
        rank_count=run.rank_count,
        facts_json=run.facts_json,
        output_tail=text(run.output_tail, 4 * TEXT_LIMIT),
        start_id=run.start_id,
        backend=run.backend,
        step_source=run.step_source,
        power_cap_watts=run.power_cap_watts,
    )


def _rank(rank: state.LocalRank) -> run_pb2.LocalRank:
    message = run_pb2.LocalRank(
        rank=rank.rank,
        local_rank=rank.local_rank,
        pid=rank.pid,
        start_time_ticks=rank.start_time_ticks,
        alive=rank.alive,
        state=rank.state,
        nice=rank.nice,
        hooked=rank.hooked,
        step=rank.step,
        process_count=rank.process_count,
    )
    if rank.exit is not None:
        message.exit.known = rank.exit.known
        message.exit.exit_code = rank.exit.exit_code
        message.exit.exit_signal = rank.exit.exit_signal
        message.exit.detail = text(rank.exit.detail)
    return message


def progress(run: state.RunProgress) -> list[agent_link_pb2.LinkRequest]:
    """Return the steps and checkpoints that a run's ranks reported."""
    messages = []
    for rank in run.ranks:
        if rank.steps or rank.missed_count:
            messages.append(agent_link_pb2.LinkRequest(step_batch=_steps(run, rank)))
        messages += [
            agent_link_pb2.LinkRequest(
                checkpoint_report=run_pb2.CheckpointReport(
                    run_id=run.run_id,
                    attempt=run.attempt,
                    rank=rank.rank,
                    step=record.step,
                    time_unix_ns=record.unix_ns,
                    size_bytes=record.size_bytes,
                    path=text(record.path),
                    on_disk=on_disk,
                    save_seconds=record.save_seconds,
                )
            )
            for record, on_disk in rank.checkpoints
        ]
    return messages


def _steps(run: state.RunProgress, rank: RankProgress) -> run_pb2.StepBatch:
    batch = run_pb2.StepBatch(
        run_id=run.run_id,
        attempt=run.attempt,
        rank=rank.rank,
        missed_count=rank.missed_count,
        whole_run=rank.is_whole_run,
    )
    for record in rank.steps:
        batch.steps.append(record.step)
        batch.times_unix_ns.append(record.unix_ns)
        batch.losses.append(record.loss)
        batch.grad_norms.append(record.grad_norm)
        batch.tokens.append(record.tokens)
        batch.step_seconds.append(record.step_seconds)
    return batch


def result(
    directive: directive_pb2.Directive, outcome: state.Outcome, *, repeated: bool = False
) -> directive_pb2.DirectiveResult:
    """Return the answer to a directive."""
    return directive_pb2.DirectiveResult(
        directive_id=directive.directive_id,
        run_id=directive.run_id,
        outcome=_OUTCOMES[outcome.kind],
        detail=text(outcome.detail),
        ranks=[
            directive_pb2.RankResult(
                rank=rank.rank, ok=rank.ok, detail=text(rank.detail), step=rank.step, nice=rank.nice
            )
            for rank in outcome.ranks
        ],
        repeated_answer=repeated,
        gpu_power_limits=[
            directive_pb2.GpuPowerLimit(
                gpu_index=gpu.gpu_index, watts=gpu.watts, ok=gpu.ok, detail=text(gpu.detail)
            )
            for gpu in outcome.gpus
        ],
    )


def run_spec(message: run_pb2.RunSpec) -> RunSpec:
    """Return the specification of a run.

    Raises:
        RunSpecError: A field is wrong.
    """
    return RunSpec(
        run_id=message.run_id,
        argv=tuple(message.argv),
        working_directory=message.working_directory,
        environment=dict(message.environment),
        priority_class=_CLASS_NAMES.get(message.priority_class, "P2"),
        rank_count=message.rank_count or 1,
        label=message.label,
        watchdog_seconds=message.watchdog_seconds,
        grace_seconds=message.grace_seconds,
        start_id=message.start_id,
    )


def priority_class(number: common_pb2.PriorityClass.ValueType) -> str | None:
    """Return the class's name; None for one that is not known."""
    return _CLASS_NAMES.get(number)


def text(value: str, limit: int = TEXT_LIMIT) -> str:
    """Return text that protobuf can carry: bounded, and without lone surrogates."""
    return value[:limit].encode("utf-8", "replace").decode()
