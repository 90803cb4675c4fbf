"""How the export fares: each change is told once, in the log and as an event."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from colossus_tui.hub.events import Events
from colossus_tui.hub.export.connection import Answer
from colossus_tui.model import Event, Severity

LOG = logging.getLogger(__name__)
LOST, BACK = "export.lost", "export.back"  # kinds of events
AWAY = "the store was away"
SLOW = "the store takes samples too slowly"
BROKEN = "a fault of the hub's own, see its log"


class Health:
    """The state of the export.

    Attributes:
        sent: Samples that the store took.
        lost: Samples that it never got.
    """

    def __init__(
        self, url: str, events: Events, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._events = events
        self._clock = clock
        self._is_up: bool | None = None  # None before the first answer
        self._away_since: float | None = None
        self._lost_before = 0  # when it went away
        self._told: set[str] = set()  # reasons for a loss, until a round without it
        self._reasons: set[str] = set()  # those of this round
        self.sent = 0
        self.lost = 0

    def taken(self, samples: int) -> None:
        """Note that the store took samples."""
        self.sent += samples
        if self._is_up is None:
            LOG.info("export=up url=%s", self._url)
        self._is_up = True

    def failed(self, answer: Answer) -> None:
        """Note that a request failed and will be repeated."""
        self._is_up = False
        if self._away_since is None:
            LOG.warning("export=away url=%s error=%r", self._url, answer.why)
            self._away_since, self._lost_before = self._clock(), self.lost

    def dropped(self, samples: int, reason: str, words: str = "") -> None:
        """Note samples that are given up; a reason is told when it is new."""
        self.lost += samples
        self._reasons.add(reason)
        if not samples or reason in self._told:
            return
        self._told.add(reason)
        LOG.warning("export=lost url=%s samples=%d reason=%r", self._url, samples, reason + words)
        text = f"{samples} samples for {self._url} are lost, and more may follow: {reason}{words}"
        self._events.add(Event(severity=Severity.WARNING, kind=LOST, message=text))

    def round_ended(self, missed: int) -> None:
        """Note that all that was to be sent is sent or given up, and so many were never taken."""
        if missed:
            self.dropped(missed, SLOW if self._away_since is None else AWAY)
        if self._is_up and self._away_since is not None:
            self._back(self._clock() - self._away_since, self.lost - self._lost_before)
        self._told &= self._reasons
        self._reasons = set()

    def _back(self, seconds: float, lost: int) -> None:
        self._away_since = None
        LOG.info("export=back url=%s seconds=%.0f lost=%d", self._url, seconds, lost)
        if lost:
            text = f"{self._url} takes samples again; {lost} were lost in {seconds:.0f} s"
            self._events.add(Event(severity=Severity.INFO, kind=BACK, message=text))
