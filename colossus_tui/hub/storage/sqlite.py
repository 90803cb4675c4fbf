"""A SQLite file: the storage of a hub that shares nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from colossus_tui.hub.storage.base import DatabaseAwayError, DatabaseError, Row

SCHEMA_VERSION = 2
# The key's columns come first: SQLite 3.40 calls a table without row ids damaged otherwise.
SCHEMA = """
create table if not exists actions (
    action_id text not null, run_id text not null, requested_ns integer not null,
    ended integer not null, body blob not null, hub text not null,
    written_ns integer not null default 0, primary key (action_id, hub)
);
create index if not exists actions_by_run on actions (run_id, requested_ns);
create table if not exists events (
    event_id integer not null, hub text not null, time_ns integer not null, body blob not null,
    primary key (event_id, hub)
) without rowid;
create table if not exists runs (
    run_id text not null, body text not null, hub text not null, primary key (run_id, hub)
);
create table if not exists steps (
    run_id text not null, step integer not null, hub text not null, time_ns integer not null,
    loss real, grad_norm real, step_seconds real, tokens integer not null,
    primary key (run_id, step, hub)
) without rowid;
create table if not exists curves (
    run_id text not null, body text not null, hub text not null, primary key (run_id, hub)
);
create table if not exists incidents (
    incident_id integer not null, hub text not null, closed_ns integer not null, body blob not null,
    primary key (incident_id, hub)
);
"""
# Version 1 had no column for the hub, and actions none for when they were last written.
FIRST_VERSION = {
    "actions": "action_id, run_id, requested_ns, ended, body",
    "events": "event_id, time_ns, body",
    "runs": "run_id, body",
    "steps": "run_id, step, time_ns, loss, grad_norm, step_seconds, tokens",
}


class SqliteStorage:
    """The file; every write is on disk before it is believed."""

    hub = ""  # a file is one hub's, whatever that hub is called today
    patience_seconds: float | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            DatabaseError: It is damaged or of a newer version.
        """
        self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            connection = sqlite3.connect(self._path, isolation_level=None)
            self._path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise DatabaseError(f"{self._path}: {error}") from None
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            (version,) = connection.execute("pragma user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise DatabaseError(f"{self._path}: written by a newer hub; use that one")
            if version == 1:
                _migrate(connection)
            connection.executescript(SCHEMA)
            connection.execute(f"pragma user_version = {SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise DatabaseError(f"{self._path}: {error}; move it aside to start anew") from None
        except DatabaseError:
            connection.close()
            raise
        self._connection = connection

    def fetch(self, statement: str, parameters: Row) -> list[tuple[Any, ...]]:
        """Return rows."""
        return self._opened().execute(statement, parameters).fetchall()

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Write rows in one transaction.

        Raises:
            DatabaseAwayError: The disk is full or does not answer.
            DatabaseError: A row cannot be written.
        """
        connection = self._opened()
        try:
            connection.execute("begin immediate")
            connection.executemany(statement, rows)
            connection.execute("commit")
        except BaseException as error:
            if connection.in_transaction:
                connection.execute("rollback")
            if isinstance(error, sqlite3.OperationalError):
                raise DatabaseAwayError(f"{self._path}: {error}") from None
            if isinstance(error, sqlite3.Error | OverflowError):
                raise DatabaseError(f"{self._path}: {error}") from None
            raise

    def abort(self) -> None:
        """Do nothing: a file on this machine is waited for."""

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise DatabaseError(f"{self._path}: closed")
        return self._connection


def _migrate(connection: sqlite3.Connection) -> None:
    """Take version 1 over, all or nothing."""
    moved = "".join(f"alter table {table} rename to old_{table};" for table in FIRST_VERSION)
    copied = "".join(
        f"insert into {table} ({columns}, hub) select {columns}, '' from old_{table};"
        f"drop table old_{table};"
        for table, columns in FIRST_VERSION.items()
    )
    try:
        connection.executescript(
            f"begin immediate; {moved} drop index if exists actions_by_run; {SCHEMA} {copied} "
            f"pragma user_version = {SCHEMA_VERSION}; commit;"
        )
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise
