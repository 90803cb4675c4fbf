"""The same jobs as `squeue --json` of five releases gives them, and nodes as `sinfo --json` does.

Made after the documented shapes of Slurm's REST API, which the JSON follows, and after published
examples of it, not from each release's schema field by field: v0.0.38 for 22.05, v0.0.39 for
23.02, v0.0.40 for 23.11, v0.0.41 for 24.05, v0.0.43 for 25.05. What a real 22.05.8 printed lies
beside this file as *-22.05-recorded.json, cut to the fields that are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RELEASES = ("22.05", "23.02", "23.11", "24.05", "25.05")


@dataclass(frozen=True)
class Truth:
    """A job as it is, whatever a release makes of it."""

    job_id: int
    name: str
    states: tuple[str, ...]  # the base state first
    reason: str = "None"
    priority: int = 4_294_901_000
    hold: bool = False
    restarts: int = 0
    nodes: tuple[str, ...] = ()
    gpus: int = 0
    array: tuple[int, int | None, str] = (0, None, "")
    het: tuple[int, int] = (0, 0)
    exit_code: int = 0
    signal: int = 0


JOBS = (
    Truth(11, "waits", ("PENDING",), "Resources"),
    Truth(12, "runs", ("RUNNING",), nodes=("n1", "n2", "n3"), gpus=12),
    Truth(20, "sweep", ("PENDING",), "JobArrayTaskLimit", array=(20, None, "2-3%2")),
    Truth(21, "sweep", ("RUNNING",), nodes=("n4",), gpus=4, array=(20, 0, "")),
    Truth(30, "mixed", ("RUNNING",), nodes=("n5",), gpus=4, het=(30, 0)),
    Truth(31, "mixed", ("RUNNING",), nodes=("n6", "n7"), gpus=8, het=(30, 1)),
    Truth(40, "held", ("PENDING",), "JobHeldUser", priority=0, hold=True),
    Truth(41, "again", ("PENDING",), "BeginTime", restarts=1),
    Truth(42, "leaves", ("RUNNING", "COMPLETING"), nodes=("n8",), gpus=4),
    Truth(50, "three", ("FAILED",), "NonZeroExitCode", exit_code=3),
    Truth(51, "nine", ("FAILED",), "NonZeroExitCode", signal=9),
    Truth(52, "done", ("COMPLETED",)),
)


def document(release: str) -> dict[str, Any]:
    """Return what `squeue --json` prints of JOBS."""
    return {"meta": {}, "errors": [], "jobs": [_job(release, job) for job in JOBS]}


def nodes_document(release: str) -> dict[str, Any]:
    """Return what `sinfo --json` prints of an idle pair, a busy node and a drained one."""
    if release == "22.05":
        groups: list[tuple[str, str, list[str], str]] = [
            ("n1", "idle", [], ""),
            ("n2", "idle", [], ""),
            ("n3", "allocated", [], ""),
            ("n4", "idle", ["DRAIN"], "fan"),
        ]
        return {
            "meta": {},
            "nodes": [
                {"name": name, "state": state, "state_flags": flags, "reason": reason}
                for name, state, flags, reason in groups
            ],
        }
    sinfo = [
        (["n1", "n2"], ["IDLE"], ""),
        (["n3"], ["ALLOCATED"], ""),
        (["n4"], ["IDLE", "DRAIN"], "fan"),
    ]
    return {
        "meta": {},
        "sinfo": [
            {
                "node": {"state": states},
                "nodes": {"allocated": 0, "total": len(names), "nodes": names},
                "reason": {"time": 0, "description": why, "user": "root"},
            }
            for names, states, why in sinfo
        ],
    }


def _job(release: str, job: Truth) -> dict[str, Any]:
    number = plain if release == "22.05" else boxed
    task = job.array[1]
    record: dict[str, Any] = {
        "job_id": job.job_id,
        "name": job.name,
        "state_reason": job.reason,
        "state_description": "",
        "user_name": "ada",
        "partition": "gpu",
        "qos": "normal",
        "comment": "",
        "command": "/home/ada/job.sh",
        "requeue": True,
        "restart_cnt": job.restarts,
        "nodes": _short(job.nodes),
        "priority": number(job.priority),
        "node_count": number(max(1, len(job.nodes))),
        "array_job_id": number(job.array[0]),
        "array_task_id": number(task),
        "array_task_string": job.array[2],
        "het_job_id": number(job.het[0]),
        "het_job_offset": number(job.het[1]),
        "submit_time": number(1_700_000_000),
        "start_time": number(1_700_000_100 if job.nodes else 0),
        "tres_alloc_str": f"cpu=8,node=1,gres/gpu={job.gpus},gres/gpu:h100={job.gpus}"
        if job.gpus
        else "",
        "job_state": _states(release, job),
        "flags": ["JOB_ACCRUE_OVER"],
        "exit_code": _exit(release, job),
        "job_resources": _resources(release, job),
    }
    if release != "22.05":
        record["hold"] = job.hold
    return record


def plain(value: int | None) -> int | None:
    """Return a number as 22.05 prints it."""
    return value


def boxed(value: int | None) -> dict[str, Any]:
    """Return a number as the releases since 23.02 print it."""
    return {"set": value is not None, "infinite": False, "number": value or 0}


def _states(release: str, job: Truth) -> str | list[str]:
    if release in ("22.05", "23.02"):  # one word: a job on its way out is COMPLETING
        return job.states[-1]
    return list(job.states)


def _exit(release: str, job: Truth) -> Any:
    if release == "22.05":
        return job.exit_code << 8 | job.signal
    status = "SIGNALED" if job.signal else "ERROR" if job.exit_code else "SUCCESS"
    if release == "23.02":
        signal = {"signal_id": job.signal, "name": "KILL"} if job.signal else {}
        return {"status": status, "return_code": job.exit_code, "signal": signal}
    return {
        "status": [status],
        "return_code": boxed(job.exit_code),
        "signal": {"id": boxed(job.signal or None), "name": "KILL" if job.signal else ""},
    }


def _resources(release: str, job: Truth) -> Any:
    if not job.nodes:
        return {} if release in ("22.05", "23.02") else None
    if release in ("24.05", "25.05"):
        return {
            "select_type": ["CPU"],
            "nodes": {
                "count": len(job.nodes),
                "list": _short(job.nodes),
                "whole": False,
                "allocation": [{"index": i, "name": name} for i, name in enumerate(job.nodes)],
            },
        }
    allocated = [{"nodename": name, "cpus_used": 8} for name in job.nodes]
    return {"nodes": _short(job.nodes), "allocated_nodes": allocated}


def _short(names: tuple[str, ...]) -> str:
    if len(names) < 2:
        return "".join(names)
    return f"n[{names[0][1:]}-{names[-1][1:]}]"


def without_short_names(found: dict[str, Any]) -> dict[str, Any]:
    """Return the document without the short lists of nodes: the long ones must do."""
    return found | {"jobs": [job | {"nodes": ""} for job in found["jobs"]]}
