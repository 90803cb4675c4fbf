"""Where a replay stands, and the moments of a recording that are worth a look."""

from __future__ import annotations

from enum import StrEnum

from colossus_tui.model.dataclass import dataclass


class MarkKind(StrEnum):
    """Why a moment is worth a look."""

    ALERT = "alert"
    ACTION = "action"


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that is worth a look. `detail` is untrusted text."""

    time_unix_ns: int = 0
    kind: MarkKind = MarkKind.ALERT
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Playback:
    """Where a replay stands; meanings and units as in recording.proto. All text is untrusted."""

    start_time_unix_ns: int = 0
    end_time_unix_ns: int = 0
    position_time_unix_ns: int = 0
    speed: float = 1.0
    paused: bool = False
    marks: tuple[Mark, ...] = ()
    damage: str = ""
    missing: str = ""
    file_name: str = ""
    mark: Mark | None = None
