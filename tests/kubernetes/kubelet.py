"""Pods as real processes of this machine, each with a pid namespace of its own as in Kubernetes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.kubernetes.store import Body

_FIELD = re.compile(r"(metadata|spec)\.(\w+)(?:\['([^']+)'\])?")


class Container:
    """One container: what made its namespace, and its first process inside."""

    def __init__(self, argv: list[str], environment: dict[str, str], output: Path) -> None:
        self._killed_at = 0.0
        with output.open("ab") as file:
            self._parent = subprocess.Popen(
                ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", *argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._parent.poll()

    def end(self, grace_seconds: float) -> bool:
        """Go on ending it, SIGTERM first and SIGKILL after the grace; return whether it has."""
        if self._parent.poll() is not None:
            return True
        now = time.monotonic()
        if not self._killed_at:
            self._killed_at = now + grace_seconds
            self._send(signal.SIGTERM)
        elif now > self._killed_at:
            self._send(signal.SIGKILL)
        return False

    def _send(self, number: int) -> None:
        pid = self._parent.pid
        try:
            inside = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for child in inside:
                os.kill(int(child), number)
        except (OSError, ProcessLookupError):
            return

    def kill(self) -> None:
        """End it at once."""
        self._parent.kill()
        self._parent.wait()


class Kubelet:
    """Starts and ends the containers of all nodes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._containers: dict[str, Container] = {}

    def start(self, pod: Body) -> None:
        """Start a pod's container with the environment that its spec gives it."""
        (container,) = pod["spec"]["containers"]
        environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        for variable in container.get("env", []):
            environment[variable["name"]] = _value(pod, variable)
        argv = [*container.get("command", []), *container.get("args", [])]
        output = self._folder / f"{pod['metadata']['name']}.out"
        self._containers[pod["metadata"]["uid"]] = Container(argv, environment, output)

    def exit_code(self, pod: Body) -> int | None:
        """How a pod's container ended; None while it runs."""
        return self._containers[pod["metadata"]["uid"]].exit_code

    def is_ended(self, pod: Body) -> bool:
        """Go on ending a pod that is to be deleted; return whether it has ended."""
        container = self._containers.get(pod["metadata"]["uid"])
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
        return container is None or container.end(grace)

    def close(self) -> None:
        """End everything."""
        for container in self._containers.values():
            if container.exit_code is None:
                container.kill()


def _value(pod: Body, variable: Body) -> str:
    """Return a variable's value; pkg/fieldpath/fieldpath.go resolves a field of the pod."""
    if "valueFrom" not in variable:
        return str(variable.get("value", ""))
    path = variable["valueFrom"]["fieldRef"]["fieldPath"]
    match = _FIELD.fullmatch(path)
    assert match is not None, path
    found = pod.get(match[1], {}).get(match[2], "")
    return str(found.get(match[3], "")) if match[3] else str(found)
