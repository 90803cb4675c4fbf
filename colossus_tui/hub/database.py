"""One SQLite file, one thread that touches it, every write on disk before it is believed."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
SCHEMA = """
create table if not exists actions (
    action_id text primary key, run_id text not null, requested_ns integer not null,
    ended integer not null, body blob not null
);
create index if not exists actions_by_run on actions (run_id, requested_ns);
create table if not exists events (
    event_id integer primary key, time_ns integer not null, body blob not null
);
create table if not exists runs (run_id text primary key, body text not null);
create table if not exists steps (
    run_id text not null, step integer not null, time_ns integer not null, loss real,
    grad_norm real, step_seconds real, tokens integer not null,
    primary key (run_id, step)
) without rowid;
"""


class DatabaseError(Exception):
    """The file cannot be used; the message names it and the remedy."""


class Database:
    """The hub's durable state.

    Raises:
        DatabaseError: The file is damaged or of a newer version.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(1, "database")
        self._path = path
        self._connection = self._thread.submit(self._open).result()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        self._path.chmod(0o600)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            (version,) = connection.execute("pragma user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise DatabaseError(f"{self._path}: written by a newer hub; use that one")
            connection.executescript(SCHEMA)
            connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise DatabaseError(f"{self._path}: {error}; move it aside to start anew") from None
        return connection

    def fetch_now(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows, blocking; for the hub's start."""
        return self._thread.submit(self._fetch, statement, parameters).result()

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, parameters).fetchall()

    async def write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows in one transaction; they are on disk when this returns."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write, statement, list(rows))

    def _write(self, statement: str, rows: list[Sequence[Any]]) -> None:
        if not rows:
            return
        self._connection.execute("begin immediate")
        try:
            self._connection.executemany(statement, rows)
        except BaseException:
            self._connection.execute("rollback")
            raise
        self._connection.execute("commit")

    def close(self) -> None:
        """Finish what waits and close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
