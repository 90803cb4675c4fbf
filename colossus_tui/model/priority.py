"""Priority classes."""

from __future__ import annotations

from enum import StrEnum


class PriorityClass(StrEnum):
    """What a run is worth to the site; P0 is the last to give way."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"
    P4 = "P4"

    @property
    def meaning(self) -> str:
        """The class's name in words."""
        return {"P0": "critical", "P1": "high", "P2": "normal", "P3": "low", "P4": "scavenger"}[
            self.value
        ]
