"""Where a hub's durable state lies: a SQLite file of its own, or a PostgreSQL that hubs share."""

from __future__ import annotations

from pathlib import Path

from colossus_tui.hub.storage.base import DatabaseAwayError, DatabaseError, Storage

__all__ = ["DatabaseAwayError", "DatabaseError", "Storage", "open_storage"]


def open_storage(store: str, hub_name: str, file: Path) -> Storage | Path:
    """Return the shared database when one is named, else the file.

    Raises:
        DatabaseError: Its client library is missing, or the address is malformed.
    """
    if not store:
        return file
    try:
        from colossus_tui.hub.storage.postgres import PostgresStorage  # an extra
    except ImportError:
        raise DatabaseError(
            "store: a PostgreSQL needs its client library: pip install 'colossus-tui[postgres]'"
        ) from None
    return PostgresStorage(store, hub_name)
