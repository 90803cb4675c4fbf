"""Events and alerts."""

from __future__ import annotations

from enum import StrEnum

from colossus_tui.model.dataclass import dataclass


class Severity(StrEnum):
    """How urgent something is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at one instant. `message` is untrusted text."""

    event_id: int = 0
    time_unix_ns: int = 0
    severity: Severity = Severity.INFO
    kind: str = ""
    message: str = ""
    node_name: str = ""
    run_id: str = ""
    gpu_index: int = -1
    rank: int = -1
    action_id: str = ""

    @property
    def where(self) -> str:
        """The run, else the node and its GPU, as untrusted text; "" for the site."""
        if self.run_id or self.gpu_index < 0:
            return self.run_id or self.node_name
        return f"{self.node_name} GPU {self.gpu_index}"


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that is so now and should be looked at."""

    severity: Severity
    kind: str
    message: str
    since_unix_ns: int = 0
