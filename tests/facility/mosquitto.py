"""A real MQTT broker on loopback, with a folder of its own."""

from __future__ import annotations

import getpass
import json
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.publish

from tests.export.prometheus import free_port
from tests.support import until


class Mosquitto:
    """One broker; it keeps its port when it is started again.

    Args:
        settings: More lines of its configuration, of the listener.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ("allow_anonymous true",)) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.configure(settings)

    def configure(self, settings: Sequence[str]) -> None:
        """Write its configuration anew; it is read when it starts."""
        lines = [f"listener {self.port} 127.0.0.1", f"user {getpass.getuser()}", *settings]
        (self._folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        with (self._folder / "mosquitto.out").open("ab") as output:
            self._process = subprocess.Popen(
                ["mosquitto", "-v", "-c", str(self._folder / "mosquitto.conf")],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        until(self._answers, 10, message="the broker")

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        """Return what it says."""
        return (self._folder / "mosquitto.out").read_text(errors="replace")

    def stop(self) -> None:
        """End it, without a word to its clients."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def say(self, topic: str, payload: str | bytes | float, *, retain: bool = False) -> None:
        """Publish a payload."""
        data = payload if isinstance(payload, bytes) else str(payload)
        paho.mqtt.publish.single(
            topic, data, qos=1, retain=retain, hostname="127.0.0.1", port=self.port
        )

    def tell(self, topic: str, value: Any, **more: Any) -> None:
        """Publish an object with a value, and what else is given."""
        self.say(topic, json.dumps({"value": value, **more}))
