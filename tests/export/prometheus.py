"""A real Prometheus that takes remote writes, on loopback, with a folder of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.support import until

Series = dict[frozenset[tuple[str, str]], float]


class Prometheus:
    """One server; it keeps its port and its data when it is started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        (folder / "prometheus.yml").write_text("global: {}\n")

    @property
    def url(self) -> str:
        """Where it takes remote writes."""
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with (self._folder / "prometheus.out").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder}/prometheus.yml",
                    f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-remote-write-receiver",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until(self._is_ready, 20, message="Prometheus")

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "prometheus.out").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it, as its service would."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def query(self, text: str) -> Series:
        """Return what an expression yields now, by its labels."""
        result = self._asked("query", query=text)["result"]
        return {frozenset(each["metric"].items()): float(each["value"][1]) for each in result}

    def value(self, text: str) -> float | None:
        """Return the value of an expression that yields one series; None for none."""
        found = list(self.query(text).values())
        assert len(found) <= 1, found
        return found[0] if found else None

    def times(self, selector: str) -> list[float]:
        """Return the times of a series' samples in the last minutes, seconds."""
        result = self._asked("query", query=f"{selector}[5m]")["result"]
        return [time for each in result for time, _ in each["values"]]

    def _asked(self, what: str, **parameters: str) -> Any:
        address = f"http://127.0.0.1:{self.port}/api/v1/{what}?"
        with urllib.request.urlopen(address + urllib.parse.urlencode(parameters)) as answer:
            return json.load(answer)["data"]


def free_port() -> int:
    """Return a port of loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
