"""What is wrong with the building, as one thing of one subject."""

from __future__ import annotations

from dataclasses import dataclass

from colossus_tui.model import Alert


@dataclass(frozen=True, slots=True)
class Trouble:
    """An alert, and what it is of.

    Attributes:
        subject: Such as "cooling loop 1" or a broker's address; stays the same while it lasts.
        halls: Halls that it touches.
    """

    subject: str
    alert: Alert
    halls: tuple[str, ...] = ()
