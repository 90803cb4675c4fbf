"""The hub's durable state: one thread that touches it, and what waits while it is away."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from colossus_tui.hub.storage.base import DatabaseAwayError, DatabaseError, Row, Storage
from colossus_tui.hub.storage.sqlite import SqliteStorage
from colossus_tui.model import Event, Severity

__all__ = ["Database", "DatabaseAwayError", "DatabaseError"]

LOG = logging.getLogger(__name__)
RETRY_SECONDS = 1.0
WAITING_ROWS = 200_000
BATCH_ROWS = 1_000
T = TypeVar("T")


class Database:
    """The hub's durable state.

    Args:
        storage: Where it lies; a path is a SQLite file.

    Raises:
        DatabaseError: It is damaged, of a newer version, in use by another hub, or away.
    """

    def __init__(self, storage: Storage | Path) -> None:
        self._storage: Storage = SqliteStorage(storage) if isinstance(storage, Path) else storage
        self._thread = ThreadPoolExecutor(1, "database")
        self._patience: float | None = None  # until the hub serves, nobody waits for anything else
        self._away = ""
        self._waiting: deque[tuple[str, Row]] = deque()
        self._lost = 0
        try:
            self._thread.submit(self._storage.open).result()
        except BaseException:
            self._thread.shutdown()
            raise

    @property
    def hub(self) -> str:
        """What this hub's rows carry."""
        return self._storage.hub

    @property
    def away(self) -> str:
        """Why the database cannot be used now; "" while it can."""
        return self._away

    @property
    def is_behind(self) -> bool:
        """Whether something that was to be kept is not on disk yet."""
        return bool(self._away or self._waiting)

    def fetch_now(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows, blocking; for the hub's start and what is asked for once in a while.

        Raises:
            DatabaseAwayError: It does not answer.
        """
        self._check()
        future = self._thread.submit(self._storage.fetch, statement, parameters)
        try:
            return future.result(self._patience)
        except TimeoutError:
            self._storage.abort()
            return self._noting(future.result)
        except DatabaseAwayError as error:
            self._away = str(error)
            raise

    async def fetch(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return rows.

        Raises:
            DatabaseAwayError: It does not answer.
        """
        self._check()
        return await self._in_thread(self._storage.fetch, statement, parameters)

    async def write(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows in one transaction; they are on disk when this returns.

        Raises:
            DatabaseAwayError: It does not answer; they may be on disk all the same.
        """
        self._check()
        await self._in_thread(self._write, statement, list(rows))

    async def keep(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Write rows; while the database is away they wait in memory, the newest WAITING_ROWS.

        Args:
            statement: May be carried out twice without harm.
        """
        kept = list(rows)
        if not self.is_behind:
            try:
                return await self.write(statement, kept)
            except DatabaseAwayError:
                pass
            except DatabaseError:
                await self._keep_each(statement, kept)
                return None
        self._waiting.extend((statement, row) for row in kept)
        while len(self._waiting) > WAITING_ROWS:
            self._waiting.popleft()
            self._lost += 1
        return None

    async def _keep_each(self, statement: str, rows: Sequence[Row]) -> None:
        """Write rows one by one; one that cannot be is left out, and does not end the hub."""
        for row in rows:
            try:
                await self._in_thread(self._write, statement, [row])
            except DatabaseAwayError:
                self._waiting.append((statement, row))
            except DatabaseError as error:
                self._lost += 1
                LOG.error("row=refused statement=%r detail=%r", statement[:60], str(error))

    def _check(self) -> None:
        if self._away:
            raise DatabaseAwayError(self._away)

    def _write(self, statement: str, rows: list[Sequence[Any]]) -> None:
        if rows:
            self._storage.write(statement, rows)

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Return what the thread made of it; what is begun is done, whoever is cancelled."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, work, *arguments)
        if self._patience is not None:
            await asyncio.wait({future}, timeout=self._patience)
            if not future.done():
                self._storage.abort()
        try:
            return await asyncio.shield(future)
        except DatabaseAwayError as error:
            self._away = str(error)
            raise

    def _noting(self, result: Callable[[], T]) -> T:
        try:
            return result()
        except DatabaseAwayError as error:
            self._away = str(error)
            raise

    # --- away and back -----------------------------------------------------------------------

    async def run(self, tell: Callable[[Event], None]) -> None:
        """Look after the connection until cancelled; say once when it goes and when it is back."""
        self._patience = self._storage.patience_seconds
        told = False
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            if self._away and not told:
                told = True
                _tell(tell, Severity.CRITICAL, "away", f"{self._away}; actions are refused")
            if self._away:
                await self._return()
            if told and not self._away:
                told = False
                lost, self._lost = self._lost, 0
                what = f"; {lost} rows of runs and events are lost" if lost else ""
                severity = Severity.WARNING if lost else Severity.INFO
                _tell(tell, severity, "back", f"the database is back{what}")

    async def _return(self) -> None:
        """Connect anew and write what waits."""
        try:
            await self._in_thread(self._storage.open)
            while self._waiting:
                await self._write_waiting()
        except DatabaseError as error:
            self._away = str(error)
        else:
            self._away = ""

    async def _write_waiting(self) -> None:
        statement = self._waiting[0][0]
        rows: list[Row] = []
        while self._waiting and len(rows) < BATCH_ROWS and self._waiting[0][0] == statement:
            rows.append(self._waiting.popleft()[1])
        try:
            await self._in_thread(self._write, statement, rows)
        except DatabaseAwayError:
            self._waiting.extendleft((statement, row) for row in reversed(rows))
            raise
        except DatabaseError:
            await self._keep_each(statement, rows)
        except BaseException:
            self._waiting.extendleft((statement, row) for row in reversed(rows))
            raise

    def close(self) -> None:
        """Finish what is begun and let go of the database."""
        if self._waiting:
            LOG.warning("database=away lost_rows=%s", len(self._waiting))
        self._thread.submit(self._storage.close).result()
        self._thread.shutdown()


def _tell(tell: Callable[[Event], None], severity: Severity, what: str, message: str) -> None:
    LOG.warning("database=%s detail=%r", what, message)
    tell(Event(severity=severity, kind=f"database.{what}", message=message))
