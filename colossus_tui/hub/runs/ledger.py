"""The goodput ledger: where a run's wall time went.

ETTR (effective training time ratio) is productive step time that was not redone over wall time; see
Meta's "Revisiting Reliability in Large-Scale Machine Learning Research Clusters" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRODUCTIVE = "productive"
CAUSES = (
    "waiting",
    "starting",
    "checkpointing",
    "paused",
    "frozen",
    "redone",
    "stalled",
    "down",
)
LET_WAIT = ("waiting", "paused", "frozen")  # not the run's own doing
MINUTES_KEPT = 24 * 60


class Ledger:
    """Seconds by cause, whole and by minute of the last day. The parts always sum to the whole."""

    def __init__(self) -> None:
        self.totals = dict.fromkeys((PRODUCTIVE, *CAUSES), 0.0)
        self._minutes: dict[int, list[float]] = {}  # minute: [productive, all]

    def add(self, cause: str, seconds: float, now_seconds: float) -> None:
        """Count wall time that just passed under one cause."""
        self.totals[cause] += seconds
        minute = self._minutes.setdefault(int(now_seconds // 60), [0.0, 0.0])
        minute[0] += seconds if cause == PRODUCTIVE else 0.0
        minute[1] += seconds
        while len(self._minutes) > MINUTES_KEPT:
            del self._minutes[min(self._minutes)]

    def move(self, cause: str, seconds: float, now_seconds: float) -> None:
        """Take time that was counted as productive to the cause that it turned out to have."""
        seconds = min(seconds, self.totals[PRODUCTIVE])
        self.totals[PRODUCTIVE] -= seconds
        self.totals[cause] += seconds
        for minute in range(int(now_seconds // 60), int(now_seconds // 60) - 60, -1):
            if seconds <= 0:
                return
            if minute in self._minutes:
                part = min(seconds, self._minutes[minute][0])
                self._minutes[minute][0] -= part
                seconds -= part

    def ratio(self) -> float | None:
        """Return ETTR of the whole run; None before any time passed."""
        whole = sum(self.totals.values())
        return self.totals[PRODUCTIVE] / whole if whole else None

    def meant_seconds(self) -> tuple[float, float]:
        """Return productive seconds, and all in which nobody let the run wait."""
        whole = sum(self.totals.values())
        return self.totals[PRODUCTIVE], whole - sum(self.totals[cause] for cause in LET_WAIT)

    def window_ratio(self, minutes: int, now_seconds: float) -> float | None:
        """Return ETTR of the last minutes; None before any time passed."""
        first = int(now_seconds // 60) - minutes + 1
        kept = [parts for minute, parts in self._minutes.items() if minute >= first]
        whole = sum(parts[1] for parts in kept)
        return sum(parts[0] for parts in kept) / whole if whole else None

    def state(self) -> dict[str, Any]:
        """Return what must survive the hub."""
        return {
            "totals": self.totals,
            "minutes": {str(minute): parts for minute, parts in self._minutes.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        for cause in self.totals:
            self.totals[cause] = float(state["totals"].get(cause, 0.0))
        self._minutes = {int(minute): list(parts) for minute, parts in state["minutes"].items()}
