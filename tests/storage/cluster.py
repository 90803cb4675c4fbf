"""A PostgreSQL of Debian's packages in a folder of its own, on a Unix socket, without a service."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

BIN = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), Path())
OWNER = "postgres"
CONFIG = """
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777
shared_buffers = 16MB
max_connections = 60
autovacuum = off
"""


class Cluster:
    """One server; it refuses to run as root, so there it runs as the packages' own user."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="colossus-pg-"))  # short: it holds a socket
        self._is_root = os.geteuid() == 0
        if self._is_root:
            owner = pwd.getpwnam(OWNER)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.folder.chmod(0o711)
        self._data = self.folder / "data"
        self._run(
            "initdb", "-D", str(self._data), "-U", "hub", "-A", "trust", "--no-sync", "-E", "UTF8"
        )
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(CONFIG.format(folder=self.folder))
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        as_owner = ["runuser", "-u", OWNER, "--"] if self._is_root else []
        subprocess.run(
            [*as_owner, str(BIN / program), *arguments],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            timeout=30,
        )

    def start(self) -> None:
        """Start the server and wait until it answers."""
        log = str(self.folder / "log")
        if self._is_root:
            self.folder.chmod(0o777)
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "20", "-l", log, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server; "immediate" is a crash."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "20", "-m", mode, "stop")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the server and to every session."""
        text = (self._data / "postmaster.pid").read_text()
        pid = int(text.split()[0])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in [pid, *map(int, children)]:
            os.kill(each, number)

    def make_database(self, name: str) -> str:
        """Make an empty database and return its address."""
        self.query(f"create database {name}", self._address("postgres"))
        return self._address(name)

    def _address(self, name: str) -> str:
        return f"postgresql://hub@/{name}?host={self.folder}"

    def query(self, sql: str, address: str) -> list[str]:
        """Return the rows that a query finds, each as text with | between its columns."""
        result = subprocess.run(
            ["psql", "-d", address, "-XAtc", sql],
            check=True,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return result.stdout.splitlines()

    def close(self) -> None:
        """Stop the server and remove its folder."""
        if (self._data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
