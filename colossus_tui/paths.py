"""Where things are kept on this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SOCKET_LIMIT = 107  # sun_path less its final NUL


class PathError(Exception):
    """A folder cannot be used; the message names it and the remedy."""


def state_dir() -> Path:
    """Return the folder of all local state."""
    if named := os.environ.get("COLOSSUS_STATE_DIR"):
        return Path(named)
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "colossus"


def runtime_dir() -> Path:
    """Return the folder of sockets and locks."""
    if named := os.environ.get("COLOSSUS_RUNTIME_DIR"):
        return Path(named)
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "colossus"
    return state_dir() / "run"


def config_dir() -> Path:
    """Return the folder of what this user has chosen."""
    if named := os.environ.get("COLOSSUS_CONFIG_DIR"):
        return Path(named)
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "colossus"


def export_dir() -> Path:
    """Return the folder of what the console exports."""
    named = os.environ.get("COLOSSUS_EXPORT_DIR")
    return Path(named) if named else Path.home() / "colossus-exports"


def hub_socket() -> Path:
    """Return the Unix socket of this user's hub; a short one where the usual is too long."""
    path = runtime_dir() / "hub.sock"
    if len(str(path).encode()) <= SOCKET_LIMIT:
        return path
    return Path(tempfile.gettempdir()) / f"colossus-{os.getuid()}" / "hub.sock"


def make_private(path: Path, setting: str = "COLOSSUS_STATE_DIR") -> Path:
    """Make a folder that is its owner's alone, and return it.

    Raises:
        PathError: It exists and is somebody else's, or cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
        if status.st_uid != os.getuid():
            raise PathError(f"{path} belongs to somebody else; set COLOSSUS_RUNTIME_DIR")
        if status.st_mode & 0o077:
            path.chmod(0o700)
    except OSError as error:
        raise PathError(f"{path}: {error.strerror}; set {setting}") from None
    return path
