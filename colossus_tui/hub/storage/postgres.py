"""A PostgreSQL that several hubs share; the only module that imports psycopg."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo

from colossus_tui.hub.storage.base import DatabaseAwayError, DatabaseError, Row

_Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"

SCHEMA_VERSION = 1
# Names are compared byte by byte, as SQLite and the hub itself do.
SCHEMA = """
create table actions (
    action_id text collate "C" not null, run_id text collate "C" not null,
    requested_ns bigint not null, ended integer not null, body bytea not null,
    hub text collate "C" not null, written_ns bigint not null, primary key (action_id, hub)
);
create index actions_by_request on actions (hub, requested_ns);
create index actions_by_change on actions (hub, written_ns);
create table events (
    event_id bigint not null, time_ns bigint not null, body bytea not null,
    hub text collate "C" not null, primary key (hub, event_id)
);
create index events_by_time on events (time_ns);
create table runs (
    run_id text collate "C" not null, body text not null, hub text collate "C" not null,
    primary key (hub, run_id)
);
create table steps (
    run_id text collate "C" not null, step bigint not null, time_ns bigint not null,
    loss double precision, grad_norm double precision, step_seconds double precision,
    tokens bigint not null, hub text collate "C" not null, primary key (hub, run_id, step)
);
create table hubs (
    hub text collate "C" primary key, address text not null, version text not null,
    started_ns bigint not null, heartbeat timestamptz not null
);
"""
# What was added since; an older hub does not mind.
ADDED = """
create table if not exists curves (
    run_id text collate "C" not null, body text not null, hub text collate "C" not null,
    primary key (run_id, hub)
);
create table if not exists incidents (
    incident_id bigint not null, closed_ns bigint not null, body bytea not null,
    hub text collate "C" not null, primary key (hub, incident_id)
);
"""
LOCK_SECONDS = 3.0  # how long the session of a hub that was killed may take to end
# Unless the operator says otherwise: what is away is known to be away within seconds.
DEFAULTS = {
    "connect_timeout": "3",
    "target_session_attrs": "read-write",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "5000",
}
SESSION = (
    "select set_config('search_path', 'colossus', false)",
    "select set_config('synchronous_commit', 'on', false) "
    "where current_setting('synchronous_commit') = 'off'",
    # The other end must find out too: it holds this hub's name.
    "select set_config('tcp_keepalives_idle', '5', false)",
    "select set_config('tcp_keepalives_interval', '2', false)",
    "select set_config('tcp_keepalives_count', '3', false)",
)
_ROW_AT_FAULT = (psycopg.DataError, psycopg.IntegrityError)


class PostgresStorage:
    """One session; it holds the hub's name, so no write of an older session can follow its own.

    Raises:
        DatabaseError: The address is malformed.
    """

    patience_seconds: float | None = 5.0

    def __init__(self, address: str, hub: str) -> None:
        self.hub = hub
        self._secrets = _secrets(address)
        try:
            given = conninfo.conninfo_to_dict(address)
        except psycopg.Error as error:
            raise DatabaseError(f"store: {self._words(error)}") from None
        self._parameters: dict[str, Any] = (
            DEFAULTS | {"application_name": f"colossus hub {hub}"} | given
        )
        self.name = _shown(given)
        self._connection: _Connection | None = None

    def open(self) -> None:
        """Connect, take the hub's name, and make the schema where there is none.

        Raises:
            DatabaseError: It is away, of a newer version, or another hub has the name.
        """
        self.close()
        with self._errors():
            connection = psycopg.connect(**self._parameters, autocommit=True)
            try:
                for statement in SESSION:
                    connection.execute(statement.encode())
                self._take_name(connection)
                self._make_schema(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _take_name(self, connection: _Connection) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        key = _lock_key(f"hub {self.hub}")
        while True:
            row = connection.execute(b"select pg_try_advisory_lock(%s)", [key]).fetchone()
            if row is not None and row[0]:
                return
            if time.monotonic() > deadline:
                raise DatabaseError(
                    f"{self.name}: a hub named {self.hub!r} uses it already; "
                    "give this one another hub_name"
                )
            time.sleep(0.1)

    def _make_schema(self, connection: _Connection) -> None:
        with connection.transaction():
            connection.execute(b"select pg_advisory_xact_lock(%s)", [_lock_key("schema")])
            row = connection.execute(
                b"select to_regnamespace('colossus') is null, "
                b"to_regclass('colossus.schema_version') is null"
            ).fetchone()
            assert row is not None
            if row[0]:
                connection.execute(b"create schema colossus")
            if row[1]:
                connection.execute(b"create table schema_version (version integer not null)")
                connection.execute(SCHEMA.encode())
                connection.execute(b"insert into schema_version values (%s)", [SCHEMA_VERSION])
            found = connection.execute(b"select max(version) from schema_version").fetchone()
            if found is None or found[0] is None or found[0] > SCHEMA_VERSION:
                raise DatabaseError(
                    f"{self.name}: its schema colossus was written by a newer hub; use that one"
                )
            connection.execute(ADDED.encode())

    def fetch(self, statement: str, parameters: Row) -> list[tuple[Any, ...]]:
        """Return rows.

        Raises:
            DatabaseAwayError: It does not answer.
        """
        with self._errors():
            return self._opened().execute(_translated(statement), _clean(parameters)).fetchall()

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Write rows in one transaction.

        Raises:
            DatabaseAwayError: It does not answer; they may be written all the same.
        """
        with self._errors():
            connection = self._opened()
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(_translated(statement), [_clean(row) for row in rows])

    def abort(self) -> None:
        """Break the connection under whoever waits for it."""
        connection = self._connection
        if connection is None or connection.closed:
            return
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(connection.fileno())) as wire,
        ):
            wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End the session."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()

    def _opened(self) -> _Connection:
        if self._connection is None:
            raise DatabaseAwayError(f"the database {self.name} is away")
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Map the library's errors; nothing of a statement or a password is in their words."""
        try:
            yield
        except _ROW_AT_FAULT as error:
            raise DatabaseError(f"{self.name}: {self._words(error)}") from None
        except psycopg.Error as error:
            raise DatabaseAwayError(
                f"the database {self.name} is away: {self._words(error)}"
            ) from None

    def _words(self, error: psycopg.Error) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:400]


def _secrets(address: str) -> list[str]:
    """Return what in an address may be a password, longest first, also where it is malformed."""
    found = re.findall(r"//[^/@:]*:([^/]*)@", address)
    found += re.findall(r"password\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)", address)
    with suppress(psycopg.Error):
        found.append(str(conninfo.conninfo_to_dict(address).get("password") or ""))
    return sorted({one.strip("'") for one in found} - {""}, key=len, reverse=True)


def _shown(given: dict[str, Any]) -> str:
    """Return the database's address for people."""
    if service := given.get("service"):
        return f"postgresql:///?service={service}"
    user = f"{given['user']}@" if given.get("user") else ""
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{user}{given.get('host', '')}{port}/{given.get('dbname', '')}"


def _lock_key(what: str) -> int:
    """Return the number of an advisory lock."""
    digest = hashlib.sha256(f"colossus {what}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@lru_cache(maxsize=256)
def _translated(statement: str) -> bytes:
    """Return the statement with the library's own placeholders."""
    return statement.replace("%", "%%").replace("?", "%s").encode()


def _clean(row: Row) -> list[Any]:
    """Return the row without what PostgreSQL's text cannot hold."""
    return [
        value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
        for value in row
    ]
