"""The hub's settings of one Kubernetes, checked."""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from colossus_tui.model import PriorityClass

NAMES = (
    "kubeconfig",
    "context",
    "namespaces",
    "label_selector",
    "poll_seconds",
    "resync_seconds",
    "classes",
)
SERVICE_HOST = "KUBERNETES_SERVICE_HOST"  # Kubernetes sets it in every pod
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class KubernetesConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class KubernetesConfig:
    """Checked settings.

    Attributes:
        kubeconfig: File that says where and who; None for the account of the hub's own pod.
        context: Context of that file; "" for its current one.
        namespaces: Only what is in these; empty for all, which needs a role for the whole cluster.
        label_selector: Only Jobs and JobSets that it matches, in Kubernetes' own syntax.
        poll_seconds: Time between two questions whether the API server is there, beside watches.
        resync_seconds: Time after which everything is listed anew.
        pods: Class of each named PriorityClass of pods.
        queue: Name of Kueue's WorkloadPriorityClass for a class, where the site names one.
    """

    kubeconfig: Path | None = None
    context: str = ""
    namespaces: tuple[str, ...] = ()
    label_selector: str = ""
    poll_seconds: float = 5.0
    resync_seconds: float = 600.0
    pods: Mapping[str, PriorityClass] = field(default_factory=dict)
    queue: Mapping[PriorityClass, str] = field(default_factory=dict)

    @property
    def class_of_name(self) -> Mapping[str, PriorityClass]:
        """Class that each named priority class stands for, of pods or of Kueue."""
        return {**self.pods, **{name: found for found, name in self.queue.items()}}


def parse(table: Any) -> KubernetesConfig:
    """Return the settings of a [kubernetes] table.

    Raises:
        KubernetesConfigError: One of them is wrong, or the client library is missing.
    """
    if not isinstance(table, dict):
        raise KubernetesConfigError("kubernetes must be a table, as in [kubernetes]")
    unknown = sorted(set(table) - set(NAMES))
    if unknown:
        raise KubernetesConfigError(
            f"kubernetes.{unknown[0]} is no setting; known: {', '.join(NAMES)}"
        )
    if importlib.util.find_spec("kubernetes_asyncio") is None:
        raise KubernetesConfigError(
            "kubernetes needs its client library: pip install 'colossus-tui[kubernetes]'"
        )
    pods, queue = _classes(table.get("classes", {}))
    return KubernetesConfig(
        kubeconfig=_kubeconfig(table),
        context=_text(table, "context"),
        namespaces=_namespaces(table),
        label_selector=_text(table, "label_selector"),
        poll_seconds=_seconds(table, "poll_seconds", 5.0),
        resync_seconds=_seconds(table, "resync_seconds", 600.0),
        pods=pods,
        queue=queue,
    )


def _kubeconfig(table: dict[str, Any]) -> Path | None:
    value = table.get("kubeconfig")
    if value is None:
        if not os.environ.get(SERVICE_HOST):
            raise KubernetesConfigError(
                "kubernetes.kubeconfig is missing, and this hub runs in no pod of Kubernetes; "
                'name the file, as in kubeconfig = "/etc/colossus/kubeconfig"'
            )
        if table.get("context"):
            raise KubernetesConfigError(
                "kubernetes.context needs kubernetes.kubeconfig, the file that has it"
            )
        return None
    path = Path(value).expanduser() if isinstance(value, str) else None
    if path is None or not path.is_file():
        raise KubernetesConfigError(f"kubernetes.kubeconfig {value!r}: there is no such file")
    return path


def _text(table: dict[str, Any], name: str) -> str:
    value = table.get(name, "")
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1_024:
        raise KubernetesConfigError(f"kubernetes.{name} must be a text on one line")
    return value


def _namespaces(table: dict[str, Any]) -> tuple[str, ...]:
    value = table.get("namespaces", [])
    if not isinstance(value, list) or not all(
        isinstance(name, str) and _DNS_LABEL.fullmatch(name) for name in value
    ):
        raise KubernetesConfigError(
            'kubernetes.namespaces must be a list of namespaces, as in ["training"]'
        )
    return tuple(dict.fromkeys(value))


def _seconds(table: dict[str, Any], name: str, default: float) -> float:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 3600:
        raise KubernetesConfigError(f"kubernetes.{name} must be 1 to 3600 seconds")
    return float(value)


def _classes(table: Any) -> tuple[dict[str, PriorityClass], dict[PriorityClass, str]]:
    if not isinstance(table, dict):
        raise KubernetesConfigError("kubernetes.classes must be a table: [kubernetes.classes.P0]")
    pods: dict[str, PriorityClass] = {}
    queue: dict[PriorityClass, str] = {}
    for name, settings in table.items():
        where = f"kubernetes.classes.{name}"
        if name not in list(PriorityClass):
            raise KubernetesConfigError(f"{where}: the classes are P0 to P4")
        if not isinstance(settings, dict) or set(settings) - {"pods", "kueue"}:
            raise KubernetesConfigError(f"{where} may have pods and kueue, nothing else")
        if "pods" in settings:
            pods[_name(settings["pods"], f"{where}.pods", "PriorityClass")] = PriorityClass(name)
        if "kueue" in settings:
            kind = "WorkloadPriorityClass"
            queue[PriorityClass(name)] = _name(settings["kueue"], f"{where}.kueue", kind)
    return pods, queue


def _name(value: Any, where: str, kind: str) -> str:
    if not isinstance(value, str) or not _DNS_NAME.fullmatch(value):
        raise KubernetesConfigError(f"{where} must be the name of a {kind}")
    return value
