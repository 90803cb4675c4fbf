"""Jobs and nodes from Slurm's JSON, whose shape changes with each release from 22.05 to 25.

Numbers are plain in 22.05, {"set", "infinite", "number"} from 23.02 on; a state is one word up
to 23.02 and a list of words from 23.11 on; the nodes of a job moved in 24.05. Every reader here
takes all of them; what is missing or odd is not available, never an error that hides other jobs.
Source: the OpenAPI schemas v0.0.38 to v0.0.43 of Slurm's REST API, which the JSON follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from colossus_tui.hub.backends.slurm.hostlist import expand

_BASE_STATES = (
    "PENDING",
    "RUNNING",
    "SUSPENDED",
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "BOOT_FAIL",
    "DEADLINE",
    "OUT_OF_MEMORY",
)
_HELD_REASONS = frozenset(
    {
        "JobHeldUser",
        "JobHeldAdmin",
        "held_state",
        "job_requeued_in_held_state",
        "job requeued in held state",
        "launch_failed_requeued_held",
        "launch failed requeued held",
        "JobHoldMaxRequeue",
    }
)


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """One record of squeue, in plain values; None and "" are not available."""

    job_id: int
    name: str = ""
    state: str = ""  # one of _BASE_STATES
    flags: frozenset[str] = frozenset()  # COMPLETING, CONFIGURING, REQUEUED and their like
    reason: str = ""
    description: str = ""
    user: str = ""
    partition: str = ""
    quality: str = ""
    comment: str = ""
    priority: int | None = None
    held: bool = False
    can_requeue: bool = False
    restart_count: int = 0
    node_names: tuple[str, ...] = ()
    node_count: int = 0
    gpu_count: int = 0
    array_job_id: int = 0
    array_task_id: int | None = None
    array_tasks: str = ""  # those that still wait, as "2-3%2"
    het_job_id: int = 0
    het_offset: int = 0
    submit_time: int = 0
    start_time: int = 0
    exit_code: int | None = None
    exit_signal: int | None = None
    command: str = ""


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """One node of sinfo; `states` are Slurm's words in capitals, DRAIN among them."""

    name: str
    states: frozenset[str] = frozenset()
    reason: str = ""


def jobs(document: Mapping[str, Any]) -> list[SlurmJob]:
    """Return the jobs of `squeue --json`; records that cannot be read are left out."""
    return [_job(record) for record in _records(document, "jobs") if number(record.get("job_id"))]


def nodes(document: Mapping[str, Any]) -> list[SlurmNode]:
    """Return the nodes of `sinfo --json`, which from 23.02 on groups nodes that are alike."""
    found = []
    for record in _records(document, "nodes"):
        states = words(record.get("state")) + words(record.get("state_flags"))
        found.append(
            SlurmNode(text(record.get("name")), _upper(states), text(record.get("reason")))
        )
    for record in _records(document, "sinfo"):
        group = record.get("nodes")
        names = group.get("nodes", []) if isinstance(group, dict) else []
        state = record.get("node")
        states = words(state.get("state")) if isinstance(state, dict) else []
        reason = record.get("reason")
        why = reason.get("description") if isinstance(reason, dict) else reason
        found += [SlurmNode(name, _upper(states), text(why)) for name in _texts(names)]
    return [node for node in found if node.name]


def _records(document: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    value = document.get(name)
    return (
        [record for record in value if isinstance(record, dict)] if isinstance(value, list) else []
    )


def _upper(states: Iterable[str]) -> frozenset[str]:
    return frozenset(
        part for state in states for part in state.upper().replace("*", "").split("+") if part
    )


def _job(record: Mapping[str, Any]) -> SlurmJob:
    states = _upper([*words(record.get("job_state"))])
    base = next((state for state in _BASE_STATES if state in states), "")
    reason = text(record.get("state_reason"))
    names = _node_names(record)
    exit_code, exit_signal = _exit(record.get("exit_code"))
    # A job on its way out is COMPLETING; 22.05 puts that in the place of its base state.
    flags = (states | _upper(words(record.get("flags")))) - {base}
    return SlurmJob(
        job_id=number(record.get("job_id")) or 0,
        name=text(record.get("name")),
        state=base,
        flags=flags,
        reason="" if reason in ("None", "None assigned") else reason,
        description=text(record.get("state_description")),
        user=text(record.get("user_name")),
        partition=text(record.get("partition")),
        quality=text(record.get("qos")),
        comment=text(record.get("comment")),
        priority=number(record.get("priority")),
        held=record.get("hold") is True
        or reason in _HELD_REASONS
        or (base == "PENDING" and number(record.get("priority")) == 0),
        can_requeue=bool(record.get("requeue")),
        restart_count=number(record.get("restart_cnt")) or 0,
        node_names=names,
        node_count=number(record.get("node_count")) or len(names),
        gpu_count=gpus(text(record.get("tres_alloc_str"))),
        array_job_id=number(record.get("array_job_id")) or 0,
        array_task_id=number(record.get("array_task_id")),
        array_tasks=text(record.get("array_task_string")),
        het_job_id=number(record.get("het_job_id")) or 0,
        het_offset=number(record.get("het_job_offset")) or 0,
        submit_time=number(record.get("submit_time")) or 0,
        start_time=number(record.get("start_time")) or 0,
        exit_code=exit_code,
        exit_signal=exit_signal,
        command=text(record.get("command")),
    )


def _node_names(record: Mapping[str, Any]) -> tuple[str, ...]:
    short = record.get("nodes")
    try:
        listed = expand(short) if isinstance(short, str) else ()
    except ValueError:
        listed = ()
    if listed:
        return listed
    resources = record.get("job_resources")
    if not isinstance(resources, dict):
        return ()
    found = resources.get("allocated_nodes") or resources.get("nodes")
    if isinstance(found, dict) and isinstance(found.get("allocation"), list):
        found = found["allocation"]
    records = found.values() if isinstance(found, dict) else found
    if not isinstance(records, Iterable) or isinstance(records, str):
        return ()
    names = [r.get("nodename") or r.get("name") for r in records if isinstance(r, dict)]
    return tuple(_texts(names))


def _exit(value: Any) -> tuple[int | None, int | None]:
    """Return exit code and signal; 22.05 gives the raw wait status."""
    if isinstance(value, dict) and "return_code" in value:
        signal = value.get("signal")
        raw = signal.get("signal_id", signal.get("id")) if isinstance(signal, dict) else None
        return number(value.get("return_code")), number(raw)
    status = number(value)
    return (None, None) if status is None else (status >> 8, status & 0x7F or None)


def gpus(tres: str) -> int:
    """Return the GPUs in a string of trackable resources: "cpu=8,gres/gpu=4,gres/gpu:h100=4"."""
    for part in tres.split(","):
        name, _, value = part.partition("=")
        if name == "gres/gpu" and value.isdecimal():
            return int(value)
    typed = [part.partition("=")[2] for part in tres.split(",") if part.startswith("gres/gpu:")]
    return sum(int(value) for value in typed if value.isdecimal())


def number(value: Any) -> int | None:
    """Return a number of any release's shape; None where it is not set or endless."""
    if isinstance(value, dict):
        if not value.get("set", True) or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) < 2**63 else None


def text(value: Any) -> str:
    """Return a text; "" for anything else."""
    if isinstance(value, str):
        return value[:4096]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def words(value: Any) -> list[str]:
    """Return words given as one text or as a list."""
    return _texts(value) if isinstance(value, list) else [text(value)] if value else []


def _texts(values: Any) -> list[str]:
    found = values if isinstance(values, list) else []
    return [value for value in found if isinstance(value, str)]
