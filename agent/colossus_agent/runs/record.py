"""What the agent writes down of each run, so that the next agent can take it up again."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
CLASSES = ("P0", "P1", "P2", "P3", "P4")


class RunSpecError(ValueError):
    """A field of a run's specification is wrong; the message names it."""


class RecordError(Exception):
    """A record on disk is damaged; the message says which and how."""


@dataclass(frozen=True, slots=True)
class RunSpec:
    """How to start a run.

    Raises:
        RunSpecError: A field is out of its range.
    """

    run_id: str
    argv: tuple[str, ...]
    working_directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    priority_class: str = "P2"
    rank_count: int = 1
    label: str = ""
    watchdog_seconds: float = 0.0
    grace_seconds: float = 600.0
    start_id: str = ""

    def __post_init__(self) -> None:
        if not RUN_ID.fullmatch(self.run_id):
            raise RunSpecError(
                f"run_id {self.run_id[:80]!r}: 1 to 63 letters, digits, '.', '_' or '-', "
                "a letter or digit first"
            )
        if not self.argv or not self.argv[0] or any("\0" in text for text in self.argv):
            raise RunSpecError("argv: a command is needed, without NUL characters")
        if not 1 <= self.rank_count <= 1024:
            raise RunSpecError(f"rank_count {self.rank_count}: 1 to 1024")
        if self.priority_class not in CLASSES:
            raise RunSpecError(f"priority_class {self.priority_class!r}: one of P0 to P4")
        if not 0 <= self.watchdog_seconds <= 86400 * 30:
            raise RunSpecError(f"watchdog_seconds {self.watchdog_seconds}: 0 to 30 days")
        if not 0 <= self.grace_seconds <= 86400:
            raise RunSpecError(f"grace_seconds {self.grace_seconds}: 0 to 86400")
        wrong = [name for name in self.environment if not name or "=" in name or "\0" in name]
        if wrong:
            raise RunSpecError(f"environment: {wrong[0][:40]!r} is no variable's name")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in the file, or None when there is no such file.

    Raises:
        RecordError: There is a file and it is damaged.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="strict")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path.name}: {error}") from None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise RecordError(f"{path.name}: {error}") from None
    if not isinstance(value, dict):
        raise RecordError(f"{path.name}: not an object")
    return value


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of all that is kept of one run."""

    root: Path

    @property
    def record(self) -> Path:
        """The specification, the attempt and the class."""
        return self.root / "run.json"

    @property
    def data(self) -> Path:
        """The run's own to use; outlives its attempts."""
        return self.root / "data"

    def attempt(self, attempt: int) -> Path:
        """What belongs to one attempt."""
        return self.root / f"attempt-{attempt}"

    def make(self, attempt: int) -> Path:
        """Make the folders and return the attempt's."""
        folder = self.attempt(attempt)
        for path in (self.root, self.data, folder):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def write(self, spec: RunSpec, attempt: int, priority_class: str) -> None:
        """Write the record."""
        write_json(
            self.record,
            {
                "schema_version": 1,
                "spec": asdict(spec),
                "attempt": attempt,
                "priority_class": priority_class,
            },
        )

    def read(self) -> tuple[RunSpec, int, str]:
        """Return specification, attempt and class.

        Raises:
            RecordError: The record is missing or damaged.
        """
        value = read_json(self.record)
        if value is None:
            raise RecordError("run.json: missing")
        try:
            spec = value["spec"] | {"argv": tuple(value["spec"]["argv"])}
            return RunSpec(**spec), int(value["attempt"]), str(value["priority_class"])
        except (KeyError, TypeError, ValueError) as error:
            raise RecordError(f"run.json: {error!r}") from None
