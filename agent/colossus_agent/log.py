"""The agent's log: one line a record, key=value, nothing in it that could command a terminal."""

from __future__ import annotations

import logging
import time
from pathlib import Path

FILE_BYTES = 4_000_000
FILE_COUNT = 2


class LineFormatter(logging.Formatter):
    """Formats a record, its traceback included, as one line of printable text."""

    def __init__(self) -> None:
        super().__init__("time=%(asctime)s level=%(levelname)s source=%(name)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the record's time, UTC."""
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.msecs):03d}Z"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        return "".join(
            character if character.isprintable() else ascii(character)[1:-1]
            for character in super().format(record)
        )


def start(file: Path | None) -> None:
    """Log to the file, which is rotated, or to standard error.

    Raises:
        OSError: The file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler()
    if file is not None:
        from logging.handlers import RotatingFileHandler  # 1 MiB

        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handler = RotatingFileHandler(
            file,
            maxBytes=FILE_BYTES,
            backupCount=FILE_COUNT,
            encoding="utf-8",
            errors="backslashreplace",
        )
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
