"""What every storage offers; the SQL given to it is the part that SQLite and PostgreSQL share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

Row: TypeAlias = Sequence[Any]


class DatabaseError(Exception):
    """The database cannot be used; the message names it and the remedy, and no password."""


class DatabaseAwayError(DatabaseError):
    """The database does not answer now; what was being written may have come to it."""


class Storage(Protocol):
    """One connection, used by one thread; only `abort` may come from another.

    Attributes:
        hub: What this hub's rows carry; "" where no other hub's rows can be.
        patience_seconds: How long a statement may take before the database counts as away.
    """

    hub: str
    patience_seconds: float | None

    def open(self) -> None:
        """Connect, or connect anew, and make the schema where there is none.

        Raises:
            DatabaseError: It is damaged, of a newer version, in use, or away.
        """

    def fetch(self, statement: str, parameters: Row) -> list[tuple[Any, ...]]:
        """Return rows."""

    def write(self, statement: str, rows: Sequence[Row]) -> None:
        """Write rows in one transaction; they are on disk when this returns."""

    def abort(self) -> None:
        """End what the connection is waiting for, and the connection."""

    def close(self) -> None:
        """Let go of the connection."""
