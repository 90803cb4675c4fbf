"""The agent's settings: command line over environment over file over default, all checked."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NODE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
SETTINGS = (
    "hub",
    "node_name",
    "state_dir",
    "rack",
    "hall",
    "sample_seconds",
    "log_file",
    "cuda_checkpoint",
)


class ConfigError(ValueError):
    """A setting is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """Checked settings of one agent."""

    hubs: tuple[str, ...]  # in the order in which to try them
    node_name: str
    state_dir: Path
    rack: str = ""
    hall: str = ""
    sample_seconds: float = 1.0
    log_file: Path | None = None
    cuda_checkpoint: str = ""  # path of NVIDIA's program; "" forbids its use
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
        if not path.startswith("/") or len(os.fsencode(path)) > 107 or not path.isprintable():
            raise ConfigError(
                f"hub {address!r}: give an absolute path of at most 107 bytes after 'unix:'"
            )
        return address
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f"hub {address!r}: give unix:/path or HOST:PORT")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigError(f"hub {address!r}: put an IPv6 address in brackets, as in [::1]:{port}")
    bare = host.strip("[]")
    if bare != "localhost":
        try:
            is_loopback = ipaddress.ip_address(bare).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise ConfigError(
                f"hub {address!r}: leaves this machine, which needs TLS; TLS is not configured, "
                "so give unix:/path, localhost:PORT, 127.0.0.1:PORT or [::1]:PORT"
            )
    return address


def parse_hubs(text: str) -> tuple[str, ...]:
    """Return the hubs or relays to link to, in the order in which to try them.

    Raises:
        ConfigError: One of them is wrong.
    """
    return tuple(parse_hub(part.strip()) for part in text.split(",")) if text else ()


def resolve(
    arguments: argparse.Namespace,
    environment: Mapping[str, str] = os.environ,
    *,
    hub_needed: bool = True,
) -> AgentConfig:
    """Return the settings; there may be no hub where it is not needed.

    Raises:
        ConfigError: One of them is wrong.
    """
    file = arguments.config or environment.get("COLOSSUS_CONFIG")
    values = _file(file) if file else {}
    for name in SETTINGS:
        if text := environment.get(f"COLOSSUS_{name.upper()}"):
            values[name] = text
        if getattr(arguments, name, None) is not None:
            values[name] = getattr(arguments, name)
    hub = _text(values, "hub")
    if not hub and hub_needed:
        raise ConfigError("hub: not given; use --hub unix:/path or HOST:PORT, or COLOSSUS_HUB")
    node_name = _text(values, "node_name") or socket.gethostname()
    state_dir = _text(values, "state_dir")
    folder = Path(state_dir) if state_dir else default_state_dir(environment)
    log_file = _text(values, "log_file")
    return AgentConfig(
        hubs=parse_hubs(hub),
        node_name=_label("node_name", node_name),
        state_dir=folder.absolute() / "agent",
        rack=_label("rack", _text(values, "rack")),
        hall=_label("hall", _text(values, "hall")),
        sample_seconds=_seconds(values.get("sample_seconds", 1.0)),
        log_file=Path(log_file) if log_file else None,
        cuda_checkpoint=_program("cuda_checkpoint", _text(values, "cuda_checkpoint")),
        lifeline=arguments.lifeline,
    )


def make_state_dir(config: AgentConfig) -> None:
    """Make the folder of the agent's state, readable by its owner only.

    Raises:
        ConfigError: It cannot be made or written to.
    """
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(config.state_dir, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(
            f"state_dir {str(config.state_dir.parent)!r}: {error.strerror}; "
            "name a folder that this user can write to with --state-dir"
        ) from None


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise ConfigError(f"{name} {value!r}: must be text without NUL")
    return value


def _program(name: str, path: str) -> str:
    if path and not (path.startswith("/") and path.isprintable()):
        raise ConfigError(f"{name} {path[:200]!r}: give the absolute path of the program")
    return path


def _label(name: str, value: str) -> str:
    if value and not NODE_NAME.fullmatch(value):
        raise ConfigError(
            f"{name} {value[:80]!r}: give up to 253 letters, digits, '.', '_' or '-', "
            "a letter or digit first"
        )
    return value


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not 0.1 <= seconds <= 60:
        raise ConfigError(f"sample_seconds {value!r}: give a number from 0.1 to 60")
    return seconds


def _file(path: str) -> dict[str, Any]:
    import tomllib  # only a node with a settings file pays for it

    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"config {path!r}: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config {path!r}: {error}") from None
    unknown = sorted(set(values) - set(SETTINGS))
    if unknown:
        raise ConfigError(
            f"config {path!r}: {unknown[0]!r} is no setting; known are {', '.join(SETTINGS)}"
        )
    return values
