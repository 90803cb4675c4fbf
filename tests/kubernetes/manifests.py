"""Jobs and JobSets as docs/kubernetes.md asks users to write them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Body = dict[str, Any]
GPU = "nvidia.com/gpu"
ENDLESS = 1_000_000  # steps


def field(name: str, path: str) -> Body:
    """Return a variable that takes its value from a field of the pod."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def variables(world_size: int, job_label: str) -> list[Body]:
    """Return what the hook needs to know."""
    return [
        field("COLOSSUS_NAMESPACE", "metadata.namespace"),
        field("COLOSSUS_JOB", f"metadata.labels['{job_label}']"),
        field("COLOSSUS_NODE", "spec.nodeName"),
        field("COLOSSUS_ATTEMPT", "metadata.annotations['colossus-tui/attempt']"),
        {"name": "COLOSSUS_WORLD_SIZE", "value": str(world_size)},
    ]


def template(argv: list[str], env: list[Body], gpus: int = 4, image: str = "trainer") -> Body:
    """Return a pod template whose one container runs a command."""
    return {
        "metadata": {},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": argv,
                    "env": env,
                    "resources": {"limits": {GPU: str(gpus)}} if gpus else {},
                }
            ],
        },
    }


def job(name: str, pods: Body, count: int = 1, labels: Mapping[str, str] | None = None) -> Body:
    """Return an indexed Job."""
    return {
        "metadata": {"name": name, "labels": dict(labels or {})},
        "spec": {
            "completionMode": "Indexed",
            "parallelism": count,
            "completions": count,
            "backoffLimit": 0,
            "template": pods,
        },
    }


def jobset(name: str, pods: Body, replicas: int) -> Body:
    """Return a JobSet of so many Jobs with one pod each."""
    inner = job(name, pods)["spec"]
    parts = [{"name": "worker", "replicas": replicas, "template": {"spec": inner}}]
    return {"metadata": {"name": name, "labels": {}}, "spec": {"replicatedJobs": parts}}


def training(name: str, folder: Path, steps: int) -> list[str]:
    """Return the command of a small real training."""
    pace = 5 if steps == ENDLESS else 10  # many that wait cost what the machine has
    return [
        *(sys.executable, "-m", "colossus_tui.demo.train", "--name", name),
        *("--checkpoint-dir", str(folder), "--seed", "7", "--steps-per-second", str(pace)),
        *("--max-steps", str(steps), "--checkpoint-seconds", "1000"),
    ]
