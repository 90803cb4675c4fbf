"""The settings of the hub's own recording."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SETTINGS = ("enabled", "keep_minutes", "max_megabytes")
KEEP_MINUTES, MAX_MEGABYTES = 15, 256
MINUTES, MEGABYTES = (1, 10_080), (8, 1_000_000)


class RecordingConfigError(ValueError):
    """A setting of the recording is wrong; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class RecordingConfig:
    """How much the hub keeps of what it showed."""

    enabled: bool = True
    keep_minutes: int = KEEP_MINUTES
    max_megabytes: int = MAX_MEGABYTES


def parse(table: Any) -> RecordingConfig:
    """Return the checked settings.

    Raises:
        RecordingConfigError: One is wrong.
    """
    if not isinstance(table, dict):
        raise RecordingConfigError("recording: must be a table, as in [recording]")
    if unknown := sorted(set(table) - set(SETTINGS)):
        raise RecordingConfigError(
            f"recording.{unknown[0]} is no setting; known: {', '.join(SETTINGS)}"
        )
    enabled = table.get("enabled", True)
    if not isinstance(enabled, bool):
        raise RecordingConfigError("recording.enabled must be true or false")
    return RecordingConfig(
        enabled,
        _whole(table, "keep_minutes", KEEP_MINUTES, *MINUTES),
        _whole(table, "max_megabytes", MAX_MEGABYTES, *MEGABYTES),
    )


def _whole(table: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = table.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise RecordingConfigError(f"recording.{name} must be a whole number from {low} to {high}")
    return value
