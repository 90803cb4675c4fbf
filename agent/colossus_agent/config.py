"""The agent's settings: command line over environment over file over default, all checked."""

from __future__ import annotations

import argparse
import ipaddress
import os
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
SETTINGS = ("hub", "node_name", "state_dir", "rack", "hall", "sample_seconds", "log_file")


class ConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Checked settings of one agent."""

    hub: str
    node_name: str
    state_dir: Path
    rack: str = ""
    hall: str = ""
    sample_seconds: float = 1.0
    log_file: Path | None = None
    lifeline: bool = False


def default_state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of all local state."""
    if named := environment.get("COLOSSUS_STATE_DIR"):
        return Path(named)
    home = environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "colossus"


def parse_hub(address: str) -> str:
    """Return the address as gRPC wants it.

    Raises:
        ConfigError: It is malformed, or it leaves this machine, which needs TLS.
    """
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107:
            raise ConfigError(
                f"hub {address!r}: an absolute path of at most 107 bytes must follow 'unix:'"
            )
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"hub {address!r}: give unix:/path or HOST:PORT")
    bare = host.strip("[]")
    if bare != "localhost":
        try:
            is_loopback = ipaddress.ip_address(bare).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ConfigError(
                f"hub {address!r}: TLS is not configured, so only unix:/path, localhost, 127.0.0.1 "
                "or [::1] are allowed"
            )
    return address


def resolve(
    arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ
) -> AgentConfig:
    """Return the settings.

    Raises:
        ConfigError: One of them is wrong.
    """
    values = _file(arguments.config) if arguments.config else {}
    for name in SETTINGS:
        if text := environment.get(f"COLOSSUS_{name.upper()}"):
            values[name] = text
        if getattr(arguments, name, None) is not None:
            values[name] = getattr(arguments, name)
    if not values.get("hub"):
        raise ConfigError("hub: not given; use --hub unix:/path or HOST:PORT, or COLOSSUS_HUB")
    node_name = str(values.get("node_name") or socket.gethostname())
    if not NODE_NAME.fullmatch(node_name):
        raise ConfigError(
            f"node_name {node_name[:80]!r}: letters, digits, '.', '_' or '-', at most 253"
        )
    for label in ("rack", "hall"):
        if values.get(label) and not NODE_NAME.fullmatch(str(values[label])):
            raise ConfigError(
                f"{label} {str(values[label])[:80]!r}: letters, digits, '.', '_', '-'"
            )
    return AgentConfig(
        hub=parse_hub(str(values["hub"])),
        node_name=node_name,
        state_dir=Path(values.get("state_dir") or default_state_dir(environment)) / "agent",
        rack=str(values.get("rack", "")),
        hall=str(values.get("hall", "")),
        sample_seconds=_seconds(values.get("sample_seconds", 1.0)),
        log_file=Path(values["log_file"]) if values.get("log_file") else None,
        lifeline=arguments.lifeline,
    )


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        raise ConfigError(f"sample_seconds {value!r}: a number from 0.1 to 60")
    return seconds


def _file(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"config {path!r}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path!r}: {error}") from None
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        raise ConfigError(
            f"config {path!r}: {unknown[0]!r} is no setting; known are {', '.join(SETTINGS)}"
        )
    return values
